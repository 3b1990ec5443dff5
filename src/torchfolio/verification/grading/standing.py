"""How far a network gives what a person's module gives."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import nn

from torchfolio.verification.comparison import Fault
from torchfolio.verification.grading.matching import Match
from torchfolio.verification.observation import Observation

EVAL, TRAIN, AGREED = 0, 1, 2


@dataclass(frozen=True)
class Standing:
    """How far a network gives what the person's module gives.

    ``unmatched`` values have no partner; ``mode`` is the first in which the two part, ``place`` how
    far they agree in it, ``fault`` where they part.
    """

    unmatched: int
    mode: int
    place: int
    fault: Fault | None = None

    @property
    def key(self) -> tuple[int, int, int]:
        """Return what is larger the better."""
        return -self.unmatched, self.mode, self.place

    @property
    def agrees(self) -> bool:
        """Return whether the two are the same."""
        return self.unmatched == 0 and self.mode == AGREED


def shapes(network: nn.Module) -> dict[str, torch.Size]:
    """Return the parameters by name and shape."""
    return {name: each.shape for name, each in network.named_parameters()}


def near(found: Match, fault: Fault | None) -> list[str]:
    """Return the layers of the network where values are without partners, and what they are in.

    The layer of a fault is one of them.
    """
    layers = [name.rpartition(".")[0] for name in found.missing]
    layers += [] if fault is None else [fault.layer, fault.agreed]
    without = {name.rpartition(".")[0] for name in (*found.extra, *found.kinds)}
    paired = [name if name in found.layers else "" for name in found.order]
    for place, name in enumerate(found.order):
        if name in without:
            around = [each for each in reversed(paired[:place]) if each][:1]
            around += [each for each in paired[place:] if each][:1]
            layers += [found.layers[each] for each in around]
    whole: list[str] = []
    for name in layers:
        parts = name.split(".")
        whole += [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return list(dict.fromkeys(whole))


def apart(one: nn.Module, other: nn.Module) -> int:
    """Return how many parameters of two modules have no other of their size."""
    left = Counter(each.numel() for each in one.parameters())
    right = Counter(each.numel() for each in other.parameters())
    return (left - right).total() + (right - left).total()


def place_of(fault: Fault, seen: Observation) -> int:
    """Return how far two agree until a fault, in their module's order."""
    places = list(seen.layers)
    place = (fault.layer, fault.side, fault.call)
    if place in places:
        return places.index(place)
    return len(places) + ("outputs", "error", "gradient", "buffer").index(fault.side)
