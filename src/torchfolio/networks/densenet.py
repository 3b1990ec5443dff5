"""DenseNet: every layer reads the maps of all layers before it.

Huang, Liu, van der Maaten, Weinberger, "Densely Connected Convolutional Networks", CVPR 2017,
arXiv 1608.06993. Layers: Section 3 and Table 1; for CIFAR: Section 3, "Implementation Details".

Differences: weights start with the variance of the forward pass (He et al. 2015), as torchvision's
and the authors' do.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Table 1: growth rate, layers of each block, channels of the stem (twice the growth rate).
IMAGENET = {
    121: (32, (6, 12, 24, 16), 64),
    161: (48, (6, 12, 36, 24), 96),  # the authors' code; Table 1 has 264 instead
    169: (32, (6, 12, 32, 32), 64),
    201: (32, (6, 12, 48, 32), 64),
    264: (32, (6, 12, 64, 48), 64),
}
# Published files of torchvision's spell "norm.1" where the modules are named "norm1".
RENAMES = [(r"(denselayer\d+\.(?:norm|conv))\.(?=\d)", r"\1")]


class DenseLayer(nn.Module):
    """BN, ReLU, 3x3 convolution; with a ``bottleneck`` BN, ReLU, 1x1 convolution before them.

    Shape: (batch, in_channels, height, width) -> (batch, growth, height, width)
    """

    def __init__(self, in_channels: int, growth: int, bottleneck: bool, dropout: float) -> None:
        super().__init__()
        self.bottleneck = bottleneck
        self.norm1 = nn.BatchNorm2d(in_channels)
        if bottleneck:
            self.conv1 = nn.Conv2d(in_channels, 4 * growth, 1, bias=False)  # Section 3: 4k maps
            self.norm2 = nn.BatchNorm2d(4 * growth)
            self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)
        else:
            self.conv1 = nn.Conv2d(in_channels, growth, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: Tensor) -> Tensor:
        x = self.conv1(F.relu(self.norm1(maps), inplace=True))
        if self.bottleneck:
            x = self.conv2(F.relu(self.norm2(x), inplace=True))
        return self.dropout(x)


class DenseBlock(nn.ModuleDict):
    """Layers that each read all maps so far, the oldest first.

    Shape: (batch, in_channels, ...) -> (batch, in_channels + layers * growth, ...)
    """

    def __init__(
        self, layers: int, in_channels: int, growth: int, bottleneck: bool, dropout: float
    ) -> None:
        super().__init__()
        for number in range(layers):
            channels = in_channels + number * growth
            layer = DenseLayer(channels, growth, bottleneck, dropout)
            self[f"denselayer{number + 1}"] = layer

    def forward(self, maps: Tensor) -> Tensor:
        for layer in self.values():
            maps = torch.cat([maps, layer(maps)], 1)
        return maps


def transition(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return BN, ReLU, 1x1 convolution, and a pool that halves the maps (Section 3)."""
    layers = nn.Sequential()
    layers.add_module("norm", nn.BatchNorm2d(in_channels))
    layers.add_module("relu", nn.ReLU(inplace=True))
    layers.add_module("conv", nn.Conv2d(in_channels, out_channels, 1, bias=False))
    layers.add_module("pool", nn.AvgPool2d(2))
    return layers


class DenseNet(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes).

    ``blocks`` are the layers of each block, ``growth`` the maps that each layer adds, ``stem`` the
    channels of the first convolution: 7x7 with stride 2 and a pool after it, or, ``small``, 3x3
    for pictures of CIFAR's size. ``bottleneck`` (B) puts a 1x1 convolution before each 3x3 one,
    ``compression`` (C) is what a transition leaves of the channels.
    """

    def __init__(
        self,
        blocks: tuple[int, ...] | list[int] = (6, 12, 24, 16),
        growth: int = 32,
        stem: int = 64,
        num_classes: int = 1000,
        in_channels: int = 3,
        bottleneck: bool = True,
        compression: float = 0.5,
        dropout: float = 0.0,
        small: bool = False,
    ) -> None:
        super().__init__()
        self.renames = RENAMES
        self.features = nn.Sequential()
        if small:
            conv = nn.Conv2d(in_channels, stem, 3, padding=1, bias=False)
            self.features.add_module("conv0", conv)
        else:
            conv = nn.Conv2d(in_channels, stem, 7, stride=2, padding=3, bias=False)
            self.features.add_module("conv0", conv)
            self.features.add_module("norm0", nn.BatchNorm2d(stem))
            self.features.add_module("relu0", nn.ReLU(inplace=True))
            self.features.add_module("pool0", nn.MaxPool2d(3, stride=2, padding=1))
        channels = stem
        for number, layers in enumerate(blocks, 1):
            block = DenseBlock(layers, channels, growth, bottleneck, dropout)
            self.features.add_module(f"denseblock{number}", block)
            channels += layers * growth
            if number < len(blocks):
                reduced = int(channels * compression)
                self.features.add_module(f"transition{number}", transition(channels, reduced))
                channels = reduced
        self.features.add_module(f"norm{len(blocks) + 1}", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.features(images), inplace=True)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def imagenet(
    depth: int = 121, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0
) -> DenseNet:
    """Return a network of Table 1: 121, 161, 169, 201 or 264 layers."""
    if depth not in IMAGENET:
        raise ValueError(f"depth is one of {', '.join(map(str, IMAGENET))}, not {depth}")
    growth, blocks, stem = IMAGENET[depth]
    return DenseNet(blocks, growth, stem, num_classes, in_channels, dropout=dropout)


def cifar(
    depth: int = 40,
    growth: int = 12,
    bottleneck: bool = False,
    num_classes: int = 10,
    in_channels: int = 3,
    dropout: float = 0.0,
) -> DenseNet:
    """Return a network for CIFAR: three blocks on maps of 32, 16 and 8 pixels.

    With a ``bottleneck`` it is a DenseNet-BC: transitions halve the channels, and the stem has
    twice the growth rate; else they keep them, and the stem has 16.
    """
    layers, rest = divmod(depth - 4, 6 if bottleneck else 3)
    if rest or layers < 1:
        step = 6 if bottleneck else 3
        raise ValueError(f"depth is {step} n + 4, not {depth}")
    stem, compression = (2 * growth, 0.5) if bottleneck else (16, 1.0)
    return DenseNet(
        (layers,) * 3, growth, stem, num_classes, in_channels,
        bottleneck, compression, dropout, small=True,
    )  # fmt: skip
