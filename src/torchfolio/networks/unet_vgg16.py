"""U-Net whose contracting path is VGG16: as segmentation-models-pytorch has it, and plain.

Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015, arXiv 1505.04597; Simonyan, Zisserman, "Very Deep Convolutional Networks for
Large-Scale Image Recognition", ICLR 2015, arXiv 1409.1556. No paper describes the two together.

The form of segmentation-models-pytorch halves maps five times, has two more convolutions at the
smallest, and doubles by repeating pixels; batch norm follows every convolution of its expanding
path. The plain form, of many tutorials, halves four times, doubles bilinearly with corners aligned,
and has no batch norm.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.layers.padding import padded
from torchfolio.networks.vgg import VGG, convolutions

DECODER = (256, 128, 64, 32, 16)  # maps of segmentation-models-pytorch's blocks
PLAIN = (512, 256, 128, 64)


class Encoder(nn.Module):
    """The convolutions of VGG16 (configuration D), as far as the last pool if ``pooled``.

    Shape: (batch, in_channels, height, width) -> maps of each stage, the largest first
    """

    def __init__(self, in_channels: int, batch_norm: bool, pooled: bool) -> None:
        super().__init__()
        layers = convolutions("D", in_channels, batch_norm)
        self.features = layers if pooled else layers[:-1]
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                VGG.start(layer, "torchvision")

    def forward(self, images: Tensor) -> list[Tensor]:
        x, found = images, []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                found.append(x)
            x = layer(x)
        return [*found, x]


def of_vgg16(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with those of a VGG16 under the names of the contracting path."""
    return {
        f"encoder.{name}" if name.startswith("features.") else name: value
        for name, value in weights.items()
    }


def convolution(in_channels: int, width: int, batch_norm: bool) -> nn.Sequential:
    """Return a 3x3 convolution with a ReLU; batch norm in between takes the place of its bias."""
    conv = nn.Conv2d(in_channels, width, 3, padding=1, bias=not batch_norm)
    nn.init.kaiming_uniform_(conv.weight, mode="fan_in", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    norm = [nn.BatchNorm2d(width)] if batch_norm else []
    return nn.Sequential(conv, *norm, nn.ReLU(inplace=True))


class Expansion(nn.Module):
    """Maps of twice the size, joined with those of a stage, and two 3x3 convolutions.

    Shape: (batch, in_channels, height, width) -> (batch, width, 2 * height, 2 * width)
    """

    def __init__(self, in_channels: int, skip: int, width: int, plain: bool) -> None:
        super().__init__()
        self.plain = plain
        self.conv1 = convolution(in_channels + skip, width, not plain)
        self.conv2 = convolution(width, width, not plain)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        if self.plain:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        else:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        if skip is not None:
            x = torch.cat([x, skip], 1)
        return self.conv2(self.conv1(x))


class Decoder(nn.Module):
    """The expanding path: from the maps of all stages to maps of the picture's size."""

    def __init__(self, plain: bool) -> None:
        super().__init__()
        self.plain = plain
        center = [] if plain else [convolution(512, 512, True), convolution(512, 512, True)]
        self.center = nn.Sequential(*center)
        self.blocks = nn.ModuleList()
        channels = 512
        widths, skips = (
            (PLAIN, (512, 256, 128, 64)) if plain else (DECODER, (512, 512, 256, 128, 0))
        )
        for width, skip in zip(widths, skips, strict=True):
            self.blocks.append(Expansion(channels, skip, width, plain))
            channels = width

    def forward(self, stages: list[Tensor]) -> Tensor:
        x = self.center(stages[-1])
        skips = stages[:-1] if self.plain else [None, *stages[1:-1]]  # the first is not joined
        for block, skip in zip(self.blocks, reversed(skips), strict=True):
            x = block(x, skip)
        return x


class UNetVGG16(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes, ...).

    Scores have the size of the images, which may be any: they are padded where their sides cannot
    be halved so often. ``batch_norm`` is that of the contracting path. ``reach`` is how many pixels
    a score looks away, at most.
    """

    reach = 256
    adapted = staticmethod(of_vgg16)

    def __init__(
        self,
        num_classes: int = 1,
        in_channels: int = 3,
        batch_norm: bool = False,
        plain: bool = False,
    ) -> None:
        super().__init__()
        self.step = 16 if plain else 32  # pixels of the picture for one of the smallest map
        self.encoder = Encoder(in_channels, batch_norm, pooled=not plain)
        self.decoder = Decoder(plain)
        width = PLAIN[-1] if plain else DECODER[-1]
        head = nn.Conv2d(width, num_classes, 1 if plain else 3, padding=0 if plain else 1)
        nn.init.xavier_uniform_(head.weight)
        assert head.bias is not None
        nn.init.zeros_(head.bias)
        self.segmentation_head = nn.Sequential(head)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        stages = self.encoder(padded(images, self.step))
        scores = self.segmentation_head(self.decoder(stages))
        return scores[..., :height, :width]
