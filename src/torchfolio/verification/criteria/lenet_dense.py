"""LeNet-5 as it is usually built, against a chain of torch's own modules."""

import torch
from torch import nn

from torchfolio.networks.catalogue import Card
from torchfolio.verification.criteria import Criteria, Form
from torchfolio.verification.initialization import torch_bound, uniform
from torchfolio.verification.reference import ModuleReference, Reference

# Section II-B, but for a C3 that reads every map (16 * (6 * 25 + 1)) and a linear output
COUNTS = {"c1": 156, "c3": 2416, "c5": 48120, "f6": 10164, "output": 850}


def criteria(card: Card, form: Form) -> Criteria:
    """Judge by the chain, torch's initial values and the paper's counts where they apply."""
    initial = [uniform(".*", torch_bound, "torch's default")]
    return Criteria([lambda: chain(form)], form.image_size, initial, COUNTS)


def chain(form: Form) -> Reference:
    """Return every map read, plain averages, plain tanh, linear output."""
    layers = nn.Sequential(
        nn.Conv2d(form.in_channels, 6, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(),
        nn.Linear(84, form.num_classes),
    )  # fmt: skip
    ours = {0: "c1", 2: "s2", 3: "c3", 5: "s4", 7: "c5", 9: "f6", 11: "output"}
    names = [(rf"^{place}(?=\.|$)", name) for place, name in ours.items()]
    title = f"torch {torch.__version__} nn.Sequential, and the counts of Section II-B"
    return ModuleReference(title, layers, names)
