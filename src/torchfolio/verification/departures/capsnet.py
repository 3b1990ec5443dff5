"""The departures of CapsNet."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from torchfolio.networks.capsnet import squash
from torchfolio.verification.departures.base import (
    Departure,
    attributes,
    forwards,
    initial,
    zero_biases,
)

NAME, OFFICIAL = "capsnet", "capsnet_official"
Forward = Callable[[nn.Module, Tensor], Tensor]


def unsquashed(module: nn.Module, x: Tensor) -> Tensor:
    """Return primary capsules of any length."""
    x = module.get_submodule("conv2d")(x)
    return x.reshape(len(x), 32, 8, *x.shape[2:]).movedim(2, -1).flatten(1, 3)


def neighbours(module: nn.Module, x: Tensor) -> Tensor:
    """Take eight neighbouring places for the values of a capsule."""
    return squash(module.get_submodule("conv2d")(x).reshape(len(x), -1, 8))


def routed(axis: int, stopped: bool) -> Forward:
    """Return routing with shares over another axis, or without gradient in its first rounds."""

    def forward(module: nn.Module, x: Tensor) -> Tensor:
        votes = torch.einsum("nipq,biq->bnip", module.get_parameter("weight"), x)
        seen = votes.detach() if stopped else votes
        logits = votes.new_zeros(votes.shape[:3])
        for routing in range(3):
            last = routing == 2
            total = torch.einsum("bni,bnip->bnp", logits.softmax(axis), votes if last else seen)
            capsules = squash(total)
            if not last:
                logits = logits + torch.einsum("bnip,bnp->bni", seen, capsules)
        return capsules

    return forward


def straight(network: nn.Module, layer: str) -> None:
    """Leave the first ReLU out."""
    first, second, third = (
        network.get_submodule(name) for name in ("conv1", "primarycaps", "digitcaps")
    )
    vars(network)["capsules"] = lambda images: third(second(first(images)))


CAPSULES = [
    Departure("capsnet-rounds", "one round of routing", {NAME: "digitcaps"},
              attributes(routings=1)),
    Departure("capsnet-shares", "shares over the lower capsules", {NAME: "digitcaps"},
              forwards(routed(2, False))),
    Departure("capsnet-stopped", "no gradient through the first rounds", {NAME: "digitcaps"},
              forwards(routed(1, True))),
    Departure("capsnet-length", "primary capsules that are not squashed", {NAME: "primarycaps"},
              forwards(unsquashed)),
    Departure("capsnet-neighbours", "neighbouring places for the values of a capsule",
              {NAME: "primarycaps"}, forwards(neighbours)),
    Departure("capsnet-biases", "biases that start at zero", {NAME: "conv1", OFFICIAL: "conv1"},
              zero_biases),
    Departure("capsnet-start", "initial weights that are not cut off at two deviations",
              {OFFICIAL: "conv1"},
              initial(lambda weight: nn.init.normal_(weight, std=0.05), nn.Conv2d)),
    Departure("capsnet-relu", "no bend after the first convolution", {NAME: "primarycaps"},
              straight),
]  # fmt: skip
