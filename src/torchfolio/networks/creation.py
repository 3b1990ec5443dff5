"""``create``: a network by its name, with weights or without."""

import tomllib
from pathlib import Path
from typing import Any

from torch import nn

from torchfolio.errors import FolioError
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
    (frozen norms of torchvision's Faster R-CNN, and of a run folder what that run's recipe sets of
    the kind). Anchors that a run took from its data stay in the run, and a file of weights says
    nothing of its run. Raises ``RequestError`` for an unknown name or argument, ``FolioError`` for
    weights that do not fit.
    """
    card = find_card(name)
    if weights == "imagenet" and in_channels in (None, 3):
        arguments = card.weights_arguments | arguments
    tensors = None
    if weights is not None:
        published = weights == "imagenet"
        tensors = imagenet_weights(card) if published else read_weights(weights)
        known = {} if published else arguments_of_run(Path(weights))
        arguments = told_arguments(card, tensors, known) | arguments
    network = build(name, num_classes=num_classes, in_channels=in_channels, **arguments)
    if tensors is not None:
        load_weights(network, tensors)
    return network


def arguments_of_run(folder: Path) -> dict[str, Any]:
    """Return the arguments of the page that a run's recipe sets; of what is no run, none."""
    file = folder / "recipe.toml"
    if not file.is_file():
        return {}
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8", errors="surrogateescape"))
        return dict(table["network"].get("set", {}))
    except OSError as error:
        raise FolioError(f"{file} cannot be read: {error.strerror or error}.") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FolioError(
            f"{file} is damaged: {error}. Copy it again from where the run was made."
        ) from error
