"""The departures of the small CIFAR network."""

from torch import nn
from torch.nn import functional as F

from torchfolio.verification.departures.base import (
    Departure,
    attributes,
    change_input,
    initial,
    outputs,
    replace,
    transposed,
    without_bias,
    zero_biases,
)

NAME = "cifar_quick"


def by_columns(network: nn.Module, layer: str) -> None:
    """Flatten the last maps by columns."""
    change_input(
        network.get_submodule(layer),
        lambda x: transposed(x.reshape(-1, 64, 4, 4)).flatten(1),
    )


QUICK = [
    Departure("quick-relu", "ReLU after the first convolution, as in Caffe's example",
              {NAME: "conv1"}, outputs(F.relu), here=True),
    Departure("quick-relu-hidden", "ReLU between the linear layers", {NAME: "ip1"},
              outputs(F.relu)),
    Departure("quick-average", "averages for maxima", {NAME: "conv2"},
              lambda network, layer: replace(network, "pool", nn.AvgPool2d(2))),
    Departure("quick-overlap", "maxima of 3x3 that overlap", {NAME: "conv2"},
              lambda network, layer: attributes(kernel_size=3, stride=2, padding=1)(
                  network, "pool")),
    Departure("quick-padding", "reflection where zeros are padded", {NAME: "conv1"},
              attributes(padding_mode="reflect")),
    Departure("quick-columns", "maps flattened by columns", {NAME: "ip1"}, by_columns),
    Departure("quick-width", "32 maps in the third convolution", {NAME: "conv3"},
              lambda network, layer: replace(network, layer, nn.Conv2d(32, 32, 5, padding=2))),
    Departure("quick-bias", "no bias in the classifier", {NAME: "ip2"}, without_bias),
    Departure("quick-start", "N(0, 0.01) for torch's start", {NAME: "conv1"},
              initial(lambda weight: nn.init.normal_(weight, std=0.01), nn.Conv2d, nn.Linear)),
    Departure("quick-biases", "biases that start at zero", {NAME: "conv1"}, zero_biases),
]  # fmt: skip
