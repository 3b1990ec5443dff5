"""GoogLeNet: with batch norm against torchvision's, as in the paper against our own calculation."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, largest, responses
from torchfolio.verification.criteria import Criteria, Form, from_torchvision
from torchfolio.verification.initialization import (
    batch_norm_rules,
    caffe_bound,
    constant,
    normal,
    torch_bound,
    uniform,
)
from torchfolio.verification.reference import CalculatedReference, Reference

# Table 1: name, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool proj, and the channels that it reads.
TABLE_1 = (
    ("3a", 64, 96, 128, 16, 32, 32, 192),
    ("3b", 128, 128, 192, 32, 96, 64, 256),
    ("4a", 192, 96, 208, 16, 48, 64, 480),
    ("4b", 160, 112, 224, 24, 64, 64, 512),
    ("4c", 128, 128, 256, 24, 64, 64, 512),
    ("4d", 112, 144, 288, 32, 64, 64, 512),
    ("4e", 256, 160, 320, 32, 128, 128, 528),
    ("5a", 256, 160, 320, 32, 128, 128, 832),
    ("5b", 384, 192, 384, 48, 128, 128, 832),
)
HEADS = {"4a": ("aux1", 512), "4d": ("aux2", 528)}
IMAGE = (97, 67)  # (height, width): odd, not square


def criteria(card: Card, form: Form) -> Criteria:
    """Return the references of ``googlenet`` or ``googlenet_original``, each with or without heads.

    torchvision's deviation of 0.01 is cut at 2, 200 deviations away: it is a normal one.
    """
    heads = card.name.endswith("_aux")
    if "original" in card.name:
        rules = [
            uniform(r".*\.weight", caffe_bound, "Caffe's filler xavier"),
            constant(r"(fc|aux\d\.fc2)\.bias", 0, "Caffe's replica"),
            constant(r".*\.bias", 0.2, "Caffe's replica"),
        ]
        return Criteria([partial(calculated, heads, form)], IMAGE, rules)
    rules = [
        *batch_norm_rules(r".*\.bn"),
        normal(r"(.*\.)?(conv|fc|fc1|fc2)\.weight", lambda v, n: 0.01, "as torchvision's"),
        uniform(r"(.*\.)?(fc|fc1|fc2)\.bias", torch_bound, "torch's default"),
    ]
    theirs = partial(from_torchvision, "googlenet", form, aux_logits=heads, init_weights=False)
    return Criteria([theirs], IMAGE, rules)


def calculated(heads: bool, form: Form) -> Reference:
    """Return our own calculation of Table 1."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add(name: str, *shape: int) -> None:
        shapes.update({f"{name}.weight": shape, f"{name}.bias": shape[:1]})

    add("conv1.conv", 64, form.in_channels, 7, 7)
    add("conv2.conv", 64, 64, 1, 1)
    add("conv3.conv", 192, 64, 3, 3)
    for name, one, three_in, three, five_in, five, pooled, read in TABLE_1:
        block = f"inception{name}"
        add(f"{block}.branch1.conv", one, read, 1, 1)
        add(f"{block}.branch2.0.conv", three_in, read, 1, 1)
        add(f"{block}.branch2.1.conv", three, three_in, 3, 3)
        add(f"{block}.branch3.0.conv", five_in, read, 1, 1)
        add(f"{block}.branch3.1.conv", five, five_in, 5, 5)
        add(f"{block}.branch4.1.conv", pooled, read, 1, 1)
    for head, read in HEADS.values() if heads else ():
        add(f"{head}.conv.conv", 128, read, 1, 1)
        add(f"{head}.fc1", 1024, 2048)
        add(f"{head}.fc2", form.num_classes, 1024)
    add("fc", form.num_classes, 1024)
    title = "our own calculation of Table 1, with the layers of Caffe's bvlc_googlenet"
    return CalculatedReference(title, shapes, partial(forward, heads=heads))


def forward(c: Calculation, images: Tensor, heads: bool) -> Tensor | tuple[Tensor, ...]:
    """Return the scores (batch, num_classes), in training with those of the heads."""

    def relu(x: Tensor) -> Tensor:
        return x * (x > 0)

    def conv(name: str, x: Tensor, kernel: int, stride: int = 1) -> Tensor:
        return relu(c.affine_convolution(f"{name}.conv", x, stride, kernel // 2))

    def pool(x: Tensor) -> Tensor:
        return largest(x, window=3, stride=2, padding=0, round_up=True)

    x = responses(pool(conv("conv1", images, 7, 2)), 5, 2e-5, 0.75, 1.0)
    x = conv("conv3", conv("conv2", x, 1), 3)
    x = pool(responses(x, 5, 2e-5, 0.75, 1.0))
    found = {}
    for name, *_ in TABLE_1:
        block = f"inception{name}"
        around = largest(x, window=3, stride=1, padding=1, round_up=False)
        ways = [
            conv(f"{block}.branch1", x, 1),
            conv(f"{block}.branch2.1", conv(f"{block}.branch2.0", x, 1), 3),
            conv(f"{block}.branch3.1", conv(f"{block}.branch3.0", x, 1), 5),
            conv(f"{block}.branch4.1", around, 1),
        ]
        x = torch.cat(ways, 1)
        if name in HEADS and heads and c.training:
            head = HEADS[name][0]
            y = conv(f"{head}.conv", F.adaptive_avg_pool2d(x, 4), 1)  # not 14x14 here
            y = F.dropout(relu(c.linear(f"{head}.fc1", y.flatten(1))), 0.7, True)
            found[name] = c.linear(f"{head}.fc2", y)
        if name in ("3b", "4e"):
            x = pool(x)
    scores = c.linear("fc", F.dropout(x.mean((2, 3)), 0.4, c.training))
    return (scores, found["4d"], found["4a"]) if found else scores
