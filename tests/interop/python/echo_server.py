"""The test service on python3-grpcio. Listens on three ports, which it prints: plain; plain with gzip and a limit of 1 MiB; mutual TLS.

Usage: echo_server.py AUTHORITY.pem SERVER.pem SERVER.key
"""
import sys
import threading
from concurrent import futures

import grpc

import stubs
import echo_pb2 as pb
import echo_pb2_grpc


class Echo(echo_pb2_grpc.EchoServicer):
    def __init__(self):
        self.cancelled = 0

    def Say(self, request, context):
        if request.text == "cancelled?":
            return pb.Item(number=self.cancelled)
        given = [(k, v) for k, v in context.invocation_metadata() if k.startswith("x-echo")]
        context.send_initial_metadata([("x-head" + k[6:], v) for k, v in given])
        context.set_trailing_metadata([("x-trail" + k[6:], v) for k, v in given])
        return request

    def Count(self, request, context):
        for i in range(request.number):
            yield pb.Item(number=i, text=request.text)

    def Sum(self, requests, context):
        total = pb.Item()
        for item in requests:
            total.number += item.number
            total.text += item.text
        return total

    def Chat(self, requests, context):
        context.send_initial_metadata(())
        yield from requests

    def Fail(self, request, context):
        for i in range(len(request.data)):
            yield pb.Item(number=i)
        context.set_trailing_metadata((("x-why", "asked for"), ("x-why-bin", b"\x00\xff\x80")))
        context.abort(next(c for c in grpc.StatusCode if c.value[0] == request.number), request.text)

    def Hang(self, request, context):
        if request.text == "headers":
            context.send_initial_metadata(())
        done = threading.Event()
        context.add_callback(done.set)
        done.wait()
        self.cancelled += 1
        return iter(())

    def Upload(self, requests, context):
        lines = [stubs.line(blob) for blob in requests]
        return pb.Item(number=len(lines), text=";".join(lines))

    def Download(self, request, context):
        payload = stubs.pattern(request.number)
        for i in range(len(request.data)):
            yield pb.Blob(id=i, name=request.text, payload=payload)


def start(echo, credentials=None, compression=None, limit=-1):
    options = [("grpc.max_receive_message_length", limit), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=options, compression=compression)
    echo_pb2_grpc.add_EchoServicer_to_server(echo, server)
    garble = grpc.unary_unary_rpc_method_handler(lambda request, context: b"\xff\xff\xff\xff garbage")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("disttrain.test.v1.Garble", {"Say": garble}),))
    port = server.add_secure_port("127.0.0.1:0", credentials) if credentials else server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def main():
    authority, certificate, key = (open(path, "rb").read() for path in sys.argv[1:4])
    credentials = grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)
    echo = Echo()
    servers = [start(echo), start(echo, compression=grpc.Compression.Gzip, limit=1 << 20), start(echo, credentials)]
    print("PORT", *(port for _, port in servers), flush=True)
    stubs.end_with_parent()
    servers[0][0].wait_for_termination()


main()
