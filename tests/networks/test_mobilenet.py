"""MobileNet: the rounding of channels, and which blocks have a shortcut."""

import pytest
import torch
from torch import nn

from torchfolio.networks.build import build
from torchfolio.networks.mobilenet_v2 import scaled


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    [
        (32, 1.0, 32),
        (32, 0.35, 16),  # 11.2: 8 would be less than 90 %
        (24, 0.5, 16),  # 12, half way: up
        (16, 0.35, 8),  # 5.6: at least 8
        (96, 0.75, 72),
        (1280, 1.4, 1792),
        (16, 1.4, 24),  # 22.4
    ],
)
def test_channels_are_multiples_of_eight(channels: int, width: float, expected: int) -> None:
    assert scaled(channels, width) == expected


def test_the_last_convolution_is_not_narrowed() -> None:
    for name, width in (("mobilenet_v2_0.35", 1280), ("mobilenet_v2_1.4", 1792)):
        assert build(name).classifier[1].in_features == width


def test_shortcuts_where_stride_and_width_allow_them() -> None:
    # Table 2: n repeats, of which the first changes the width or the stride
    blocks = list(build("mobilenet_v2").features)[1:-1]
    shortcuts = [each.shortcut for each in blocks]
    repeats = [1, 2, 3, 4, 3, 3, 1]
    assert shortcuts == [number > 0 for count in repeats for number in range(count)]


def test_the_last_depthwise_convolution_keeps_its_maps() -> None:
    strides = [
        each.stride[0]
        for each in build("mobilenet_v1").modules()
        if isinstance(each, nn.Conv2d) and each.groups > 1
    ]
    assert strides == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]


@pytest.mark.parametrize("name", ["mobilenet_v1_0.25", "mobilenet_v2_0.35"])
def test_tensorflows_epsilon_reaches_every_batch_norm(name: str) -> None:
    for given, epsilon in (({}, 1e-5), ({"norm_eps": 1e-3}, 1e-3)):
        with torch.device("meta"):
            norms = [m for m in build(name, **given).modules() if isinstance(m, nn.BatchNorm2d)]
        assert len(norms) in (27, 52)
        assert {each.eps for each in norms} == {epsilon}
