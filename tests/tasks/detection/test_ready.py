"""Detectors made ready to answer: every one, at a small size, with the same answers."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torchfolio import open_data
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import Card, find_card, list_networks
from torchfolio.networks.inference import agree
from torchfolio.tasks.base import Context, Parts
from torchfolio.tasks.detection.options import DetectionOptions
from torchfolio.tasks.detection.task import ObjectDetection, needs_targets

CPU = Context(device=torch.device("cpu"), batch_size=4)


def trained(name: str) -> nn.Module:
    """Return a network with batch norms as a training leaves them; it is in training mode."""
    torch.manual_seed(0)
    network = build(name, num_classes=2)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.5, 2)
    return network.train()


def norms(network: nn.Module) -> list[nn.Module]:
    return [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]


def sides_seen(layer: nn.Module) -> list[int]:
    """Return a list that fills with the sides of what a layer is given."""
    seen: list[int] = []
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(max(inputs[0].shape[-2:])))
    return seen


def forms() -> list[str]:
    """Return the smallest detector of each page and form."""
    found: dict[str, Card] = {}
    for card in map(find_card, list_networks(task="object-detection")):
        known = found.setdefault(card.builder, card)
        found[card.builder] = min(card, known, key=lambda each: each.parameters)
    return [card.name for card in found.values()]


@pytest.mark.parametrize("name", forms())
@torch.no_grad()
def test_every_detector_is_made_ready_by_small_pictures_and_says_the_same(name: str) -> None:
    with torch.device("meta"):
        network: Any = build(name, num_classes=2, image_size=(448, 448))
    if norms(network):
        network = trained(name)
    else:
        network.to_empty(device="cpu").train()  # nothing of it is computed
    seen = sides_seen(next(each for each in network.modules() if isinstance(each, nn.Conv2d)))
    task = ObjectDetection(DetectionOptions(), {"size": 448, "channels": 3})
    ready: Any = task.answering(Parts(network=network), CPU).network
    assert not network.training
    if not norms(network):
        assert ready is network
        assert not seen
        return
    assert set(seen) == {64}
    assert not norms(ready)
    images = torch.rand(1, 3, 96, 64)
    if needs_targets(network):  # from whose maps all else follows
        assert agree(network.maps(images), ready.maps(images))
    else:
        assert agree(network.scored(network(images)), ready.scored(ready(images)))


def test_the_threshold_is_chosen_by_the_network_that_is_ready() -> None:
    """The batch norms of the network itself see nothing but what it is made ready by."""
    data, card = open_data("digit-boxes"), find_card("yolov3_tiny")
    task = ObjectDetection(DetectionOptions(image_size=96))
    task.prepare(card, data, np.arange(8))
    parts = task.parts(card)
    seen = sides_seen(norms(parts.network)[0])
    (line,) = task.conclude(parts, data, np.arange(4), CPU)
    assert "on 4 validation pictures" in line
    assert set(seen) == {64}
