"""Local response normalisation: torch's own, values and gradients, in less time."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from torchfolio.layers.local_response import LocalResponseNorm


def both(x: Tensor, size: int, beta: float, weights: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Values and gradients of torch's and of ours. torch's alpha is divided by the size."""
    alpha, k = 1e-2, 1.5
    found = []
    for norm in (
        lambda x: F.local_response_norm(x, size, alpha * size, beta, k),
        LocalResponseNorm(size, alpha, beta, k),
    ):
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        y = norm(leaf)
        found.append((y.detach(), *torch.autograd.grad(y, leaf, weights)))
    return found


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("beta", [0.75, 0.5])
@pytest.mark.parametrize(("size", "channels"), [(5, 9), (5, 4), (5, 1), (4, 7), (3, 2), (1, 3)])
def test_values_and_gradients_are_torchs(
    size: int, channels: int, beta: float, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    for kind, tolerance in ((torch.float64, 1e-14), (torch.float32, 1e-6)):
        x, weights = (20 * torch.randn(2, channels, 5, 6, dtype=kind) for _ in range(2))
        x = x.contiguous(memory_format=layout)
        expected, ours = both(x, size, beta, weights)
        for one, other in zip(expected, ours, strict=True):
            assert torch.allclose(one, other, rtol=tolerance, atol=tolerance * one.abs().max())


def test_second_derivatives_are_right() -> None:
    norm = LocalResponseNorm(3, 0.1, 0.75, 1.0)
    x = torch.randn(2, 4, 2, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, x)
    assert torch.autograd.gradgradcheck(norm, x)


def test_bf16_is_summed_in_float32() -> None:
    x = (50 * torch.randn(1, 8, 3, 3)).bfloat16()
    leaf = x.clone().requires_grad_()
    y = LocalResponseNorm(5, 1e-4, 0.75, 2.0)(leaf)
    y.sum().backward()
    assert y.dtype == leaf.grad.dtype == torch.bfloat16
    expected = F.local_response_norm(x.float(), 5, 5e-4, 0.75, 2.0)
    assert torch.equal(y, expected.bfloat16())


def test_nothing_is_changed_in_place() -> None:
    x = torch.randn(1, 6, 2, 2, requires_grad=True)
    before = x.detach().clone()
    y = LocalResponseNorm(5, 1e-4, 0.75, 2.0)(x)
    gradient = torch.ones_like(y)
    (first,) = torch.autograd.grad(y, x, gradient, retain_graph=True)
    (second,) = torch.autograd.grad(y, x, gradient)
    assert torch.equal(first, second)
    assert torch.equal(x, before)
    assert torch.equal(gradient, torch.ones_like(y))


@pytest.mark.slow
def test_a_network_with_it_can_be_exported() -> None:
    norm = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), LocalResponseNorm(5, 1e-4, 0.75, 2.0))
    images = torch.randn(2, 3, 7, 7)
    program = torch.export.export(norm.eval(), (images,))
    assert torch.allclose(program.module()(images), norm(images))
