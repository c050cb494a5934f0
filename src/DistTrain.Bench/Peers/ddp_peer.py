"""PyTorch DistributedDataParallel over gloo as a peer: one process a worker, one thread each.

argv: ranks, rank, port, seconds, options (JSON: setup, optimizer, ddp).
Rank 0 prints {"torch": version, "steps": n, "seconds": s} for n steps of steady state, or {"error": "..."}.
"""
import json
import os
import sys
import time

ranks, rank, port, seconds = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
options = json.loads(sys.argv[5])
os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = "127.0.0.1", port

try:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    torch.manual_seed(1 + rank)
    dist.init_process_group("gloo", rank=rank, world_size=ranks)
    scope = {"torch": torch, "F": torch.nn.functional}
    exec(options["setup"], scope)
    model = torch.nn.parallel.DistributedDataParallel(scope["model"], **options["ddp"])
    scope["model"] = model
    exec(options["optimizer"], scope)
    optimizer, x, y = scope["optimizer"], scope["x"], scope["y"]

    def steps(count):
        dist.barrier()
        start = time.perf_counter()
        for _ in range(count):
            optimizer.zero_grad(set_to_none=options["to_none"])
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        dist.barrier()
        return time.perf_counter() - start

    steps(10)
    count = torch.tensor([max(10, int(seconds / (steps(5) / 5)))])
    dist.broadcast(count, 0)
    took = steps(int(count))
    if rank == 0:
        print(json.dumps({"torch": torch.__version__, "steps": int(count), "seconds": took}), flush=True)
    dist.barrier()
    dist.destroy_process_group()
except Exception as error:
    if rank == 0:
        print(json.dumps({"error": repr(error)}), flush=True)
    sys.exit(1)
