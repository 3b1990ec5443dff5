"""What one forward and one backward pass show of a network.

An observation holds the input and the output of every layer, in the order of execution, the
gradient of every parameter, and the buffers afterwards. Two networks are the same where all of
these agree (see :mod:`torchfolio.verification.comparison`).
"""

from collections import Counter
from collections.abc import Callable
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

    ``stopped_in`` is the innermost layer that had not ended.
    """

    layers: dict[Place, Tensor] = field(default_factory=dict)
    outputs: Tensor | None = None
    gradients: dict[str, Tensor] = field(default_factory=dict)
    buffers: dict[str, Tensor] = field(default_factory=dict)
    error: str = ""
    stopped_in: str = ""


def scalar(outputs: Tensor) -> Tensor:
    """Return a scalar on which every output has another weight: its gradient is taken."""
    weights = torch.cos(torch.arange(outputs.numel(), dtype=outputs.dtype))
    return (outputs.flatten() * weights).sum()


def together(outputs: Any) -> Tensor:
    """Return the outputs of a pass as one tensor: those of several heads end to end."""
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, tuple) and len(outputs) > 1:
        if not all(isinstance(each, Tensor) for each in outputs):
            raise TypeError("it returns a tuple of other things than tensors")
        return torch.cat([each.flatten() for each in outputs])
    raise TypeError(f"it returns a {type(outputs).__name__}, not a tensor")


def observe(
    network: nn.Module,
    images: Tensor,
    training: bool,
    names: Callable[[str], str] = str,
) -> Observation:
    """Run a network forward and backward on images and return all that can be seen.

    ``names`` translates the network's names. The network keeps its type and the gradients of this
    pass; in train mode its buffers change, as in a training.
    """
    seen = Observation()
    calls: Counter[str] = Counter()
    running: list[tuple[str, int]] = []

    def begin(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            running.append((name, calls[name]))
            calls[name] += 1
            if arguments and isinstance(arguments[0], Tensor):
                seen.layers[name, "input", running[-1][1]] = arguments[0].detach().clone()

        return hook

    def end(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        name, call = running.pop()
        if isinstance(output, Tensor):
            seen.layers[name, "output", call] = output.detach().clone()

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
    """Add gradients and buffers to an observation."""
    parameters = dict(network.named_parameters())
    if images.grad is not None:
        seen.gradients[IMAGES] = images.grad
    for name, parameter in parameters.items():
        if parameter.grad is not None:
            seen.gradients[names(name)] = parameter.grad
    for name, value in network.state_dict().items():
        if name not in parameters and isinstance(value, Tensor):
            seen.buffers[names(name)] = value.clone()
