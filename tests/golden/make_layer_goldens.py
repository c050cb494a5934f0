"""Makes layers.bin and layers.json: what PyTorch computes, in double precision, for networks of convolutions, poolings,
norms, activations and branches. Read by LayerGoldenTests of DistTrain.Nn, which has the same networks in YAML.

    python3 tests/golden/make_layer_goldens.py        (written with Debian's python3-torch 1.13)

Tensors of a case, all rounded to fp32, called CASE/NAME:
  input          (batch, features): images plane by plane, sequences time step by time step
  target         (batch, outputs)
  initial.P      parameter P, called as in torch.nn.Sequential; buffers too
  output         in training, each shard by itself
  loss           (1): the sum of (output - target)^2
  gradient.P     the sum over all examples; for a buffer the sum over shards of examples times statistic
  evaluation     the output in use, with running statistics that are not the first ones
"""
import torch
from torch import nn

import make_goldens

SHARDS = [0, 3, 8, 12]


class ChannelsLastFlatten(nn.Module):
    def forward(self, x):
        return (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).flatten(1)


class OverFeatures(nn.Module):
    """A module for (batch, channels, time) on (batch, time, channels)."""

    def __init__(self, module, left=0):
        super().__init__()
        self.left = left
        for name, parameter in list(module.named_parameters()):
            self.register_parameter(name, parameter)
        self.run = [module]

    def forward(self, x):
        for name in ("weight", "bias"):
            if hasattr(self, name):
                setattr(self.run[0], name, getattr(self, name))
        return self.run[0](nn.functional.pad(x.transpose(1, 2), (self.left, 0))).transpose(1, 2)


class ChannelLayerNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class RmsNorm(nn.Module):
    def __init__(self, n, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(n)), eps

    def forward(self, x):
        x = x.movedim(1, -1)
        return (x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt() * self.weight).movedim(-1, 1)


class Residual(nn.Module):
    def __init__(self, layers, shortcut=()):
        super().__init__()
        self.names = [str(i) for i in range(len(layers))]
        for name, layer in zip(self.names, layers):
            self.add_module(name, layer)
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x):
        y = x
        for name in self.names:
            y = getattr(self, name)(y)
        return self.shortcut(x) + y


class Branches(nn.Module):
    def __init__(self, join, *branches):
        super().__init__()
        self.join = join
        for i, branch in enumerate(branches):
            self.add_module(str(i), nn.Sequential(*branch))

    def forward(self, x):
        return self.join([branch(x) for branch in self.children()])


class GlobalPool(nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.pool = pool

    def forward(self, x):
        return self.pool(x)


def conv_norm(i, o, stride=1, kernel=3):
    return [nn.Conv2d(i, o, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(o)]


def block(i, o, stride):
    layers = [*conv_norm(i, o, stride), nn.ReLU(), *conv_norm(o, o)]
    return Residual(layers, conv_norm(i, o, stride, 1) if stride > 1 else ())


CASES = {
    "lenet": ((1, 12, 12), lambda: nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.MaxPool2d(2),
        ChannelsLastFlatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 5))),
    "conv": ((4, 9, 7), lambda: nn.Sequential(
        nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 2), groups=2), nn.LeakyReLU(0.1), nn.Conv2d(6, 6, 3, padding="same", groups=6),
        nn.ELU(0.7), nn.AvgPool2d(2), ChannelsLastFlatten(), nn.Linear(48, 3))),
    "conv_transpose": ((3, 5, 4), lambda: nn.Sequential(
        nn.ConvTranspose2d(3, 4, 3, 2, 1, 1), nn.Tanh(), nn.ConvTranspose2d(4, 2, 2, groups=2, dilation=2, bias=False), nn.ReLU(),
        GlobalPool(lambda x: x.mean((2, 3))), nn.Linear(2, 3))),
    "conv_1d": ((10, 4), lambda: nn.Sequential(
        OverFeatures(nn.Conv1d(4, 6, 3, dilation=2), left=4), nn.SiLU(), OverFeatures(nn.MaxPool1d(3, 2, 1)), OverFeatures(nn.Conv1d(6, 6, 3, 2, groups=3)),
        GlobalPool(lambda x: x.max(1).values), nn.Linear(6, 3))),
    "resnet": ((3, 8, 8), lambda: nn.Sequential(
        *conv_norm(3, 4), nn.ReLU(), block(4, 4, 1), nn.ReLU(), block(4, 6, 2), nn.ReLU(), block(6, 8, 2), nn.ReLU(),
        GlobalPool(lambda x: x.mean((2, 3))), nn.Linear(8, 5))),
    "batch_norm": ((7,), lambda: nn.Sequential(nn.Linear(7, 9, bias=False), nn.BatchNorm1d(9, 1e-3), nn.GELU(), nn.BatchNorm1d(9), nn.Linear(9, 3))),
    "norms": ((4, 5, 5), lambda: nn.Sequential(
        nn.Conv2d(4, 6, 1), nn.GroupNorm(3, 6, 1e-4), nn.GELU("tanh"), ChannelLayerNorm(6), nn.PReLU(6), RmsNorm(6, 1e-6), nn.Softplus(),
        ChannelsLastFlatten(), nn.Linear(150, 8), nn.LayerNorm(8), nn.PReLU(), nn.Linear(8, 3))),
    "branches": ((2, 6, 6), lambda: nn.Sequential(
        Branches(lambda ys: torch.cat(ys, 1), [nn.Conv2d(2, 3, 1)], [nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()], []),
        Branches(sum, [nn.Conv2d(7, 4, 1)], [nn.Conv2d(7, 4, 3, padding=1), nn.Tanh()]),
        nn.Softmax(1), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        ChannelsLastFlatten(), nn.Linear(36, 3), nn.LogSoftmax(1))),
}


def make(name, shape, build):
    model = build().double()
    norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    for p in model.parameters():  # away from 0 and 1, where some mistakes don't show; exact in fp32
        p.data = (p.data + 0.1 * torch.randn_like(p)).float().double()
    for m in norms.values():
        m.momentum = 1.0  # so that a step leaves the shard's own statistics
        m.running_mean.copy_((0.3 * torch.randn_like(m.running_mean)).float())
        m.running_var.copy_((0.5 + torch.rand_like(m.running_var)).float())
    x = torch.randn(SHARDS[-1], *shape).double()  # drawn in fp32: both sides compute from the same numbers
    state = {n: t.clone() for n, t in model.state_dict().items() if "num_batches" not in n}
    tensors = {"input": x, **{f"initial.{n}": t for n, t in state.items()}}

    model.eval()
    tensors["evaluation"] = model(x).detach()
    target = torch.randn_like(tensors["evaluation"]).float().double()
    model.train()
    outputs, loss, statistics = [], 0, {}
    for lo, hi in zip(SHARDS, SHARDS[1:]):
        outputs.append(model(x[lo:hi]))
        loss = loss + (outputs[-1] - target[lo:hi]).square().sum()
        for n, m in norms.items():
            for key in ("running_mean", "running_var"):
                statistics[f"{n}.{key}"] = statistics.get(f"{n}.{key}", 0) + (hi - lo) * getattr(m, key)
    loss.backward()
    tensors.update({"target": target, "output": torch.cat(outputs).detach(), "loss": loss.detach()[None]})
    tensors.update({f"gradient.{n}": p.grad for n, p in model.named_parameters()})
    tensors.update({f"gradient.{n}": t for n, t in statistics.items()})
    return {f"{name}/{key}": tensor.float() for key, tensor in tensors.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(7)
    everything = {}
    for case, (shape, build) in CASES.items():
        everything.update(make(case, shape, build))
    make_goldens.STEPS, make_goldens.BATCH = 1, SHARDS[-1]
    make_goldens.write("layers", everything)
