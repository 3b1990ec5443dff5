"""Darknet-19 and Darknet-53: the latter against timm's, both against our own calculation."""

import importlib

import torch
from torch import Tensor, nn

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, largest, normalization_shapes
from torchfolio.verification.criteria import Criteria, Form, absent, installed
from torchfolio.verification.initialization import batch_norm_rules, torch_bound, uniform
from torchfolio.verification.reference import CalculatedReference, ModuleReference

# Table 6 of YOLOv2: maps and side of each convolution by stage, a pool between two stages.
NINETEEN = (
    "32x3", "64x3", "128x3 64x1 128x3", "256x3 128x1 256x3",
    "512x3 256x1 512x3 256x1 512x3", "1024x3 512x1 1024x3 512x1 1024x3",
)  # fmt: skip
FIFTY_THREE = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))  # maps, and residual blocks
IMAGE = (64, 96)
TITLE = "our own calculation of the authors' {} (nothing can be installed)"
RENAMES = [
    (r"^stem\.conv1", "backbone.first"),
    (r"^stages\.(\d)\.conv_down", r"backbone.stages.\1.down"),
    (r"^stages\.(\d)\.blocks\.(\d)", r"backbone.stages.\1.blocks.\2"),
    (r"^head\.fc", "fc"),
    (r"\.conv$|\.conv\.(?=weight)", ".0."),
    (r"\.bn\.", ".1."),
]


def criteria(card: Card, form: Form) -> Criteria:
    """Return the references of a Darknet."""
    small = card.builder.endswith("19")
    rules = [
        *batch_norm_rules(r".*\.1"),
        uniform(r"(.*\.0|out|fc)\.(weight|bias)", torch_bound, "as PyTorch's"),
    ]
    result = Criteria([lambda: nineteen(form) if small else fifty_three(form)], IMAGE, rules)
    if small:
        return result
    if installed("timm"):
        result.references = [*result.references, lambda: from_timm(form)]
    else:
        result.notes.append(absent("timm"))
    return result


def from_timm(form: Form) -> ModuleReference:
    """Return timm's Darknet-53, whose activations leak 0.01, with the authors' 0.1."""
    timm = importlib.import_module("timm")
    given = {"num_classes": form.num_classes, "in_chans": form.in_channels}
    module = timm.create_model("darknet53", pretrained=False, **given)
    for each in module.modules():
        if isinstance(each, nn.LeakyReLU):
            each.negative_slope = 0.1
    title = f"timm {installed('timm')} darknet53 with activations that leak 0.1"
    return ModuleReference(title, module, RENAMES, joined=r".*\.1")


def layer(shapes: dict[str, tuple[int, ...]], name: str, read: int, maps: int, side: int) -> int:
    """Add the shapes of a convolution and its batch norm; return its maps."""
    shapes[f"{name}.0.weight"] = (maps, read, side, side)
    shapes.update(normalization_shapes(f"{name}.1", maps))
    return maps


def conv(c: Calculation, name: str, x: Tensor, stride: int = 1) -> Tensor:
    """Return a convolution, batch norm and an activation that leaks 0.1."""
    side = c.values[f"{name}.0.weight"].shape[2]
    y = c.convolution(f"{name}.0", x, stride, padding=side // 2)
    y = c.normalization(f"{name}.1", y, epsilon=1e-5, momentum=0.1)
    return torch.where(y > 0, y, 0.1 * y)


def nineteen(form: Form) -> CalculatedReference:
    """Return our own calculation of Darknet-19."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = form.in_channels
    for stage, text in enumerate(NINETEEN):
        for place, each in enumerate(text.split()):
            maps, side = map(int, each.split("x"))
            channels = layer(shapes, f"stages.{stage}.{place}", channels, maps, side)
    shapes |= {"out.weight": (form.num_classes, 1024, 1, 1), "out.bias": (form.num_classes,)}

    def scores(c: Calculation, images: Tensor) -> Tensor:
        x = images
        for stage, text in enumerate(NINETEEN):
            if stage:
                x = largest(x, 2, 2, 0, round_up=False)
            for place in range(len(text.split())):
                x = conv(c, f"stages.{stage}.{place}", x)
        return c.affine_convolution("out", x).flatten(2).mean(2)

    return CalculatedReference(TITLE.format("darknet19.cfg"), shapes, scores)


def fifty_three(form: Form) -> CalculatedReference:
    """Return our own calculation of Darknet-53."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = layer(shapes, "backbone.first", form.in_channels, 32, 3)
    for stage, (maps, blocks) in enumerate(FIFTY_THREE):
        layer(shapes, f"backbone.stages.{stage}.down", channels, maps, 3)
        for block in range(blocks):
            name = f"backbone.stages.{stage}.blocks.{block}"
            layer(shapes, f"{name}.conv1", maps, maps // 2, 1)
            layer(shapes, f"{name}.conv2", maps // 2, maps, 3)
        channels = maps
    shapes |= {"fc.weight": (form.num_classes, 1024), "fc.bias": (form.num_classes,)}

    def scores(c: Calculation, images: Tensor) -> Tensor:
        x = conv(c, "backbone.first", images)
        for stage, (_, blocks) in enumerate(FIFTY_THREE):
            x = conv(c, f"backbone.stages.{stage}.down", x, 2)
            for block in range(blocks):
                name = f"backbone.stages.{stage}.blocks.{block}"
                x = x + conv(c, f"{name}.conv2", conv(c, f"{name}.conv1", x))
        return c.linear("fc", x.flatten(2).mean(2))

    return CalculatedReference(TITLE.format("darknet53.cfg"), shapes, scores)
