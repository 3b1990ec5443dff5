"""What a layer of a network finds in an input, as one vector."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from torchfolio.errors import RequestError, unknown
from torchfolio.networks.weights import head_names


class Tap:
    """Calls a network, and returns what one of its layers gives.

    ``layer`` is the name of a module, as in a state dict; without it, what the head
    (:func:`head_names`) reads is taken. The network is in evaluation mode, and ``example`` is an
    input of it, which is run through once. ``name`` is the module's name, ``words`` says what is
    taken, ``width`` how many numbers it has. Raises ``RequestError`` for a layer that there is not,
    that does not run or runs several times, or that gives something else than a tensor.
    """

    def __init__(self, network: nn.Module, example: Tensor, layer: str | None = None) -> None:
        self.network = network
        self.before = layer is None  # what it is given, not what it gives
        self.found = threading.local()  # several threads may call at once
        names = [name for name, _ in network.named_modules() if name]
        if layer is not None and layer not in names:
            raise unknown("layer", layer, names, "'folio show' lists the layers of a network.")
        wanted = head_names(network) if layer is None else [layer]
        with torch.no_grad():
            calls = count_calls(network, wanted, example)
            self.name = next((each for each in wanted if calls[each]), wanted[0])
            if calls[self.name] != 1:
                times = f"runs {calls[self.name]} times" if calls[self.name] else "does not run"
                raise RequestError(
                    f"The layer {self.name} {times} while the network answers. Name another; "
                    "'folio show' lists them."
                )
            with self.listening():
                self.width = self(example).shape[1]
        self.words = f"what {self.name} reads" if self.before else f"what {self.name} gives"

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within this block the tap can be called."""
        module = self.network.get_submodule(self.name)
        if self.before:
            hook = module.register_forward_pre_hook(lambda _, inputs: self.note(inputs[0]))
        else:
            hook = module.register_forward_hook(lambda _, __, output: self.note(output))
        try:
            yield
        finally:
            hook.remove()

    def note(self, value: Any) -> None:
        """Keep what came by; a later layer may work in place, so it is a copy."""
        if not isinstance(value, Tensor):
            raise RequestError(
                f"The layer {self.name} gives a {type(value).__name__}, not a tensor. Name another."
            )
        self.found.vectors = vectors_of(value)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return vectors (batch, width), float32, of inputs as the network takes them."""
        self.network(inputs)
        found: Tensor = self.found.vectors
        return found


def vectors_of(values: Tensor) -> Tensor:
    """Return a vector an example (batch, width), float32, owned by the caller.

    Maps (batch, channels, height, width) are averaged over height and width; anything else is laid
    end to end.
    """
    if values.ndim == 4:
        return values.float().mean((2, 3))
    return values.flatten(1).float().clone()


def count_calls(network: nn.Module, names: list[str], example: Tensor) -> Counter[str]:
    """Return how often each of the named modules runs for an input."""
    calls: Counter[str] = Counter()

    def count(name: str, *_: Any) -> None:
        calls[name] += 1

    with ExitStack() as hooks:
        for name in names:
            hook = network.get_submodule(name).register_forward_hook(partial(count, name))
            hooks.callback(hook.remove)
        network(example)
    return calls
