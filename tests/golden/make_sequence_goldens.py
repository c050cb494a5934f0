"""Makes the golden files of networks over sequences: outputs, the mean loss and all gradients of one mini-batch.

    python3 tests/golden/make_sequence_goldens.py        (written with Debian's python3-torch 1.13)

Each case becomes NAME.bin and NAME.json as make_goldens.py says, with the tensors input, label (-1 where there is none),
output, loss, and for every parameter P initial.P and gradient.P, called as in torch.nn.Sequential. The files are frozen;
run this only to add cases.
"""
import json
import math
import pathlib

import numpy
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import rnn

BATCH = 6


class Net(nn.Module):
    """Modules called by their place, and a forward function over them."""

    def __init__(self, modules, forward):
        super().__init__()
        for place, module in modules.items():
            self.add_module(str(place), module)
        self.run = forward

    def forward(self, x):
        return self.run(x, *self.children())


def ids(vocabulary, time, lengths=None, first=1):
    x = torch.randint(first, vocabulary, (BATCH, time))
    for row, length in enumerate(lengths or []):
        x[row, length:] = 0
    return x


def packed(cell, x, lengths, time):
    """A recurrent module over rows of these lengths; states and outputs in batch order."""
    y, state = cell(rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False))
    return rnn.pad_packed_sequence(y, batch_first=True, total_length=time)[0], state


def last(state):
    h = state[0] if isinstance(state, tuple) else state
    return h


def lstm_rows():
    net = Net({0: nn.LSTM(5, 7, 2, batch_first=True), 1: nn.Linear(7, 4)}, lambda x, a, b: b(a(x)[0][:, -1]))
    return net, torch.randn(BATCH, 9, 5), torch.randint(4, (BATCH,)), {}


def gru_rows():
    def run(x, a, b):
        h = last(a(x)[1])
        return b(torch.cat([h[-2], h[-1]], -1))

    net = Net({0: nn.GRU(5, 7, 2, batch_first=True, bidirectional=True), 1: nn.Linear(14, 4)}, run)
    return net, torch.randn(BATCH, 9, 5), torch.randint(4, (BATCH,)), {}


def rnn_tokens():
    net = Net(
        {0: nn.Embedding(11, 6), 1: nn.RNN(6, 8, 1, batch_first=True), 2: nn.RNN(8, 5, 1, batch_first=True, nonlinearity="relu", bias=False), 3: nn.Linear(5, 3)},
        lambda x, e, a, b, d: d(b(a(e(x))[0])[0]))
    return net, ids(11, 8), torch.randint(3, (BATCH, 8)), {}


LENGTHS = [7, 3, 1, 5, 7, 2]


def tagger():
    net = Net(
        {0: nn.Embedding(13, 6, padding_idx=0), 1: nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True), 2: nn.Linear(10, 4)},
        lambda x, e, a, d: d(packed(a, e(x), LENGTHS, 7)[0]))
    label = torch.randint(4, (BATCH, 7))
    for row, length in enumerate(LENGTHS):
        label[row, length:] = -1
    return net, ids(13, 7, LENGTHS), label, {"ignore_index": -1}


def padded_gru():
    def run(x, e, a, d):
        h = packed(a, e(x), LENGTHS, 7)[1]
        return d(torch.cat([h[0], h[1]], -1))

    net = Net({0: nn.Embedding(13, 6, padding_idx=0), 1: nn.GRU(6, 5, batch_first=True, bidirectional=True), 2: nn.Linear(10, 4)}, run)
    return net, ids(13, 7, LENGTHS), torch.randint(4, (BATCH,)), {}


def padded_attention():
    def run(x, e, a, d):
        hidden = torch.arange(7)[None] >= torch.tensor(LENGTHS)[:, None]
        x = e(x)
        y = a(x, x, x, key_padding_mask=hidden, need_weights=False)[0].masked_fill(hidden[..., None], 0)
        return d(y.sum(1) / torch.tensor(LENGTHS)[:, None])

    net = Net({0: nn.Embedding(13, 8, padding_idx=0), 1: nn.MultiheadAttention(8, 2, batch_first=True), 3: nn.Linear(8, 4)}, run)
    return net, ids(13, 7, LENGTHS), torch.randint(4, (BATCH,)), {}


def mask(time):
    return torch.full((time, time), float("-inf")).triu(1)


def character_transformer():
    def run(x, e, p, a, b, n):
        y = e(x) + p.weight
        return F.linear(n(b(a(y, mask(10)), mask(10))), e.weight)

    block = dict(d_model=12, nhead=3, dim_feedforward=20, dropout=0, activation="gelu", batch_first=True, norm_first=True)
    net = Net(
        {0: nn.Embedding(17, 12), 1: nn.Embedding(10, 12), 2: nn.TransformerEncoderLayer(**block), 3: nn.TransformerEncoderLayer(**block), 4: nn.LayerNorm(12)}, run)
    return net, ids(17, 10, first=0), torch.randint(17, (BATCH, 10)), {}


def post_norm_encoder():
    def run(x, e, a, d):
        position = torch.arange(10)[:, None]
        angle = position / 10000 ** (torch.arange(0, 12, 2) / 12)
        sines = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
        return d(a(e(x) + sines))

    block = dict(d_model=12, nhead=2, dim_feedforward=16, dropout=0, activation="relu", batch_first=True)
    net = Net({0: nn.Embedding(9, 12), 2: nn.TransformerEncoderLayer(**block), 3: nn.Linear(12, 5)}, run)
    label = torch.randint(5, (BATCH, 10))
    label[:, ::3] = -100
    return net, ids(9, 10, first=0), label, {"ignore_index": -100, "label_smoothing": 0.1, "weight": torch.tensor([1.0, 0.5, 2.0, 0.25, 3.0])}


def turn(x):
    """Rotary positions of (batch, heads, time, width), the pairs half a head apart."""
    time, width = x.shape[-2:]
    angle = torch.arange(time)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    a, b = x.chunk(2, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def rotary_attention():
    def run(x, e, m, d):
        q, k, v = F.linear(e(x), m.in_proj_weight, m.in_proj_bias).view(BATCH, 10, 3, 2, 6).permute(2, 0, 3, 1, 4)
        p = (turn(q) @ turn(k).transpose(-1, -2) / 6**0.5 + mask(10)).softmax(-1)
        return d(m.out_proj((p @ v).transpose(1, 2).flatten(2)))

    net = Net({0: nn.Embedding(9, 12), 1: nn.MultiheadAttention(12, 2, batch_first=True), 2: nn.Linear(12, 5)}, run)
    return net, ids(9, 10, first=0), torch.randint(5, (BATCH, 10)), {}


def window(time, size, causal):
    """True where a position does not see another, as in nn.MultiheadAttention's attn_mask."""
    distance = torch.arange(time)[:, None] - torch.arange(time)[None]
    return (distance.abs() >= size) | ((distance < 0) if causal else False)


def windowed_attention():
    net = Net(
        {0: nn.Embedding(9, 12), 1: nn.MultiheadAttention(12, 3, batch_first=True), 2: nn.Linear(12, 5)},
        lambda x, e, a, d: d(a(e(x), e(x), e(x), attn_mask=window(10, 4, True), need_weights=False)[0]))
    return net, ids(9, 10, first=0), torch.randint(5, (BATCH, 10)), {}


def padded_window_attention():
    """Positions of padding, which may see nobody within the window, would be NaN in PyTorch: they are let see everybody."""
    def run(x, e, a, d):
        padding = torch.arange(7)[None] >= torch.tensor(LENGTHS)[:, None]
        hidden = (window(7, 2, False)[None] & ~padding[..., None]).repeat_interleave(2, 0)
        x = e(x)
        return d(a(x, x, x, attn_mask=hidden, key_padding_mask=padding, need_weights=False)[0])

    net = Net({0: nn.Embedding(13, 8, padding_idx=0), 1: nn.MultiheadAttention(8, 2, batch_first=True), 2: nn.Linear(8, 4)}, run)
    label = torch.randint(4, (BATCH, 7))
    label[torch.arange(7)[None] >= torch.tensor(LENGTHS)[:, None]] = -1
    return net, ids(13, 7, LENGTHS), label, {"ignore_index": -1}


def philox(seed, purpose, step, element):
    """The 32 bits of Philox4x32-10 (Salmon et al., 2011) that KeyedRandom gives arrays of steps and elements."""
    low = numpy.uint64(0xFFFFFFFF)
    a, b, c, d = element >> numpy.uint64(2), step & low, step >> numpy.uint64(32), numpy.full_like(element, purpose)
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        left, right = a * numpy.uint64(0xD2511F53), c * numpy.uint64(0xCD9E8D57)
        a, b, c, d = (right >> numpy.uint64(32)) ^ b ^ numpy.uint64(key[0]), right & low, (left >> numpy.uint64(32)) ^ d ^ numpy.uint64(key[1]), left & low
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return numpy.choose((element & numpy.uint64(3)).astype(int), [a, b, c, d])


def kept(heads, time, rate, seed=1, step=1, layer=2):
    """Which weights AttentionDropout keeps, (batch, heads, time, time), each example at its own place in the mini-batch."""
    place, head, query, key = numpy.ogrid[:BATCH, :heads, :time, :time]
    steps = (place * heads + head) * 2**32 + step
    steps, elements = numpy.broadcast_arrays(steps, query * -(-time // 32) * 32 + key)
    bits = philox(seed, 0x54000000 + layer, steps.astype(numpy.uint64), elements.astype(numpy.uint64))
    return torch.from_numpy(((bits >> numpy.uint64(8)) >= math.ceil(float(numpy.float32(rate)) * 2**24)).astype("f4"))


def dropped_attention():
    """What nn.MultiheadAttention computes in training, with the mask in the place of its own dropout's."""
    def run(x, e, m, d):
        q, k, v = F.linear(e(x), m.in_proj_weight, m.in_proj_bias).view(BATCH, 10, 3, 2, 6).permute(2, 0, 3, 1, 4)
        p = (q @ k.transpose(-1, -2) / 6**0.5 + mask(10)).softmax(-1) * kept(2, 10, 0.3) / 0.7
        return d(m.out_proj((p @ v).transpose(1, 2).flatten(2)))

    net = Net({0: nn.Embedding(9, 12), 1: nn.MultiheadAttention(12, 2, batch_first=True), 2: nn.Linear(12, 5)}, run)
    return net, ids(9, 10, first=0), torch.randint(5, (BATCH, 10)), {}


def make(name, case, seed):
    torch.manual_seed(seed)
    net, x, label, options = case()
    with torch.no_grad():  # biases that start at 0 hide mistakes
        for p in net.parameters():
            if p.dim() == 1:
                p.add_(0.1 * torch.randn_like(p))
    output = net(x)
    classes = output.shape[-1]
    loss = F.cross_entropy(output.reshape(-1, classes), label.reshape(-1), **options)
    loss.backward()
    tensors = {"input": x.float(), "label": label.float(), "output": output.detach(), "loss": loss.detach().reshape(1)}
    for n, p in net.named_parameters():
        tensors[f"initial.{n}"] = p.detach()
        tensors[f"gradient.{n}"] = p.grad
    write(name, tensors)


def write(name, tensors):
    folder = pathlib.Path(__file__).parent
    index, offset = {}, 0
    with open(folder / f"{name}.bin", "wb") as out:
        for key, tensor in tensors.items():
            out.write(tensor.contiguous().numpy().astype("<f4").tobytes())
            index[key] = {"shape": list(tensor.shape), "offset": offset}
            offset += tensor.numel()
    lines = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in index.items())
    head = json.dumps({"torch": torch.__version__, "steps": 1, "batch": BATCH})[1:-1]
    (folder / f"{name}.json").write_text(f'{{\n  {head},\n  "tensors": {{\n{lines}\n  }}\n}}\n')


if __name__ == "__main__":
    torch.set_num_threads(1)
    cases = [lstm_rows, gru_rows, rnn_tokens, tagger, padded_gru, padded_attention, character_transformer, post_norm_encoder, rotary_attention,
             windowed_attention, padded_window_attention, dropped_attention]
    for seed, case in enumerate(cases):
        make(case.__name__, case, seed)
