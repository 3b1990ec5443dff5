"""``create``: a network by its name, with weights or without."""

from pathlib import Path
from typing import Any

from torch import nn

from torchfolio.networks.build import build
from torchfolio.networks.catalogue import find_card
from torchfolio.networks.weights import (
    imagenet_weights,
    load_weights,
    read_weights,
    told_arguments,
)


def create(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    weights: str | Path | None = None,
    **arguments: Any,
) -> nn.Module:
    """Build a network by its name: a plain ``nn.Module`` with float32 parameters on the CPU.

    ``weights`` is a weight file, a run folder, or "imagenet" (downloaded through torchvision; the
    network then takes colour pictures normalised as ImageNet's, as torchvision's does). Other
    arguments are those of the network's page, of which weights may tell some that are not given
    (frozen norms of torchvision's Faster R-CNN). Raises ``RequestError`` for an unknown name or
    argument, ``FolioError`` for weights that do not fit.
    """
    card = find_card(name)
    if weights == "imagenet" and in_channels in (None, 3):
        arguments = card.weights_arguments | arguments
    tensors = None
    if weights is not None:
        tensors = imagenet_weights(card) if weights == "imagenet" else read_weights(weights)
        arguments = told_arguments(card, tensors, {}) | arguments
    network = build(name, num_classes=num_classes, in_channels=in_channels, **arguments)
    if tensors is not None:
        load_weights(network, tensors)
    return network
