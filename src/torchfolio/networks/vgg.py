"""VGG: 11, 13, 16 and 19 layers of 3x3 convolutions.

Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
ICLR 2015, arXiv 1409.1556. Layers: Table 1.

Differences: weights start as torchvision's, with the variance of the backward pass;
``init="paper"`` draws them with variance 0.01 (Section 3.1); the paper starts the deeper ones with
the weights of A. Batch norm is torchvision's addition.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Table 1: the convolutions of each stage; C ends its last three stages with a 1x1 convolution.
STAGES = {
    "A": (1, 1, 2, 2, 2),
    "B": (2, 2, 2, 2, 2),
    "C": (2, 2, 3, 3, 3),
    "D": (2, 2, 3, 3, 3),
    "E": (2, 2, 4, 4, 4),
}
WIDTHS = (64, 128, 256, 512, 512)


def convolutions(configuration: str, in_channels: int, batch_norm: bool) -> nn.Sequential:
    """Return the five stages of a column of Table 1, each with its pool."""
    layers = nn.Sequential()
    channels = in_channels
    for width, number in zip(WIDTHS, STAGES[configuration], strict=True):
        for place in range(number):
            size = 1 if configuration == "C" and place == 2 else 3
            layers.append(nn.Conv2d(channels, width, size, padding=size // 2))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU(inplace=True))
            channels = width
        layers.append(nn.MaxPool2d(2))
    return layers


class VGG(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes).

    Height and width from 32 on; 224 in the paper. ``configuration`` is a column of Table 1, "A" to
    "E"; ``init`` "torchvision" or "paper".
    """

    def __init__(
        self,
        configuration: str = "D",
        num_classes: int = 1000,
        in_channels: int = 3,
        batch_norm: bool = False,
        dropout: float = 0.5,
        init: str = "torchvision",
    ) -> None:
        super().__init__()
        if configuration not in STAGES:
            raise ValueError(f"configuration is one of {', '.join(STAGES)}, not {configuration!r}")
        if init not in ("torchvision", "paper"):
            raise ValueError(f"init is 'torchvision' or 'paper', not {init!r}")
        self.features = convolutions(configuration, in_channels, batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d(7)  # nothing at 224
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                self.start(module, init)

    @staticmethod
    def start(layer: nn.Conv2d | nn.Linear, init: str) -> None:
        """Draw the initial weights of a layer."""
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if init == "paper":
            nn.init.normal_(layer.weight, std=0.1)  # Section 3.1: a variance of 1e-2
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
        else:
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        x = self.avgpool(self.features(images))  # (batch, 512, 7, 7)
        return self.classifier(torch.flatten(x, 1))


class Dense(nn.Module):
    """A VGG whose linear layers pass over the whole picture as convolutions (Section 3.2).

    Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes), the mean over
    all places. Height and width from 32 on: a side below 224 is one window, which the network's own
    averaging fits to 7 cells. Up to 224 it gives what the network itself gives.
    """

    def __init__(self, network: VGG) -> None:
        super().__init__()
        self.network = network

    def maps(self, images: Tensor) -> Tensor:
        """Return the class scores of each place (batch, num_classes, rows, columns)."""
        x = self.network.features(images)
        rows, columns = (max(7, side) for side in x.shape[-2:])
        x = F.adaptive_avg_pool2d(x, (rows, columns))
        for layer in self.network.classifier:
            if isinstance(layer, nn.Linear):
                side = 7 if layer.in_features == 512 * 7 * 7 else 1
                kernel = layer.weight.reshape(layer.out_features, -1, side, side)
                x = F.conv2d(x, kernel, layer.bias)
            else:
                x = layer(x)
        return x

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images).mean((2, 3))
