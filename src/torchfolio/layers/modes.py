"""The modes of modules, train and eval, kept while something else is tried."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def keeping_modes(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Put every module of the networks into the mode that it was in when the block ends."""
    modes = {module: module.training for network in networks for module in network.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into eval mode for a while; afterwards every module is in its mode again."""
    with keeping_modes([network]):
        network.eval()
        yield
