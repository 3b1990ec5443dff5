"""``create``: a network by its name, with weights or without."""

from pathlib import Path
from typing import Any

from torch import nn

from torchfolio.errors import RequestError
from torchfolio.networks.build import build, settings
from torchfolio.networks.catalogue import ONE_CLASS, Card, find_card
from torchfolio.networks.origin import origin_of
from torchfolio.networks.weights import (
    LoadReport,
    fixed_parameters,
    head_names,
    imagenet_weights,
    listed,
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
    arguments are those of the network's page; those that are not given are, where weights tell
    them, as the weights want: of a run, or a file that ``folio export`` made of it, what that run
    set and the size of its pictures; of torchvision's Faster R-CNN its frozen norms. Anchors that a
    run took from its data stay in the run. Raises ``RequestError`` for an unknown name or argument,
    and where part of the network, its head aside, would stay random (a detector may begin with the
    weights of a classifier, and with ``in_channels`` given the first layer may be new);
    ``FolioError`` for weights that cannot be read.
    """
    card = find_card(name)
    if weights == "imagenet" and in_channels in (None, 3):
        arguments = card.weights_arguments | arguments
    tensors = None
    if weights == "imagenet":
        tensors = imagenet_weights(card)
        arguments = told_arguments(card, tensors, {}) | arguments
    elif weights is not None:
        tensors = read_weights(weights)
        origin = origin_of(Path(weights))
        same = origin.network == card.name
        arguments = told_arguments(card, tensors, origin.arguments if same else {}) | arguments
        if same and origin.size and "image_size" in settings(card):
            arguments.setdefault("image_size", (origin.size, origin.size))
    network = build(name, num_classes=num_classes, in_channels=in_channels, **arguments)
    if tensors is not None:
        report = load_weights(network, tensors)
        refuse_random(card, network, report, channels_given=in_channels is not None)
    return network


def refuse_random(
    card: Card, network: nn.Module, report: LoadReport, *, channels_given: bool
) -> None:
    """Raise where parameters outside the head stay as they were drawn.

    A network that does not classify may begin with the weights of one that does, which lack the
    rest of it.
    """
    new, aside = set(report.new), {*head_names(network)}
    fixed = fixed_parameters(network)
    random = [
        name
        for name, _ in network.named_parameters()
        if name in new
        and name.split(".")[0] not in aside
        and name not in fixed
        and (name in report.shapes or ONE_CLASS in card.tasks)
        and not (channels_given and reads_other_channels(report, name))
    ]
    if random:
        raise RequestError(
            f"{listed([report.described(name) for name in random])} of {card.name} would stay "
            "random: the weights do not have it, or have it in another shape. Give the arguments "
            "that the weights were trained with (in_channels, image_size, those of the page), or "
            "name their network."
        )


def reads_other_channels(report: LoadReport, name: str) -> bool:
    """Return whether a tensor has another shape in the file by what it reads alone."""
    if name not in report.shapes:
        return False
    ours, theirs = report.shapes[name]
    return ours[:1] + ours[2:] == theirs[:1] + theirs[2:]
