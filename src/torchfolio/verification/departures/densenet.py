"""The departures of DenseNet."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.verification.departures.base import (
    Departure,
    attributes,
    change_forward,
    forwards,
    initial,
    replace,
)

LARGE, SMALL, BC = "densenet121", "densenet40_k12", "densenet100_k12_bc"


def newest_first(block: nn.Module, maps: Tensor) -> Tensor:
    """Put what a layer adds before what it read."""
    for layer in block.children():
        maps = torch.cat([layer(maps), maps], 1)
    return maps


def no_last_relu(network: nn.Module, layer: str) -> None:
    """Average what the last norm gives."""

    def forward(module: nn.Module, images: Tensor) -> Tensor:
        x = module.get_submodule("features")(images)
        return module.get_submodule("classifier")(F.adaptive_avg_pool2d(x, 1).flatten(1))

    change_forward(network, forward)


DENSE = [
    Departure("densenet-order", "the newest maps first", {SMALL: "features.denseblock1"},
              forwards(newest_first)),
    Departure("densenet-relu", "no ReLU after the last norm", {LARGE: "classifier"}, no_last_relu),
    Departure("densenet-maximum", "a maximum between blocks", {LARGE: "features.transition1.pool"},
              lambda network, layer: replace(network, layer, nn.MaxPool2d(2))),
    Departure("densenet-epsilon", "Keras's epsilon of 0.001", {BC: "features.denseblock1"},
              attributes(nn.BatchNorm2d, eps=1e-3)),
    Departure("densenet-stem", "no padding in the first pool", {LARGE: "features.pool0"},
              attributes(padding=0), here=True),
    Departure("densenet-bottleneck", "twice the growth rate in a bottleneck, for four times",
              {BC: "features.denseblock1.denselayer1.conv1"},
              lambda network, layer: replace(network, layer, nn.Conv2d(24, 24, 1, bias=False))),
    Departure("densenet-start", "the variance of the backward pass", {LARGE: "features.conv0"},
              initial(lambda weight: nn.init.kaiming_normal_(weight, mode="fan_out"), nn.Conv2d)),
]  # fmt: skip
