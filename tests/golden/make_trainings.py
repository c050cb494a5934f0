"""Makes trainings.json: the losses of whole trainings in PyTorch, fp32 on one thread, for TrainingGoldenTests.

    python3 tests/golden/make_trainings.py        (written with Debian's python3-torch 1.13)

Weights and examples come from an integer hash that the test has too, so only losses are stored: for each network
"loss", the mean loss of each of 50 mini-batches before its update, and "spread", how far (relatively) any of five more
trainings went whose only difference is the order of the shards and of the rows within them. Batch norm takes its
statistics per shard, so rows stay in theirs.
"""
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

STEPS, BATCHES, ROWS, SHARDS = 50, 10, 30, 4  # shards of 7 and 8 rows


def uniform(count, salt):
    """count numbers within [0, 1), 24 bits each."""
    with np.errstate(over="ignore"):
        x = (np.arange(count, dtype=np.uint32) + np.uint32(1)) * np.uint32(0x9E3779B1) + np.uint32(salt) * np.uint32(0x85EBCA6B)
        x ^= x >> np.uint32(15)
        x *= np.uint32(0x2C1B3C6D)
        x ^= x >> np.uint32(12)
        x *= np.uint32(0x297A2D39)
        x ^= x >> np.uint32(15)
    return (x >> np.uint32(8)).astype(np.float64) / (1 << 24)


def weights(shapes):
    """Tensors by name: vectors called weight are 1, other vectors within 0.1, the rest within 1 / sqrt(fan in)."""
    tensors = {}
    for salt, (name, shape) in enumerate(shapes):
        count = int(np.prod(shape))
        if len(shape) == 1 and name.endswith("weight"):
            values = np.ones(count)
        else:
            bound = 0.1 if len(shape) == 1 else 1 / np.sqrt(count / shape[0])
            values = (2 * uniform(count, 1000 + salt) - 1) * bound
        tensors[name] = torch.tensor(values.astype(np.float32).reshape(shape), requires_grad=True)
    return tensors


def examples(shape, classes):
    """BATCHES mini-batches of ROWS examples within [-1, 1), labelled by the largest of their first values."""
    width = int(np.prod(shape))
    x = (2 * uniform(BATCHES * ROWS * width, 1) - 1).astype(np.float32).reshape(BATCHES, ROWS, *shape)
    label = x.reshape(BATCHES, ROWS, width)[:, :, :classes].argmax(-1)
    return torch.tensor(x), torch.tensor(label)


def images(channels, size, classes):
    """Images: their class's pattern of 4 by 4 squares under noise of the same strength."""
    label = np.floor(uniform(BATCHES * ROWS, 4) * classes).astype(np.int64)
    pattern = (2 * uniform(classes * channels * 16, 5) - 1).astype(np.float32).reshape(classes, channels, 4, 4)
    noise = (2 * uniform(BATCHES * ROWS * channels * size * size, 1) - 1).astype(np.float32)
    x = pattern.repeat(size // 4, 2).repeat(size // 4, 3)[label] + noise.reshape(-1, channels, size, size)
    return torch.tensor(x.reshape(BATCHES, ROWS, channels, size, size)), torch.tensor(label.reshape(BATCHES, ROWS))


def lines(size, classes):
    """The same images with one channel, as sequences of lines."""
    x, label = images(1, size, classes)
    return x[:, :, 0], label


def tokens(time, vocabulary):
    """Token ids, and a label for each: three times itself and the one before it, but for some that are its own id."""
    ids = np.floor(uniform(BATCHES * ROWS * time, 2) * vocabulary).astype(np.int64).reshape(BATCHES, ROWS, time)
    before = np.concatenate([np.zeros_like(ids[..., :1]), ids[..., :-1]], -1)
    odd = uniform(BATCHES * ROWS * time, 3).reshape(BATCHES, ROWS, time) < 0.2
    return torch.tensor(ids), torch.tensor(np.where(odd, ids, (3 * ids + before) % vocabulary))


def mlp(p, x):
    x = torch.tanh(F.linear(x, p["0.weight"], p["0.bias"]))
    x = F.relu(F.linear(x, p["2.weight"], p["2.bias"]))
    return F.linear(x, p["4.weight"], p["4.bias"])


def lenet(p, x):
    x = F.avg_pool2d(torch.tanh(F.conv2d(x, p["0.weight"], p["0.bias"], padding=2)), 2)
    x = F.avg_pool2d(torch.tanh(F.conv2d(x, p["3.weight"], p["3.bias"])), 2)
    x = torch.tanh(F.linear(x.permute(0, 2, 3, 1).flatten(1), p["7.weight"], p["7.bias"]))  # channels last
    return F.linear(x, p["9.weight"], p["9.bias"])


def norm(p, name, x):
    return F.batch_norm(x, None, None, p[name + ".weight"], p[name + ".bias"], training=True)


def resnet(p, x):
    x = F.relu(norm(p, "1", F.conv2d(x, p["0.weight"], padding=1)))
    for block, stride in (("3", 1), ("5", 2), ("7", 2)):
        y = F.relu(norm(p, block + ".0.1" if stride > 1 else block + ".1", F.conv2d(x, p[block + (".0.0.weight" if stride > 1 else ".0.weight")], stride=stride, padding=1)))
        y = norm(p, block + ".0.4" if stride > 1 else block + ".4", F.conv2d(y, p[block + (".0.3.weight" if stride > 1 else ".3.weight")], padding=1))
        if stride > 1:
            x = norm(p, block + ".1.1", F.conv2d(x, p[block + ".1.0.weight"], stride=stride))
        x = F.relu(x + y)
    return F.linear(x.mean((2, 3)), p["10.weight"], p["10.bias"])


def cell(p, name):
    return [p[f"{name}.{n}_l0"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def lstm(p, x):
    zero = torch.zeros(1, x.shape[0], 12)
    y = torch.lstm(x, (zero, zero), cell(p, "0"), True, 1, 0.0, True, False, True)[0]
    return F.linear(y[:, -1], p["1.weight"], p["1.bias"])


def gru(p, x):
    y = torch.gru(F.embedding(x, p["0.weight"]), torch.zeros(1, x.shape[0], 12), cell(p, "1"), True, 1, 0.0, True, False, True)[0]
    return F.linear(y, p["2.weight"], p["2.bias"])


def transformer(p, x):
    rows, time = x.shape
    mask = torch.triu(torch.full((time, time), float("-inf")), 1)
    y = F.embedding(x, p["0.weight"]) + p["1.weight"]
    width, heads = y.shape[-1], 2
    for block in ("2", "3"):
        q = {n[len(block) + 1:]: v for n, v in p.items() if n.startswith(block + ".")}
        z = F.layer_norm(y, (width,), q["norm1.weight"], q["norm1.bias"])
        z = F.linear(z, q["self_attn.in_proj_weight"], q["self_attn.in_proj_bias"])
        a, b, c = (t.view(rows, time, heads, width // heads).transpose(1, 2) for t in z.split(width, -1))
        s = torch.softmax(a @ b.transpose(2, 3) / (width // heads) ** 0.5 + mask, -1) @ c
        y = y + F.linear(s.transpose(1, 2).reshape(rows, time, width), q["self_attn.out_proj.weight"], q["self_attn.out_proj.bias"])
        z = F.gelu(F.linear(F.layer_norm(y, (width,), q["norm2.weight"], q["norm2.bias"]), q["linear1.weight"], q["linear1.bias"]))
        y = y + F.linear(z, q["linear2.weight"], q["linear2.bias"])
    return F.linear(F.layer_norm(y, (width,), p["4.weight"], p["4.bias"]), p["0.weight"])


def resnet_shapes():
    shapes = [("0.weight", [8, 2, 3, 3]), ("1.weight", [8]), ("1.bias", [8])]
    for block, i, o in (("3.", 8, 8), ("5.0.", 8, 12), ("7.0.", 12, 16)):
        shapes += [(block + "0.weight", [o, i, 3, 3]), (block + "1.weight", [o]), (block + "1.bias", [o])]
        shapes += [(block + "3.weight", [o, o, 3, 3]), (block + "4.weight", [o]), (block + "4.bias", [o])]
        if i != o:
            s = block[:2] + "1."
            shapes += [(s + "0.weight", [o, i, 1, 1]), (s + "1.weight", [o]), (s + "1.bias", [o])]
    return shapes + [("10.weight", [5, 16]), ("10.bias", [5])]


def transformer_shapes():
    shapes = [("0.weight", [7, 16]), ("1.weight", [8, 16])]
    for b in ("2.", "3."):
        shapes += [(b + "norm1.weight", [16]), (b + "norm1.bias", [16]), (b + "self_attn.in_proj_weight", [48, 16]), (b + "self_attn.in_proj_bias", [48])]
        shapes += [(b + "self_attn.out_proj.weight", [16, 16]), (b + "self_attn.out_proj.bias", [16]), (b + "norm2.weight", [16]), (b + "norm2.bias", [16])]
        shapes += [(b + "linear1.weight", [64, 16]), (b + "linear1.bias", [64]), (b + "linear2.weight", [16, 64]), (b + "linear2.bias", [16])]
    return shapes + [("4.weight", [16]), ("4.bias", [16])]


def layer(name, out, *inputs):
    return [(name + ".weight", [out, *inputs]), (name + ".bias", [out])]


def cell_shapes(name, gates, features):
    h = 12 * gates
    return [(f"{name}.weight_ih_l0", [h, features]), (f"{name}.weight_hh_l0", [h, 12]), (f"{name}.bias_ih_l0", [h]), (f"{name}.bias_hh_l0", [h])]


def sgd(rate):
    return lambda parameters: torch.optim.SGD(parameters, lr=rate, momentum=0.9)


def adam(rate):
    return lambda parameters: torch.optim.Adam(parameters, lr=rate)


# A larger rate makes the batch norms of resnet8 chaotic: at 0.02 the order of rows alone changes losses by up to 0.9 %.
CASES = {
    "mlp": (mlp, layer("0", 24, 20) + layer("2", 16, 24) + layer("4", 5, 16), examples((20,), 5), sgd(0.05)),
    "lenet": (lenet, layer("0", 6, 1, 5, 5) + layer("3", 16, 6, 5, 5) + layer("7", 32, 64) + layer("9", 5, 32), images(1, 16, 5), sgd(0.02)),
    "resnet8": (resnet, resnet_shapes(), images(2, 16, 5), sgd(0.005)),
    "lstm": (lstm, cell_shapes("0", 4, 16) + layer("1", 5, 12), lines(16, 5), adam(0.01)),
    "gru": (gru, [("0.weight", [7, 6])] + cell_shapes("1", 3, 6) + layer("2", 7, 12), tokens(10, 7), adam(0.01)),
    "transformer": (transformer, transformer_shapes(), tokens(8, 7), adam(0.01)),
}


def train(network, shapes, data, optimizer, order):
    p = weights(shapes)
    optimizer = optimizer(p.values())
    losses = []
    for step in range(STEPS):
        x, y = (d[step % BATCHES] for d in data)
        optimizer.zero_grad()
        total = 0
        for shard in range(SHARDS) if order is None else order.permutation(SHARDS):
            rows = np.arange(shard * ROWS // SHARDS, (shard + 1) * ROWS // SHARDS)
            if order is not None:
                rows = order.permutation(rows)
            output = network(p, x[rows])
            total = total + F.cross_entropy(output.reshape(-1, output.shape[-1]), y[rows].reshape(-1), reduction="sum")
        loss = total / y.numel()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = {}
    for name, case in CASES.items():
        losses = train(*case, None)
        others = [train(*case, np.random.RandomState(seed)) for seed in range(5)]
        spread = np.max([np.abs(o - losses) / np.abs(losses) for o in others], axis=0)
        made[name] = {"loss": [float(f"{v:.9g}") for v in losses], "spread": [float(f"{v:.2g}") for v in spread]}
        print(name, losses[0], losses[-1], spread.max())
    lines = [f"{json.dumps(name)}: {json.dumps(what)}" for name, what in made.items()]
    (pathlib.Path(__file__).parent / "trainings.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
