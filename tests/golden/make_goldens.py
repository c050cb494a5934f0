"""Makes the golden files that the tests of DistTrain.Nn compare with: what PyTorch computes in fp32 on one thread.

    python3 tests/golden/make_goldens.py        (written with Debian's python3-torch 1.13)

Each case becomes NAME.bin, little-endian fp32 tensors one after the other, and NAME.json, which says what they are:
"tensors" maps a name to its shape and its offset in floats. The files are frozen; run this only to add cases.

Tensors of a case:
  input                 (steps, batch, features)
  label or target       (steps, batch) as floats, or (steps, batch, outputs)
  initial.P             the first value of parameter P, called as in torch.nn.Sequential
  gradient.P            the gradient of the first mini-batch's mean loss at the initial values
  output                (batch, outputs) for the first mini-batch at the initial values
  RUN.loss              (steps): the mean loss of each mini-batch before its update
  RUN.P                 the value after the last update of run RUN
"""
import json
import pathlib

import torch
from torch import nn

STEPS, BATCH = 20, 30  # 30 examples in 8 shards: uneven

RUNS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1),
}


def relu_classifier():
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 17), nn.ReLU(), nn.Linear(17, 5))
    x = torch.randn(STEPS, BATCH, 20)
    label = (x[..., :5] + 0.5 * torch.randn(STEPS, BATCH, 5)).argmax(-1)
    return model, nn.CrossEntropyLoss(), x, label, "label"


def smooth_regressor():
    model = nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 19), nn.Sigmoid(), nn.Linear(19, 3, bias=False))
    x = torch.randn(STEPS, BATCH, 12)
    target = torch.stack([x[..., 0] * x[..., 1], torch.sin(2 * x[..., 2]), x[..., 3:].mean(-1)], -1)
    return model, nn.MSELoss(), x, target, "target"


def make(name, case, seed):
    torch.manual_seed(seed)
    model, criterion, x, y, y_name = case()
    initial = {n: p.detach().clone() for n, p in model.named_parameters()}
    tensors = {"input": x, y_name: y.float()}
    tensors.update({f"initial.{n}": p for n, p in initial.items()})

    output = model(x[0])
    criterion(output, y[0]).backward()
    tensors["output"] = output.detach()
    tensors.update({f"gradient.{n}": p.grad.clone() for n, p in model.named_parameters()})

    for run, make_optimizer in RUNS.items():
        model.load_state_dict(initial)
        optimizer = make_optimizer(model.parameters())
        losses = []
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = criterion(model(x[step]), y[step])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        tensors[f"{run}.loss"] = torch.tensor(losses)
        tensors.update({f"{run}.{n}": p.detach().clone() for n, p in model.named_parameters()})

    write(name, tensors)


def write(name, tensors):
    folder = pathlib.Path(__file__).parent
    index, offset = {}, 0
    with open(folder / f"{name}.bin", "wb") as out:
        for key, tensor in tensors.items():
            out.write(tensor.contiguous().numpy().astype("<f4").tobytes())
            index[key] = {"shape": list(tensor.shape), "offset": offset}
            offset += tensor.numel()
    made_with = {"torch": torch.__version__, "steps": STEPS, "batch": BATCH}
    lines = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in index.items())
    head = json.dumps(made_with)[1:-1]
    (folder / f"{name}.json").write_text(f'{{\n  {head},\n  "tensors": {{\n{lines}\n  }}\n}}\n')


if __name__ == "__main__":
    torch.set_num_threads(1)
    make("relu_classifier", relu_classifier, seed=1)
    make("smooth_regressor", smooth_regressor, seed=2)
