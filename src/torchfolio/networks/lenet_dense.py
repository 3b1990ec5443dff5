"""LeNet-5 as it is usually built today.

After LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition",
1998; the paper's own form is in lenet.py.

Differences from the paper: C3 reads every S2 map, subsampling is a plain average without weights,
the squash a plain tanh, the output linear under cross-entropy; weights start as PyTorch's.
"""

import torch
from torch import Tensor, nn

from torchfolio.layers.sizes import require_size


class LeNet5(nn.Module):
    """Shape: (batch, in_channels, 32, 32) -> class scores (batch, num_classes)."""

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(in_channels, 6, kernel_size=5)
        self.s2 = nn.AvgPool2d(2)
        self.c3 = nn.Conv2d(6, 16, kernel_size=5)
        self.s4 = nn.AvgPool2d(2)
        self.c5 = nn.Linear(16 * 5 * 5, 120)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        require_size("lenet5", images, self.c1.in_channels, 32, 32)
        x = self.s2(torch.tanh(self.c1(images)))  # (batch, 6, 14, 14)
        x = self.s4(torch.tanh(self.c3(x)))  # (batch, 16, 5, 5)
        x = torch.tanh(self.c5(x.flatten(1)))  # (batch, 120)
        return self.output(torch.tanh(self.f6(x)))
