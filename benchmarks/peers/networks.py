"""The networks in plain PyTorch, as tutorials write them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def make_network(name: str, size: int, start: str = "plain") -> nn.Module:
    """Return a network for 10 classes; torchvision's where it has it. ``start`` is a request's."""
    if name == "lenet5":
        return lenet5()
    if name == "lenet_caffe":
        return lenet_caffe()
    if name == "mlp":
        return mlp(size)
    if name == "resnet20":
        return ResNet20()
    from torchvision import models

    settings = {"zero_init_residual": True} if start == "zero" else {}
    return models.get_model(name, num_classes=10, **settings)


def lenet5() -> nn.Sequential:
    """LeNet-5 as it is usually built (dense C3, tanh, average pooling), 61,706 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(),
        nn.Linear(84, 10),
    )  # fmt: skip


def lenet_caffe() -> nn.Sequential:
    """The LeNet of PyTorch's and Caffe's first examples, 431,080 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip


def mlp(size: int) -> nn.Sequential:
    """784-512-512-10, 669,706 parameters."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(size * size, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
        nn.Linear(512, 10),
    )  # fmt: skip


class Block(nn.Module):
    """Two convolutions beside a shortcut that pads with zeros."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.extra = stride, channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.extra:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra // 2, self.extra // 2))
        return F.relu(out + x)


class ResNet20(nn.Module):
    """ResNet-20 for pictures of 32x32 (He et al. 2016, Section 4.2), 269,722 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks = [Block(16, 16, 1) for _ in range(3)]
        blocks += [Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1)]
        blocks += [Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1)]
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(64, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.bn1(self.conv1(images))))
        return self.linear(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
