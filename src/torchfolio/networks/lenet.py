"""LeNet-5, the convolutional network for handwritten digits.

LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.
Layer sizes: Section II-B and Figure 2.

Differences: biases start as PyTorch's, subsampling as an average; the ten codes are drawn here in
the manner of Figure 3; the value of j in Equation 9, which the paper does not give, is ours.
"""

import random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.layers.sizes import require_size

# Table I: the S2 maps that each of the 16 C3 maps reads.
C3_INPUTS = [
    [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [0, 4, 5], [0, 1, 5],
    [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [0, 3, 4, 5], [0, 1, 4, 5], [0, 1, 2, 5],
    [0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5], [0, 1, 2, 3, 4, 5],
]  # fmt: skip

# Our drawing of the digits 0 to 9, each 7 wide and 12 high, after Figure 3.
DIGITS = """
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
..###.. ...#... .#####. .#####. ....##. ####### ..####. ####### .#####. .#####.
.##.##. ..##... ##...## ##...## ...###. ##..... .##.... ##...## ##...## ##...##
##...## .###... .....## .....## ..#.##. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## .#..##. ##..... ##..... ....##. ##...## ##...##
##...## ...##.. ....##. ..####. ##..##. ######. ######. ....##. .#####. .######
##...## ...##.. ...##.. .....## ####### .....## ##...## ...##.. ##...## .....##
##...## ...##.. ..##... .....## ....##. .....## ##...## ...##.. ##...## .....##
##...## ...##.. .##.... .....## ....##. .....## ##...## ..##... ##...## .....##
.##.##. ...##.. ##..... ##...## ....##. ##...## ##...## ..##... ##...## ....##.
..###.. .###### ####### .#####. ....##. .#####. .#####. ..##... .#####. .####..
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
"""


def class_codes(num_classes: int) -> Tensor:
    """Return the target of F6 for each class: (num_classes, 84), -1 or 1 (Section II-B).

    Ten classes have the digits' pictures, others random codes, which the paper names as well.
    """
    if num_classes == 10:
        rows = [row.split() for row in DIGITS.split("\n") if row]
        drawn = ["".join(row[digit] for row in rows) for digit in range(10)]
        return torch.tensor([[1.0 if dot == "#" else -1.0 for dot in code] for code in drawn])
    coin = random.Random(1998)
    return torch.tensor([[coin.choice((-1.0, 1.0)) for _ in range(84)] for _ in range(num_classes)])


def squash(x: Tensor) -> Tensor:
    """Apply the scaled tanh of Appendix A."""
    return 1.7159 * torch.tanh(2 / 3 * x)


def start(weight: Tensor, fan_in: int) -> None:
    """Draw initial weights from U(-2.4 / fan-in, 2.4 / fan-in) (Appendix A)."""
    nn.init.uniform_(weight, -2.4 / fan_in, 2.4 / fan_in)


class Subsampling(nn.Module):
    """Sum each 2x2 patch, then scale and shift it per map.

    Shape: (batch, channels, height, width) -> (batch, channels, height / 2, width / 2)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.full((channels, 1, 1), 0.25))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        return self.coefficient * 4 * F.avg_pool2d(maps, 2) + self.bias


class ConnectionTable(nn.Module):
    """5x5 convolution whose 16 maps read only the S2 maps of Table I.

    Every S2 map feeds ten of them: one kernel for each pair, then a sum for each C3 map.
    Shape: (batch, 6, height, width) -> (batch, 16, height - 4, width - 4)
    """

    feeds: Tensor  # (60,): the C3 map of each pair, those of S2 map 0 first

    def __init__(self) -> None:
        super().__init__()
        feeds = [c3 for s2 in range(6) for c3, maps in enumerate(C3_INPUTS) if s2 in maps]
        self.register_buffer("feeds", torch.tensor(feeds), persistent=False)
        self.pairs = nn.Conv2d(6, len(feeds), kernel_size=5, groups=6, bias=False)
        self.bias = nn.Parameter(torch.zeros(16, 1, 1))
        for kernel, c3 in zip(self.pairs.weight, feeds, strict=True):
            start(kernel, fan_in=25 * len(C3_INPUTS[c3]))

    def forward(self, maps: Tensor) -> Tensor:
        pairs = self.pairs(maps)  # (batch, 60, height - 4, width - 4)
        sums = self.bias.expand(pairs.shape[0], -1, *pairs.shape[2:])
        return sums.index_add(1, self.feeds, pairs.to(sums.dtype))  # bf16 sums in float32


class RadialBasis(nn.Module):
    """Distance to each class's fixed code (Equation 7), negated: the higher wins.

    Shape: (batch, 84) -> (batch, num_classes)
    """

    codes: Tensor  # (num_classes, 84), -1 or 1

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)

    def forward(self, features: Tensor) -> Tensor:
        return -(features.unsqueeze(1) - self.codes).square().sum(2)


class LeNet5(nn.Module):
    """Shape: (batch, 1, 32, 32) -> class scores (batch, num_classes).

    ``j`` is the constant of Equation 9: distances far above it are not pushed further up.
    """

    def __init__(self, num_classes: int = 10, j: float = 0.1) -> None:
        super().__init__()
        self.j = j
        self.c1 = nn.Conv2d(1, 6, kernel_size=5)
        self.s2 = Subsampling(6)
        self.c3 = ConnectionTable()
        self.s4 = Subsampling(16)
        self.c5 = nn.Conv2d(16, 120, kernel_size=5)
        self.f6 = nn.Linear(120, 84)
        self.output = RadialBasis(class_codes(num_classes))
        for layer in (self.c1, self.c5, self.f6):
            start(layer.weight, fan_in=layer.weight[0].numel())

    def forward(self, images: Tensor) -> Tensor:
        require_size("lenet5_original", images, 1, 32, 32)
        x = squash(self.c1(images))  # (batch, 6, 28, 28)
        x = squash(self.s2(x))  # (batch, 6, 14, 14)
        x = squash(self.c3(x))  # (batch, 16, 10, 10)
        x = squash(self.s4(x))  # (batch, 16, 5, 5)
        x = squash(self.c5(x)).flatten(1)  # (batch, 120)
        return self.output(squash(self.f6(x)))

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return Equation 9: mean of y_label + log(e^-j + sum_i e^-y_i), where y = -outputs."""
        outputs = outputs.float()
        right = -outputs.gather(1, labels.unsqueeze(1)).squeeze(1)  # (batch,)
        return (right + F.pad(outputs, (0, 1), value=-self.j).logsumexp(1)).mean()
