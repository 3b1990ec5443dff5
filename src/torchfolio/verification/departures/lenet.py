"""The departures of both forms of LeNet-5."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.verification.departures.base import (
    Change,
    Departure,
    attributes,
    change_forward,
    initial,
    inputs,
    outputs,
    replace,
    transposed,
)

ORIGINAL = "lenet5_original"


def squash(x: Tensor) -> Tensor:
    """Return 1.7159 tanh(2x / 3)."""
    return 1.7159 * torch.tanh(2 / 3 * x)


def activation(change: Change, *places: str) -> object:
    """Return a plant with another activation after some layers, the squash after all others."""

    def forward(network: nn.Module, images: Tensor) -> Tensor:
        x = images
        for name in ("c1", "s2", "c3", "s4", "c5", "f6"):
            x = network.get_submodule(name)(x.flatten(1) if name == "f6" else x)
            x = change(x) if name in places else squash(x)
        return network.get_submodule("output")(x)

    return lambda network, layer: change_forward(network, forward)


def today_activation(change: Change, *places: str) -> object:
    """Return the same for the form of today, whose subsampling has no activation."""

    def forward(network: nn.Module, images: Tensor) -> Tensor:
        x = images
        for name in ("c1", "s2", "c3", "s4", "c5", "f6"):
            x = network.get_submodule(name)(x.flatten(1) if name == "c5" else x)
            if not name.startswith("s"):
                x = change(x) if name in places else torch.tanh(x)
        return network.get_submodule("output")(x)

    return lambda network, layer: change_forward(network, forward)


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


def other_loss(change: object) -> object:
    """Return a plant of another loss."""
    return lambda network, layer: setattr(network, "loss", change)


def squared_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return Equation 8: the distance to the right code alone."""
    return -outputs.gather(1, labels.unsqueeze(1)).mean()


def summed_loss(network: nn.Module, layer: str) -> None:
    """Sum the loss over the batch."""
    right = network.loss
    network.loss = lambda outputs, labels: len(labels) * right(outputs, labels)


def loss_with_positive_j(network: nn.Module, layer: str) -> None:
    """Take e^j for e^-j."""

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        rivals = F.pad(outputs, (0, 1), value=0.1).logsumexp(1)
        return (rivals - outputs.gather(1, labels.unsqueeze(1)).squeeze(1)).mean()

    network.loss = loss


def default_start(weight: Tensor) -> Tensor:
    """Start as torch does: U(1 / sqrt(fan-in))."""
    bound = weight[0].numel() ** -0.5
    return nn.init.uniform_(weight, -bound, bound)
