"""The departures of Caffe's LeNet."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.verification.departures.base import (
    Change,
    Departure,
    Plant,
    attributes,
    change_forward,
    change_input,
    initial,
    outputs,
    replace,
    transposed,
    without_bias,
)

NAME = "lenet_caffe"


def hidden(change: Change) -> Plant:
    """Return a plant with another activation after ip1."""

    def forward(network: nn.Module, images: Tensor) -> Tensor:
        x = images
        for name in ("conv1", "pool1", "conv2", "pool2"):
            x = network.get_submodule(name)(x)
        x = change(network.get_submodule("ip1")(x.flatten(1)))
        return network.get_submodule("ip2")(x)

    return lambda network, layer: change_forward(network, forward)


def by_columns(network: nn.Module, layer: str) -> None:
    """Flatten the maps of pool2 by columns."""
    change_input(
        network.get_submodule(layer),
        lambda x: transposed(x.reshape(-1, 50, 4, 4)).flatten(1),
    )


def channels_last(network: nn.Module, layer: str) -> None:
    """Flatten the maps of pool2 with the channel innermost."""
    change_input(
        network.get_submodule(layer),
        lambda x: x.reshape(-1, 50, 4, 4).permute(0, 2, 3, 1).flatten(1),
    )


def glorot(weight: Tensor) -> Tensor:
    """Start within Glorot's own bound, sqrt(6 / (fan-in + fan-out))."""
    return nn.init.xavier_uniform_(weight)


def default_biases(network: nn.Module, layer: str) -> None:
    """Start biases as torch does."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = module.weight[0].numel() ** -0.5
            nn.init.uniform_(module.get_parameter("bias"), -bound, bound)


def averages(network: nn.Module, layer: str) -> None:
    """Average over the windows."""
    replace(network, layer, nn.AvgPool2d(2))


LENET_CAFFE = [
    Departure("caffe-average", "averages for maxima, as in 1998", {NAME: "pool1"}, averages),
    Departure("caffe-average-second", "averages for maxima in the second pool", {NAME: "pool2"},
              averages),
    Departure("caffe-overlap", "overlapping 3x3 maxima", {NAME: "pool1"},
              attributes(kernel_size=3, stride=2, padding=1)),
    Departure("caffe-relu-added", "ReLU after the first convolution, where Caffe has none",
              {NAME: "conv1"}, outputs(F.relu)),
    Departure("caffe-relu-pooled", "ReLU after the second pool", {NAME: "pool2"}, outputs(F.relu)),
    Departure("caffe-relu-missing", "no ReLU after ip1", {NAME: "ip2"}, hidden(lambda x: x)),
    Departure("caffe-relu-leaky", "a leaky ReLU, slope 0.01", {NAME: "ip2"},
              hidden(lambda x: F.leaky_relu(x, 0.01))),
    Departure("caffe-tanh", "tanh for ReLU", {NAME: "ip2"}, hidden(torch.tanh)),
    Departure("caffe-padding", "padding within conv1, as for 32x32", {NAME: "conv1"},
              attributes(padding=(2, 2))),
    Departure("caffe-bias-missing", "no bias in conv2", {NAME: "conv2"}, without_bias),
    Departure("caffe-width", "120 hidden units, as in 1998", {NAME: "ip1"},
              lambda network, layer: replace(network, layer, nn.Linear(800, 120))),
    Departure("caffe-columns", "maps flattened by columns", {NAME: "ip1"}, by_columns),
    Departure("caffe-channels", "maps flattened with the channel innermost", {NAME: "ip1"},
              channels_last),
    Departure("caffe-softmax", "a softmax in the network", {NAME: "ip2"},
              outputs(lambda x: x.softmax(1))),
    Departure("caffe-start", "Glorot's bound by fan-in and fan-out for Caffe's by fan-in",
              {NAME: "conv1"}, initial(glorot, nn.Conv2d, nn.Linear)),
    Departure("caffe-biases", "torch's start of the biases for zero", {NAME: "conv1"},
              default_biases),
]  # fmt: skip
