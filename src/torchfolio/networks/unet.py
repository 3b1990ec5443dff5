"""U-Net for the segmentation of pictures: as in the paper, and padded.

Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015, arXiv 1505.04597. Layers: Section 2 and Figure 1.

Differences: biases start at zero. The paper has dropout "at the end of the contracting path" and
gives no rate; here it is 0.5 after each of the last two blocks of that path. The padded forms keep
the size of a picture: their convolutions are padded, and a picture whose sides do not fit is padded
as a whole. Batch norm, in the place of biases, and bilinear interpolation in the place of the 2x2
up-convolutions are later additions.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.layers.padding import padded


class Block(nn.Sequential):
    """Two 3x3 convolutions, each with a ReLU.

    Shape: (batch, in_channels, height, width) -> (batch, width, height, width), 4 less without
    padding
    """

    def __init__(
        self, in_channels: int, middle: int, width: int, padded: bool, batch_norm: bool
    ) -> None:
        super().__init__()
        for channels, maps in ((in_channels, middle), (middle, width)):
            self.append(nn.Conv2d(channels, maps, 3, padding=int(padded), bias=not batch_norm))
            if batch_norm:
                self.append(nn.BatchNorm2d(maps))
            self.append(nn.ReLU(inplace=True))


class UNet(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes, ...).

    Padded, for a picture of any size the scores have its size. Without padding they lack
    ``margin`` pixels on each side (572 -> 388 in the paper), and a side plus 4 is a multiple of
    2 ** depth. ``depth`` is how often maps are halved, ``width`` the number of maps of the first
    block; each halving doubles it.
    """

    def __init__(
        self,
        num_classes: int = 2,
        in_channels: int = 1,
        depth: int = 4,
        width: int = 64,
        padded: bool = True,
        batch_norm: bool = False,
        bilinear: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if depth < 1 or width < 2:
            raise ValueError(f"depth is at least 1 and width 2, not {depth} and {width}")
        self.depth, self.padded, self.dropout = depth, padded, dropout
        self.step = 2**depth  # pixels of the picture for one of the smallest map
        self.margin = 0 if padded else 6 * self.step - 4  # 92 at a depth of 4
        # How far the scores of a part look beyond it that begins and ends at multiples of the step.
        self.reach = 6 * self.step - 2  # pixels: 94 at a depth of 4
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList()
        channels = in_channels
        for level, maps in enumerate(widths):
            last = maps // 2 if bilinear and level == depth else maps
            self.down.append(Block(channels, last, last, padded, batch_norm))
            channels = last
        self.up, self.merge = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(depth)):
            maps = widths[level]
            if bilinear:
                self.up.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True))
            else:
                self.up.append(nn.ConvTranspose2d(2 * maps, maps, 2, stride=2))
            out = maps // 2 if bilinear and level > 0 else maps
            self.merge.append(Block(2 * maps, maps, out, padded, batch_norm))
        self.head = nn.Conv2d(width, num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                self.start(module)

    @staticmethod
    def start(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
        """Draw the initial weights: variance 2 / N, N values that one output reads (Section 3)."""
        read = layer.in_channels  # of an up-convolution, whose patches do not overlap
        if isinstance(layer, nn.Conv2d):
            read = layer.weight[0].numel()
        nn.init.normal_(layer.weight, std=(2 / read) ** 0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        x, size = self.fitted(images), images.shape[-2:]
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.max_pool2d(x, 2))
            if level >= self.depth - 1:
                x = F.dropout(x, self.dropout, self.training)
            skips.append(x)
        x = skips.pop()  # (batch, width * 2 ** depth, h / 2 ** depth, w / 2 ** depth)
        for up, merge in zip(self.up, self.merge, strict=True):
            x, skip = up(x), skips.pop()
            x = merge(torch.cat([skip if self.padded else centre(skip, x), x], 1))
        scores = self.head(x)
        return scores[..., : size[0], : size[1]] if self.padded else scores

    def fitted(self, images: Tensor) -> Tensor:
        """Return images whose sides can be halved: padded where the network pads, else as is."""
        height, width = images.shape[-2:]
        if self.padded:
            return padded(images, self.step)
        if (height, width) != (self.input_side(height), self.input_side(width)):
            raise ValueError(
                f"images are {height}x{width}; without padding a side plus 4 is a multiple of "
                f"{self.step}, from {self.input_side(1)} on: {self.input_side(height)}x"
                f"{self.input_side(width)} is the next"
            )
        return images

    def input_side(self, side: int) -> int:
        """Return the smallest legal side of an image, not below ``side``."""
        if self.padded:
            return max(1, side)
        least = max(side, 2 * self.margin + 1)
        return -(-(least + 4) // self.step) * self.step - 4


def centre(maps: Tensor, like: Tensor) -> Tensor:
    """Crop maps around their centre to the size of others (the grey arrows of Figure 1)."""
    height, width = like.shape[-2:]
    top, left = (maps.shape[-2] - height) // 2, (maps.shape[-1] - width) // 2
    return maps[..., top : top + height, left : left + width]
