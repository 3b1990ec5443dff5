"""Local response normalisation (Krizhevsky et al., 2012, Section 3.3)."""

from typing import Any

import torch
from torch import Tensor, nn


class LocalResponseNorm(nn.Module):
    """Divide each value by (k + alpha * the sum of squares of its neighbours) ** beta.

    Neighbours are the ``size`` channels around its own, at its place. ``alpha`` is the paper's:
    torch's module divides it by ``size``. The gradient is written out, which takes a fraction of
    the time of torch's (``benchmarks/local_response.py`` measures it).

    Shape: (batch, channels, ...) -> the same
    """

    def __init__(self, size: int, alpha: float, beta: float, k: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        return Response.apply(x, self.size, self.alpha, self.beta, self.k)


class Response(torch.autograd.Function):
    """y = x / s ** beta, where s = k + alpha * (sum of x ** 2 around each channel).

    Its gradient, for g that of y: g / s ** beta - 2 alpha beta x * (sum of g y / s around each).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        ctx.settings = (size, alpha, beta, k)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # sums of bf16 in float32
        scale, factor = factors(wide, size, alpha, beta, k)
        ctx.save_for_backward(x, scale, factor)
        return (wide * factor).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, factor = ctx.saved_tensors
        size, alpha, beta, _ = ctx.settings
        if torch.is_grad_enabled():  # for second derivatives: as functions of x
            scale, factor = factors(x, *ctx.settings)
        direct = gradient * factor
        shared = around(direct, x / scale, (size - 1) // 2, size // 2)
        found = torch.addcmul(direct, x, shared, value=-2 * alpha * beta)
        return found.to(x.dtype), None, None, None, None


def factors(x: Tensor, size: int, alpha: float, beta: float, k: float) -> tuple[Tensor, Tensor]:
    """Return s and s ** -beta; of the papers' beta of 0.75 by roots, which are quicker."""
    scale = around(x, x, size // 2, (size - 1) // 2).mul_(alpha).add_(k)
    if beta == 0.75 and not torch.is_grad_enabled():  # in place: no derivatives
        return scale, scale.sqrt().mul_(scale).rsqrt_()
    return scale, scale**-beta


def around(a: Tensor, b: Tensor, before: int, after: int) -> Tensor:
    """Return the sums of a * b over each channel, so many before it and so many after it."""
    total = a * b
    for distance in range(1, before + 1):
        total[:, distance:].addcmul_(a[:, :-distance], b[:, :-distance])
    for distance in range(1, after + 1):
        total[:, :-distance].addcmul_(a[:, distance:], b[:, distance:])
    return total
