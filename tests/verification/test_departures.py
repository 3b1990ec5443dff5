"""Each planted departure is caught, and the layer that has it is named first."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from tools.planted import names
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import cards, find_card
from torchfolio.verification import verify
from torchfolio.verification.departures import DEPARTURES, Departure, table

LARGE = (
    "resnet18",
    "resnet18_plain",
    "resnet50",
    "resnet50_v1",
    "vgg11",
    "vgg11_bn",
    "alexnet",
    "alexnet_2012",
    "densenet121",
    "vit_ti_16",
    "capsnet",
    "capsnet_official",
    "darknet19",
    "darknet53",
    "yolov1",
    "yolov2",
    "yolov3",
    "fasterrcnn_vgg16",
    "fasterrcnn_resnet50_fpn",
    "fcn8s",
    "fcn16s",
    "fcn32s",
    "fcn_resnet50",
    "unet",
    "unet_vgg16",
    "unet_vgg16_bn",
    "unet_vgg16_plain",
)
# Half a minute or more each, or much memory: tools/planted.py alone tries them
DEAREST = {
    "yolov1", "fasterrcnn_vgg16", "fcn8s", "fcn16s", "fcn32s", "vgg11", "vgg11_bn", "alexnet_2012",
    "unet_2015", "unet_bn", "unet_vgg16_bn", "unet_vgg16_plain", "yolov2", "yolov3", "darknet53",
}  # fmt: skip
FIRST = 1  # mistakes of a large network that the suite plants; tools/planted.py tries them all


def planted() -> Iterator[tuple[Departure, str, str]]:
    """Give what the suite plants: all in small networks, the first few in large ones."""
    seen: Counter[str] = Counter()
    for departure in DEPARTURES:
        for place, (network, layer) in enumerate(departure.on.items()):
            large = network in LARGE
            if network in DEAREST or (large and (place or seen[network] == FIRST)):
                continue
            seen[network] += 1
            yield departure, network, layer


PLANTED = [
    pytest.param(
        departure,
        network,
        layer,
        id=f"{departure.name}-{network}",
        marks=pytest.mark.slow if network in LARGE else (),
    )
    for departure, network, layer in planted()
]


@pytest.mark.parametrize(("departure", "network", "layer"), PLANTED)
def test_a_planted_departure_is_caught_and_its_layer_named(
    departure: Departure, network: str, layer: str
) -> None:
    verdict = verify(network, network=departure.build(network))
    assert not verdict.passed
    assert names(verdict.failures, layer), verdict.failures


def test_names_are_unique() -> None:
    names = [each.name for each in DEPARTURES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("family", sorted({card.family for card in cards().values()}))
def test_every_family_of_the_catalogue_has_a_handful(family: str) -> None:
    planted = [each for each in DEPARTURES if family in {find_card(n).family for n in each.on}]
    assert len(planted) >= 3


def test_planting_nothing_passes() -> None:
    nothing = Departure("nothing", "nothing at all", {"resnet20": "conv1"}, lambda n, layer: None)
    network = nothing.build("resnet20")
    assert isinstance(network, nn.Module)
    assert verify("resnet20", network=network).passed


def test_corners_are_loosened_where_they_are_aligned_alone() -> None:
    [loose] = [each for each in DEPARTURES if each.name == "vgg-corners-not-aligned"]
    with torch.device("meta"):
        network = build("unet_vgg16")  # which repeats pixels
    with pytest.raises(ValueError, match="it has no corners to align"):
        loose.plant(network, "decoder.blocks.0.conv1")


def test_the_guide_lists_every_departure() -> None:
    guide = Path(__file__).parents[2] / "docs" / "guides" / "verify.md"
    text = guide.read_text(encoding="utf-8")
    assert text.endswith(f"table() -->\n\n{table()}"), "write table() into docs/guides/verify.md"
