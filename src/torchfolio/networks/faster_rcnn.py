"""Faster R-CNN: a network that proposes boxes, and one that says what is in them.

Ren, He, Girshick, Sun, "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal
Networks", NeurIPS 2015, arXiv 1506.01497; the form on VGG16 is that of the authors' py-faster-rcnn.
Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017, arXiv 1612.03144: the form
on ResNet-50 with a pyramid has the constants of torchvision's ``fasterrcnn_resnet50_fpn``.

Differences: pictures come normalised, and all of one size; both originals scale and normalise them
themselves. On VGG16 both stages are trained at once (the paper's "approximate joint training"), all
layers of VGG16 learn, and the right and bottom edge of a box are where the next pixel begins; the
authors' are its last pixel, but not where boxes are decoded. On ResNet-50 there are RoI align in
the place of RoI pooling, a sigmoid for "object or not", and proposals from all sizes of maps
together, as torchvision has them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import MultiScaleRoIAlign, roi_pool
from torchvision.ops.misc import FrozenBatchNorm2d

from torchfolio.layers.two_stages import TwoStages, by_anchor, placed
from torchfolio.networks.resnet import ResNet
from torchfolio.networks.vgg import convolutions

SIZES = (32, 64, 128, 256, 512)  # pixels: of the anchors of each size of maps, the largest first
RATIOS = (0.5, 1.0, 2.0)  # height over width
# How names of torchvision before 0.12 became today's.
OLD_NAMES = {
    r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$": r"\1.0.\2",
    r"^rpn\.head\.conv\.(weight|bias)$": r"rpn.head.conv.0.0.\1",
}
COCO = 91  # scores in torchvision's weights for COCO
VGG_SCALES = (8, 16, 32)  # of a square of 16 pixels: sides of 128, 256 and 512
VGG_STRIDE = 16  # pixels for one place of VGG16's last maps

Shapes = Sequence[Sequence[tuple[float, float]]]  # width and height, for each size of maps


class Pyramid(nn.Module):
    """Maps of all sizes with the meaning of the smallest (Lin et al., 2017, Figure 3).

    Shape: maps of strides 4, 8, 16 and 32 -> as many of 256 channels, and one of stride 64
    """

    def __init__(self, widths: Sequence[int], out_channels: int = 256) -> None:
        super().__init__()
        self.inner_blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, out_channels, 1)) for width in widths
        )
        self.layer_blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(out_channels, out_channels, 3, padding=1)) for _ in widths
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight, a=1)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        last = self.inner_blocks[-1](maps[-1])
        found = [self.layer_blocks[-1](last)]
        for place in reversed(range(len(maps) - 1)):
            inner = self.inner_blocks[place](maps[place])
            last = inner + F.interpolate(last, size=inner.shape[-2:], mode="nearest")
            found.insert(0, self.layer_blocks[place](last))
        return [*found, F.max_pool2d(found[-1], 1, 2)]


class Backbone(nn.Module):
    """ResNet-50 without its classifier, and a pyramid on its four stages."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        resnet = ResNet(50, 1, in_channels)
        names = ("conv1", "bn1", "maxpool", "layer1", "layer2", "layer3", "layer4")
        self.body = nn.ModuleDict({name: resnet.get_submodule(name) for name in names})
        self.fpn = Pyramid((256, 512, 1024, 2048))

    def forward(self, images: Tensor) -> list[Tensor]:
        body = self.body
        x = body["maxpool"](F.relu(body["bn1"](body["conv1"](images)), inplace=True))
        maps = []
        for stage in range(1, 5):
            x = body[f"layer{stage}"](x)
            maps.append(x)
        return self.fpn(maps)


class ProposalHead(nn.Module):
    """Says at each place whether there is an object, and how its box differs from the anchors.

    Shape: maps (batch, channels, height, width) -> (batch, anchors, height, width) and
    (batch, 4 * anchors, height, width)
    """

    def __init__(self, channels: int, anchors: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())
        )
        self.cls_logits = nn.Conv2d(channels, anchors, 1)
        self.bbox_pred = nn.Conv2d(channels, 4 * anchors, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(maps)
        return self.cls_logits(x), self.bbox_pred(x)


class BoxHead(nn.Module):
    """Two linear layers on what RoI align reads.

    Shape: (boxes, channels, 7, 7) -> (boxes, 1024)
    """

    def __init__(self, in_features: int, width: int = 1024) -> None:
        super().__init__()
        self.fc6 = nn.Linear(in_features, width)
        self.fc7 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.fc7(F.relu(self.fc6(x.flatten(1)))))


class Predictor(nn.Module):
    """The score of each class and of none, and a box for each."""

    def __init__(self, in_features: int, classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(in_features, classes)
        self.bbox_pred = nn.Linear(in_features, 4 * classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_score(x), self.bbox_pred(x).unflatten(1, (-1, 4))


class FasterRCNN(TwoStages):
    """torchvision's: ResNet-50 with a pyramid.

    Shape: (batch, in_channels, height, width) -> what both stages say (``Outputs``). Height and
    width are multiples of ``step``; 800 in torchvision's, as the shorter side. ``frozen_norm``
    keeps the statistics, scales and shifts of batch norm as given weights have them.
    """

    step = 32
    begins_with = ("fasterrcnn_resnet50_fpn", "resnet50")  # whose weights fit

    def __init__(
        self, num_classes: int = 90, in_channels: int = 3, frozen_norm: bool = False,
        norm_eps: float = 1e-5, proposals: int = 512,
    ) -> None:  # fmt: skip
        super().__init__()
        if proposals < 1:
            raise ValueError(f"proposals is at least 1, not {proposals}")
        self.proposals_drawn = proposals
        self.shapes: Shapes | None = None  # anchors in pixels, unless torchvision's
        self.backbone = Backbone(in_channels)
        if norm_eps != 1e-5 and not frozen_norm:
            raise ValueError("norm_eps is of frozen norms: give frozen_norm=true besides")
        if frozen_norm:
            freeze_norms(self.backbone.body, norm_eps)
        self.rpn = nn.ModuleDict({"head": ProposalHead(256, len(RATIOS))})
        self.roi_heads = nn.ModuleDict(
            {"box_head": BoxHead(256 * 7 * 7), "box_predictor": Predictor(1024, num_classes + 1)}
        )
        self.align = MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=7, sampling_ratio=2)

    def maps(self, images: Tensor) -> list[Tensor]:
        return self.backbone(images)

    def anchors(self, maps: list[Tensor], size: tuple[int, int]) -> list[Tensor]:
        found = []
        for level, (each, side) in enumerate(zip(maps, SIZES, strict=True)):
            kind = torch.promote_types(each.dtype, torch.float32)
            if self.shapes is None:
                ratio = torch.tensor(RATIOS, device=each.device, dtype=kind).sqrt()
                half = (torch.stack([side / ratio, side * ratio], 1) / 2).round()
            else:
                half = torch.tensor(self.shapes[level], device=each.device, dtype=kind) / 2
            rows, columns = each.shape[-2:]
            steps = (size[0] // rows, size[1] // columns)
            found.append(placed(torch.cat([-half, half], 1), each.shape[-2:], steps))
        return found

    @property
    def anchor_shape(self) -> tuple[int, int]:
        """How many sizes of maps there are, and anchors of each."""
        return len(SIZES), len(RATIOS)

    def set_anchors(self, anchors: Shapes) -> None:
        """Take other anchors: width and height in pixels, of the smallest maps first."""
        self.shapes = [tuple(each) for each in reversed(anchors)]

    def proposing(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        logits, shifts = self.rpn["head"](maps)
        return by_anchor(logits, 1)[..., 0], by_anchor(shifts, 4)

    def regions(self, maps: list[Tensor], proposals: list[Tensor], size: tuple[int, int]) -> Tensor:
        named = {str(level): each for level, each in enumerate(maps[:4])}
        return self.align(named, proposals, [size] * len(proposals))

    def naming(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        return self.roi_heads["box_predictor"](self.roi_heads["box_head"](regions))

    @staticmethod
    def told_by(weights: Mapping[str, Tensor], known: Mapping[str, Any]) -> dict[str, Any]:
        """Return how weights want batch norm: frozen, where all of a detector comes without counts.

        torchvision's for COCO, of 91 classes, were trained with nothing added within the root
        (``overwrite_eps`` in its ``faster_rcnn.py``); no number in the file says so.
        """
        if known:  # a run of ours
            return {key: known[key] for key in ("frozen_norm", "norm_eps") if key in known}
        scores = weights.get("roi_heads.box_predictor.cls_score.weight")
        if scores is None or any(name.endswith("num_batches_tracked") for name in weights):
            return {}
        return {"frozen_norm": True} | ({"norm_eps": 0.0} if len(scores) == COCO else {})

    @staticmethod
    def adapted(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights with those of a ResNet under the names of the backbone.

        torchvision's older files have other names for a few layers.
        """
        for pattern, name in OLD_NAMES.items():
            weights = {re.sub(pattern, name, key): value for key, value in weights.items()}
        if any(name.startswith("backbone.") for name in weights):
            return dict(weights)
        return {f"backbone.body.{name}": value for name, value in weights.items()}


class FasterRCNNVGG16(TwoStages):
    """The authors': VGG16, nine anchors a place, RoI pooling.

    Shape: (batch, in_channels, height, width) -> what both stages say (``Outputs``). Height and
    width from 16 on; 600 in the paper, as the shorter side. ``scales`` of 16 pixels are the sides
    of anchors; for COCO the authors have 4 as well.
    """

    class_modules = ("cls_score", "bbox_pred")
    body = ("features",)
    begins_with = ("fasterrcnn_vgg16", "vgg16")  # whose weights fit
    most_overlap = 0.3
    proposals_drawn = 128
    before, kept = (12000, 6000), (2000, 300)
    smallest = 16.0
    betas = (1 / 9, 1.0)
    beyond = False

    def __init__(
        self, num_classes: int = 20, in_channels: int = 3, dropout: float = 0.5,
        scales: Sequence[int] = VGG_SCALES,
    ) -> None:  # fmt: skip
        super().__init__()
        self.features = convolutions("D", in_channels, batch_norm=False)[:-1]
        self.shapes = vgg_anchors(scales)
        anchors = len(self.shapes)
        self.rpn_conv = nn.Conv2d(512, 512, 3, padding=1)
        self.rpn_cls_score = nn.Conv2d(512, 2 * anchors, 1)  # no object, of all anchors; object
        self.rpn_bbox_pred = nn.Conv2d(512, 4 * anchors, 1)
        self.fc6 = nn.Linear(512 * 7 * 7, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.dropout = nn.Dropout(dropout)
        self.cls_score = nn.Linear(4096, num_classes + 1)
        self.bbox_pred = nn.Linear(4096, 4 * (num_classes + 1))
        for name, layer in self.named_modules():
            if not isinstance(layer, nn.Conv2d | nn.Linear):
                continue
            nn.init.zeros_(layer.get_parameter("bias"))
            if name.startswith("features"):  # the paper starts with VGG16's weights
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            else:
                nn.init.normal_(layer.weight, std=0.001 if name == "bbox_pred" else 0.01)

    def maps(self, images: Tensor) -> list[Tensor]:
        return [self.features(images)]

    def anchors(self, maps: list[Tensor], size: tuple[int, int]) -> list[Tensor]:
        kind = torch.promote_types(maps[0].dtype, torch.float32)
        shapes = torch.tensor(self.shapes, dtype=kind, device=maps[0].device)
        return [placed(shapes, maps[0].shape[-2:], (VGG_STRIDE, VGG_STRIDE))]

    @property
    def anchor_shape(self) -> tuple[int, int]:
        """How many sizes of maps there are, and anchors of each."""
        return 1, len(self.shapes)

    def set_anchors(self, anchors: Shapes) -> None:
        """Take other anchors: width and height in pixels."""
        middle = VGG_STRIDE / 2
        self.shapes = [
            (middle - width / 2, middle - height / 2, middle + width / 2, middle + height / 2)
            for width, height in anchors[0]
        ]

    def proposing(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.rpn_conv(maps))
        nothing, held = self.rpn_cls_score(x).chunk(2, 1)
        return by_anchor(held - nothing, 1)[..., 0], by_anchor(self.rpn_bbox_pred(x), 4)

    def regions(self, maps: list[Tensor], proposals: list[Tensor], size: tuple[int, int]) -> Tensor:
        return roi_pool(maps[0].to(proposals[0].dtype), proposals, 7, 1 / VGG_STRIDE)

    def naming(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        x = self.dropout(F.relu(self.fc6(regions.flatten(1))))
        x = self.dropout(F.relu(self.fc7(x)))
        return self.cls_score(x), self.bbox_pred(x).unflatten(1, (-1, 4))

    @staticmethod
    def adapted(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights with the first two dense layers of VGG16 under our names."""
        names = {"classifier.0": "fc6", "classifier.3": "fc7"}
        found = {}
        for name, value in weights.items():
            layer, _, part = name.rpartition(".")
            found[f"{names.get(layer, layer)}.{part}"] = value
        return found


def vgg_anchors(scales: Sequence[int]) -> list[tuple[float, float, float, float]]:
    """Return the anchors of the authors' code, around the corner of a square of 16 pixels.

    It rounds the sides of a shape of 16 x 16 pixels before they are scaled: the first anchor is
    (-84, -40, 100, 56).
    """
    found = []
    for ratio in RATIOS:
        width = round((16 * 16 / ratio) ** 0.5)
        height = round(width * ratio)
        for scale in scales:
            across, down = width * scale / 2, height * scale / 2
            found.append((8 - across, 8 - down, 8 + across, 8 + down))
    return found


def freeze_norms(part: nn.Module, eps: float) -> None:
    """Put batch norms that nothing changes into the places of those within a module."""
    for name, child in part.named_children():
        if isinstance(child, nn.BatchNorm2d):
            part.register_module(name, FrozenBatchNorm2d(child.num_features, eps=eps))
        else:
            freeze_norms(child, eps)
