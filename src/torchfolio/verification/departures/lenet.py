"""The departures of both forms of LeNet-5."""

from collections.abc import Callable
from typing import Any

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
    forwards,
    initial,
    outputs,
    replace,
    transposed,
)

ORIGINAL = "lenet5_original"


def squash(x: Tensor) -> Tensor:
    """Return 1.7159 tanh(2x / 3)."""
    return 1.7159 * torch.tanh(2 / 3 * x)


def activation(change: Change, *places: str) -> Plant:
    """Return a plant with another activation after some layers, the squash after all others."""

    def forward(network: nn.Module, images: Tensor) -> Tensor:
        x = images
        for name in ("c1", "s2", "c3", "s4", "c5", "f6"):
            x = network.get_submodule(name)(x.flatten(1) if name == "f6" else x)
            x = change(x) if name in places else squash(x)
        return network.get_submodule("output")(x)

    return lambda network, layer: change_forward(network, forward)


def today_activation(change: Change, *places: str) -> Plant:
    """Return the same for the form of today, whose subsampling has no activation."""

    def forward(network: nn.Module, images: Tensor) -> Tensor:
        x = images
        for name in ("c1", "s2", "c3", "s4", "c5", "f6"):
            x = network.get_submodule(name)(x.flatten(1) if name == "c5" else x)
            if not name.startswith("s"):
                x = change(x) if name in places else torch.tanh(x)
        return network.get_submodule("output")(x)

    return lambda network, layer: change_forward(network, forward)


def today_by_columns(network: nn.Module, layer: str) -> None:
    """Flatten the maps of S4 by columns."""
    change_input(
        network.get_submodule(layer),
        lambda x: transposed(x.reshape(-1, 16, 5, 5)).flatten(1),
    )


ALL = ("c1", "s2", "c3", "s4", "c5", "f6")


def dense_table(network: nn.Module, layer: str) -> None:
    """Let every C3 map read every S2 map."""
    replace(network, layer, nn.Conv2d(6, 16, 5))


def wrong_row(network: nn.Module, layer: str) -> None:
    """Let one kernel of C3 feed the map beside its own."""
    feeds = network.get_submodule(layer).get_buffer("feeds")
    feeds[17] += 1


def plain_average(network: nn.Module, layer: str) -> None:
    """Average without coefficient and bias."""
    replace(network, layer, nn.AvgPool2d(2))


def average_for_sum(layer: nn.Module, x: Tensor) -> Tensor:
    """Average each patch where the paper sums it."""
    return layer.get_parameter("coefficient") * F.avg_pool2d(x, 2) + layer.get_parameter("bias")


def maximum_for_sum(layer: nn.Module, x: Tensor) -> Tensor:
    """Take four times the maximum of each patch where the paper sums it."""
    largest = F.max_pool2d(x, 2)
    return layer.get_parameter("coefficient") * 4 * largest + layer.get_parameter("bias")


def bias_before_coefficient(layer: nn.Module, x: Tensor) -> Tensor:
    """Add the bias before the coefficient multiplies."""
    sums = 4 * F.avg_pool2d(x, 2) + layer.get_parameter("bias")
    return layer.get_parameter("coefficient") * sums


def trained_codes(network: nn.Module, layer: str) -> None:
    """Train the codes."""
    output = network.get_submodule(layer)
    codes = output.get_buffer("codes")
    del output.codes
    output.codes = nn.Parameter(codes)


def codes_of_zeros(network: nn.Module, layer: str) -> None:
    """Draw the codes with 0 and 1."""
    network.get_submodule(layer).get_buffer("codes").clamp_(min=0)


def two_codes_alike(network: nn.Module, layer: str) -> None:
    """Draw two digits alike."""
    codes = network.get_submodule(layer).get_buffer("codes")
    codes[9] = codes[4]


def loss_without_j(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return Equation 9 without its constant."""
    return F.cross_entropy(outputs, labels)


def other_loss(change: Callable[[Tensor, Tensor], Tensor]) -> Plant:
    """Return a plant of another loss."""
    return lambda network, layer: setattr(network, "loss", change)


def squared_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return Equation 8: the distance to the right code alone."""
    return -outputs.gather(1, labels.unsqueeze(1)).mean()


def summed_loss(network: nn.Module, layer: str) -> None:
    """Sum the loss over the batch."""
    right: Any = network.loss
    plant = other_loss(lambda outputs, labels: len(labels) * right(outputs, labels))
    plant(network, layer)


def loss_with_positive_j(outputs: Tensor, labels: Tensor) -> Tensor:
    """Take e^j for e^-j."""
    rivals = F.pad(outputs, (0, 1), value=0.1).logsumexp(1)
    return (rivals - outputs.gather(1, labels.unsqueeze(1)).squeeze(1)).mean()


def default_start(weight: Tensor) -> Tensor:
    """Start as torch does: U(1 / sqrt(fan-in))."""
    bound = weight[0].numel() ** -0.5
    return nn.init.uniform_(weight, -bound, bound)


LENET = [
    Departure("table-dense", "C3 reads every S2 map", {ORIGINAL: "c3"}, dense_table),
    Departure("table-row", "one kernel of C3 feeds the wrong map", {ORIGINAL: "c3"}, wrong_row),
    Departure("subsampling-plain", "averages without coefficient and bias", {ORIGINAL: "s2"},
              plain_average),
    Departure("subsampling-average", "the mean of a patch where the paper takes its sum",
              {ORIGINAL: "s4"}, forwards(average_for_sum)),
    Departure("subsampling-maximum", "the maximum where the paper takes the sum",
              {ORIGINAL: "s2"}, forwards(maximum_for_sum)),
    Departure("subsampling-order", "the bias inside the coefficient", {ORIGINAL: "s2"},
              forwards(bias_before_coefficient)),
    Departure("squash-amplitude", "amplitude 1 for 1.7159 after C1", {ORIGINAL: "c1"},
              activation(lambda x: torch.tanh(2 / 3 * x), "c1")),
    Departure("squash-slope", "slope 1 for 2/3 after F6", {ORIGINAL: "f6"},
              activation(lambda x: 1.7159 * torch.tanh(x), "f6")),
    Departure("squash-tanh", "plain tanh everywhere", {ORIGINAL: "c1"},
              activation(torch.tanh, *ALL)),
    Departure("squash-relu", "ReLU everywhere", {ORIGINAL: "c1"}, activation(F.relu, *ALL)),
    Departure("squash-missing", "no squash after S4", {ORIGINAL: "s4"},
              activation(lambda x: x, "s4")),
    Departure("lenet-padding", "padding within C1, as for 28x28", {ORIGINAL: "c1", "lenet5": "c1"},
              attributes(padding=(2, 2))),
    Departure("codes-trained", "the codes are trained", {ORIGINAL: "output"}, trained_codes),
    Departure("codes-zeros", "codes of 0 and 1 for -1 and 1", {ORIGINAL: "output"}, codes_of_zeros),
    Departure("codes-alike", "two classes of one code", {ORIGINAL: "output"}, two_codes_alike),
    Departure("distance-sign", "the larger distance wins", {ORIGINAL: "output"},
              outputs(lambda x: -x)),
    Departure("distance-root", "the distance for its square", {ORIGINAL: "output"},
              outputs(lambda x: -(-x).sqrt())),
    Departure("distance-softmax", "probabilities for distances", {ORIGINAL: "output"},
              outputs(lambda x: x.softmax(1))),
    Departure("loss-without-j", "Equation 9 without its constant", {ORIGINAL: "output"},
              other_loss(loss_without_j)),
    Departure("loss-mean-square", "Equation 8 for Equation 9", {ORIGINAL: "output"},
              other_loss(squared_loss)),
    Departure("loss-j-sign", "e^j for e^-j", {ORIGINAL: "output"},
              other_loss(loss_with_positive_j)),
    Departure("loss-sum", "the sum over the batch for its mean", {ORIGINAL: "output"}, summed_loss),
    Departure("lenet-start", "torch's initial bounds for 2.4 / fan-in", {ORIGINAL: "c1"},
              initial(default_start, nn.Conv2d, nn.Linear)),
    Departure("lenet-maximum", "maxima for averages", {"lenet5": "s2"},
              lambda network, layer: replace(network, layer, nn.MaxPool2d(2))),
    Departure("lenet-sigmoid", "sigmoid for tanh after C3", {"lenet5": "c3"},
              today_activation(torch.sigmoid, "c3")),
    Departure("lenet-relu", "ReLU for tanh everywhere", {"lenet5": "c1"},
              today_activation(F.relu, *ALL)),
    Departure("lenet-tanh-missing", "no tanh after F6", {"lenet5": "f6"},
              today_activation(lambda x: x, "f6")),
    Departure("lenet-flatten", "maps flattened by columns", {"lenet5": "c5"},
              today_by_columns),
    Departure("lenet-softmax", "a softmax in the network", {"lenet5": "output"},
              outputs(lambda x: x.softmax(1))),
    Departure("lenet-pool-rounding", "overlapping 3x3 averages", {"lenet5": "s4"},
              attributes(kernel_size=3, stride=2, padding=1, count_include_pad=False)),
    Departure("lenet-start-small", "N(0, 0.01) for torch's start", {"lenet5": "c1"},
              initial(lambda weight: nn.init.normal_(weight, std=0.01), nn.Conv2d, nn.Linear)),
]  # fmt: skip
