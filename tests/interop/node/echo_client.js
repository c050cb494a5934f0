// Calls the test service with @grpc/grpc-js. Reads lines 'SCENARIO ADDRESS ARGUMENT…', answers each with 'ok' or what was wrong.
'use strict';

const assert = require('assert').strict;
const fs = require('fs');
const readline = require('readline');
const grpc = require('@grpc/grpc-js');
const { echo, health, reflection, pattern, line } = require('./echo');

const UNLIMITED = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 };
const PREFIX = '/disttrain.test.v1.Echo/';
const plain = grpc.credentials.createInsecure();
const same = (bytes) => bytes;

const once = (begin) => new Promise((resolve, reject) => begin((error, reply) => (error ? reject(error) : resolve(reply))));
const say = (client, item, metadata = new grpc.Metadata()) => once((done) => client.Say(item, metadata, done));

async function collect(call, into = []) {
  for await (const item of call) into.push(item);
  return into;
}

async function fails(code, action) {
  try {
    await action();
  } catch (error) {
    assert.equal(error.code, code, error.stack);
    return error;
  }
  throw new Error(`expected status ${code}, got success`);
}

const scenarios = {
  async unary(client) {
    const reply = await say(client, { text: 'grüß dich', number: -7 });
    assert.deepEqual([reply.text, reply.number], ['grüß dich', -7]);
  },

  async server_streaming(client) {
    const items = await collect(client.Count({ number: 1000 }));
    assert.deepEqual(items.map((i) => i.number), Array.from({ length: 1000 }, (_, i) => i));
    assert.deepEqual(await collect(client.Count({ number: 0 })), []);
  },

  async client_streaming(client) {
    const total = await once((done) => {
      const call = client.Sum(done);
      for (let i = 0; i < 100; i++) call.write({ number: i, text: 'x' });
      call.end();
    });
    assert.deepEqual([total.number, total.text], [4950, 'x'.repeat(100)]);
  },

  async duplex(client) {
    const call = client.Chat();
    const items = call[Symbol.asyncIterator]();
    for (let i = 0; i < 50; i++) {
      call.write({ number: i });
      assert.equal((await items.next()).value.number, i);
    }
    call.end();
    assert.equal((await items.next()).done, true);
  },

  async statuses(client) {
    const text = '100 % kaputt: größer 😀\nzwei';
    for (let code = 1; code <= 16; code++) {
      for (const count of [0, 2]) {
        const items = [];
        const error = await fails(code, () => collect(client.Fail({ number: code, text, data: Buffer.alloc(count) }), items));
        assert.deepEqual([error.details, items.length], [text, count]);
        assert.deepEqual(error.metadata.get('x-why'), ['asked for']);
        assert.deepEqual(error.metadata.get('x-why-bin'), [Buffer.from([0, 255, 128])]);
      }
    }
  },

  async metadata(client) {
    const bytes = Buffer.from([0, 1, 127, 128, 255]);
    const metadata = new grpc.Metadata();
    metadata.set('x-echo', 'one, two');
    metadata.set('x-echo-bin', bytes);
    let headers;
    let trailers;
    await once((done) => {
      const call = client.Say({}, metadata, done);
      call.on('metadata', (m) => (headers = m));
      call.on('status', (s) => (trailers = s.metadata));
    });
    await new Promise(setImmediate);
    for (const [found, name] of [[headers, 'x-head'], [trailers, 'x-trail']]) {
      assert.deepEqual(found.get(name), ['one, two']);
      assert.deepEqual(found.get(`${name}-bin`), [bytes]);
    }
  },

  async deadline(client) {
    await fails(grpc.status.DEADLINE_EXCEEDED, () => collect(client.Hang({}, { deadline: Date.now() + 300 })));
  },

  async cancel(client) {
    const call = client.Hang({ text: 'headers' });
    call.on('metadata', () => call.cancel());
    await fails(grpc.status.CANCELLED, () => collect(call));
  },

  async gzip(client, address) {
    const zipped = new echo.Echo(address, plain, { ...UNLIMITED, 'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip });
    assert.equal((await say(zipped, { text: 'a'.repeat(100000) })).text, 'a'.repeat(100000));
    zipped.close();
  },

  async deflate(client, address) {
    const other = new echo.Echo(address, plain, { 'grpc.default_compression_algorithm': grpc.compressionAlgorithms.deflate });
    const error = await fails(grpc.status.UNIMPLEMENTED, () => say(other, { text: 'a'.repeat(1000) }));
    assert.match(error.details, /deflate/);
    other.close();
  },

  async large(client) {
    const data = Buffer.concat(Array(64).fill(pattern(1 << 20)));
    assert.ok((await say(client, { data })).data.equals(data));
  },

  async too_large_request(client) {
    await fails(grpc.status.RESOURCE_EXHAUSTED, () => say(client, { data: Buffer.alloc(2 << 20) }));
    await scenarios.unary(client);
  },

  async too_large_response(client, address) {
    const limited = new echo.Echo(address, plain, { 'grpc.max_receive_message_length': 1 << 20 });
    await fails(grpc.status.RESOURCE_EXHAUSTED, () => say(limited, { data: Buffer.alloc(2 << 20) }));
    await scenarios.unary(limited);
    limited.close();
  },

  async unimplemented(client) {
    const raw = (path) => once((done) => client.makeUnaryRequest(path, same, same, Buffer.alloc(0), done));
    assert.match((await fails(grpc.status.UNIMPLEMENTED, () => raw(`${PREFIX}Missing`))).details, /Missing/);
    await fails(grpc.status.UNIMPLEMENTED, () => raw('/no.such.Service/Method'));
  },

  async garbage(client) {
    for (const method of ['Say', 'Sum', 'Chat', 'Upload']) {
      const call = client.makeBidiStreamRequest(PREFIX + method, same, same);
      call.write(Buffer.from('ffffffffff67617262616765', 'hex'));
      call.end();
      await fails(grpc.status.INTERNAL, () => collect(call));
    }
    await scenarios.unary(client);
  },

  async upload(client) {
    const blobs = [0, 1, 100, 70000, 3000000].map((length, id) => ({ id, name: 'größe', marks: [1, 2, id], weight: 0.5, payload: pattern(length) }));
    const reply = await once((done) => {
      const call = client.Upload(done);
      blobs.forEach((blob) => call.write(blob));
      call.end();
    });
    assert.equal(reply.text, blobs.map(line).join(';'));
  },

  async upload_foreign_order(client) {
    const serialize = echo.Echo.service.Upload.requestSerialize;
    const header = serialize({ id: 7, name: 'n' });
    const payload = serialize({ payload: pattern(70000) });
    const old = serialize({ payload: Buffer.from('old') });
    const reply = await once((done) => {
      const call = client.makeClientStreamRequest(`${PREFIX}Upload`, same, echo.Echo.service.Upload.responseDeserialize, done);
      for (const parts of [[payload, header], [header, payload], [old, header, payload]]) call.write(Buffer.concat(parts));
      call.end();
    });
    assert.equal(reply.text, Array(3).fill(line({ id: 7, name: 'n', payload: pattern(70000) })).join(';'));
  },

  async download(client) {
    const payload = pattern(3000000);
    const blobs = await collect(client.Download({ number: payload.length, text: 'w', data: Buffer.alloc(5) }));
    assert.deepEqual(blobs.map((b) => [b.id, b.name, b.payload.equals(payload)]), [0, 1, 2, 3, 4].map((id) => [id, 'w', true]));
    assert.equal((await collect(client.Download({ number: 0, data: Buffer.alloc(1) })))[0].payload.length, 0);
  },

  async health(client, address) {
    const check = new health.Health(address, plain);
    assert.equal((await once((done) => check.Check({}, done))).status, 'SERVING');
    await fails(grpc.status.NOT_FOUND, () => once((done) => check.Check({ service: 'none' }, done)));
    const watch = check.Watch({ service: 'none' });
    watch.on('error', () => {});
    assert.equal((await new Promise((resolve) => watch.once('data', resolve))).status, 'SERVICE_UNKNOWN');
    watch.cancel();
    check.close();
  },

  async reflection(client, address) {
    const server = new reflection.ServerReflection(address, plain);
    const method = reflection.ServerReflection.service.ServerReflectionInfo;
    const alpha = () => server.makeBidiStreamRequest('/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo', method.requestSerialize, method.responseDeserialize);
    for (const open of [() => server.ServerReflectionInfo(), alpha]) {
      const call = open();
      for (const question of [{ list_services: '' }, { file_containing_symbol: 'disttrain.test.v1.Echo' }, { file_by_filename: 'none' }]) call.write(question);
      call.end();
      const [services, file, missing] = await collect(call);
      assert.ok(services.list_services_response.service.some((s) => s.name === 'disttrain.test.v1.Echo'));
      assert.ok(file.file_descriptor_response.file_descriptor_proto[0].includes('disttrain.test.v1'));
      assert.equal(missing.error_response.error_code, grpc.status.NOT_FOUND);
    }
    server.close();
  },

  async token(client) {
    const bearer = (value) => {
      const metadata = new grpc.Metadata();
      metadata.set('authorization', `Bearer ${value}`);
      return metadata;
    };
    await fails(grpc.status.UNAUTHENTICATED, () => say(client, {}));
    await fails(grpc.status.UNAUTHENTICATED, () => say(client, {}, bearer('wrong')));
    assert.equal((await say(client, { number: 1 }, bearer('secret'))).number, 1);
  },

  async mutual_tls(client, address, ...files) {
    const [authority, certificate, key] = files.map((file) => fs.readFileSync(file));
    const known = new echo.Echo(address, grpc.credentials.createSsl(authority, key, certificate));
    await scenarios.unary(known);
    known.close();
    const stranger = new echo.Echo(address, grpc.credentials.createSsl(authority));
    await fails(grpc.status.UNAVAILABLE, () => say(stranger, {}));
    stranger.close();
  },

  async vanish(client) {
    client.Upload(() => {}).write({ id: 1, payload: Buffer.alloc(32 << 20) });
    await new Promise(() => {});
  },
};

async function run(scenario, address, ...args) {
  const client = new echo.Echo(address, plain, UNLIMITED);
  try {
    await scenarios[scenario](client, address, ...args);
  } finally {
    client.close();
  }
}

async function main() {
  for await (const command of readline.createInterface({ input: process.stdin })) {
    try {
      await run(...command.split(' '));
      console.log('ok');
    } catch (error) {
      console.log(JSON.stringify(error.stack));
    }
  }
  process.exit(0);
}

main();
