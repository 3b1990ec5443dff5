"""Departures of Darknet, Faster R-CNN and YOLO."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from torchfolio.verification.departures.base import (
    Departure,
    attributes,
    inputs,
    outputs,
    without_bias,
)


def height_first(shifts: Tensor) -> Tensor:
    """Give of each anchor y, x, height, width."""
    batch, channels, *size = shifts.shape
    return shifts.view(batch, channels // 4, 4, *size)[:, :, [1, 0, 3, 2]].flatten(1, 2)


def sampled_once(network: nn.Module, layer: str) -> None:
    """Let RoI align read one place of each cell, not two by two."""
    attributes(sampling_ratio=1)(network, "align")


def space_to_depth(maps: Tensor) -> Tensor:
    """Fold as "space to depth" does, not as the authors' code: undo theirs, and do that."""
    folded, deep = maps[:, :256], maps[:, 256:]
    batch, _, rows, columns = folded.shape
    seen = folded.reshape(batch, 2, 2, 16, 2 * rows, 2 * columns).permute(0, 3, 4, 1, 5, 2)
    fine = seen.reshape(batch, 64, 2 * rows, 2 * columns)
    return torch.cat([pixel_unshuffle(fine, 2), deep], 1)


def stride_one_too_early(network: nn.Module, layer: str) -> None:
    """Let the convolution before the strided one have its stride."""
    attributes(stride=(2, 2))(network, layer)
    attributes(stride=(1, 1))(network, "features.46")


DETECTION: tuple[Departure, ...] = (
    Departure(
        "darknet-leak",
        "activations that leak 0.01, not 0.1",
        {"darknet19": "stages.1.0.0", "darknet53": "backbone.stages.0.down.0"},
        attributes(nn.LeakyReLU, negative_slope=0.01),
    ),
    Departure(
        "darknet-norm-epsilon",
        "batch norm with an epsilon of 1e-3",
        {"darknet19": "stages.0.0.1"},
        attributes(nn.BatchNorm2d, eps=1e-3),
    ),
    Departure(
        "darknet-out-without-bias",
        "scores without bias",
        {"darknet19": "out", "darknet53": "fc"},
        without_bias,
    ),
    Departure(
        "yolo-leak",
        "activations that leak 0.01, not 0.1",
        {"yolov3_tiny": "backbone.stages.1.0", "yolov3": "backbone.stages.0.down.0"},
        attributes(nn.LeakyReLU, negative_slope=0.01),
    ),
    Departure(
        "yolo-norm-epsilon",
        "batch norm with an epsilon of 1e-3",
        {"yolov3_tiny": "backbone.stages.0.1", "yolov3": "backbone.first.1"},
        attributes(nn.BatchNorm2d, eps=1e-3),
    ),
    Departure(
        "yolo-route-order",
        "the enlarged maps stand behind those of the backbone, not before them",
        {"yolov3": "heads.1.read.0.0", "yolov3_tiny": "heads.1.conv.0"},
        inputs(lambda maps: maps.roll(-(maps.shape[1] // 3), 1)),  # a third comes from below
    ),
    Departure(
        "yolo-out-without-bias",
        "answers without bias",
        {"yolov3_tiny": "heads.1.out"},
        without_bias,
    ),
    Departure(
        "yolo2-route-order",
        "the folded maps stand behind the deep ones, not before them",
        {"yolov2": "conv.0"},
        inputs(lambda maps: maps.roll(-256, 1)),
    ),
    Departure(
        "yolo2-space-to-depth",
        'maps folded by "space to depth", not in the order of the authors\' reorg',
        {"yolov2": "conv.0"},
        inputs(space_to_depth),
    ),
    Departure(
        "yolo2-leak",
        "activations that leak 0.2, not 0.1",
        {"yolov2": "stages.1.0.0"},
        attributes(nn.LeakyReLU, negative_slope=0.2),
    ),
    Departure(
        "yolo2-norm-epsilon",
        "batch norm with an epsilon of 1e-3",
        {"yolov2": "stages.0.0.1"},
        attributes(nn.BatchNorm2d, eps=1e-3),
    ),
    Departure(
        "yolo1-leak",
        "activations that leak 0.01, not 0.1",
        {"yolov1": "features.3"},
        attributes(nn.LeakyReLU, negative_slope=0.01),
    ),
    Departure(
        "yolo1-without-dropout",
        "no dropout before the last layer",
        {"yolov1": "fc2"},
        attributes(nn.Dropout, p=0.0),
    ),
    Departure(
        "yolo1-stride-one-too-early",
        "the convolution before the one with a stride of two has it",
        {"yolov1": "features.44"},
        stride_one_too_early,
    ),
    Departure(
        "frcnn-object-first",
        "the scores of objects stand before those of none",
        {"fasterrcnn_vgg16": "rpn_cls_score"},
        outputs(lambda scores: scores.roll(9, 1)),
    ),
    Departure(
        "frcnn-norm-epsilon",
        "batch norm with an epsilon of 1e-3",
        {"fasterrcnn_resnet50_fpn": "backbone.body.bn1"},
        attributes(nn.BatchNorm2d, eps=1e-3),
    ),
    Departure(
        "frcnn-height-first",
        "the first stage gives y, x, height, width, not x, y, width, height",
        {"fasterrcnn_resnet50_fpn": "rpn.head.bbox_pred"},
        outputs(height_first),
    ),
    Departure(
        "frcnn-sampled-once",
        "RoI align reads one place of each cell, not two by two",
        {"fasterrcnn_resnet50_fpn": "roi_heads.box_head"},
        sampled_once,
    ),
    Departure(
        "frcnn-lateral-without-bias",
        "a lateral convolution of the pyramid without bias",
        {"fasterrcnn_resnet50_fpn": "backbone.fpn.inner_blocks.2.0"},
        without_bias,
    ),
)
