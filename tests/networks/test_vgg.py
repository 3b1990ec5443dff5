"""VGG: configuration C, initial weights, and the dense evaluation of Section 3.2."""

import pytest
import torch
from torch import nn

from torchfolio.errors import RequestError
from torchfolio.networks.build import build
from torchfolio.networks.vgg import Dense


def test_configuration_c_ends_its_last_stages_with_1x1() -> None:
    kernels = [
        each.kernel_size[0] for each in build("vgg16_c").features if isinstance(each, nn.Conv2d)
    ]
    assert kernels == [3, 3, 3, 3, 3, 3, 1, 3, 3, 1, 3, 3, 1]


def test_the_papers_first_weights_have_a_variance_of_a_hundredth() -> None:
    torch.manual_seed(0)
    for layer in build("vgg11_paper").modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.1, rel=0.1)
            assert not layer.bias.any()


@torch.no_grad()
def test_dense_evaluation_is_the_network_itself_up_to_224() -> None:
    network = build("vgg11", num_classes=5).eval()
    for size in ((224, 224), (32, 70), (224, 96)):
        images = torch.randn(1, 3, *size)
        assert Dense(network).maps(images).shape == (1, 5, 1, 1)
        assert torch.allclose(Dense(network)(images), network(images), atol=1e-5)


@torch.no_grad()
def test_dense_evaluation_is_the_mean_over_all_windows() -> None:
    network = build("vgg11", num_classes=5).eval()
    images = torch.randn(1, 3, 224, 288)
    maps = Dense(network).maps(images)
    assert maps.shape == (1, 5, 1, 3)  # 32 pixels apart
    features = network.features(images)  # (1, 512, 7, 9)
    windows = [network.classifier(features[..., left : left + 7].flatten(1)) for left in range(3)]
    assert torch.allclose(maps[0, :, 0].T, torch.cat(windows), atol=1e-5)
    assert torch.allclose(Dense(network)(images), torch.stack(windows).mean(0), atol=1e-5)


def test_dense_evaluation_of_low_and_wide_pictures_has_windows_along_the_width() -> None:
    with torch.device("meta"):
        network, images = build("vgg11"), torch.zeros(1, 3, 40, 300)  # 1x9 cells
        assert Dense(network).maps(images).shape == (1, 1000, 1, 3)


def test_an_unknown_configuration_is_named() -> None:
    with pytest.raises(RequestError, match="configuration is one of A, B, C, D, E, not 'F'"):
        build("vgg16", configuration="F")
