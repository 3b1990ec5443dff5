"""A trained network made ready to answer: the same outputs, sooner.

In evaluation mode a batch norm is a scale and a shift of each channel, which a convolution right
before it can take over (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018, Section 3.2). Which batch norm follows which convolution,
and that nothing else reads what is between them, is watched in one forward pass.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode

TOLERANCE = 1e-5  # of the largest output: what rounding may change
TOLERANCE_BF16 = 0.05  # of the largest score: what bf16, with its 8 bits, may change

# What a forward pass may ask of a tensor besides other tensors: nothing that depends on its values.
FORM = frozenset(
    getattr(Tensor, name)
    for name in ("size", "dim", "numel", "stride", "is_contiguous", "is_floating_point", "__len__")
) | frozenset(
    getattr(Tensor, name).__get__
    for name in ("shape", "ndim", "dtype", "device", "layout", "is_cuda", "requires_grad")
)


@torch.no_grad()
def answering(
    network: nn.Module, example: Tensor, bf16: bool = False, *, relative: bool = True
) -> nn.Module:
    """Return a network in evaluation mode as it answers soonest: batch norms folded, and in bf16.

    ``example`` is an input with its batch dimension, on the network's device; ``bf16`` allows that
    precision; ``relative`` says that scores matter only beside one another, as under a softmax. The
    network itself is left alone; what is not changed is shared with it. Where the outputs of an
    input drawn at random differ by more than ``TOLERANCE`` (``TOLERANCE_BF16``), that step is left
    out.
    """
    shape = (4, *example.shape[1:])
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(example)
    found = folded(network, drawn)
    if bf16:
        lowered = InBf16(found)
        return lowered if alike(network(drawn), lowered(drawn), relative) else found
    return found


class InBf16(nn.Module):
    """A copy of a network that computes as training in bf16 does; its outputs are float32.

    The weights of convolutions and linear layers are kept in bf16, so that they need not be
    converted for every batch.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        for module in self.network.modules():
            if type(module) in (nn.Conv2d, nn.Linear):
                module.to(torch.bfloat16)

    def __getattr__(self, name: str) -> Any:  # a page's loss
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "network":
                raise
            return getattr(self.network, name)

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            scores: Tensor = self.network(images)
        return scores.float()


def folded(network: nn.Module, drawn: Tensor) -> nn.Module:
    """Return a network with its batch norms in its convolutions, or itself where that cannot be.

    On the CPU folded convolutions are laid out channels-last.
    """
    if not any(isinstance(each, nn.BatchNorm2d) for each in network.modules()):
        return network
    expected, pairs = foldable(network, drawn)
    if not pairs:
        return network
    result = copied(network)
    for convolution, norm in pairs:
        taken: Any = (network.get_submodule(convolution), network.get_submodule(norm))
        fused = fuse_conv_bn_eval(*taken)
        if drawn.device.type == "cpu":
            fused = fused.to(memory_format=torch.channels_last)
        result.set_submodule(convolution, fused)
        result.set_submodule(norm, nn.Identity())
    return result if agree(expected, result(drawn)) else network


def with_part(network: nn.Module, name: str, example: Tensor) -> nn.Module:
    """Return a network of which one module answers soonest: see :func:`answering`.

    For networks of which only that part takes the same way for every input.
    """
    part = network.get_submodule(name)
    found = answering(part, example)
    if found is part:
        return network
    result = copied(network)
    result.set_submodule(name, found)
    return result


def copied(network: nn.Module) -> nn.Module:
    """Return a copy of a network that shares its parameters and buffers."""
    shared: dict[int, Any] = {id(each): each for each in network.parameters()}
    shared |= {id(each): each for each in network.buffers()}
    return copy.deepcopy(network, shared)


class Watch(TorchFunctionMode):
    """Notes, during a forward pass, who reads the outputs of convolutions.

    ``free`` turns false where the pass depends on the values of a tensor: another input might then
    take another way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[str, Tensor]] = {}  # outputs of convolutions, kept alive
        self.calls: Counter[str] = Counter()  # of convolutions and batch norms
        self.reads: Counter[int] = Counter()  # of each output, by anything but a batch norm
        self.norms: dict[int, list[str]] = {}  # the batch norms that read it
        self.inside = False  # a batch norm
        self.free = True

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.inside:
            return result
        if tensors_in(result):
            for each in tensors_in([args, kwargs or {}]):
                self.reads[id(each)] += 1
        elif result is not None and func not in FORM:
            self.free = False
        return result

    def hooks(self, name: str, module: nn.Module) -> list[Any]:
        """Watch one convolution or batch norm; return what takes the hooks off again."""

        def convolved(_: nn.Module, inputs: Any, output: Tensor) -> None:
            self.calls[name] += 1
            self.made[id(output)] = (name, output)
            self.reads[id(output)] = 0  # a tensor that is gone may have had the same number
            self.norms[id(output)] = []

        def entered(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.calls[name] += 1
            self.norms.setdefault(id(inputs[0]), []).append(name)
            self.inside = True

        def left(_: nn.Module, inputs: Any, output: Tensor) -> None:
            self.inside = False

        if type(module) is nn.Conv2d:
            return [module.register_forward_hook(convolved)]
        if type(module) is nn.BatchNorm2d and module.running_mean is not None:
            return [
                module.register_forward_pre_hook(entered),
                module.register_forward_hook(left),
            ]
        return []


def foldable(network: nn.Module, images: Tensor) -> tuple[Any, list[tuple[str, str]]]:
    """Return a network's outputs, and its convolutions with the batch norms that can be folded.

    Both of a pair are called once, and nothing but the batch norm reads the convolution's output.
    """
    watch, hooks = Watch(), list[Any]()
    try:
        for name, module in network.named_modules():
            hooks += watch.hooks(name, module)
        with watch:
            outputs = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    pairs = []
    for key, (convolution, _) in watch.made.items():
        norms = watch.norms.get(key, [])
        alone = len(norms) == 1 and watch.reads[key] == 0
        if alone and watch.free and watch.calls[convolution] == watch.calls[norms[0]] == 1:
            pairs.append((convolution, norms[0]))
    return outputs, pairs


def tensors_in(value: Any) -> list[Tensor]:
    """Return the tensors in a value: itself, or those of a sequence or mapping."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [tensor for each in value for tensor in tensors_in(each)]
    return []


def alike(scores: Tensor, lowered: Tensor, relative: bool = True) -> bool:
    """Return whether scores (batch, classes) in bf16 differ as little as its rounding explains.

    Where scores are ``relative``, what all of an example have in common says nothing, so it is
    taken off.
    """
    one, other = scores, lowered
    if relative:
        one, other = (each - each.mean(-1, keepdim=True) for each in (scores, lowered))
    return bool((one - other).abs().max() <= TOLERANCE_BF16 * one.abs().max())


def agree(first: Any, second: Any) -> bool:
    """Return whether two outputs, tensors or collections of them, are equal but for rounding."""
    pairs = zip(tensors_in(first), tensors_in(second), strict=True)
    scale = torch.finfo(torch.float32).tiny
    return all(
        bool((one - other).abs().max() <= TOLERANCE * one.abs().max().clamp_min(scale))
        for one, other in pairs
    )
