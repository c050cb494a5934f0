// The test service's definition, loaded by the stock loader, and what the client and the server share.
'use strict';

const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const OPTIONS = { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true };
const PROTOS = path.join(__dirname, '..', '..', '..', 'src', 'DistTrain.Transport', 'Grpc', 'Protos');

function load(file, root) {
  return grpc.loadPackageDefinition(loader.loadSync(file, { ...OPTIONS, includeDirs: [root] }));
}

exports.echo = load('echo.proto', path.join(__dirname, '..', 'protos')).disttrain.test.v1;
exports.health = load('grpc/health/v1/health.proto', PROTOS).grpc.health.v1;
exports.reflection = load('grpc/reflection/v1/reflection.proto', PROTOS).grpc.reflection.v1;

exports.pattern = (length) => {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (Math.imul(i, 31) ^ (i >> 8)) & 255;
  return bytes;
};

exports.line = (blob) => {
  let total = 0;
  for (let i = 0; i < blob.payload.length; i++) total += blob.payload[i] * (1 + (i % 7));
  return `${blob.id}/${blob.name}/${blob.payload.length}/${total}`;
};
