"""FCN: fully convolutional networks on VGG16 (32s, 16s, 8s), and torchvision's on ResNet.

Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015,
arXiv 1411.4038; Shelhamer, Long, Darrell, PAMI 2017, arXiv 1605.06211. Layers: Figure 3 and the
authors' Caffe files (voc-fcn32s, voc-fcn16s, voc-fcn8s).

Differences: all up-sampling stays bilinear, as in the authors' files; the CVPR text lets that in
the middle be learned. Its kernels are parameters that are not trained. Without given weights the
layers of VGG16 start as torchvision's. torchvision's form has dilated convolutions in the last two
stages of a ResNet, one map of scores, and in training an auxiliary head.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.networks.resnet import BLOCKS, Bottleneck, ResNet

STAGES = {1: (2, 64), 2: (2, 128), 3: (3, 256), 4: (3, 512), 5: (3, 512)}  # VGG16
PADDING = 100  # of the first convolution: the scores of small pictures too are larger than they
# Where the scores of pool4, of pool3 and of the picture are cut out, by stride (Caffe files).
OFFSETS = {
    32: {"picture": 19},
    16: {"pool4": 5, "picture": 27},
    8: {"pool4": 5, "pool3": 9, "picture": 31},
}
AT_ONCE = {"pool3": 1e-4, "pool4": 1e-2}  # PAMI, Section 4.1: all strides trained at once
SHARE = 0.5  # torchvision: of the auxiliary loss
Loss = Callable[[Tensor, Tensor], Tensor]


class FCN(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes, ...).

    Scores have the size of the images, which may be any. ``stride`` is 32, 16 or 8;
    ``at_once`` scales the pools down whose scores are added. ``reach`` is how many pixels a score
    looks away, at most.
    """

    reach = 256
    class_modules = (
        "score_fr", "score_pool3", "score_pool4", "upscore", "upscore2", "upscore_pool4",
        "upscore16", "upscore8",
    )  # fmt: skip

    def __init__(
        self,
        stride: int = 8,
        num_classes: int = 21,
        in_channels: int = 3,
        at_once: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if stride not in OFFSETS:
            raise ValueError(f"stride is one of {', '.join(map(str, OFFSETS))}, not {stride}")
        self.stride, self.at_once, self.dropout = stride, at_once, dropout
        channels = in_channels
        for stage, (number, width) in STAGES.items():
            for place in range(1, number + 1):
                padding = PADDING if (stage, place) == (1, 1) else 1
                conv = nn.Conv2d(channels, width, 3, padding=padding)
                self.add_module(f"conv{stage}_{place}", conv)
                channels = width
        self.fc6 = nn.Conv2d(512, 4096, 7)
        self.fc7 = nn.Conv2d(4096, 4096, 1)
        for module in self.children():
            assert isinstance(module, nn.Conv2d)
            assert module.bias is not None
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
        self.score_fr = scoring(4096, num_classes)
        if stride == 8:
            self.score_pool3 = scoring(256, num_classes)
        if stride <= 16:
            self.score_pool4 = scoring(512, num_classes)
            self.upscore2 = Bilinear(num_classes, 2)
        self.add_module(
            "upscore" if stride == 32 else f"upscore{stride}", Bilinear(num_classes, stride)
        )
        if stride == 8:
            self.upscore_pool4 = Bilinear(num_classes, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        pools = {}
        for stage, (number, _) in STAGES.items():
            for place in range(1, number + 1):
                x = F.relu(self.get_submodule(f"conv{stage}_{place}")(x))
            x = F.max_pool2d(x, 2, ceil_mode=True)
            pools[f"pool{stage}"] = x
        for layer in (self.fc6, self.fc7):
            x = F.dropout(F.relu(layer(x)), self.dropout, self.training)
        scores = self.score_fr(x)
        if self.stride <= 16:
            scores = self.added(self.upscore2(scores), pools, "pool4")
        if self.stride == 8:
            scores = self.added(self.upscore_pool4(scores), pools, "pool3")
        last = "upscore" if self.stride == 32 else f"upscore{self.stride}"
        return cut(self.get_submodule(last)(scores), images, OFFSETS[self.stride]["picture"])

    def added(self, scores: Tensor, pools: Mapping[str, Tensor], pool: str) -> Tensor:
        """Return scores plus those of a pool, cut out where they lie."""
        x = pools[pool] * AT_ONCE[pool] if self.at_once else pools[pool]
        own = self.get_submodule(f"score_{pool}")(x)
        return scores + cut(own, scores, OFFSETS[self.stride][pool])

    @staticmethod
    def adapted(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights with those of a VGG16 in our names: its linear layers as convolutions."""
        found = dict(weights)
        places = {"classifier.0": ("fc6", 7), "classifier.3": ("fc7", 1)}
        layer = 0
        for stage, (number, _) in STAGES.items():
            for place in range(1, number + 1):
                places[f"features.{layer}"] = (f"conv{stage}_{place}", 3)
                layer += 2
            layer += 1  # the pool
        for theirs, (ours, side) in places.items():
            if f"{theirs}.weight" in found:
                kernel = found.pop(f"{theirs}.weight")
                found[f"{ours}.weight"] = kernel.reshape(len(kernel), -1, side, side)
            if f"{theirs}.bias" in found:
                found[f"{ours}.bias"] = found.pop(f"{theirs}.bias")
        return found


def scoring(in_channels: int, num_classes: int) -> nn.Conv2d:
    """Return a 1x1 convolution that gives scores, zero at the start (Section 4.1)."""
    layer = nn.Conv2d(in_channels, num_classes, 1)
    assert layer.bias is not None
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Bilinear(nn.Module):
    """Bilinear up-sampling as a transposed convolution (Section 3.3); its kernel is not trained.

    Shape: (batch, num_classes, height, width) -> (batch, num_classes, factor * (height + 1), ...)
    """

    fixed = True

    def __init__(self, num_classes: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        ramp = 1 - (torch.arange(2 * factor) - (factor - 0.5)).abs() / factor
        kernel = torch.eye(num_classes)[:, :, None, None] * ramp[:, None] * ramp
        # (num_classes, num_classes, 2 * factor, 2 * factor)
        self.weight = nn.Parameter(kernel, requires_grad=False)

    def forward(self, scores: Tensor) -> Tensor:
        return F.conv_transpose2d(scores, self.weight, stride=self.factor)


def cut(maps: Tensor, like: Tensor, offset: int) -> Tensor:
    """Cut a window out of maps, as large as others, from a row and column on."""
    height, width = like.shape[-2:]
    return maps[..., offset : offset + height, offset : offset + width]


class FCNResNet(nn.Module):
    """torchvision's FCN on a ResNet whose last two stages keep the size of the second.

    Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes, ...). In
    training mode with ``aux_loss`` it returns (scores, those of the auxiliary head). ``reach`` is
    how many pixels a score looks away, at most.
    """

    class_modules = ("classifier", "aux_classifier")

    def __init__(
        self,
        depth: int = 50,
        num_classes: int = 21,
        in_channels: int = 3,
        aux_loss: bool = True,
    ) -> None:
        super().__init__()
        if depth not in (50, 101, 152):
            raise ValueError(f"depth is 50, 101 or 152, whose blocks are bottlenecks, not {depth}")
        self.reach = reach(depth)
        resnet = ResNet(depth, 1, in_channels)
        dilate(resnet.layer3, 1, 2)
        dilate(resnet.layer4, 2, 4)
        names = ("conv1", "bn1", "maxpool", "layer1", "layer2", "layer3", "layer4")
        self.backbone = nn.ModuleDict({name: resnet.get_submodule(name) for name in names})
        channels = resnet.fc.in_features
        self.classifier = head(channels, num_classes)
        self.aux_classifier = head(channels // 2, num_classes) if aux_loss else None

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        layers = self.backbone
        x = layers["maxpool"](F.relu(layers["bn1"](layers["conv1"](images)), inplace=True))
        middle = layers["layer3"](
            layers["layer2"](layers["layer1"](x))
        )  # (batch, 1024, h / 8, ...)
        scores = enlarged(self.classifier(layers["layer4"](middle)), images)
        if self.aux_classifier is None or not self.training:
            return scores
        return scores, enlarged(self.aux_classifier(middle), images)

    def loss(
        self, outputs: Tensor | tuple[Tensor, Tensor], targets: Tensor, criterion: Loss
    ) -> Tensor:
        """Return the loss by ``criterion``, with half of the auxiliary head's."""
        if isinstance(outputs, Tensor):
            return criterion(outputs, targets)
        scores, auxiliary = outputs
        return criterion(scores, targets) + SHARE * criterion(auxiliary, targets)

    @staticmethod
    def adapted(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights with those of a ResNet under the names of the backbone."""
        if any(name.startswith("backbone.") for name in weights):
            return dict(weights)
        return {f"backbone.{name}": value for name, value in weights.items()}


def reach(depth: int) -> int:
    """Return how many pixels scores look beyond a part that begins and ends at multiples of 8.

    Each 3x3 convolution looks its dilation further, in pixels of its maps; before them conv1 and
    its pool 5 pixels, after them the enlarging 8.
    """
    first, second, third, fourth = BLOCKS[depth]
    at_quarter = first + 1  # layer1, and the first of layer2, which halves its maps
    at_eighth = second - 1 + (1 + 2 * (third - 1)) + (2 + 4 * (fourth - 1)) + 1  # and the head
    return 5 + 4 * at_quarter + 8 * at_eighth + 8


def dilate(stage: nn.Sequential, first: int, rest: int) -> None:
    """Let a stage of bottlenecks keep the size of its maps, and read further apart instead.

    ``first`` is the dilation of its first block, ``rest`` that of the others.
    """
    for place, block in enumerate(stage):
        assert isinstance(block, Bottleneck)
        dilation = (first if place == 0 else rest,) * 2
        block.conv2.stride, block.conv2.dilation, block.conv2.padding = (1, 1), dilation, dilation
        if block.downsample is not None:
            projection = block.downsample[0]
            assert isinstance(projection, nn.Conv2d)
            projection.stride = (1, 1)


def head(in_channels: int, num_classes: int) -> nn.Sequential:
    """Return a 3x3 convolution to a quarter of the maps, and one that gives scores."""
    width = in_channels // 4
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Dropout(0.1),
        nn.Conv2d(width, num_classes, 1),
    )


def enlarged(scores: Tensor, images: Tensor) -> Tensor:
    """Return scores bilinearly at the size of images."""
    return F.interpolate(scores, size=images.shape[-2:], mode="bilinear", align_corners=False)
