"""Darknet-19 and Darknet-53: the classifiers that YOLOv2 and YOLOv3 start from.

Redmon, Farhadi, "YOLO9000: Better, Faster, Stronger", CVPR 2017, arXiv 1612.08242, Table 6; Redmon,
Farhadi, "YOLOv3: An Incremental Improvement", 2018, arXiv 1804.02767, Table 1; the authors'
darknet19.cfg and darknet53.cfg.

Differences: batch norm has 1e-5 within the root, as the authors' code for GPUs; their code for CPUs
adds 1e-6 to the root. Weights start as PyTorch's.
"""

from collections.abc import Iterator, Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.networks.darknet_files import numbers_by_layer

# Table 6 of YOLOv2: maps and side of each convolution, a pool between two stages.
TRUNK = (
    ((32, 3),),
    ((64, 3),),
    ((128, 3), (64, 1), (128, 3)),
    ((256, 3), (128, 1), (256, 3)),
    ((512, 3), (256, 1), (512, 3), (256, 1), (512, 3)),
    ((1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3)),
)
BLOCKS = {64: 1, 128: 2, 256: 8, 512: 8, 1024: 4}  # Table 1 of YOLOv3: residual blocks by maps


class Convolution(nn.Sequential):
    """A convolution, batch norm, and a ReLU that leaks 0.1."""

    def __init__(self, in_channels: int, width: int, size: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, width, size, stride, padding=size // 2, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.1, inplace=True),
        )


def trunk(in_channels: int) -> nn.ModuleList:
    """Return the stages of Darknet-19; a pool of 2x2 belongs between two of them."""
    stages = nn.ModuleList()
    channels = in_channels
    for stage in TRUNK:
        layers = nn.Sequential()
        for width, side in stage:
            layers.append(Convolution(channels, width, side))
            channels = width
        stages.append(layers)
    return stages


class Darknet19(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes).

    Height and width from 32 on; 224 in the paper.
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.stages = trunk(in_channels)
        self.out = nn.Conv2d(1024, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for place, stage in enumerate(self.stages):
            x = stage(F.max_pool2d(x, 2) if place else x)
        return self.out(x).mean((2, 3))

    def convolutions(self) -> Iterator[nn.Module]:
        """Give the convolutions in the order of the authors' files, each before its batch norm."""
        return layers_of(self)

    def adapted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights with the numbers of one of the authors' files under our names."""
        return numbers_by_layer(self, weights, 1, 0)


class Residual(nn.Module):
    """A 1x1 convolution to half the maps and a 3x3 one back, beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = Convolution(width, width // 2, 1)
        self.conv2 = Convolution(width // 2, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))


class Stage(nn.Module):
    """A convolution that halves the maps' sides, and residual blocks."""

    def __init__(self, width: int, number: int) -> None:
        super().__init__()
        self.down = Convolution(width // 2, width, 3, 2)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(number)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.down(x))


class Body53(nn.Module):
    """The convolutions of Darknet-53.

    Shape: (batch, in_channels, height, width) -> maps of strides 32, 16 and 8 with 1024, 512 and
    256 channels
    """

    widths = (1024, 512, 256)

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.first = Convolution(in_channels, 32, 3)
        self.stages = nn.ModuleList(Stage(width, number) for width, number in BLOCKS.items())

    def forward(self, images: Tensor) -> list[Tensor]:
        x, found = self.first(images), []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found[:1:-1]


class Darknet53(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes).

    Height and width from 32 on; 256 in the paper.
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone = Body53(in_channels)
        self.fc = nn.Linear(1024, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.backbone(images)[0].mean((2, 3)))

    def convolutions(self) -> Iterator[nn.Module]:
        """Give the convolutions in the order of the authors' files, each before its batch norm."""
        return layers_of(self)

    def adapted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights with the numbers of one of the authors' files under our names."""
        return numbers_by_layer(self, weights, 1, 0)


def layers_of(*parts: nn.Module) -> Iterator[nn.Module]:
    """Give the convolutions, batch norms and linear layers of parts, in their order."""
    kinds = nn.Conv2d | nn.BatchNorm2d | nn.Linear
    for part in parts:
        yield from (each for each in part.modules() if isinstance(each, kinds))
