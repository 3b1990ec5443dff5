"""YOLOv3 against our own calculation of the authors' files (yolov3.cfg, yolov3-tiny.cfg)."""

from functools import partial

import torch
from torch import Tensor

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, largest, normalization_shapes
from torchfolio.verification.criteria import Criteria, Form
from torchfolio.verification.initialization import batch_norm_rules, torch_bound, uniform
from torchfolio.verification.reference import CalculatedReference

STAGES = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))  # maps, and residual blocks
TINY = (16, 32, 64, 128, 256, 512, 1024)
IMAGE = (64, 96)


def criteria(card: Card, form: Form) -> Criteria:
    """Return the reference of a YOLOv3."""
    tiny = card.arguments.get("tiny", False)
    title = "our own calculation of the authors' files (nothing can be installed)"
    shapes = shapes_of(form, tiny)
    source = "as PyTorch's"
    rules = [
        *batch_norm_rules(r".*\.1"),
        uniform(r".*(\.0|\.out)\.(weight|bias)", torch_bound, source),
    ]
    return Criteria(
        [lambda: CalculatedReference(title, shapes, partial(answers, tiny))], IMAGE, rules
    )


def shapes_of(form: Form, tiny: bool) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all values by their names."""
    shapes: dict[str, tuple[int, ...]] = {}
    outputs = 3 * (5 + form.num_classes)

    def layer(name: str, read: int, maps: int, side: int) -> int:
        shapes[f"{name}.0.weight"] = (maps, read, side, side)
        shapes.update(normalization_shapes(f"{name}.1", maps))
        return maps

    def out(place: int, read: int) -> None:
        shapes[f"heads.{place}.out.weight"] = (outputs, read, 1, 1)
        shapes[f"heads.{place}.out.bias"] = (outputs,)

    if tiny:
        channels = form.in_channels
        for stage, maps in enumerate(TINY):
            channels = layer(f"backbone.stages.{stage}", channels, maps, 3)
        layer("heads.0.read.0", 1024, 256, 1)
        layer("heads.0.conv", 256, 512, 3)
        out(0, 512)
        layer("laterals.0", 256, 128, 1)
        layer("heads.1.conv", 128 + 256, 256, 3)
        out(1, 256)
        return shapes
    channels = layer("backbone.first", form.in_channels, 32, 3)
    for stage, (maps, blocks) in enumerate(STAGES):
        layer(f"backbone.stages.{stage}.down", channels, maps, 3)
        for block in range(blocks):
            layer(f"backbone.stages.{stage}.blocks.{block}.conv1", maps, maps // 2, 1)
            layer(f"backbone.stages.{stage}.blocks.{block}.conv2", maps // 2, maps, 3)
        channels = maps
    read = 1024
    for place, maps in enumerate((1024, 512, 256)):
        for number in range(5):
            size = (maps // 2, 1) if number % 2 == 0 else (maps, 3)
            read = layer(f"heads.{place}.read.{number}", read, *size)
        layer(f"heads.{place}.conv", read, maps, 3)
        out(place, maps)
        if place < 2:
            read = layer(f"laterals.{place}", maps // 2, maps // 4, 1) + maps // 2
    return shapes


def answers(tiny: bool, c: Calculation, images: Tensor) -> tuple[Tensor, ...]:
    """Return the answers of each size of maps."""

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        side = c.values[f"{name}.0.weight"].shape[2]
        y = c.convolution(f"{name}.0", x, stride, padding=side // 2)
        y = c.normalization(f"{name}.1", y, epsilon=1e-5, momentum=0.1)
        return torch.where(y > 0, y, 0.1 * y)

    def out(place: int, x: Tensor) -> Tensor:
        y = c.affine_convolution(f"heads.{place}.out", conv(f"heads.{place}.conv", x))
        batch, channels, rows, columns = y.shape
        return y.reshape(batch, 3, channels // 3, rows, columns).movedim(2, -1)

    def doubled(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    if tiny:
        x, kept = images, images
        for stage in range(7):
            x = conv(f"backbone.stages.{stage}", x)
            if stage == 4:
                kept = x
            if stage < 5:
                x = largest(x, 2, 2, 0, round_up=False)
            elif stage == 5:
                last = torch.full_like(x[:, :, :1], -torch.inf)
                x = torch.maximum(x, torch.cat([x[:, :, 1:], last], 2))
                last = torch.full_like(x[:, :, :, :1], -torch.inf)
                x = torch.maximum(x, torch.cat([x[:, :, :, 1:], last], 3))
        x = conv("heads.0.read.0", x)
        fine = torch.cat([doubled(conv("laterals.0", x)), kept], 1)
        return out(0, x), out(1, fine)
    x, maps = conv("backbone.first", images), []
    for stage, (_, blocks) in enumerate(STAGES):
        x = conv(f"backbone.stages.{stage}.down", x, 2)
        for block in range(blocks):
            name = f"backbone.stages.{stage}.blocks.{block}"
            x = x + conv(f"{name}.conv2", conv(f"{name}.conv1", x))
        maps.append(x)
    found = []
    for place, beside in enumerate((None, maps[3], maps[2])):
        if beside is not None:
            x = torch.cat([doubled(conv(f"laterals.{place - 1}", x)), beside], 1)
        for number in range(5):
            x = conv(f"heads.{place}.read.{number}", x)
        found.append(out(place, x))
    return tuple(found)
