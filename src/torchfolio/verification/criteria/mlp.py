"""The multilayer perceptron against a chain of torch's own modules."""

import torch
from torch import nn

from torchfolio.networks.catalogue import Card
from torchfolio.verification.criteria import Criteria, Form
from torchfolio.verification.initialization import (
    batch_norm_rules,
    constant,
    normal,
    torch_bound,
    uniform,
)
from torchfolio.verification.reference import ModuleReference

# Hidden widths: 256 as in most textbooks; Ioffe and Szegedy (2015), Section 4.1, three of 100.
WIDTHS = {"mlp_plain": (256,), "mlp": (256,), "mlp_bn": (100, 100, 100)}


def criteria(card: Card, form: Form) -> Criteria:
    """Judge by a chain of linear layers, between them ReLU, or batch norm and sigmoid."""

    def reference() -> ModuleReference:
        chain: list[nn.Module] = [nn.Flatten()]
        features = form.in_channels * form.image_size[0] * form.image_size[1]
        for width in WIDTHS[card.name]:
            chain.append(nn.Linear(features, width))
            if card.name == "mlp_bn":
                chain += [nn.BatchNorm1d(width), nn.Sigmoid()]
            elif card.name == "mlp":
                chain.append(nn.ReLU())
            features = width
        chain.append(nn.Linear(features, form.num_classes))
        names = [(rf"^{len(chain) - 1}\b", "output")]
        names += [(rf"^{i + 1}\b", f"layers.{i}") for i in range(len(chain) - 2)]
        return ModuleReference(
            f"torch {torch.__version__} nn.Sequential", nn.Sequential(*chain), names
        )

    if card.name == "mlp_bn":
        layers = r"(layers\.[036]|output)"
        initial = [
            normal(rf"{layers}\.weight", lambda values, name: 0.1, "small Gaussian, Section 4.1"),
            constant(rf"{layers}\.bias", 0),
            *batch_norm_rules(r"layers\.[147]"),
        ]
    else:
        initial = [uniform(".*", torch_bound, "torch's default")]
    return Criteria([reference], form.image_size, initial, batch=16)
