"""Compiles the protos with the stock compiler, into a folder that lives as long as the process."""
import atexit
import os
import shutil
import sys
import tempfile
import threading

from grpc_tools import protoc

_HERE = os.path.dirname(os.path.abspath(__file__))
_ROOTS = [os.path.join(_HERE, "..", "protos"), os.path.join(_HERE, "..", "..", "..", "src", "DistTrain.Transport", "Grpc", "Protos")]
_OUT = tempfile.mkdtemp(prefix="disttrain-interop-")
atexit.register(shutil.rmtree, _OUT, ignore_errors=True)


def _compile(root, files):
    code = protoc.main(["protoc", f"-I{root}", f"--python_out={_OUT}", f"--grpc_python_out={_OUT}", *files])
    if code != 0:
        raise SystemExit(f"protoc failed with {code}")


_compile(_ROOTS[0], ["echo.proto"])
# From within their folders: a folder grpc/ on the path would hide the package grpc.
_compile(os.path.join(_ROOTS[1], "grpc", "health", "v1"), ["health.proto"])
_compile(os.path.join(_ROOTS[1], "grpc", "reflection", "v1"), ["reflection.proto"])
sys.path.insert(0, _OUT)


def end_with_parent():
    """Ends this process when its standard input is closed: the tests leave nobody behind."""
    def wait():
        sys.stdin.buffer.read()
        shutil.rmtree(_OUT, ignore_errors=True)
        os._exit(0)
    threading.Thread(target=wait, daemon=True).start()


def pattern(length):
    return bytes(((i * 31) ^ (i >> 8)) & 255 for i in range(length))


def line(blob):
    total = sum(b * (1 + i % 7) for i, b in enumerate(blob.payload))
    return f"{blob.id}/{blob.name}/{len(blob.payload)}/{total}"
