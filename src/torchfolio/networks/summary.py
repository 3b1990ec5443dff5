"""A network layer by layer: shapes, parameters, multiply-adds, receptive fields.

Parameters count trainable and frozen ones, no buffers. Multiply-adds (MACs) are half of what
``torch.utils.flop_counter`` counts for one image in eval mode: convolutions and matrix products; no
bias, norm, activation or pooling. They are read off one forward pass of a black image; a network on
torch's ``meta`` device computes nothing in it.
"""

import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from torchfolio.errors import RequestError
from torchfolio.layers.modes import evaluating
from torchfolio.networks.trace import Field, Trace, pair

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass
class Layer:
    """One layer of a network.

    ``name`` is the module's, as in a state dict, and ``kind`` its class. ``detail`` is the window
    of a convolution or pooling: "3x3/2" is 3x3 with stride 2. ``activation`` is the function that
    the network applies to the layer's output, where it is not a layer itself. ``output`` is the
    shape without the batch; it is empty where the layer did not run. ``receptive_field`` is
    (height, width) in pixels, padding included, or ``None`` where an output sees the whole image;
    ``stride`` is the pixels (down, across) from one output to the next, ``None`` where height and
    width are gone.
    """

    name: str
    kind: str
    detail: str = ""
    activation: str = ""
    output: tuple[int, ...] = ()
    parameters: int = 0
    macs: int = 0
    receptive_field: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None

    @property
    def words(self) -> str:
        """The kind for people: "conv 3x3/2", "batch norm"."""
        if self.kind == "AdaptiveAvgPool2d" and self.output[1:] == (1, 1):
            return "global avg pool"
        kind = re.sub(r"\dd$", "", self.kind).replace("ReLU", "Relu").replace("ELU", "Elu")
        kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", kind).lower()
        return f"{kind} {self.detail}".strip()


@dataclass(frozen=True)
class Summary:
    """A network's layers in the order in which they run, for one image of shape ``input``.

    ``joins`` are the modules that add two activations, those with a shortcut, by name, and the
    activation function that follows.
    """

    input: tuple[int, int, int]
    layers: list[Layer]
    joins: dict[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """The parameters of all layers."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """The multiply-adds of all layers."""
        return sum(layer.macs for layer in self.layers)


def summarise(network: nn.Module, input_shape: tuple[int, int, int]) -> Summary:
    """Describe the layers of a network for one image of (channels, height, width).

    A layer is a module without children, one whose own parameters complete those of its children
    (a convolution and a bias for each map), or a part from ``torchfolio.layers``. The network is
    left as it was. Raises ``RequestError`` for an image that it does not take.
    """
    owners = layer_names(network)
    layers: dict[str, Layer] = {}
    shape = "x".join(str(size) for size in input_shape)
    try:
        images = torch.zeros(1, *input_shape, device=next(network.parameters()).device)
    except RuntimeError as error:  # more than the memory holds, or than torch can count
        raise RequestError(
            f"An image of {shape} is too large: {str(error).splitlines()[0]}"
        ) from error
    trace = Trace(images)

    def enter(name: str, module: nn.Module, inputs: Any) -> None:
        trace.scopes.append(name)
        if is_layer(module):
            trace.latest = ""
        if is_layer(module) or has_own_parameters(module):
            layers.setdefault(name, Layer(name, type(module).__name__, window_of(module)))

    def leave(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        trace.scopes.pop()
        if is_layer(module):
            trace.latest = name
        if name in layers and isinstance(output, Tensor):
            layers[name].output = tuple(output.shape[1:])
            place(layers[name], trace.fields[output], input_shape)

    hooks = []
    with evaluating(network), torch.no_grad(), trace:
        for name, module in network.named_modules():
            if owners[name] == name:
                hooks += [
                    module.register_forward_pre_hook(partial(enter, name)),
                    module.register_forward_hook(partial(leave, name)),
                ]
        try:
            network(images)
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise RequestError(
                f"{type(network).__name__} does not take images of {shape}: {reason}"
            ) from error
        finally:
            for hook in hooks:
                hook.remove()
    for name, parameter in network.named_parameters():
        owner = owners[name.rpartition(".")[0]]
        kind = type(network.get_submodule(owner)).__name__
        layers.setdefault(owner, Layer(owner, kind)).parameters += parameter.numel()
    for name, layer in layers.items():
        layer.macs = trace.macs[name]
        layer.activation = trace.activations.get(name, "")
    joins = {name: trace.activations.get(f"{name}+", "") for name in sorted(trace.joins)}
    return Summary(input_shape, list(layers.values()), joins)


def is_layer(module: nn.Module) -> bool:
    """Say whether a module is one line of the summary, with all that it holds."""
    children = list(module.children())
    if not children:
        return not isinstance(module, CONTAINERS)
    if type(module).__module__.startswith("torchfolio.layers."):
        return True
    leaves = not any(True for child in children for _ in child.children())
    return leaves and has_own_parameters(module)


def has_own_parameters(module: nn.Module) -> bool:
    """Say whether a module has parameters that none of its children has."""
    return any(True for _ in module.parameters(recurse=False))


def layer_names(network: nn.Module) -> dict[str, str]:
    """Return, for each module by name, the name of the layer it belongs to, or its own."""
    names: dict[str, str] = {}
    for name, _ in network.named_modules():
        parent = names.get(name.rpartition(".")[0], "") if name else ""
        inside = parent and is_layer(network.get_submodule(parent))
        names[name] = parent if inside else name
    return names


def window_of(module: nn.Module) -> str:
    """Return the window of a convolution or pooling as text: "3x3", "3x3/2"; else ""."""
    for each in module.modules():
        if hasattr(each, "kernel_size") and hasattr(each, "stride"):
            kernel: Any = each.kernel_size
            stride: Any = each.stride
            down, across = pair(stride)
            step = (
                "" if down == across == 1 else f"/{down}" if down == across else f"/{down}x{across}"
            )
            return "x".join(str(size) for size in pair(kernel)) + step
    return ""


def place(layer: Layer, seen: Field, image: tuple[int, int, int]) -> None:
    """Write into a layer what its outputs see of the image, and how far apart they are."""
    gathered = all(span.step == 0 for span in seen)
    if not gathered:
        layer.stride = (seen[0].step, seen[1].step)
    covered = all(
        span.start <= 0 and span.end >= length - 1
        for span, length in zip(seen, image[1:], strict=True)
    )
    if not (gathered and covered):
        layer.receptive_field = (seen[0].size, seen[1].size)
