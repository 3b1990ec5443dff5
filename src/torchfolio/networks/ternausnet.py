"""TernausNet with VGG16: a U-Net whose contracting path is VGG16, enlarged by up-convolutions.

Iglovikov, Shvets, "TernausNet: U-Net with VGG11 Encoder Pre-Trained on ImageNet for Image
Segmentation", 2018, arXiv 1801.05746. Layers: Section 2 and Figure 1; their numbers of maps with a
VGG16: the authors' UNet16, with its learnt enlarging.

Differences: the paper describes the form with VGG11. Layers of VGG16 start as torchvision's, the
others as PyTorch's. A picture whose sides cannot be halved five times is padded as a whole.
"""

import torch
from torch import Tensor, nn

from torchfolio.layers.padding import padded
from torchfolio.networks.unet_vgg16 import Encoder, of_vgg16

# Of each step of the expanding path: maps of the convolution, and of the up-convolution after it.
STEPS = ((512, 256), (512, 256), (512, 256), (256, 64), (128, 32))
SKIPS = (0, 512, 512, 256, 128)  # maps of the contracting path that a step reads besides
LAST = (64, 32)  # the first maps, and those of the convolution that joins them


class Step(nn.Sequential):
    """A 3x3 convolution, and a 4x4 up-convolution with stride 2, each with a ReLU.

    Shape: (batch, in_channels, height, width) -> (batch, width, 2 * height, 2 * width)
    """

    def __init__(self, in_channels: int, middle: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, middle, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(middle, width, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
        )


class TernausNet16(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes, ...).

    Scores have the size of the images, which may be any. ``reach`` is how many pixels a score looks
    away, at most.
    """

    reach = 256
    adapted = staticmethod(of_vgg16)
    body = ("encoder",)  # what weights of a VGG16 bring: less than half of all
    step = 32  # pixels of the picture for one of the smallest map

    def __init__(self, num_classes: int = 1, in_channels: int = 3) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, batch_norm=False, pooled=True)
        self.up = nn.ModuleList()
        channels = 512
        for (middle, width), skip in zip(STEPS, SKIPS, strict=True):
            self.up.append(Step(channels + skip, middle, width))
            channels = width
        self.last = nn.Sequential(nn.Conv2d(channels + LAST[0], LAST[1], 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(LAST[1], num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        *skips, x = self.encoder(padded(images, self.step))  # x: (batch, 512, height / 32, ...)
        for up in self.up:
            x = torch.cat([up(x), skips.pop()], 1)
        return self.head(self.last(x))[..., :height, :width]
