"""GoogLeNet (Inception v1): as in the paper, and with batch norm as torchvision has it.

Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, arXiv 1409.4842. Layers: Table 1.
Auxiliary heads: Section 5; they are for training and are not computed in evaluation mode.

Differences: the auxiliary heads pool 14x14 maps as in the paper and maps of other sizes to 4x4,
torchvision's form all of them to 4x4. torchvision's form has batch norm (epsilon 0.001) instead of
biases and response normalisation, a 3x3 convolution for each 5x5, less dropout, and a last pool of
2x2. The original has the response normalisation and the initial weights of Caffe's replica,
models/bvlc_googlenet; the paper names neither.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.layers.fillers import xavier
from torchfolio.layers.local_response import LocalResponseNorm

# Table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj; a pool follows 3b and 4e.
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
AUXILIARY = {"4a": ("aux1", 512), "4d": ("aux2", 528)}  # Section 5: and their channels
CLASSIFIERS = ("fc", "aux1.fc2", "aux2.fc2")  # the layers that give scores
SHARE = 0.3  # Section 5: of each auxiliary loss
Loss = Callable[[Tensor, Tensor], Tensor]


class Convolution(nn.Module):
    """A convolution and ReLU: with a bias, or with batch norm in between."""

    def __init__(
        self, in_channels: int, width: int, size: int, batch_norm: bool, stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, width, size, stride, padding=size // 2, bias=not batch_norm
        )
        self.bn = nn.BatchNorm2d(width, eps=0.001) if batch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Inception(nn.Module):
    """Four ways side by side (Figure 2 b): 1x1; 1x1, 3x3; 1x1, 5x5; 3x3 pool, 1x1.

    Shape: (batch, in_channels, height, width) -> (batch, sum of the ways' widths, height, width)
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], batch_norm: bool) -> None:
        super().__init__()
        one, three_in, three, five_in, five, pooled = widths

        def conv(channels: int, width: int, size: int) -> Convolution:
            return Convolution(channels, width, size, batch_norm)

        self.branch1 = conv(in_channels, one, 1)
        self.branch2 = nn.Sequential(conv(in_channels, three_in, 1), conv(three_in, three, 3))
        large = 3 if batch_norm else 5  # torchvision's form has 3x3 here too
        self.branch3 = nn.Sequential(conv(in_channels, five_in, 1), conv(five_in, five, large))
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), conv(in_channels, pooled, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class Auxiliary(nn.Module):
    """A small classifier on maps in the middle, which brings gradients there (Section 5)."""

    def __init__(self, in_channels: int, num_classes: int, batch_norm: bool) -> None:
        super().__init__()
        self.as_printed = not batch_norm
        self.conv = Convolution(in_channels, 128, 1, batch_norm)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(0.7)

    def forward(self, x: Tensor) -> Tensor:
        printed = self.as_printed and x.shape[2:] == (14, 14)
        x = F.avg_pool2d(x, 5, stride=3) if printed else F.adaptive_avg_pool2d(x, 4)
        x = torch.flatten(self.conv(x), 1)  # (batch, 2048)
        return self.fc2(self.dropout(F.relu(self.fc1(x))))


class GoogLeNet(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes).

    Height and width from 15 on; 224 in the paper. With ``aux_logits`` it returns in training mode
    (scores, those of the second auxiliary head, those of the first). ``transform_input`` takes
    images normalised as ImageNet's back to the mean and deviation of 0.5 that torchvision's
    published weights were trained with.
    """

    class_modules = ("aux1", "aux2", "fc")  # all have the size of the number of classes

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        batch_norm: bool = True,
        aux_logits: bool = False,
        transform_input: bool = False,
    ) -> None:
        super().__init__()
        if transform_input and in_channels != 3:
            raise ValueError("transform_input is for images of 3 channels")
        self.transform_input, self.aux_logits = transform_input, aux_logits
        norm = (
            nn.Identity() if batch_norm else LocalResponseNorm(5, alpha=1e-4 / 5, beta=0.75, k=1.0)
        )
        self.norm = norm
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.last_pool = nn.MaxPool2d(2, stride=2, ceil_mode=True) if batch_norm else self.pool
        self.conv1 = Convolution(in_channels, 64, 7, batch_norm, stride=2)
        self.conv2 = Convolution(64, 64, 1, batch_norm)
        self.conv3 = Convolution(64, 192, 3, batch_norm)
        channels = 192
        for name, widths in INCEPTIONS.items():
            self.add_module(f"inception{name}", Inception(channels, widths, batch_norm))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        if aux_logits:
            for head, width in AUXILIARY.values():
                self.add_module(head, Auxiliary(width, num_classes, batch_norm))
        self.avgpool = nn.AdaptiveAvgPool2d(1)  # 7x7 at 224
        self.dropout = nn.Dropout(0.2 if batch_norm else 0.4)  # Table 1: 40 %
        self.fc = nn.Linear(channels, num_classes)
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                if batch_norm:
                    nn.init.trunc_normal_(module.weight, std=0.01, a=-2, b=2)
                else:  # Caffe's
                    xavier(module, bias=0.0 if name in CLASSIFIERS else 0.2)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        x = renormalised(images) if self.transform_input else images
        x = self.norm(self.pool(self.conv1(x)))  # (batch, 64, h / 4, w / 4)
        x = self.pool(self.norm(self.conv3(self.conv2(x))))  # (batch, 192, h / 8, w / 8)
        heads = {}
        for name in INCEPTIONS:
            x = self.get_submodule(f"inception{name}")(x)
            if name in AUXILIARY and self.aux_logits and self.training:
                heads[name] = self.get_submodule(AUXILIARY[name][0])(x)
            if name in ("3b", "4e"):  # to h / 16, and to h / 32
                x = (self.pool if name == "3b" else self.last_pool)(x)
        scores = self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))
        return (scores, heads["4d"], heads["4a"]) if heads else scores

    def loss(
        self, outputs: Tensor | tuple[Tensor, ...], targets: Tensor, criterion: Loss
    ) -> Tensor:
        """Return the loss by ``criterion``, with 0.3 of each auxiliary head's (Section 5)."""
        if isinstance(outputs, Tensor):
            return criterion(outputs, targets)
        scores, *heads = outputs
        return criterion(scores, targets) + SHARE * sum(criterion(h, targets) for h in heads)


def renormalised(images: Tensor) -> Tensor:
    """Return images of ImageNet's mean and deviation with a mean and deviation of 0.5."""
    mean = images.new_tensor([0.485, 0.456, 0.406])[:, None, None]
    std = images.new_tensor([0.229, 0.224, 0.225])[:, None, None]
    return (images * std + mean - 0.5) / 0.5
