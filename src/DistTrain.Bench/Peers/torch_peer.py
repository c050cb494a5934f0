"""PyTorch as a peer: reads one JSON request a line, answers one JSON line each.

{"id": i, "setup": "...", "call": "..."}  prepares, answers {"ok": true} or {"error": "..."}
{"id": i, "burst": n}                     does n calls, answers {"seconds": ...}
{"forget": true}                          drops all that was prepared, answers {"ok": true}
"""
import json
import sys
import time

import torch

torch.set_num_threads(1)
print(json.dumps({"torch": torch.__version__}), flush=True)

prepared = {}
for line in sys.stdin:
    request = json.loads(line)
    if "forget" in request:
        prepared.clear()
        print(json.dumps({"ok": True}), flush=True)
        continue
    if "burst" in request:
        call = prepared[request["id"]]
        calls = range(request["burst"])
        start = time.perf_counter()
        for _ in calls:
            call()
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
        continue
    scope = {"torch": torch, "F": torch.nn.functional}
    body = "\n".join("    " + part for part in request["call"].split("\n"))
    try:
        exec(request["setup"], scope)
        exec("def call():\n" + body, scope)
        prepared[request["id"]] = scope["call"]
        print(json.dumps({"ok": True}), flush=True)
    except Exception as error:
        print(json.dumps({"error": repr(error)}), flush=True)
