"""ResNet for ImageNet: 18, 34, 50, 101 and 152 layers.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385.
Layers: Table 1. Shortcuts: identity, or a 1x1 projection where the shape changes (option B).

Differences: bottlenecks halve the map in their 3x3 convolution, as torchvision's do ("v1.5");
``stride_in="1x1"`` halves it in the first 1x1 convolution, as the paper does ("v1"). Weights start
with the variance of the backward pass, as torchvision's; the classifier as PyTorch's.
``zero_init_residual`` starts the last batch norm of every block at zero, so that each block begins
as its shortcut (Goyal et al. 2017, Section 5.1, arXiv 1706.02677), as timm's do.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Table 1: the bottleneck, or the two 3x3 convolutions, and the blocks of each stage.
BOTTLENECK = {18: False, 34: False, 50: True, 101: True, 152: True}
BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (Figure 5, left).

    Shape: (batch, in_channels, height, width) -> (batch, width, height / stride, width / stride)
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = projection(in_channels, width, stride) if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        if self.shortcut:
            out += x if self.downsample is None else self.downsample(x)
        return F.relu(out, inplace=True)


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones, beside a shortcut (Figure 5, right).

    Shape: (batch, in_channels, height, width) -> (batch, 4 * width, height / stride, ...)
    """

    expansion = 4

    def __init__(
        self, in_channels: int, width: int, stride: int, shortcut: bool, stride_in: str
    ) -> None:
        super().__init__()
        self.shortcut = shortcut
        first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = projection(in_channels, 4 * width, stride) if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        if self.shortcut:
            out += x if self.downsample is None else self.downsample(x)
        return F.relu(out, inplace=True)


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """Return option B's 1x1 convolution where a block changes the shape, else ``None``."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )


class ResNet(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes).

    Any height and width; 224 in the paper. ``depth`` is 18, 34, 50, 101 or 152; ``stride_in``
    ("3x3" or "1x1") the convolution of a bottleneck that halves the map; without ``shortcuts`` it
    is the paper's plain network.
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self,
        depth: int = 50,
        num_classes: int = 1000,
        in_channels: int = 3,
        stride_in: str = "3x3",
        shortcuts: bool = True,
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise ValueError(f"depth is one of {sorted(BLOCKS)}, not {depth}")
        if zero_init_residual and not shortcuts:
            raise ValueError(
                "with zero_init_residual and no shortcuts nothing of the input is left"
            )
        if stride_in not in ("3x3", "1x1"):
            raise ValueError(f"stride_in is '3x3' or '1x1', not {stride_in!r}")
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        for stage, blocks in enumerate(BLOCKS[depth]):
            layer = nn.Sequential()
            for block in range(blocks):
                width, stride = 64 * 2**stage, 2 if stage > 0 and block == 0 else 1
                if BOTTLENECK[depth]:
                    layer.append(Bottleneck(channels, width, stride, shortcuts, stride_in))
                    channels = 4 * width
                else:
                    layer.append(BasicBlock(channels, width, stride, shortcuts))
                    channels = width
            self.add_module(f"layer{stage + 1}", layer)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, BasicBlock | Bottleneck):
                last = module.bn3 if isinstance(module, Bottleneck) else module.bn2
                nn.init.zeros_(last.weight)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)  # (batch, 64, h / 2, w / 2)
        x = self.maxpool(x)  # a line each: what is no longer needed is freed
        x = self.layer1(x)  # (batch, 64 or 256, h / 4, w / 4)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.layer4(x)  # (batch, 512 or 2048, h / 32, w / 32)
        return self.fc(torch.flatten(self.avgpool(x), 1))
