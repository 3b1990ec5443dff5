"""YOLOv2 against our own calculation of the authors' files (yolov2.cfg, yolov2-voc.cfg)."""

import torch
from torch import Tensor

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, largest, normalization_shapes
from torchfolio.verification.criteria import Criteria, Form
from torchfolio.verification.initialization import batch_norm_rules, torch_bound, uniform
from torchfolio.verification.reference import CalculatedReference

# Maps and side of each convolution by stage, a pool between two stages.
STAGES = (
    "32x3", "64x3", "128x3 64x1 128x3", "256x3 128x1 256x3",
    "512x3 256x1 512x3 256x1 512x3", "1024x3 512x1 1024x3 512x1 1024x3",
)  # fmt: skip
IMAGE = (64, 96)


def criteria(card: Card, form: Form) -> Criteria:
    """Return the reference of YOLOv2."""
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, read: int, maps: int, side: int) -> int:
        shapes[f"{name}.0.weight"] = (maps, read, side, side)
        shapes.update(normalization_shapes(f"{name}.1", maps))
        return maps

    channels = form.in_channels
    for stage, text in enumerate(STAGES):
        for place, each in enumerate(text.split()):
            maps, side = map(int, each.split("x"))
            channels = layer(f"stages.{stage}.{place}", channels, maps, side)
    layer("deep.0", 1024, 1024, 3)
    layer("deep.1", 1024, 1024, 3)
    layer("passed", 512, 64, 1)
    layer("conv", 1280, 1024, 3)
    outputs = 5 * (5 + form.num_classes)
    shapes |= {"out.weight": (outputs, 1024, 1, 1), "out.bias": (outputs,)}
    title = "our own calculation of the authors' files (nothing can be installed)"
    rules = [
        *batch_norm_rules(r".*\.1"),
        uniform(r"(.*\.0|out)\.(weight|bias)", torch_bound, "as PyTorch's"),
    ]
    return Criteria([lambda: CalculatedReference(title, shapes, answers)], IMAGE, rules)


def answers(c: Calculation, images: Tensor) -> Tensor:
    """Return the answers of each place (batch, 5, rows, columns, 5 + classes)."""

    def conv(name: str, x: Tensor) -> Tensor:
        side = c.values[f"{name}.0.weight"].shape[2]
        y = c.convolution(f"{name}.0", x, padding=side // 2)
        y = c.normalization(f"{name}.1", y, epsilon=1e-5, momentum=0.1)
        return torch.where(y > 0, y, 0.1 * y)

    x, fine = images, images
    for stage, text in enumerate(STAGES):
        if stage:
            x = largest(x, 2, 2, 0, round_up=False)
        for place in range(len(text.split())):
            x = conv(f"stages.{stage}.{place}", x)
        if stage == 4:
            fine = x
    x = conv("deep.1", conv("deep.0", x))
    x = conv("conv", torch.cat([folded(conv("passed", fine)), x], 1))
    y = c.affine_convolution("out", x)
    batch, channels, rows, columns = y.shape
    return y.reshape(batch, 5, channels // 5, rows, columns).movedim(2, -1)


def folded(x: Tensor) -> Tensor:
    """Return maps in the order of Darknet's ``reorg_cpu``, place by place.

    What lies at (map, row, column) of its input, read as (channels / 4, 2 * height, 2 * width) at
    (map % (channels / 4), 2 * row + offset // 2, 2 * column + offset % 2) with the offset
    map // (channels / 4), is written one after the other.
    """
    batch, channels, height, width = x.shape
    quarter = channels // 4
    maps, row, column = torch.meshgrid(
        torch.arange(channels), torch.arange(height), torch.arange(width), indexing="ij"
    )
    offset = maps // quarter
    down, across = 2 * row + offset // 2, 2 * column + offset % 2
    source = across + 2 * width * (down + 2 * height * (maps % quarter))
    return x.flatten(1)[:, source.flatten()].view(batch, 4 * channels, height // 2, width // 2)
