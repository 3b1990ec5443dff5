"""What a planted departure is, and the tools that plant it."""

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchfolio.networks.build import build

Change = Callable[[Tensor], Tensor]
Plant = Callable[[nn.Module, str], None]  # changes a network, given the layer to be named


@dataclass(frozen=True)
class Departure:
    """A small mistake. ``on`` maps the networks that get it to the layer that must be named.

    ``plant(network, layer)`` changes a freshly built network in place. ``here`` says that the
    description is of that one layer, so that it is no cause of what differs in another.
    """

    name: str
    description: str
    on: Mapping[str, str]
    plant: Plant
    here: bool = False

    def build(self, network: str) -> nn.Module:
        """Return a freshly built network with the departure planted."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            result = build(network)
            self.plant(result, self.on[network])
        return result


def replace(network: nn.Module, layer: str, new: nn.Module) -> None:
    """Put a module in the place of another."""
    parent, _, name = layer.rpartition(".")
    setattr(network.get_submodule(parent), name, new)


def change_output(layer: nn.Module, change: Change) -> None:
    """Let a layer return something else."""
    layer.register_forward_hook(lambda module, arguments, output: change(output))


def change_input(layer: nn.Module, change: Change) -> None:
    """Let a layer read something else."""
    layer.register_forward_pre_hook(lambda module, arguments: (change(arguments[0]),))


def change_forward(layer: nn.Module, forward: Callable[[nn.Module, Tensor], Tensor]) -> None:
    """Let a layer compute something else."""
    layer.forward = types.MethodType(forward, layer)


def outputs(change: Change) -> Plant:
    """Return a plant that changes what the layer returns."""
    return lambda network, layer: change_output(network.get_submodule(layer), change)


def inputs(change: Change) -> Plant:
    """Return a plant that changes what the layer reads."""
    return lambda network, layer: change_input(network.get_submodule(layer), change)


def forwards(forward: Callable[[nn.Module, Tensor], Tensor]) -> Plant:
    """Return a plant that changes what the layer computes."""
    return lambda network, layer: change_forward(network.get_submodule(layer), forward)


def attributes(kind: type[nn.Module] | None = None, **values: object) -> Plant:
    """Return a plant that sets attributes of the layer, or of every module of a kind."""

    def plant(network: nn.Module, layer: str) -> None:
        chosen = [m for m in network.modules() if kind is not None and isinstance(m, kind)]
        for module in chosen or [network.get_submodule(layer)]:
            for name, value in values.items():
                setattr(module, name, value)

    return plant


def without_bias(network: nn.Module, layer: str) -> None:
    """Take the bias away; of an attention, that of its queries, keys and values."""
    module = network.get_submodule(layer)
    module.register_parameter("in_proj_bias" if hasattr(module, "in_proj_bias") else "bias", None)


def with_bias(network: nn.Module, layer: str) -> None:
    """Give a bias to a convolution that has none."""
    module = network.get_submodule(layer)
    module.bias = nn.Parameter(torch.zeros(len(module.get_parameter("weight"))))


def initial(change: Callable[[Tensor], object], *kinds: type[nn.Module]) -> Plant:
    """Return a plant that starts the weights of some kinds of module otherwise."""

    def plant(network: nn.Module, layer: str) -> None:
        for module in network.modules():
            if isinstance(module, kinds):
                change(module.get_parameter("weight"))

    return plant


def zero_biases(network: nn.Module, layer: str) -> None:
    """Start all biases of convolutions and linear layers at zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.zeros_(module.get_parameter("bias"))


def transposed(images: Tensor) -> Tensor:
    """Exchange the height and the width of square maps: flattening then reads by columns."""
    return images.transpose(2, 3)
