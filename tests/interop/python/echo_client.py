"""Calls the test service with python3-grpcio. Reads lines 'SCENARIO ADDRESS ARGUMENT…', answers each with 'ok' or what was wrong."""
import sys
import time
import traceback

import grpc

import stubs
import echo_pb2 as pb
import echo_pb2_grpc
import health_pb2
import health_pb2_grpc
import reflection_pb2
import reflection_pb2_grpc
from google.protobuf import descriptor_pb2

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
PREFIX = "/disttrain.test.v1.Echo/"


def fails(code, action):
    try:
        action()
    except grpc.RpcError as error:
        assert error.code() == code, f"{error.code()}: {error.details()}"
        return error
    raise AssertionError(f"expected {code}, got success")


def unary(channel, stub):
    assert stub.Say(pb.Item(text="grüß dich", number=-7)) == pb.Item(text="grüß dich", number=-7)


def server_streaming(channel, stub):
    assert [item.number for item in stub.Count(pb.Item(number=1000))] == list(range(1000))
    assert list(stub.Count(pb.Item(number=0))) == []


def client_streaming(channel, stub):
    total = stub.Sum(pb.Item(number=i, text="x") for i in range(100))
    assert (total.number, total.text) == (4950, "x" * 100)


def duplex(channel, stub):
    import queue
    outgoing = queue.Queue()
    incoming = stub.Chat(iter(outgoing.get, None))
    for i in range(50):
        outgoing.put(pb.Item(number=i))
        assert next(incoming).number == i
    outgoing.put(None)
    assert list(incoming) == []


def statuses(channel, stub):
    for code in grpc.StatusCode:
        if code == grpc.StatusCode.OK:
            continue
        for items in (0, 2):
            call = stub.Fail(pb.Item(number=code.value[0], text="100 % kaputt: größer 😀\nzwei", data=bytes(items)))
            for i in range(items):
                assert next(call).number == i
            error = fails(code, lambda: next(call))
            assert error.details() == "100 % kaputt: größer 😀\nzwei", error.details()
            trailers = dict(error.trailing_metadata())
            assert trailers["x-why"] == "asked for" and trailers["x-why-bin"] == b"\x00\xff\x80", trailers


def metadata(channel, stub):
    given = (("x-echo", "one, two"), ("x-echo-bin", bytes([0, 1, 127, 128, 255])))
    _, call = stub.Say.with_call(pb.Item(), metadata=given)
    headers, trailers = dict(call.initial_metadata()), dict(call.trailing_metadata())
    for found, name in ((headers, "x-head"), (trailers, "x-trail")):
        assert found[name] == "one, two" and found[name + "-bin"] == given[1][1], found


def deadline(channel, stub):
    fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: list(stub.Hang(pb.Item(), timeout=0.3)))


def cancel(channel, stub):
    call = stub.Hang(pb.Item(text="headers"))
    call.initial_metadata()
    call.cancel()
    fails(grpc.StatusCode.CANCELLED, lambda: next(call))


def gzip(channel, stub):
    item = pb.Item(text="a" * 100_000)
    assert stub.Say(item, compression=grpc.Compression.Gzip) == item
    assert stub.Sum(iter([item, item]), compression=grpc.Compression.Gzip).text == "a" * 200_000


def deflate(channel, stub):
    error = fails(grpc.StatusCode.UNIMPLEMENTED, lambda: stub.Say(pb.Item(text="a" * 1000), compression=grpc.Compression.Deflate))
    assert "deflate" in error.details()


def large(channel, stub):
    item = pb.Item(data=stubs.pattern(1 << 20) * 64)
    assert stub.Say(item) == item


def too_large_request(channel, stub):
    fails(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: stub.Say(pb.Item(data=bytes(2 << 20))))
    unary(channel, stub)


def too_large_response(channel, stub, address):
    with grpc.insecure_channel(address, [("grpc.max_receive_message_length", 1 << 20)]) as limited:
        small = echo_pb2_grpc.EchoStub(limited)
        fails(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: small.Say(pb.Item(data=bytes(2 << 20))))
        unary(limited, small)


def unimplemented(channel, stub):
    raw = channel.unary_unary(PREFIX + "Missing", None, None)
    assert "Missing" in fails(grpc.StatusCode.UNIMPLEMENTED, lambda: raw(b"")).details()
    fails(grpc.StatusCode.UNIMPLEMENTED, lambda: channel.unary_unary("/no.such.Service/Method", None, None)(b""))


def garbage(channel, stub):
    for method in ("Say", "Sum", "Chat", "Upload"):
        call = channel.stream_stream(PREFIX + method, None, None)
        fails(grpc.StatusCode.INTERNAL, lambda: list(call(iter([b"\xff\xff\xff\xff garbage"]))))
    unary(channel, stub)


def upload(channel, stub):
    blobs = [pb.Blob(id=i, name="größe", marks=[1, 2, i], weight=0.5, payload=stubs.pattern(n)) for i, n in enumerate((0, 1, 100, 70_000, 3_000_000))]
    reply = stub.Upload(iter(blobs))
    assert reply.text == ";".join(map(stubs.line, blobs)), reply


def upload_foreign_order(channel, stub):
    call = channel.stream_unary(PREFIX + "Upload", None, pb.Item.FromString)
    header, payload = pb.Blob(id=7, name="n"), pb.Blob(payload=stubs.pattern(70_000))
    parts = header.SerializeToString(), payload.SerializeToString()
    old = pb.Blob(payload=b"old").SerializeToString()
    reply = call(iter([parts[1] + parts[0], parts[0] + parts[1], old + parts[0] + parts[1]]))
    assert reply.text == ";".join([stubs.line(pb.Blob(id=7, name="n", payload=payload.payload))] * 3), reply


def download(channel, stub):
    payload = stubs.pattern(3_000_000)
    blobs = list(stub.Download(pb.Item(number=len(payload), text="w", data=bytes(5))))
    assert blobs == [pb.Blob(id=i, name="w", payload=payload) for i in range(5)]
    assert list(stub.Download(pb.Item(number=0, data=bytes(1)))) == [pb.Blob()]


def health(channel, stub):
    check = health_pb2_grpc.HealthStub(channel)
    assert check.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
    fails(grpc.StatusCode.NOT_FOUND, lambda: check.Check(health_pb2.HealthCheckRequest(service="none")))
    watch = check.Watch(health_pb2.HealthCheckRequest(service="none"))
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def reflection(channel, stub):
    ask = reflection_pb2.ServerReflectionRequest
    questions = [ask(list_services=""), ask(file_containing_symbol="disttrain.test.v1.Echo"), ask(file_by_filename="none")]
    alpha = channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", ask.SerializeToString, reflection_pb2.ServerReflectionResponse.FromString)
    for method in (reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo, alpha):
        services, file, missing = method(iter(questions))
        assert "disttrain.test.v1.Echo" in [s.name for s in services.list_services_response.service]
        found = descriptor_pb2.FileDescriptorProto.FromString(file.file_descriptor_response.file_descriptor_proto[0])
        own = descriptor_pb2.FileDescriptorProto()
        pb.DESCRIPTOR.CopyToProto(own)
        assert [m.name for m in found.service[0].method] == [m.name for m in own.service[0].method]
        assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def token(channel, stub):
    fails(grpc.StatusCode.UNAUTHENTICATED, lambda: stub.Say(pb.Item()))
    fails(grpc.StatusCode.UNAUTHENTICATED, lambda: stub.Say(pb.Item(), metadata=(("authorization", "Bearer wrong"),)))
    assert stub.Say(pb.Item(number=1), metadata=(("authorization", "Bearer secret"),)).number == 1


def mutual_tls(address, authority, certificate, key):
    files = [open(path, "rb").read() for path in (authority, key, certificate)]
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(*files), UNLIMITED) as channel:
        unary(channel, echo_pb2_grpc.EchoStub(channel))
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(files[0]), UNLIMITED) as channel:
        fails(grpc.StatusCode.UNAVAILABLE, lambda: echo_pb2_grpc.EchoStub(channel).Say(pb.Item()))


def vanish(channel, stub):
    def blobs():
        yield pb.Blob(id=1, payload=bytes(32 << 20))
        time.sleep(600)
    vanish.kept = stub.Upload.future(blobs())
    time.sleep(600)


def run(scenario, address, *arguments):
    if scenario == "mutual_tls":
        return mutual_tls(address, *arguments)
    with grpc.insecure_channel(address, UNLIMITED) as channel:
        stub = echo_pb2_grpc.EchoStub(channel)
        globals()[scenario](channel, stub, *([address] if scenario == "too_large_response" else []))


def main():
    for command in sys.stdin:
        try:
            run(*command.split())
            print("ok", flush=True)
        except Exception:
            print(repr(traceback.format_exc()), flush=True)


main()
