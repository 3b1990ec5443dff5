"""Which pixels the outputs of a layer look at."""

import pytest
import torch

from torchfolio.networks.build import build
from torchfolio.networks.trace import looks_at


@pytest.mark.parametrize(
    ("name", "layer", "size", "expected"),
    [
        # by hand: each 5x5 without padding moves the first look by 2 of its pixels, a pool by 0.5
        ("lenet5_original", "c3", 32, (2 + 0.5 + 2 * 2, 2)),
        ("lenet5", "s4", 32, (6.5 + 0.5 * 2, 4)),
        ("lenet_caffe", "conv2", 28, (6.5, 2)),
        # 8x8 without padding, a pool of 4 with stride 2, 8x8 with padding 3, the same pool, 5x5
        # with padding 3
        ("maxout_conv_mnist", "h2.conv", 28, (3.5 + 1.5 + 0.5 * 2 + 1.5 * 2 - 1 * 4, 4)),
        ("capsnet", "primarycaps.conv2d", 28, (4 + 4, 2)),
        ("resnet18", "layer4", 64, (0, 32)),
        ("resnet20", "layer3", 32, (0, 4)),
        ("cifar_quick", "conv3", 32, (0.5 + 0.5 * 2, 4)),
        ("vit_ti_16", "conv_proj", 32, (7.5, 16)),
    ],
)
def test_the_first_look_and_the_step_by_hand(
    name: str, layer: str, size: int, expected: tuple[float, float]
) -> None:
    network = build(name, image_size=(size, size)).eval()
    channels = next(each for each in network.parameters() if each.dim() == 4).shape[1]
    found = looks_at(network, layer, torch.zeros(1, channels, size, size))
    assert found == (expected, expected)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_layer_without_places_has_no_step() -> None:
    network = build("lenet5").eval()
    assert looks_at(network, "f6", torch.zeros(1, 1, 32, 32))[0][1] == 0
