"""Our own calculation of residual networks, from Table 1 and Section 4.2 of He et al. (2016).

It serves the forms for which no implementation can be installed: without shortcuts, and with the
shortcuts of option A.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchfolio.verification.calculation import Calculation, largest, normalization_shapes
from torchfolio.verification.criteria import Form

EPSILON, MOMENTUM = 1e-5, 0.1  # of batch norm: PyTorch's defaults; the paper gives none


@dataclass(frozen=True)
class Layout:
    """``blocks`` of each stage and their ``widths``; ``shortcut`` is "A", "B" or "none".

    ``imagenet`` has a 7x7 stem, halved, and a maximum pool; else a 3x3 stem. ``head`` is the name
    of the linear layer.
    """

    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    bottleneck: bool
    shortcut: str
    imagenet: bool
    head: str


@dataclass(frozen=True)
class Convolution:
    """One convolution and the batch norm after it."""

    conv: str
    norm: str
    inputs: int
    outputs: int
    kernel: int
    stride: int


@dataclass(frozen=True)
class Block:
    """The convolutions of one block, its projection if it has one, and its sizes."""

    name: str
    body: list[Convolution]
    projection: Convolution | None
    inputs: int
    outputs: int


def stem(layout: Layout, form: Form) -> Convolution:
    """Return the first convolution."""
    kernel, stride = (7, 2) if layout.imagenet else (3, 1)
    return Convolution("conv1", "bn1", form.in_channels, layout.widths[0], kernel, stride)


def blocks(layout: Layout) -> Iterator[Block]:
    """Yield the blocks from first to last; stages after the first begin by halving the map."""
    channels = layout.widths[0]
    for stage, (count, width) in enumerate(zip(layout.blocks, layout.widths, strict=True)):
        for index in range(count):
            name, stride = f"layer{stage + 1}.{index}", 2 if stage and not index else 1
            outputs = 4 * width if layout.bottleneck else width
            sizes = (
                [(channels, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
                if layout.bottleneck
                else [(channels, width, 3, stride), (width, width, 3, 1)]
            )
            body = [
                Convolution(f"{name}.conv{i}", f"{name}.bn{i}", *each)
                for i, each in enumerate(sizes, 1)
            ]
            projection = None
            if layout.shortcut == "B" and (stride != 1 or channels != outputs):
                projection = Convolution(
                    f"{name}.downsample.0", f"{name}.downsample.1", channels, outputs, 1, stride
                )
            yield Block(name, body, projection, channels, outputs)
            channels = outputs


def shapes(layout: Layout, form: Form) -> dict[str, tuple[int, ...]]:
    """Return the shape of every value."""
    result: dict[str, tuple[int, ...]] = {}

    def add(c: Convolution) -> None:
        result[f"{c.conv}.weight"] = (c.outputs, c.inputs, c.kernel, c.kernel)
        result.update(normalization_shapes(c.norm, c.outputs))

    add(stem(layout, form))
    outputs = 0
    for block in blocks(layout):
        for each in (*block.body, *([block.projection] if block.projection else [])):
            add(each)
        outputs = block.outputs
    result[f"{layout.head}.weight"] = (form.num_classes, outputs)
    result[f"{layout.head}.bias"] = (form.num_classes,)
    return result


def forward(c: Calculation, images: Tensor, layout: Layout, form: Form) -> Tensor:
    """Return the class scores. Shape: (batch, channels, height, width) -> (batch, num_classes)."""

    def convolve(x: Tensor, each: Convolution) -> Tensor:
        x = c.convolution(each.conv, x, each.stride, each.kernel // 2)
        return c.normalization(each.norm, x, EPSILON, MOMENTUM)

    x = positive(convolve(images, stem(layout, form)))
    if layout.imagenet:
        c.begin("maxpool", x)
        x = c.end("maxpool", largest(x, 3, 2, 1, round_up=False))
    for block in blocks(layout):
        y = c.begin(block.name, x)
        for number, each in enumerate(block.body):
            y = convolve(positive(y) if number else y, each)
        if block.projection is not None:
            y = y + convolve(x, block.projection)
        elif layout.shortcut != "none" and block.inputs == block.outputs:
            y = y + x
        elif layout.shortcut == "A":
            y = y + zero_padded(x, block.outputs)
        x = c.end(block.name, positive(y))
    return c.linear(layout.head, x.sum((2, 3)) / (x.shape[2] * x.shape[3]))


def positive(x: Tensor) -> Tensor:
    """Return the positive part."""
    return torch.where(x > 0, x, torch.zeros_like(x))


def zero_padded(x: Tensor, channels: int) -> Tensor:
    """Return every second pixel, between equally many zero channels before and after."""
    x = x[:, :, ::2, ::2]
    before = (channels - x.shape[1]) // 2
    result = x.new_zeros(len(x), channels, *x.shape[2:])
    result[:, before : before + x.shape[1]] = x
    return result


def check_depth(network: nn.Module, depth: int) -> list[str]:
    """Count the layers with weights, as the paper's names do; projections are not counted."""
    weighted = [
        name
        for name, value in network.state_dict().items()
        if name.endswith(".weight") and value.dim() >= 2 and "downsample" not in name
    ]
    if len(weighted) == depth:
        return []
    return [
        f"there are {len(weighted)} layers with weights, not {depth}; the last is {weighted[-1]}"
    ]
