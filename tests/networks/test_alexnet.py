"""AlexNet: the response normalisation of Section 3.3."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from torchfolio.errors import RequestError
from torchfolio.layers.local_response import LocalResponseNorm
from torchfolio.networks.build import build


def test_the_response_normalisation_is_the_papers() -> None:
    norm = LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)
    maps = torch.tensor([10.0, 20.0, 30.0, 40.0, 50.0, 60.0]).view(1, 6, 1, 1)
    # channel 0 sees 0, 1, 2; channel 3 sees 1 to 5
    first = 10 / (2 + 1e-4 * (100 + 400 + 900)) ** 0.75
    fourth = 40 / (2 + 1e-4 * (400 + 900 + 1600 + 2500 + 3600)) ** 0.75
    found = norm(maps).flatten()
    assert found[0].item() == pytest.approx(first, rel=1e-6)
    assert found[3].item() == pytest.approx(fourth, rel=1e-6)


def test_torchs_module_divides_alpha_by_the_channels() -> None:
    maps = torch.randn(2, 9, 3, 4) * 100
    torchs = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    assert torch.allclose(LocalResponseNorm(5, 1e-4, 0.75, 2.0)(maps), torchs(maps))
    assert not torch.allclose(
        LocalResponseNorm(5, 1e-4, 0.75, 2.0)(maps),
        F.local_response_norm(maps, 5, alpha=1e-4, beta=0.75, k=2.0),
    )


@pytest.mark.parametrize("shape", [(1, 3, 224, 224), (1, 1, 227, 227), (3, 227, 227)])
def test_another_size_than_that_of_2012_is_refused(shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network, images = build("alexnet_2012"), torch.zeros(shape)
    with pytest.raises(RequestError, match=r"alexnet_2012 takes images of 3x227x227 .* no other"):
        network(images)


def test_the_third_convolution_alone_joins_the_two_towers() -> None:
    network = build("alexnet_2012")
    groups = {name: layer.groups for name, layer in network.named_children() if name[:4] == "conv"}
    assert groups == {"conv1": 1, "conv2": 2, "conv3": 1, "conv4": 2, "conv5": 2}
    one = build("alexnet_2012_ungrouped")
    assert {layer.groups for layer in one.children() if isinstance(layer, nn.Conv2d)} == {1}
    with pytest.raises(RequestError, match="groups is 1 or 2, not 3"):
        build("alexnet_2012", groups=3)


@pytest.mark.parametrize(
    ("size", "cells"),  # by hand: 67 -> 15 -> 7 -> 3 -> 1; 95 -> 22 -> 10 -> 4 -> 1
    [((67, 67), 1), ((227, 67), 6 * 1), ((99, 131), 2 * 3), ((227, 227), 36)],
)
def test_the_first_hidden_layer_follows_the_size_of_the_images(
    size: tuple[int, int], cells: int
) -> None:
    with torch.device("meta"):
        network = build("alexnet_2012", image_size=size)
        assert network(torch.zeros(2, 3, *size)).shape == (2, 1000)
    assert network.fc6.in_features == 256 * cells


def test_images_that_leave_no_map_are_refused() -> None:
    with pytest.raises(RequestError, match="the smallest are 67x67"):
        build("alexnet_2012", image_size=(227, 66))


def test_caffes_response_normalisation_can_be_set() -> None:
    """Caffe and torch divide alpha by the five channels; Caffe's k is 1."""
    with torch.device("meta"):
        norm = build("alexnet_2012", alpha=2e-5, k=1.0).norm
    maps = torch.randn(2, 9, 3, 4) * 100
    assert torch.allclose(norm(maps), F.local_response_norm(maps, 5, alpha=1e-4, beta=0.75, k=1.0))
