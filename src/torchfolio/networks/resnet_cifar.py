"""ResNet for CIFAR-10: 6n + 2 layers, of 20 to 1202.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385.
Layers and option A: Section 4.2. Initialization: its reference [13], He et al. 2015, Section 2.2.

Differences: none in option A; where the paper is silent (which half the zero channels take), they
are split evenly before and after, as in the public weight files. The paper has option B and the
plain form of these depths in Section 3.3 and Figure 6.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (16, 32, 64)  # Section 4.2: filters of the three stages, at 32, 16 and 8 pixels


def subsample_and_pad(x: Tensor, channels: int) -> Tensor:
    """Return option A's shortcut: every second pixel, zero channels half before, half after.

    Shape: (batch, in_channels, height, width) -> (batch, channels, height / 2, width / 2)
    """
    extra = channels - x.shape[1]
    return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, extra // 2, extra - extra // 2))


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut (Figure 2).

    Shape: (batch, in_channels, height, width) -> (batch, channels, height / stride, width / stride)
    """

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Sequential | None = None
        if shortcut == "B" and in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            out += self.downsample(x)
        elif self.shortcut != "none":
            out += x if x.shape == out.shape else subsample_and_pad(x, out.shape[1])
        return F.relu(out, inplace=True)


class CifarResNet(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes).

    Any height and width; 32 in the paper. ``depth`` is 6n + 2. ``shortcut`` is "A" (zero padding),
    "B" (projection where the shape changes) or "none" (the plain network).
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential

    def __init__(
        self, depth: int = 20, num_classes: int = 10, in_channels: int = 3, shortcut: str = "A"
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth is 6n + 2 (8, 14, 20, ...), not {depth}")
        if shortcut not in ("A", "B", "none"):
            raise ValueError(f"shortcut is 'A', 'B' or 'none', not {shortcut!r}")
        self.conv1 = nn.Conv2d(in_channels, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        channels = WIDTHS[0]
        for stage, width in enumerate(WIDTHS):
            layer = nn.Sequential()
            for block in range((depth - 2) // 6):
                stride = 2 if stage > 0 and block == 0 else 1
                layer.append(Block(channels, width, stride, shortcut))
                channels = width
            self.add_module(f"layer{stage + 1}", layer)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)  # variance 2 / fan-in
        nn.init.zeros_(self.linear.bias)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)  # (batch, 16, h, w)
        x = self.layer3(self.layer2(self.layer1(x)))  # (batch, 64, h / 4, w / 4)
        return self.linear(torch.flatten(self.avgpool(x), 1))
