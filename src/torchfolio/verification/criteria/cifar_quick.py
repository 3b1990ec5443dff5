"""The small CIFAR network against torch's own modules in a row."""

import torch
from torch import nn

from torchfolio.networks.catalogue import Card
from torchfolio.verification.criteria import Criteria, Form
from torchfolio.verification.initialization import torch_bound, uniform
from torchfolio.verification.reference import ModuleReference, Reference


def criteria(card: Card, form: Form) -> Criteria:
    """Judge by the chain and the counts."""
    rules = [uniform(r".*\.(weight|bias)", torch_bound, "torch's default")]
    counts = {
        "conv1": 32 * (form.in_channels * 25 + 1),
        "conv2": 32 * (32 * 25 + 1),
        "conv3": 64 * (32 * 25 + 1),
        "ip1": 64 * (flattened(form) + 1),
        "ip2": form.num_classes * (64 + 1),
    }
    return Criteria([lambda: chain(form)], form.image_size, rules, counts)


def flattened(form: Form) -> int:
    """Return the number of values after the last pool: 1024 of 32x32 pixels."""
    height, width = form.image_size
    return 64 * (height // 8) * (width // 8)


def chain(form: Form) -> Reference:
    """Return the layers in a row."""
    layers = nn.Sequential(
        nn.Conv2d(form.in_channels, 32, 5, padding=2), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 5, padding=2), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(flattened(form), 64), nn.Linear(64, form.num_classes),
    )  # fmt: skip
    ours = {0: "conv1", 2: "conv2", 4: "conv3", 7: "ip1", 8: "ip2"}
    names = [(rf"^{place}(?=\.|$)", name) for place, name in ours.items()]
    return ModuleReference(f"torch {torch.__version__} nn.Sequential", layers, names)
