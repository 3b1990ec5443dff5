"""What a layer finds, as a vector: against the network cut open by hand."""

from collections import OrderedDict

import pytest
import torch
from test_forms import SMALLEST, smallest
from torch import Tensor, nn

from torchfolio.errors import RequestError
from torchfolio.networks.build import build
from torchfolio.networks.tap import Tap


def seen(network: nn.Module, images: Tensor, layer: str | None = None) -> tuple[Tensor, Tap]:
    tap = Tap(network, images[:1], layer)
    with torch.no_grad(), tap.listening():
        return tap(images), tap


def test_without_a_layer_it_is_what_the_head_reads() -> None:
    torch.manual_seed(0)
    network, images = build("resnet18").eval(), torch.rand(3, 3, 40, 40)
    found, tap = seen(network, images)
    with torch.no_grad():
        x = network.conv1(images)
        x = network.maxpool(torch.relu(network.bn1(x)))
        x = network.layer4(network.layer3(network.layer2(network.layer1(x))))
        expected = x.mean((2, 3))
    assert found.shape == (3, 512) == (3, tap.width)
    assert tap.words == "what fc reads"
    torch.testing.assert_close(found, expected)


def test_maps_are_averaged_over_height_and_width() -> None:
    torch.manual_seed(0)
    network, images = build("resnet20").eval(), torch.rand(2, 3, 24, 16)
    found, tap = seen(network, images, "layer2")
    with torch.no_grad():
        x = torch.relu(network.bn1(network.conv1(images)))
        expected = network.layer2(network.layer1(x)).mean((2, 3))
    assert tap.words == "what layer2 gives"
    torch.testing.assert_close(found, expected)


def test_tokens_are_laid_end_to_end() -> None:
    network, images = build("vit_ti_16", image_size=(32, 32)).eval(), torch.rand(2, 3, 32, 32)
    found, _ = seen(network, images, "encoder.layers.encoder_layer_3")
    assert found.shape == (2, 5 * 192)


def test_what_a_later_layer_overwrites_is_kept() -> None:
    torch.manual_seed(0)
    layers = [("first", nn.Linear(4, 8)), ("relu", nn.ReLU(inplace=True)), ("fc", nn.Linear(8, 2))]
    network = nn.Sequential(OrderedDict(layers)).eval()
    rows = torch.randn(5, 4)
    found, _ = seen(network, rows, "first")
    with torch.no_grad():
        assert torch.equal(found, network.first(rows))
    assert (found < 0).any()


@pytest.mark.parametrize("name", SMALLEST)
def test_every_network_has_a_vector_for_its_head(name: str) -> None:
    network, shape = smallest(name)
    found, tap = seen(network.eval(), torch.rand(2, *shape))
    assert found.shape == (2, tap.width)
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    expected = {"capsnet": "digitcaps", "capsnet_official": "digitcaps", "googlenet_aux": "fc"}
    if name in expected:
        assert tap.name == expected[name]


@pytest.mark.parametrize(
    ("network", "layer", "message"),
    [
        ("resnet20", "layer4", "no layer named 'layer4'. The nearest: layer"),
        ("resnet20", "", "no layer named ''"),
        ("googlenet_aux", "aux1", "The layer aux1 does not run while the network answers"),
        ("googlenet_aux", "pool", "The layer pool runs 3 times while the network answers"),
    ],
)
def test_layers_that_cannot_be_taken(network: str, layer: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        seen(build(network).eval(), torch.rand(1, 3, 32, 32), layer)


def test_a_layer_that_gives_several_tensors_is_refused() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.two, self.fc = Two(), nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.two(x)[0])

    with pytest.raises(RequestError, match="The layer two gives a tuple, not a tensor"):
        Tap(Network().eval(), torch.rand(1, 3), "two")


def test_nothing_stays_behind_in_the_network() -> None:
    network = build("lenet5").eval()
    seen(network, torch.rand(1, 1, 32, 32))
    for module in network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
