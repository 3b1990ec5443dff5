"""Convolutions on the CPU whose weight gradients are matrix products.

For many channels oneDNN takes two to six times as long for the gradient by the weights as a matrix
product does, in float32 without avx512 and in bf16 with AMX (docs/performance.md). Here the patches
below the kernel are laid out, a few pictures at a time, and products sum over all places: the same
sums in another order.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.errors import RequestError
from torchfolio.training.options import TrainingOptions

LEAST_CHANNELS = {"fp32": 128, "bf16": 256}  # below, oneDNN is as quick
PATCHES = 2**24  # bytes that are laid out at a time


def resolve_weight_gradients(options: TrainingOptions) -> TrainingOptions:
    """Return the options with the way of weight gradients chosen by a fixed rule.

    Products in float32 on CPUs without avx512, and in bf16 on those with AMX (on others oneDNN is
    quicker), channels-last.
    """
    possible = options.device == "cpu" and options.precision in LEAST_CHANNELS
    possible = possible and bool(options.channels_last) and not options.compile
    if options.weight_gradients == "products" and not possible:
        raise RequestError(
            "weight-gradients products is for the CPU, fp32 or bf16 and --channels-last, without "
            "--compile. Leave it out."
        )
    chosen: Any = options.weight_gradients
    if chosen == "auto":
        chosen = "products" if possible and is_slow(options.precision) else "convolutions"
    return replace(options, weight_gradients=chosen)


def is_slow(precision: str) -> bool:
    """Return whether oneDNN takes longer than products on this machine."""
    if precision == "bf16":
        return bool(torch.cpu._is_amx_tile_supported())
    return bool(torch.backends.cpu.get_cpu_capability() != "AVX512")


def quicken(parts: Iterable[nn.Module], precision: str) -> None:
    """Let wide convolutions with kernels larger than 1x1 take weight gradients as products."""
    for part in parts:
        for module in part.modules():
            if type(module) is nn.Conv2d and gains(module, LEAST_CHANNELS[precision]):
                module.forward = partial(convolve, module)  # type: ignore[method-assign]


def gains(module: nn.Conv2d, least: int) -> bool:
    """Return whether a convolution is wide, and plain enough for :func:`weight_gradient`."""
    wide = module.in_channels >= least and module.kernel_size != (1, 1)
    plain = module.groups == 1 and module.dilation == (1, 1) and module.padding_mode == "zeros"
    return wide and plain and not isinstance(module.padding, str)


def convolve(module: nn.Conv2d, images: Tensor) -> Tensor:
    """Return what the module returns; under autocast its values are of that type from here on."""
    values: list[Tensor | None] = [images, module.weight, module.bias]
    if torch.is_autocast_enabled(images.device.type):
        kind = torch.get_autocast_dtype(images.device.type)
        values = [None if each is None else each.to(kind) for each in values]
    return Convolution.apply(*values, module.stride, module.padding)


class Convolution(torch.autograd.Function):
    """torch's convolution with :func:`weight_gradient`."""

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding, ctx.biases = stride, padding, None if bias is None else [len(bias)]
        return torch.conv2d(images, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:3])
        ours = wanted[1] and not torch.is_grad_enabled()  # second derivatives are torch's affair
        wanted[1] = wanted[1] and not ours
        found: list[Tensor | None] = [None, None, None]
        if any(wanted):
            found = torch.ops.aten.convolution_backward(
                *(gradient, images, weight, ctx.biases, ctx.stride, ctx.padding),
                *((1, 1), False, (0, 0), 1, wanted),
            )
        if ours:
            own = weight_gradient(images, gradient, weight, ctx.stride, ctx.padding)
            found = [found[0], own, found[2]]
        return (*found, None, None)


def weight_gradient(
    images: Tensor,
    gradient: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> Tensor:
    """Return the gradient by the weights.

    ``images`` is (batch, channels, height, width), ``gradient`` that of the output (batch, maps,
    rows, columns), ``weight`` (maps, channels, kernel height, kernel width). Products in bf16 are
    added up in float32, which is then the gradient's type.
    """
    maps, channels, high, wide = weight.shape
    rows, columns = gradient.shape[2:]
    down, right = stride
    top, left = padding
    pixels = F.pad(images.permute(0, 2, 3, 1), (0, 0, left, left, top, top)).contiguous()
    outputs = gradient.permute(0, 2, 3, 1).contiguous()
    picture, line, _, _ = pixels.stride()
    exact = torch.float32 if weight.dtype == torch.bfloat16 else weight.dtype
    result = weight.new_zeros(maps, high * wide * channels, dtype=exact)
    at_once = max(1, PATCHES // (rows * columns * result.shape[1] * weight.element_size()))
    for start in range(0, len(pixels), at_once):
        some = pixels[start : start + at_once]
        patches = some.as_strided(  # a patch's line of pixels with their channels lies together
            (len(some), rows, columns, high, wide * channels),
            (picture, down * line, right * channels, line, 1),
        )
        places = outputs[start : start + at_once].reshape(-1, maps)
        flat = patches.reshape(len(places), -1)
        if exact == weight.dtype:
            result.addmm_(places.T, flat)
        else:
            result += places.T @ flat
    return result.view(maps, high, wide, channels).permute(0, 3, 1, 2)
