"""Makes losses.bin and losses.json: what PyTorch computes, in double precision, of the losses. Read by LossGoldenTests.

    python3 tests/golden/make_loss_goldens.py        (written with Debian's python3-torch 1.13)

All cases: one linear layer, 7 inputs, 12 examples. Tensors, rounded to fp32:
  input, initial.weight, initial.bias   (12, 7), (18, 7), (18)
  label, sign, probability              (12) below 18; (12, 18) of -1 and 1; (12, 18) whose rows add up to 1
  CASE/loss, CASE/gradient.P            the mean loss, and its gradient
"""
import torch
from torch import nn
from torch.nn import functional as F

import make_goldens


def main():
    torch.manual_seed(11)
    torch.set_default_dtype(torch.float64)
    x = torch.randn(12, 7).float().double()
    weight, bias = torch.randn(18, 7).float().double(), torch.randn(18).float().double()
    label = torch.randint(0, 18, (12,))
    sign = torch.where(torch.rand(12, 18) < 0.5, -1.0, 1.0)
    probability = F.softmax(2 * torch.randn(12, 18), -1).float().double()
    tensors = {"input": x, "initial.weight": weight, "initial.bias": bias, "label": label.double(), "sign": sign, "probability": probability}
    cases = {
        "half_squared_error": lambda y: 0.5 * nn.MSELoss()(y, probability),
        "absolute_error": lambda y: nn.L1Loss()(y, probability),
        "huber": lambda y: nn.HuberLoss(delta=0.7)(y, probability),
        "binary_cross_entropy": lambda y: nn.BCEWithLogitsLoss()(y, probability),
        "binary_cross_entropy_labels": lambda y: nn.BCEWithLogitsLoss()(y, F.one_hot(label, 18).double()),
        "kl_divergence": lambda y: nn.KLDivLoss(reduction="batchmean")(F.log_softmax(y, -1), probability),
        "soft_labels": lambda y: nn.CrossEntropyLoss()(y, probability),
        "soft_labels_smoothed": lambda y: nn.CrossEntropyLoss(label_smoothing=0.1)(y, probability),
        "hinge": lambda y: F.relu(0.8 - sign * y).mean(),
        "hinge_labels": lambda y: nn.MultiMarginLoss(margin=1.5)(y, label),
    }
    for name, loss in cases.items():
        w, b = weight.clone().requires_grad_(), bias.clone().requires_grad_()
        value = loss(F.linear(x, w, b))
        value.backward()
        tensors |= {f"{name}/loss": value.detach().reshape(1), f"{name}/gradient.weight": w.grad, f"{name}/gradient.bias": b.grad}
    make_goldens.STEPS, make_goldens.BATCH = 1, 12
    make_goldens.write("losses", tensors)


if __name__ == "__main__":
    main()
