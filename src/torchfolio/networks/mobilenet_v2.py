"""MobileNetV2: narrow maps joined by shortcuts, wide ones in between.

Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
CVPR 2018, arXiv 1801.04381. Layers: Table 2; block: Table 1 and Figure 4 d.

Differences: channels are rounded to multiples of 8 and never fall by more than a tenth, as in the
authors' code and torchvision's; so are dropout 0.2 before the classifier and the initial weights.
"""

from torch import Tensor, nn

# Table 2: expansion t, channels c, repeats n, stride s of the first.
STAGES = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


def scaled(channels: int, width: float) -> int:
    """Return ``channels * width`` as the nearest multiple of 8 that is not under 90 % of it."""
    value = channels * width
    found = max(8, int(value + 4) // 8 * 8)
    return found if found >= 0.9 * value else found + 8


def convolution(
    in_channels: int, width: int, size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Return a convolution with batch norm and ReLU6."""
    return nn.Sequential(
        nn.Conv2d(in_channels, width, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """1x1 to more maps, 3x3 of each by itself, 1x1 to few, the last without activation (Table 1).

    Shape: (batch, in_channels, height, width) -> (batch, width, height / stride, width / stride)
    """

    def __init__(self, in_channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.shortcut = stride == 1 and in_channels == width
        hidden = expansion * in_channels
        self.conv = nn.Sequential()
        if expansion != 1:
            self.conv.append(convolution(in_channels, hidden, 1))
        self.conv.append(convolution(hidden, hidden, 3, stride, groups=hidden))
        self.conv.append(nn.Conv2d(hidden, width, 1, bias=False))
        self.conv.append(nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes).

    Any height and width; 224, 192, 160, 128 and 96 in the paper. ``width`` scales the channels,
    those of the last convolution only upwards. ``norm_eps`` is batch norm's; TensorFlow's is 1e-3.
    """

    def __init__(
        self,
        width: float = 1.0,
        num_classes: int = 1000,
        in_channels: int = 3,
        dropout: float = 0.2,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        channels = scaled(32, width)
        self.features = nn.Sequential(convolution(in_channels, channels, 3, stride=2))
        for expansion, maps, repeats, stride in STAGES:
            for number in range(repeats):
                step = stride if number == 0 else 1
                block = InvertedResidual(channels, scaled(maps, width), step, expansion)
                self.features.append(block)
                channels = scaled(maps, width)
        last = scaled(1280, max(1.0, width))
        self.features.append(convolution(channels, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.eps = norm_eps

    def forward(self, images: Tensor) -> Tensor:
        x = self.features(images)  # (batch, 1280, h / 32, w / 32)
        return self.classifier(x.mean((2, 3)))
