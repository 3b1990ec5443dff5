"""The departures of GoogLeNet."""

import torch
from torch import Tensor, nn

from torchfolio.verification.departures.base import (
    Departure,
    attributes,
    change_forward,
    forwards,
    initial,
    replace,
)

NEW, OLD = "googlenet", "googlenet_original"


def other_order(module: nn.Module, x: Tensor) -> Tensor:
    """Put the ways side by side in another order."""
    ways = ("branch1", "branch3", "branch2", "branch4")
    return torch.cat([module.get_submodule(way)(x) for way in ways], 1)


def straight(network: nn.Module, layer: str) -> None:
    """Leave a ReLU of the block before out."""
    way = network.get_submodule("inception4a.branch1")
    change_forward(way, lambda module, x: module.get_submodule("conv")(x))


def start_bias(network: nn.Module, layer: str) -> None:
    """Start the bias of a layer at 0.2."""
    nn.init.constant_(network.get_submodule(layer).get_parameter("bias"), 0.2)


INCEPTION = [
    Departure("googlenet-5x5", "5x5 convolutions as in the paper, where torchvision has 3x3",
              {NEW: "inception3a.branch3.1.conv"},
              lambda network, layer: replace(
                  network, layer, nn.Conv2d(16, 32, 5, padding=2, bias=False))),
    Departure("googlenet-epsilon", "torch's epsilon of 0.00001", {NEW: "conv1.bn"},
              attributes(nn.BatchNorm2d, eps=1e-5)),
    Departure("googlenet-rounding", "pools that round down", {NEW: "conv2"},
              lambda network, layer: attributes(ceil_mode=False)(network, "pool")),
    Departure("googlenet-order", "the ways of a block in another order", {NEW: "inception3a"},
              forwards(other_order)),
    Departure("googlenet-dropout", "the paper's dropout of 0.4", {NEW: "dropout"},
              attributes(p=0.4)),
    Departure("googlenet-start", "weights that start ten times as large", {NEW: "conv1.conv"},
              initial(lambda weight: nn.init.normal_(weight, std=0.1), nn.Conv2d)),
    Departure("googlenet-glorot", "Glorot's bound by fan-in and fan-out for Caffe's by fan-in",
              {OLD: "conv1.conv"}, initial(nn.init.xavier_uniform_, nn.Conv2d, nn.Linear)),
    Departure("googlenet-bias", "a classifier whose bias starts as the others, at 0.2",
              {OLD: "fc"}, start_bias),
    Departure("googlenet-norm", "AlexNet's k of 2", {OLD: "conv2"},
              lambda network, layer: attributes(k=2.0)(network, "norm")),
    Departure("googlenet-relu", "no ReLU in a block", {OLD: "inception4b"}, straight),
]  # fmt: skip
