"""The small network of Caffe's "CIFAR-10 quick" example, in the form that tutorials give it.

Caffe, examples/cifar10, after Krizhevsky's cuda-convnet, 2011: three 5x5 convolutions, each with a
pool, and two linear layers.

Differences: as in the tutorials there is no activation (the example has one after each convolution,
and averages in the second and third pool). Weights start as PyTorch's.
"""

import torch
from torch import Tensor, nn

from torchfolio.layers.sizes import require_size


class CifarQuick(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes).

    ``image_size`` is (height, width), from 8 on; 32x32 in the example.
    """

    def __init__(
        self, num_classes: int = 10, in_channels: int = 3, image_size: tuple[int, int] = (32, 32)
    ) -> None:
        super().__init__()
        rows, columns = (side // 8 for side in image_size)  # three pools
        if min(rows, columns) < 1:
            raise ValueError(f"images of {image_size} leave no map: the smallest are 8x8")
        self.size = (in_channels, *image_size)
        self.conv1 = nn.Conv2d(in_channels, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 32, 5, padding=2)
        self.conv3 = nn.Conv2d(32, 64, 5, padding=2)
        self.pool = nn.MaxPool2d(2)
        self.ip1 = nn.Linear(64 * rows * columns, 64)
        self.ip2 = nn.Linear(64, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        require_size("This cifar_quick", images, *self.size)
        x = self.pool(self.conv1(images))  # (batch, 32, 16, 16) of 32 pixels
        x = self.pool(self.conv2(x))  # (batch, 32, 8, 8)
        x = self.pool(self.conv3(x))  # (batch, 64, 4, 4)
        return self.ip2(self.ip1(torch.flatten(x, 1)))
