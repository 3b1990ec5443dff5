"""AlexNet: one tower against torchvision's, two against our own calculation."""

import torch
from torch import Tensor
from torch.nn import functional as F

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, largest, responses
from torchfolio.verification.criteria import Criteria, Form, from_torchvision
from torchfolio.verification.initialization import constant, normal, torch_bound, uniform
from torchfolio.verification.reference import CalculatedReference, Reference

# Section 3.5: maps, maps that each reads, kernel; both GPUs together.
CONVOLUTIONS = {
    "conv1": (96, 3, 11),
    "conv2": (256, 48, 5),
    "conv3": (384, 256, 3),
    "conv4": (384, 192, 3),
    "conv5": (256, 192, 3),
}
LINEAR = {"fc6": (4096, 256 * 6 * 6), "fc7": (4096, 4096)}
IMAGE = (95, 67)  # (height, width): odd, not square, the narrowest that leaves a map


def criteria(card: Card, form: Form) -> Criteria:
    """Return the references of ``alexnet`` or ``alexnet_2012``."""
    if card.name == "alexnet":
        initial = [uniform(r".*\.(weight|bias)", torch_bound, "torch's default")]
        return Criteria([lambda: from_torchvision("alexnet", form)], IMAGE, initial)
    section = "Section 5"
    initial = [
        normal(r".*\.weight", lambda values, name: 0.01, section),
        constant(r"(conv[245]|fc[67])\.bias", 1, section),
        constant(r"(conv[13]|fc8)\.bias", 0, section),
    ]
    counts = {name: maps * (read * k * k + 1) for name, (maps, read, k) in CONVOLUTIONS.items()}
    counts |= {name: units * (read + 1) for name, (units, read) in LINEAR.items()}
    counts["fc8"] = form.num_classes * 4097
    return Criteria([lambda: calculated(form)], form.image_size, initial, counts)


def calculated(form: Form) -> Reference:
    """Return our own calculation of Sections 3.3 to 3.5."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (maps, read, kernel) in CONVOLUTIONS.items():
        read = form.in_channels if name == "conv1" else read
        shapes |= {f"{name}.weight": (maps, read, kernel, kernel), f"{name}.bias": (maps,)}
    for name, (units, read) in {**LINEAR, "fc8": (form.num_classes, 4096)}.items():
        shapes |= {f"{name}.weight": (units, read), f"{name}.bias": (units,)}
    title = "our own calculation of Sections 3.3 to 3.5 (nothing can be installed)"
    return CalculatedReference(title, shapes, forward)


def forward(c: Calculation, images: Tensor) -> Tensor:
    """Return the scores (batch, num_classes)."""

    def relu(x: Tensor) -> Tensor:
        return x * (x > 0)

    def pooled(x: Tensor) -> Tensor:
        return largest(x, window=3, stride=2, padding=0, round_up=False)

    x = relu(c.affine_convolution("conv1", images, stride=4))
    x = pooled(responses(x, 5, 1e-4, 0.75, 2.0))
    x = relu(c.affine_convolution("conv2", x, padding=2, groups=2))
    x = pooled(responses(x, 5, 1e-4, 0.75, 2.0))
    x = relu(c.affine_convolution("conv3", x, padding=1))
    x = relu(c.affine_convolution("conv4", x, padding=1, groups=2))
    x = pooled(relu(c.affine_convolution("conv5", x, padding=1, groups=2)))
    for name in ("fc6", "fc7"):
        x = F.dropout(relu(c.linear(name, torch.flatten(x, 1))), 0.5, c.training)
    return c.linear("fc8", x)
