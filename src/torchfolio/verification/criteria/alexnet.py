"""AlexNet: that of 2014 against torchvision's, that of 2012 against our own calculation.

Without its two towers it is compared with pytorchcv's too.
"""

import importlib
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, largest, responses
from torchfolio.verification.criteria import Criteria, Form, absent, from_torchvision, installed
from torchfolio.verification.initialization import constant, normal, torch_bound, uniform
from torchfolio.verification.reference import (
    CalculatedReference,
    ModuleReference,
    Reference,
    Rename,
)

# Section 3.5: maps, maps before it, kernel; both GPUs together. In two towers some read half.
CONVOLUTIONS = {
    "conv1": (96, 3, 11),
    "conv2": (256, 96, 5),
    "conv3": (384, 256, 3),
    "conv4": (384, 384, 3),
    "conv5": (256, 384, 3),
}
IN_TOWERS = ("conv2", "conv4", "conv5")
IMAGE = (95, 67)  # (height, width): odd, not square, the narrowest that leaves a map
OTHER_FORM = Form(num_classes=7, in_channels=2, image_size=(99, 67))
CELLS = {(227, 227): 6 * 6, OTHER_FORM.image_size: 2 * 1}  # of the last maps, by hand


def criteria(card: Card, form: Form) -> Criteria:
    """Return the references of ``alexnet``, ``alexnet_2012`` or ``alexnet_2012_ungrouped``."""
    if card.name == "alexnet":
        initial = [uniform(r".*\.(weight|bias)", torch_bound, "torch's default")]
        return Criteria([lambda: from_torchvision("alexnet", form)], IMAGE, initial)
    section = "Section 5"
    initial = [
        normal(r".*\.weight", lambda values, name: 0.01, section),
        constant(r"(conv[245]|fc[67])\.bias", 1, section),
        constant(r"(conv[13]|fc8)\.bias", 0, section),
    ]
    towers = 1 if card.name.endswith("_ungrouped") else 2
    counts = {
        name: maps * (read // (towers if name in IN_TOWERS else 1) * kernel**2 + 1)
        for name, (maps, read, kernel) in convolutions(form).items()
    }
    counts |= {name: units * (read + 1) for name, (units, read) in linear(form).items()}
    result = Criteria([partial(calculated, towers, form)], form.image_size, initial, counts)
    if towers == 1 and form.image_size != (227, 227):
        return result  # pytorchcv's takes no other
    if towers == 1 and installed("pytorchcv"):
        result.references = [*result.references, partial(from_pytorchcv, form)]
    elif towers == 1:
        result.notes.append(absent("pytorchcv"))
    return result


def convolutions(form: Form) -> dict[str, tuple[int, int, int]]:
    """Return the convolutions for images of so many channels."""
    return CONVOLUTIONS | {"conv1": (96, form.in_channels, 11)}


def linear(form: Form) -> dict[str, tuple[int, int]]:
    """Return the linear layers: units, values before them."""
    cells = CELLS[form.image_size]
    return {"fc6": (4096, 256 * cells), "fc7": (4096, 4096), "fc8": (form.num_classes, 4096)}


def from_pytorchcv(form: Form) -> Reference:
    """Return pytorchcv's network with the paper's alpha: torch divides its own by five."""
    alexnet = importlib.import_module("pytorchcv.models.alexnet")
    module = alexnet.alexnet(num_classes=form.num_classes)
    for stage in (module.features.stage1, module.features.stage2):
        stage.unit1.use_lrn = False
        stage.unit1.register_forward_hook(
            lambda _, inputs, output: F.local_response_norm(output, 5, 5e-4, 0.75, 2.0)
        )
    names: list[Rename] = [
        (r"^features\.stage([12])\.unit1\.conv(?=\.|$)", r"conv\1"),
        (r"^features\.stage3\.unit(\d)\.conv(?=\.|$)", lambda found: f"conv{int(found[1]) + 2}"),
        (r"^output\.fc([12])\.fc(?=\.|$)", lambda found: f"fc{int(found[1]) + 5}"),
        (r"^output\.fc3(?=\.|$)", "fc8"),
    ]
    title = f"pytorchcv {installed('pytorchcv')} alexnet with the paper's alpha"
    return ModuleReference(title, module, names)


def calculated(towers: int, form: Form) -> Reference:
    """Return our own calculation of Sections 3.3 to 3.5."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (maps, read, kernel) in convolutions(form).items():
        read = read // towers if name in IN_TOWERS else read
        shapes |= {f"{name}.weight": (maps, read, kernel, kernel), f"{name}.bias": (maps,)}
    for name, (units, read) in linear(form).items():
        shapes |= {f"{name}.weight": (units, read), f"{name}.bias": (units,)}
    title = "our own calculation of Sections 3.3 to 3.5"
    title += " (nothing can be installed)" if towers == 2 else ""
    return CalculatedReference(title, shapes, partial(forward, towers))


def forward(towers: int, c: Calculation, images: Tensor) -> Tensor:
    """Return the scores (batch, num_classes)."""

    def relu(x: Tensor) -> Tensor:
        return x * (x > 0)

    def pooled(x: Tensor) -> Tensor:
        return largest(x, window=3, stride=2, padding=0, round_up=False)

    x = relu(c.affine_convolution("conv1", images, stride=4))
    x = pooled(responses(x, 5, 1e-4, 0.75, 2.0))
    x = relu(c.affine_convolution("conv2", x, padding=2, groups=towers))
    x = pooled(responses(x, 5, 1e-4, 0.75, 2.0))
    x = relu(c.affine_convolution("conv3", x, padding=1))
    x = relu(c.affine_convolution("conv4", x, padding=1, groups=towers))
    x = pooled(relu(c.affine_convolution("conv5", x, padding=1, groups=towers)))
    for name in ("fc6", "fc7"):
        x = F.dropout(relu(c.linear(name, torch.flatten(x, 1))), 0.5, c.training)
    return c.linear("fc8", x)
