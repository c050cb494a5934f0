// The test service on @grpc/grpc-js. Listens on three ports, which it prints: plain; plain with a limit of 1 MiB; mutual
// TLS. Usage: echo_server.js AUTHORITY.pem SERVER.pem SERVER.key
'use strict';

const fs = require('fs');
const grpc = require('@grpc/grpc-js');
const { echo, pattern, line } = require('./echo');

let cancelled = 0;

function prefixed(metadata, prefix) {
  const result = new grpc.Metadata();
  for (const key of Object.keys(metadata.getMap()).filter((k) => k.startsWith('x-echo'))) {
    for (const value of metadata.get(key)) result.add(prefix + key.slice(6), value);
  }
  return result;
}

// Waits for room between writes, so that large payloads don't pile up.
async function writeAll(call, items) {
  for (const item of items) {
    if (!call.write(item)) await new Promise((resolve) => call.once('drain', resolve));
  }
}

const handlers = {
  Say(call, callback) {
    if (call.request.text === 'cancelled?') return callback(null, { number: cancelled });
    call.sendMetadata(prefixed(call.metadata, 'x-head'));
    return callback(null, call.request, prefixed(call.metadata, 'x-trail'));
  },
  Count(call) {
    for (let i = 0; i < call.request.number; i++) call.write({ number: i, text: call.request.text });
    call.end();
  },
  Sum(call, callback) {
    const total = { number: 0, text: '' };
    call.on('data', (item) => {
      total.number += item.number;
      total.text += item.text;
    });
    call.on('end', () => callback(null, total));
  },
  Chat(call) {
    call.sendMetadata(new grpc.Metadata());
    call.on('data', (item) => call.write(item));
    call.on('end', () => call.end());
  },
  Fail(call) {
    for (let i = 0; i < call.request.data.length; i++) call.write({ number: i });
    const metadata = new grpc.Metadata();
    metadata.set('x-why', 'asked for');
    metadata.set('x-why-bin', Buffer.from([0, 255, 128]));
    call.emit('error', { code: call.request.number, details: call.request.text, metadata });
  },
  Hang(call) {
    if (call.request.text === 'headers') call.sendMetadata(new grpc.Metadata());
    call.on('cancelled', () => cancelled++);
  },
  Upload(call, callback) {
    const lines = [];
    call.on('data', (blob) => lines.push(line(blob)));
    call.on('end', () => callback(null, { number: lines.length, text: lines.join(';') }));
  },
  async Download(call) {
    const payload = pattern(call.request.number);
    await writeAll(call, Array.from(call.request.data, (_, id) => ({ id, name: call.request.text, payload })));
    call.end();
  },
};

function start(credentials, options) {
  const server = new grpc.Server({ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1, ...options });
  server.addService(echo.Echo.service, handlers);
  const same = (bytes) => bytes;
  const garble = { path: '/disttrain.test.v1.Garble/Say', requestStream: false, responseStream: false, requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same };
  server.addService({ Say: garble }, { Say: (call, callback) => callback(null, Buffer.from('ffffffff67617262616765', 'hex')) });
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, port) => (error ? reject(error) : resolve(port)));
  });
}

async function main() {
  const [authority, certificate, key] = process.argv.slice(2, 5).map((file) => fs.readFileSync(file));
  const plain = grpc.ServerCredentials.createInsecure();
  const ports = [
    await start(plain, {}),
    await start(plain, { 'grpc.max_receive_message_length': 1 << 20 }),
    await start(grpc.ServerCredentials.createSsl(authority, [{ private_key: key, cert_chain: certificate }], true), {}),
  ];
  console.log('PORT', ...ports);
  process.stdin.on('end', () => process.exit(0)).resume();
}

main();
