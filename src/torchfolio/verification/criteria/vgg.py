"""VGG against torchvision's; configuration C, which it has not, against our own calculation."""

import torch
from torch import Tensor
from torch.nn import functional as F

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, largest, normalization_shapes
from torchfolio.verification.criteria import Criteria, Form, from_torchvision
from torchfolio.verification.initialization import Rule, batch_norm_rules, constant, fan_out, normal
from torchfolio.verification.reference import CalculatedReference, Reference

# Table 1, column C: maps and kernel of each convolution; None is a pool.
C: list[tuple[int, int] | None] = [
    (64, 3), (64, 3), None, (128, 3), (128, 3), None, (256, 3), (256, 3), (256, 1), None,
    (512, 3), (512, 3), (512, 1), None, (512, 3), (512, 3), (512, 1), None,
]  # fmt: skip
IMAGE = (67, 45)  # (height, width): odd, not square, still 2x1 at the end


def criteria(card: Card, form: Form) -> Criteria:
    """Return the references of a VGG."""
    name = card.name.removesuffix("_paper")
    if name.startswith("vgg16_c"):
        references = [lambda: calculated(form, name.endswith("_bn"))]
        return Criteria(references, IMAGE, initial(card))
    return Criteria([lambda: from_torchvision(name, form)], IMAGE, initial(card))


def initial(card: Card) -> list[Rule]:
    """Return how the weights start: as in the paper, or as torchvision's."""
    if card.name.endswith("_paper"):
        section = "Section 3.1: variance 0.01"
        return [
            normal(r".*\.weight", lambda values, name: 0.1, section),
            constant(r".*\.bias", 0, "Section 3.1"),
        ]
    source = "as torchvision's"
    return [
        normal(r"classifier\.\d\.weight", lambda values, name: 0.01, source),
        normal(
            r"features\.\d+\.weight",
            lambda values, name: (2 / fan_out(values, name)) ** 0.5,
            f"He et al. 2015, backward form, {source}",
            dims=4,
        ),
        *batch_norm_rules(r"features\.\d+"),
        constant(r".*\.bias", 0, source),
    ]


def calculated(form: Form, batch_norm: bool) -> Reference:
    """Return our own calculation of Table 1, column C."""
    shapes: dict[str, tuple[int, ...]] = {}
    place, channels = 0, form.in_channels
    for layer in C:
        if layer is not None:
            maps, kernel = layer
            shapes[f"features.{place}.weight"] = (maps, channels, kernel, kernel)
            shapes[f"features.{place}.bias"] = (maps,)
            if batch_norm:
                shapes |= normalization_shapes(f"features.{place + 1}", maps)
            channels = maps
            place += 1 + batch_norm
        place += 1  # the ReLU, or the pool
    for number, units, read in ((0, 4096, 512 * 49), (3, 4096, 4096), (6, form.num_classes, 4096)):
        shapes[f"classifier.{number}.weight"] = (units, read)
        shapes[f"classifier.{number}.bias"] = (units,)
    title = "our own calculation of Table 1, column C (nothing can be installed)"
    return CalculatedReference(title, shapes, lambda c, images: forward(c, images, batch_norm))


def forward(c: Calculation, images: Tensor, batch_norm: bool) -> Tensor:
    """Return the scores (batch, num_classes)."""
    x, place = images, 0
    for layer in C:
        if layer is None:
            x = largest(x, window=2, stride=2, padding=0, round_up=False)
        else:
            x = c.affine_convolution(f"features.{place}", x, padding=layer[1] // 2)
            if batch_norm:
                place += 1
                x = c.normalization(f"features.{place}", x, epsilon=1e-5, momentum=0.1)
            x = x * (x > 0)
            place += 1
        place += 1
    x = torch.flatten(F.adaptive_avg_pool2d(x, 7), 1)
    for number in (0, 3):
        x = c.linear(f"classifier.{number}", x)
        x = F.dropout(x * (x > 0), 0.5, c.training)
    return c.linear("classifier.6", x)
