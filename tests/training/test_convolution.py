import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from torchfolio.errors import RequestError
from torchfolio.training import convolution
from torchfolio.training.convolution import (
    convolve,
    quicken,
    resolve_weight_gradients,
    weight_gradient,
)
from torchfolio.training.options import TrainingOptions

LAST = torch.channels_last
USUAL = TrainingOptions(device="cpu", precision="fp32", channels_last=True)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [
        (3, 1, 1, (7, 9)),
        (3, 2, 1, (8, 8)),
        (3, 2, 0, (8, 11)),  # the last line and column are in no patch
        ((5, 2), (1, 3), (2, 0), (6, 9)),
        (7, 4, 3, (7, 7)),
    ],
)
def test_gradients_are_those_of_torch(
    kernel: object, stride: object, padding: object, size: tuple[int, int], bias: bool
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(128, 24, kernel, stride, padding, bias=bias).double()  # type: ignore[arg-type]
    layer = layer.to(memory_format=LAST)
    found = []
    for compute in (layer, lambda images: convolve(layer, images)):
        torch.manual_seed(1)
        images = torch.randn(70, 128, *size, dtype=torch.float64, requires_grad=True)
        output = compute(images.to(memory_format=LAST))
        wanted = [images, *layer.parameters()]
        gradients = torch.autograd.grad(output, wanted, torch.randn_like(output))
        found.append([output, *gradients])
    for torchs, ours in zip(*found, strict=True):
        assert ours.shape == torchs.shape
        torch.testing.assert_close(ours, torchs)


def two_layers() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 128, 3), nn.Conv2d(128, 8, 3), nn.Conv2d(8, 4, 1))
    return layers.to(memory_format=LAST)


def test_only_wide_convolutions_take_them_as_products(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def counted(*arguments: Any) -> torch.Tensor:
        taken.append(arguments)
        return weight_gradient(*arguments)

    monkeypatch.setattr(convolution, "weight_gradient", counted)
    network = two_layers()
    quicken([network], "fp32")
    assert [type(each).__name__ for each in network] == ["Conv2d"] * 3
    assert ["forward" in vars(each) for each in network] == [False, True, False]
    network(torch.randn(2, 3, 9, 9)).sum().backward()
    assert len(taken) == 1


@pytest.mark.parametrize(
    ("capability", "settings", "chosen"),
    [
        ("AVX2", {}, "products"),
        ("AVX512", {}, "convolutions"),
        ("AMX", {}, "convolutions"),
        ("AVX512", {"precision": "bf16"}, "convolutions"),
        ("AMX", {"precision": "bf16"}, "products"),
        ("AMX", {"precision": "bf16", "channels_last": False}, "convolutions"),
        ("AVX2", {"precision": "fp16"}, "convolutions"),
        ("AVX2", {"channels_last": False}, "convolutions"),
        ("AVX2", {"compile": True}, "convolutions"),
        ("AVX2", {"device": "cuda"}, "convolutions"),
        ("AVX2", {"weight_gradients": "convolutions"}, "convolutions"),
        ("AVX512", {"weight_gradients": "products"}, "products"),
        ("AVX512", {"precision": "bf16", "weight_gradients": "products"}, "products"),
    ],
)
def test_products_where_they_are_quicker_or_asked_for(
    monkeypatch: pytest.MonkeyPatch, capability: str, settings: dict[str, object], chosen: str
) -> None:
    width = "AVX512" if capability == "AMX" else capability
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: width)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: capability == "AMX")
    options = TrainingOptions(**(vars(USUAL) | settings))
    assert resolve_weight_gradients(options).weight_gradients == chosen


def test_products_that_cannot_be_are_refused() -> None:
    options = TrainingOptions(
        **(vars(USUAL) | {"precision": "fp16", "weight_gradients": "products"})
    )
    with pytest.raises(RequestError, match="weight-gradients products is for the CPU, fp32 or"):
        resolve_weight_gradients(options)


@pytest.mark.parametrize("patches", [2**24, 2**16])  # all pictures at once, and some
def test_in_bf16_they_are_as_near_to_exact_ones_as_torchs(
    monkeypatch: pytest.MonkeyPatch, patches: int
) -> None:
    monkeypatch.setattr(convolution, "PATCHES", patches)
    torch.manual_seed(0)
    layer = nn.Conv2d(256, 32, 3, 2, 1).to(memory_format=LAST)
    images = torch.randn(40, 256, 8, 8).to(memory_format=LAST)
    slopes = torch.randn(40, 32, 4, 4)

    def gradients(compute: Callable[[torch.Tensor], torch.Tensor], bf16: bool) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = compute(images)
        assert output.dtype == (torch.bfloat16 if bf16 else torch.float32)
        (output.float() * slopes).sum().backward()
        found = layer.weight.grad
        layer.weight.grad = None
        return found

    exact = gradients(layer, False)
    torchs = (gradients(layer, True) - exact).norm() / exact.norm()
    ours = (gradients(lambda each: convolve(layer, each), True) - exact).norm() / exact.norm()
    assert ours < 1.25 * torchs < 0.01  # each part of the sum is rounded once


def test_in_bf16_wider_convolutions_alone_gain() -> None:
    network = nn.Sequential(nn.Conv2d(128, 256, 3), nn.Conv2d(256, 4, 3)).to(memory_format=LAST)
    quicken([network], "bf16")
    assert ["forward" in vars(each) for each in network] == [False, True]


def test_a_copy_computes_with_its_own_weights() -> None:
    network = two_layers()
    quicken([network], "fp32")
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert other(torch.randn(2, 3, 9, 9)).abs().sum() == 0
    assert network.state_dict().keys() == two_layers().state_dict().keys()


def test_what_is_frozen_gets_no_gradient() -> None:
    network = two_layers()
    quicken([network], "fp32")
    network[1].weight.requires_grad_(False)
    network(torch.randn(2, 3, 9, 9)).sum().backward()
    assert network[1].weight.grad is None
    assert network[0].weight.grad is not None
    assert network[1].bias.grad is not None


def test_second_derivatives() -> None:
    results = []
    for change in (lambda _: None, lambda network: quicken([network], "fp32")):
        network = two_layers().double()
        change(network)
        torch.manual_seed(1)
        images = torch.randn(2, 3, 9, 9, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(network(images).pow(2).sum(), images, create_graph=True)
        slope.pow(2).sum().backward()
        results.append(network[1].weight.grad)
    torch.testing.assert_close(*results)
