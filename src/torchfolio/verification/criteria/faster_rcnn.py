"""Faster R-CNN against torchvision's: both stages without the scaling of pictures before them.

The form on VGG16, which nothing can be installed of, against our own calculation.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import nms, roi_pool

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, largest
from torchfolio.verification.criteria import Criteria, Form, from_torchvision
from torchfolio.verification.initialization import (
    Rule,
    batch_norm_rules,
    constant,
    fan_in,
    fan_out,
    normal,
    torch_bound,
    uniform,
)
from torchfolio.verification.reference import CalculatedReference, ModuleReference

IMAGE = (64, 96)
VGG16 = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # convolutions and maps of each stage
# What the authors' ``generate_anchors.py`` prints, with the last pixel of each box counted in.
ANCHORS = (
    (-84, -40, 100, 56), (-176, -88, 192, 104), (-360, -184, 376, 200),
    (-56, -56, 72, 72), (-120, -120, 136, 136), (-248, -248, 264, 264),
    (-36, -80, 52, 96), (-80, -168, 96, 184), (-168, -344, 184, 360),
)  # fmt: skip
SOURCE = "as torchvision's"


def criteria(card: Card, form: Form) -> Criteria:
    """Return the reference of a Faster R-CNN."""
    if card.builder.endswith("VGG16"):
        return Criteria([lambda: calculated(form)], IMAGE, initial_of_vgg(), batch=1)
    return Criteria([lambda: of_torchvision(card, form)], IMAGE, initial(), batch=1)


def of_torchvision(card: Card, form: Form) -> ModuleReference:
    """Return torchvision's, which then gives what ours gives, in the same order."""
    name = card.reference.rpartition(".")[2]
    classes = Form(form.num_classes + 1, form.in_channels, form.image_size)  # and none
    found = from_torchvision(name, classes, weights_backbone=None)
    model: Any = found.module
    rpn, heads = model.rpn, model.roi_heads

    def forward(images: Tensor) -> tuple[Any, ...]:
        size = (images.shape[-2], images.shape[-1])
        sizes = [size] * len(images)
        maps = model.backbone(images)
        logits, shifts = rpn.head(list(maps.values()))
        anchors = rpn.anchor_generator(ImageList(images, sizes), list(maps.values()))
        counts = [each[0].numel() for each in logits]
        objects, flat = concat_box_prediction_layers(logits, shifts)
        boxes = rpn.box_coder.decode(flat.detach(), anchors).view(len(images), -1, 4)
        proposals, _ = rpn.filter_proposals(boxes, objects, sizes, counts)
        read = heads.box_roi_pool(maps, proposals, sizes)
        scores, deltas = heads.box_predictor(heads.box_head(read))
        batch = len(images)
        return objects.view(batch, -1), flat.view(batch, -1, 4), proposals, scores, deltas

    model.forward = forward
    return found


def initial() -> list[Rule]:
    """Return how torchvision's Faster R-CNN starts."""
    return [
        *batch_norm_rules(r"backbone\.body\..*(bn\d|downsample\.1)"),
        normal(
            r"backbone\.body\..*\.weight",
            lambda values, name: (2 / fan_out(values, name)) ** 0.5,
            f"He et al. 2015, backward form, {SOURCE}",
            dims=4,
        ),
        uniform(
            r"backbone\.fpn\..*\.weight",
            lambda values, name: (3 / fan_in(values, name)) ** 0.5,
            f"He et al. 2015 for linear units, {SOURCE}",
        ),
        normal(r"rpn\.head\..*\.weight", lambda values, name: 0.01, SOURCE),
        constant(r"(backbone\.fpn|rpn\.head)\..*\.bias", 0.0, SOURCE),
        uniform(r"roi_heads\..*\.(weight|bias)", torch_bound, SOURCE),
    ]


def initial_of_vgg() -> list[Rule]:
    """Return how the form on VGG16 starts."""
    source = "as py-faster-rcnn's"
    return [
        normal(
            r"features\.\d+\.weight",
            lambda values, name: (2 / fan_out(values, name)) ** 0.5,
            "He et al. 2015, backward form, as torchvision's VGG",
            dims=4,
        ),
        normal(r"bbox_pred\.weight", lambda values, name: 0.001, source),
        normal(r"(rpn_.*|fc\d|cls_score)\.weight", lambda values, name: 0.01, source),
        constant(r".*\.bias", 0, source),
    ]


def calculated(form: Form) -> CalculatedReference:
    """Return our own calculation of the authors' form on VGG16."""
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

    place, channels = 0, form.in_channels
    for stage, (number, maps) in enumerate(VGG16):
        for _ in range(number):
            layer(f"features.{place}", maps, channels, 3, 3)
            place, channels = place + 2, maps
        place += stage < len(VGG16) - 1
    layer("rpn_conv", 512, 512, 3, 3)
    layer("rpn_cls_score", 18, 512, 1, 1)
    layer("rpn_bbox_pred", 36, 512, 1, 1)
    layer("fc6", 4096, 512 * 49)
    layer("fc7", 4096, 4096)
    layer("cls_score", form.num_classes + 1, 4096)
    layer("bbox_pred", 4 * (form.num_classes + 1), 4096)
    title = "our own calculation of py-faster-rcnn's files (nothing can be installed)"
    return CalculatedReference(title, shapes, both_stages)


def both_stages(c: Calculation, images: Tensor) -> tuple[Any, ...]:
    """Return what both stages say, in the order in which ours does."""
    x, place = images, 0
    for stage, (number, _) in enumerate(VGG16):
        for _ in range(number):
            x = c.affine_convolution(f"features.{place}", x, padding=1).clamp_min(0)
            place += 2
        if stage < len(VGG16) - 1:
            x = largest(x, 2, 2, 0, round_up=False)
            place += 1
    y = c.affine_convolution("rpn_conv", x, padding=1).clamp_min(0)
    scores = c.affine_convolution("rpn_cls_score", y)
    shifts = c.affine_convolution("rpn_bbox_pred", y)
    batch, _, rows, columns = scores.shape
    objects = (scores[:, 9:] - scores[:, :9]).movedim(1, -1).reshape(batch, -1)
    each = shifts.reshape(batch, 9, 4, rows, columns).permute(0, 3, 4, 1, 2).reshape(batch, -1, 4)
    anchors = torch.tensor(
        [
            [left + 16 * column, top + 16 * row, right + 16 * column, bottom + 16 * row]
            for row in range(rows)
            for column in range(columns)
            for left, top, right, bottom in ANCHORS
        ],
        dtype=x.dtype,
    )
    height, width = images.shape[-2:]
    most = 2000 if c.training else 300
    proposals = []
    for logit, shift in zip(objects.detach(), each.detach(), strict=True):
        size = anchors[:, 2:] - anchors[:, :2]
        centre = anchors[:, :2] + 0.5 * size + shift[:, :2] * size
        half = 0.5 * size * shift[:, 2:].clamp_max(math.log(1000 / 16)).exp()
        boxes = torch.cat([centre - half, centre + half], 1)
        boxes = torch.stack(
            [boxes[:, side].clamp(0, (width, height)[side % 2]) for side in range(4)], 1
        )
        order = torch.argsort(logit, descending=True)[: 12000 if c.training else 6000]
        boxes, score = boxes[order], logit[order].sigmoid()
        large = (boxes[:, 2] - boxes[:, 0] >= 16) & (boxes[:, 3] - boxes[:, 1] >= 16)
        boxes, score = boxes[large], score[large]
        proposals.append(boxes[nms(boxes, score, 0.7)[:most]])
    y = roi_pool(x, proposals, (7, 7), 1 / 16).reshape(sum(map(len, proposals)), -1)
    for name in ("fc6", "fc7"):
        y = c.linear(name, y).clamp_min(0)
        y = dropout(y, 0.5, c.training)
    named = c.linear("cls_score", y)
    return objects, each, proposals, named, c.linear("bbox_pred", y).reshape(len(y), -1, 4)
