"""Where two observations part, and what a network has in one place of a pass."""

from typing import Any

import torch
from torch import Tensor, nn

from torchfolio.verification.comparison import Difference, Fault, compare, first_layer, others
from torchfolio.verification.observation import SEED, Observation, together

# Relative to the largest value of a tensor. Agreement in float64 shows that two modules are the
# same function; what float32 rounds, another order of the same sums rounds otherwise.
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-4}


def as_shaped(found: Observation, expected: Observation) -> Observation:
    """Return an observation of theirs in the reference's shapes, where they hold the same numbers.

    A linear layer reads flat what a convolution over all of it reads as maps; what only lies in
    another order (patches as maps, and as rows) cannot be compared and is left out.
    """
    layers = {}
    for place, value in found.layers.items():
        wanted = expected.layers.get(place)
        if wanted is None or value.shape == wanted.shape or value.numel() != wanted.numel():
            layers[place] = value
        elif 2 in (value.dim(), wanted.dim()) or bare(value) == bare(wanted):
            layers[place] = value.reshape(wanted.shape)
    gradients, buffers = (
        {
            name: value.reshape(wanted[name].shape)
            if name in wanted and value.numel() == wanted[name].numel()
            else value
            for name, value in own.items()
        }
        for own, wanted in (
            (found.gradients, expected.gradients),
            (found.buffers, expected.buffers),
        )
    )
    return Observation(
        layers, found.outputs, gradients, buffers, found.error, found.stopped_in, found.heads
    )


def bare(value: Tensor) -> list[int]:
    """Return the sizes that are not one."""
    return [size for size in value.shape if size != 1]


def faults_of(expected: Observation, found: Observation) -> list[Fault]:
    """Return where two observations in float64 part, the first layer first."""
    differences = list(compare(expected, as_shaped(found, expected)))
    return told(differences, expected, found, TOLERANCES[torch.float64])


def told(
    differences: list[Difference], expected: Observation, found: Observation, tolerance: float
) -> list[Fault]:
    """Return what differs in outputs, gradients and buffers, after the first layer that does.

    Two that fail in the same layer agree as far as they go.
    """
    layer = first_layer(differences, tolerance)
    if expected.error or found.error:
        same = expected.error and found.error and expected.stopped_in == found.stopped_in
        stopped = found.stopped_in if found.error else expected.stopped_in
        text = f"{stopped or 'it'} failed: {found.error or expected.error}"
        faults = [] if same else [Fault(text, stopped, "error")]
        return [layer, *faults] if layer is not None else faults
    faults = others(differences, tolerance)
    return [layer, *faults] if layer is not None and faults else faults


class Reached(Exception):  # noqa: N818 - it is no error
    """A pass came to the place that was asked for."""


def reach(network: nn.Module, images: Tensor, training: bool, fault: Fault) -> Tensor | None:
    """Return what a network has where a fault is, and stop there; None where it does not get there.

    Of a fault that is not in a layer: its outputs.
    """
    found: list[Tensor] = []
    calls = [0]

    def note(value: Any) -> None:
        calls[0] += 1
        if calls[0] > fault.call:
            if isinstance(value, Tensor):
                found.append(value.detach().clone())
            raise Reached

    network.train(training)
    handles = []
    if fault.side in ("input", "output"):
        layer = network.get_submodule(fault.layer)
        if fault.side == "input":
            handles.append(layer.register_forward_pre_hook(lambda _, given: note(given[0])))
        else:
            handles.append(layer.register_forward_hook(lambda _, given, output: note(output)))
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            outputs = together(network(images))
        return None if handles else outputs
    except Reached:
        return found[0] if found else None
    finally:
        for handle in handles:
            handle.remove()
