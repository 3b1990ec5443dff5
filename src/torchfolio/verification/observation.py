"""What one forward and one backward pass show of a network.

An observation holds the input and the output of every layer, in the order of execution, the
gradient of every parameter, and the buffers afterwards. Two networks are the same where all of
these agree (see :mod:`torchfolio.verification.comparison`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Place = tuple[str, str, int]  # a layer's name, "input" or "output", and which call of the layer
IMAGES = "images"  # the name under which the gradient of the input stands
SEED = 20  # of whatever a pass draws at random (dropout)


@dataclass
class Observation:
    """One pass: ``layers`` in the order of execution; ``error`` says what stopped it, if anything.

    ``stopped_in`` is the innermost layer that had not ended. ``heads`` counts the tensors that the
    pass gave, which ``outputs`` holds end to end.
    """

    layers: dict[Place, Tensor] = field(default_factory=dict)
    outputs: Tensor | None = None
    gradients: dict[str, Tensor] = field(default_factory=dict)
    buffers: dict[str, Tensor] = field(default_factory=dict)
    error: str = ""
    stopped_in: str = ""
    heads: int = 1


def scalar(outputs: Tensor) -> Tensor:
    """Return a scalar on which every output has another weight: its gradient is taken."""
    weights = torch.cos(torch.arange(outputs.numel(), dtype=outputs.dtype))
    return (outputs.flatten() * weights).sum()


def together(outputs: Any) -> Tensor:
    """Return the outputs of a pass as one tensor: those of several heads end to end."""
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, tuple) and len(outputs) > 1:
        return torch.cat([each.flatten() for each in tensors_of(outputs)])
    raise TypeError(f"it returns a {type(outputs).__name__}, not a tensor")


def tensors_of(outputs: Sequence[Any]) -> Iterator[Tensor]:
    """Give the tensors of a tuple, and of lists in it; sizes and ``None`` beside them say no more.

    Raises ``TypeError`` for anything else.
    """
    for each in outputs:
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, list):
            yield from tensors_of(each)
        elif not (each is None or isinstance(each, tuple)):
            raise TypeError("it returns a tuple of other things than tensors")


class Copies:
    """Copies of what layers read and gave; what one reads as the last one gave it is one copy."""

    def __init__(self) -> None:
        self.latest: tuple[Tensor, int, Tensor] | None = None  # a tensor, its version, its copy

    def of(self, tensor: Tensor) -> Tensor:
        """Return a copy of a tensor as it is now."""
        version = tensor._version  # which every change in place raises
        if self.latest is None or self.latest[0] is not tensor or self.latest[1] != version:
            self.latest = (tensor, version, tensor.detach().clone())
        return self.latest[2]


def observe(
    network: nn.Module,
    images: Tensor,
    training: bool,
    names: Callable[[str], str] = str,
) -> Observation:
    """Run a network forward and backward on images and return all that can be seen.

    ``names`` translates the network's names; values that get one name are laid end to end. The
    network keeps its type, and no gradient; in train mode its buffers change, as in a training.
    """
    seen, copies = Observation(), Copies()
    calls: Counter[str] = Counter()
    running: list[tuple[str, int]] = []

    def begin(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            running.append((name, calls[name]))
            calls[name] += 1
            if arguments and isinstance(arguments[0], Tensor):
                seen.layers[name, "input", running[-1][1]] = copies.of(arguments[0])

        return hook

    def end(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        name, call = running.pop()
        if isinstance(output, Tensor):
            seen.layers[name, "output", call] = copies.of(output)

    handles = []
    for name, module in network.named_modules():
        if name:
            handles.append(module.register_forward_pre_hook(begin(names(name))))
            handles.append(module.register_forward_hook(end))
    images = images.clone().requires_grad_()
    network.train(training)
    network.zero_grad()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            outputs = network(images)
        seen.heads = len(outputs) if isinstance(outputs, tuple) else 1
        outputs = together(outputs)
        seen.outputs = outputs.detach().clone()
        torch.autograd.backward(scalar(outputs))
    except Exception as error:  # a wrong network may fail in any way; that is what is judged
        seen.error = f"{type(error).__name__}: {error}"
        seen.stopped_in = running[-1][0] if running else ""
    finally:
        for handle in handles:
            handle.remove()
    _collect(seen, network, images, names)
    return seen


def _collect(
    seen: Observation, network: nn.Module, images: Tensor, names: Callable[[str], str]
) -> None:
    """Move the gradients of a network to an observation, and copy its buffers there."""
    parameters = dict(network.named_parameters())
    if images.grad is not None:
        seen.gradients[IMAGES] = images.grad
    seen.gradients |= end_to_end(
        (names(name), each.grad) for name, each in parameters.items() if each.grad is not None
    )
    for parameter in parameters.values():
        parameter.grad = None
    seen.buffers = end_to_end(
        (names(name), value.clone())
        for name, value in network.state_dict().items()
        if isinstance(value, Tensor)
        and (name not in parameters or not parameters[name].requires_grad)
    )


def end_to_end(named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Return values by their names; those of one name are laid end to end, in their order."""
    found: dict[str, list[Tensor]] = {}
    for name, value in named:
        found.setdefault(name, []).append(value)
    return {name: torch.cat(each) if len(each) > 1 else each[0] for name, each in found.items()}
