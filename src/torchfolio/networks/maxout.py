"""Maxout networks for MNIST: permutation-invariant, and convolutional.

Goodfellow, Warde-Farley, Mirza, Courville, Bengio, "Maxout Networks", ICML 2013, arXiv 1302.4389.
Section 5.1; sizes and dropout: the authors' settings (pylearn2, papers/maxout: mnist_pi, mnist).

Differences: ``maxout_conv_mnist`` has one bias a channel where the authors' has one a channel and
location; ``untied`` has theirs. The pixels that dropout leaves are scaled by 1 / 0.8, as usual
today; the authors' are not.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.layers.maxout import Maxout, bound_norms
from torchfolio.layers.sizes import require_size

INIT_RANGE = 0.005  # weights start in U(-0.005, 0.005)
LARGEST_NORM = 1.9365  # of each unit's weights, in every layer but the first convolution
LARGEST_FIRST_KERNEL = 0.9  # of each kernel of the first convolution
DROP_INPUT, DROP_HIDDEN = 0.2, 0.5  # the shares of pixels and of hidden units dropped


def start(network: nn.Module) -> None:
    """Give every weight its initial value."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.uniform_(layer.weight, -INIT_RANGE, INIT_RANGE)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class MaxoutMLP(nn.Module):
    """Shape: (batch, in_channels, *image_size) -> class scores (batch, num_classes).

    Two hidden layers of ``units`` maxout units of ``pieces`` linear functions each, with dropout.
    """

    def __init__(
        self,
        units: int = 240,
        pieces: int = 5,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: tuple[int, int] = (28, 28),
    ) -> None:
        super().__init__()
        self.size = (in_channels, *image_size)
        self.h0 = Maxout(in_channels * image_size[0] * image_size[1], units, pieces)
        self.h1 = Maxout(units, units, pieces)
        self.y = nn.Linear(units, num_classes)
        start(self)

    def forward(self, images: Tensor) -> Tensor:
        require_size("This maxout_mlp", images, *self.size)
        x = self.h0(F.dropout(images.flatten(1), DROP_INPUT, self.training))
        x = self.h1(F.dropout(x, DROP_HIDDEN, self.training))
        return self.y(F.dropout(x, DROP_HIDDEN, self.training))

    def constrain(self) -> None:
        """Bound the norm of each unit's weights; called after every update."""
        for layer in (self.h0.linear, self.h1.linear, self.y):
            bound_norms(layer.weight, LARGEST_NORM)


class MaxoutConv(nn.Module):
    """Convolution, bias, maximum over pieces, then the maximum over a window.

    Consecutive channels form the pieces of one map. The number of windows is rounded up.
    ``size`` is the (height, width) of the input. ``untied`` has a bias for each location.
    Shape: (batch, in_channels, *size) -> (batch, channels, *self.out_size)
    """

    channels_last = False  # the pieces of a map are planes side by side

    def __init__(
        self,
        in_channels: int,
        channels: int,
        pieces: int,
        kernel: int,
        padding: int,
        window: int,
        size: tuple[int, int],
        untied: bool,
    ) -> None:
        super().__init__()
        self.pieces = pieces
        self.conv = nn.Conv2d(in_channels, channels * pieces, kernel, padding=padding, bias=False)
        self.pool = nn.MaxPool2d(window, stride=2, ceil_mode=True)
        height, width = (n + 2 * padding - kernel + 1 for n in size)
        located = (height, width) if untied else (1, 1)
        self.bias = nn.Parameter(torch.zeros(channels * pieces, *located))
        self.out_size = (-(-(height - window) // 2) + 1, -(-(width - window) // 2) + 1)
        if min(height, width, *self.out_size) < 1:
            raise ValueError("the image is smaller than the kernels: the smallest is 16x16")

    def forward(self, maps: Tensor) -> Tensor:
        pieces = (self.conv(maps) + self.bias).unflatten(1, (-1, self.pieces))
        return self.pool(pieces.amax(2))


class MaxoutConvNet(nn.Module):
    """Shape: (batch, in_channels, *image_size) -> class scores (batch, num_classes).

    ``image_size`` is (height, width), at least 16x16.
    """

    def __init__(
        self,
        untied: bool = False,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: tuple[int, int] = (28, 28),
    ) -> None:
        super().__init__()
        self.size = (in_channels, *image_size)
        self.h0 = MaxoutConv(in_channels, 48, 2, 8, 0, 4, image_size, untied)
        self.h1 = MaxoutConv(48, 48, 2, 8, 3, 4, self.h0.out_size, untied)
        self.h2 = MaxoutConv(48, 24, 4, 5, 3, 2, self.h1.out_size, untied)
        height, width = self.h2.out_size
        self.y = nn.Linear(24 * height * width, num_classes)
        start(self)

    def forward(self, images: Tensor) -> Tensor:
        require_size("This maxout_conv_mnist", images, *self.size)
        x = self.h0(F.dropout(images, DROP_INPUT, self.training))  # (batch, 48, 10, 10)
        x = self.h1(F.dropout(x, DROP_HIDDEN, self.training))  # (batch, 48, 4, 4)
        x = self.h2(F.dropout(x, DROP_HIDDEN, self.training))  # (batch, 24, 3, 3)
        return self.y(F.dropout(x.flatten(1), DROP_HIDDEN, self.training))

    def constrain(self) -> None:
        """Bound the norm of each kernel and of each class's weights; called after every update."""
        bound_norms(self.h0.conv.weight, LARGEST_FIRST_KERNEL)
        for layer in (self.h1.conv, self.h2.conv, self.y):
            bound_norms(layer.weight, LARGEST_NORM)
