"""AlexNet, the network that won ILSVRC-2012, in two towers and in one.

Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
NeurIPS 2012. Layers: Section 3.5 and Figure 2. One tower: Krizhevsky, "One weird trick for
parallelizing convolutional neural networks", 2014, arXiv 1404.5997, as torchvision builds it.

Differences: the two towers (GPUs) of the 2012 paper are groups of one convolution. Its pictures are
227 pixels wide, not 224: only so the first map is 55 wide, as Figure 2 says.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.layers.local_response import LocalResponseNorm
from torchfolio.layers.sizes import require_size


class AlexNet2012(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes).

    ``groups`` are the towers: two, or one, in which every convolution reads all maps.
    ``image_size`` is (height, width), from 67 on; 227x227 in the paper. ``alpha`` and ``k`` are
    those of the response normalisation; Caffe's are 2e-5 and 1.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        groups: int = 2,
        image_size: tuple[int, int] = (227, 227),
        alpha: float = 1e-4,
        k: float = 2.0,
    ) -> None:
        super().__init__()
        if groups not in (1, 2):
            raise ValueError(f"groups is 1 or 2, not {groups!r}")
        if min(image_size) < 67:
            raise ValueError(f"images of {image_size} leave no map: the smallest are 67x67")
        rows, columns = (last_side(side) for side in image_size)
        self.size = (in_channels, *image_size)
        self.conv1 = nn.Conv2d(in_channels, 96, 11, stride=4)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=groups)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)  # always reads both towers
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=groups)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=groups)
        self.norm = LocalResponseNorm(5, alpha, beta=0.75, k=k)  # Section 3.3
        self.pool = nn.MaxPool2d(3, stride=2)  # Section 3.4: overlapping
        self.fc6 = nn.Linear(256 * rows * columns, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, num_classes)
        self.dropout = nn.Dropout(0.5)  # Section 4.2
        ones = (self.conv2, self.conv4, self.conv5, self.fc6, self.fc7)
        for layer in self.children():  # Section 5
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.constant_(layer.bias, 1 if layer in ones else 0)

    def forward(self, images: Tensor) -> Tensor:
        require_size("This alexnet_2012", images, *self.size)
        x = self.pool(self.norm(F.relu(self.conv1(images))))  # (batch, 96, 27, 27) of 227 pixels
        x = self.pool(self.norm(F.relu(self.conv2(x))))  # (batch, 256, 13, 13)
        x = F.relu(self.conv4(F.relu(self.conv3(x))))  # (batch, 384, 13, 13)
        x = self.pool(F.relu(self.conv5(x)))  # (batch, 256, 6, 6)
        x = self.dropout(F.relu(self.fc6(torch.flatten(x, 1))))
        return self.fc8(self.dropout(F.relu(self.fc7(x))))


def last_side(side: int) -> int:
    """Return the side of the last maps of 2012: 6 of 227 pixels."""
    side = (side - 11) // 4 + 1  # conv1
    for _ in range(3):  # the pools
        side = (side - 3) // 2 + 1
    return side


class AlexNet(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes).

    Height and width from 63 on; 224 in the paper. There is no response normalisation, and dropout
    comes before the hidden layers.
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)  # nothing at 224
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        x = self.avgpool(self.features(images))  # (batch, 256, 6, 6)
        return self.classifier(torch.flatten(x, 1))
