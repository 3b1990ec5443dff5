"""Softmax regression against torch's own linear layer."""

import torch
from torch import nn

from torchfolio.networks.catalogue import Card
from torchfolio.verification.criteria import Criteria, Form
from torchfolio.verification.initialization import constant
from torchfolio.verification.reference import ModuleReference


def criteria(card: Card, form: Form) -> Criteria:
    """Judge by one linear layer on the flattened image, all zeros at first."""
    features = form.in_channels * form.image_size[0] * form.image_size[1]

    def reference() -> ModuleReference:
        layers = nn.Sequential(nn.Flatten(), nn.Linear(features, form.num_classes))
        return ModuleReference(
            f"torch {torch.__version__} nn.Linear", layers, [(r"^1\b", "linear")]
        )

    zeros = constant(r"linear\.(weight|bias)", 0, "the loss is convex")
    return Criteria([reference], form.image_size, [zeros])
