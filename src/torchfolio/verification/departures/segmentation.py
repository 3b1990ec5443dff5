"""Departures of U-Net and FCN."""

import types
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.verification.departures.base import (
    Departure,
    attributes,
    forwards,
    inputs,
    outputs,
    without_bias,
)


def swapped(x: Tensor) -> Tensor:
    """Exchange the two halves of the maps."""
    first, second = x.chunk(2, 1)
    return torch.cat([second, first], 1)


def middle_of_the_kernel(layer: Any, x: Tensor) -> Tensor:
    """Convolve with the middle of a kernel alone."""
    return F.conv2d(x, layer.weight[..., 1:2, 1:2], layer.bias)


def with_loose_corners(network: nn.Module, layer: str) -> None:
    """Let a block of an expanding path enlarge bilinearly without aligned corners."""

    def forward(block: Any, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return block.conv2(block.conv1(torch.cat([x, skip], 1)))

    block: Any = network.get_submodule(layer.rpartition(".")[0])
    if not block.plain:
        raise ValueError("this block repeats pixels: it has no corners to align")
    block.forward = types.MethodType(forward, block)


SEGMENTATION: tuple[Departure, ...] = (
    Departure(
        "up-before-skip",
        "the enlarged maps stand before those of the contracting path, not after them",
        {"unet": "merge.0", "unet_2015": "merge.1"},
        inputs(swapped),
    ),
    Departure(
        "corners-not-aligned",
        "bilinear enlarging without aligned corners",
        {"unet_bn_bilinear": "merge.0"},
        lambda network, layer: attributes(nn.Upsample, align_corners=False)(network, layer),
    ),
    Departure(
        "vgg-corners-not-aligned",
        "bilinear enlarging without aligned corners",
        {"unet_vgg16_plain": "decoder.blocks.0.conv1"},
        with_loose_corners,
    ),
    Departure(
        "skip-before-up",
        "the maps of the contracting path stand before the enlarged ones, not after them",
        {"unet_vgg16": "decoder.blocks.0.conv1", "unet_vgg16_plain": "decoder.blocks.0.conv1"},
        inputs(swapped),
    ),
    Departure(
        "decoder-norm-epsilon",
        "batch norm of the expanding path with an epsilon of 1e-3",
        {"unet_vgg16": "decoder.center.0.1"},
        attributes(nn.BatchNorm2d, eps=1e-3),
    ),
    Departure(
        "head-of-one",
        "scores from the pixel itself, not from the 3x3 around it",
        {"unet_vgg16_bn": "segmentation_head.0"},
        forwards(middle_of_the_kernel),
    ),
    Departure(
        "unet-norm-epsilon",
        "batch norm with an epsilon of 1e-3",
        {"unet_bn": "down.0.1"},
        attributes(nn.BatchNorm2d, eps=1e-3),
    ),
    Departure(
        "up-without-bias",
        "an up-convolution without bias",
        {"unet": "up.1"},
        without_bias,
    ),
    Departure(
        "dilated-from-the-first-block",
        "the first block of a dilated stage has the dilation of the others",
        {"fcn_resnet50": "backbone.layer3.0.conv2"},
        attributes(dilation=(2, 2), padding=(2, 2)),
    ),
    Departure(
        "padding-of-one",
        "the first convolution is padded by 1, not by 100",
        {"fcn8s": "conv1_1"},
        attributes(padding=(1, 1)),
    ),
    Departure(
        "crop-off-by-one",
        "the enlarged scores are cut out one pixel too high",
        {"fcn16s": "upscore16", "fcn32s": "upscore"},
        outputs(lambda scores: scores.roll(1, 2)),
    ),
    Departure(
        "fc6-padded",
        "the 7x7 convolution keeps the size of the maps",
        {"fcn8s": "fc6"},
        attributes(padding=(3, 3)),
    ),
)
