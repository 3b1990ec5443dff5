"""MobileNet: convolutions in two steps, of each map by itself and of all maps at each place.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
2017, arXiv 1704.04861. Layers: Table 1; width multiplier: Section 3.3; the resolution multiplier
(Section 3.4) is the size of the images.

Differences: the last depthwise convolution has stride 1; Table 1 prints 2, and 7x7 maps before and
after it. Weights start with the variance of the backward pass; the paper names none.
``activation="relu6"`` is the form of timm's published weights. TensorFlow's want it, batch norm's
``norm_eps`` of 1e-3, and a padding of right and bottom alone, which is not offered.
"""

import torch
from torch import Tensor, nn

# Table 1: the width of each stage, its pairs of convolutions, and the stride of the first.
STAGES = [(64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2)]
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6}


class DepthwiseSeparable(nn.Module):
    """3x3 of each map, then 1x1 of all, each with batch norm and an activation (Figure 3, right).

    Shape: (batch, in_channels, height, width) -> (batch, width, height / stride, width / stride)
    """

    def __init__(self, in_channels: int, width: int, stride: int, activation: str) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(
            in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False
        )
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv_pw = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.act = ACTIVATIONS[activation](inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn1(self.conv_dw(x)))
        return self.act(self.bn2(self.conv_pw(x)))


class MobileNetV1(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes).

    Any height and width; 224, 192, 160 and 128 in the paper. ``width`` scales all channels.
    """

    def __init__(
        self,
        width: float = 1.0,
        num_classes: int = 1000,
        in_channels: int = 3,
        activation: str = "relu",
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is 'relu' or 'relu6', not {activation!r}")
        channels = int(32 * width)
        self.conv_stem = nn.Conv2d(in_channels, channels, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act = ACTIVATIONS[activation](inplace=True)
        self.blocks = nn.Sequential()
        for maps, pairs, stride in STAGES:
            stage = nn.Sequential()
            for number in range(pairs):
                step, scaled = stride if number == 0 else 1, int(maps * width)
                stage.append(DepthwiseSeparable(channels, scaled, step, activation))
                channels = scaled
            self.blocks.append(stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                module.eps = norm_eps

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(self.act(self.bn1(self.conv_stem(images))))  # (batch, ..., h / 32, w / 32)
        return self.classifier(torch.flatten(self.avgpool(x), 1))
