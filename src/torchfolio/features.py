"""Vectors of pictures from a network of the catalogue, and files of vectors for use elsewhere.

Those from a run are ``Run.features``.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from torchfolio.checkpoint import replacing
from torchfolio.errors import RequestError
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import Card, find_card
from torchfolio.networks.weights import (
    head_names,
    imagenet_weights,
    input_channels,
    listed,
    load_weights,
    read_weights,
)
from torchfolio.options import read_options
from torchfolio.tasks.base import Context
from torchfolio.tasks.image_features import Vectors, vectors
from torchfolio.tasks.image_preparation import FITTED, choose_size, fixed_normalisation
from torchfolio.tasks.pictures import PictureOptions, Pictures
from torchfolio.training.device import configure, resolve_device
from torchfolio.training.given import preparation
from torchfolio.training.measure import measuring_batch
from torchfolio.training.options import TrainingOptions


def network_features(
    network: str,
    inputs: Iterable[Any],
    *,
    weights: str | Path | None,
    layer: str | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    normalize: str | None = None,
    device: str = "auto",
) -> Vectors:
    """Return what a layer of a network with given weights finds in pictures, a vector each.

    ``weights`` is a weight file, a run folder, or "imagenet". Unless given, ``image_size`` and
    ``normalize`` are as in the run (a file of ``folio export`` tells them too), else the card's
    usual size and, for ``imagenet``, what the card says of these weights; of other weight files
    ``normalize`` has to be given (imagenet, none or LOW:HIGH), as they do not tell it. Raises
    ``RequestError`` where weights are missing or do not fit.
    """
    card = find_card(network)
    if weights is None:
        raise RequestError(
            f"{card.name} without weights finds nothing: its own are random. Give --weights: a "
            "weight file, a run folder or imagenet. Or name a run in the place of the network."
        )
    state: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    if str(weights) == "imagenet":
        tensors = imagenet_weights(card)
        normalize = normalize or card.published_normalize(arguments)
    else:
        tensors = read_weights(weights)
        state, arguments = preparation(card, weights)
    channels = channels or state.get("channels") or input_channels(card, tensors, arguments)
    given = {"image_size": image_size, "channels": channels, "normalize": normalize}
    pictures, normalised = prepared(card, state, given)
    size = pictures.state["size"]
    if "classes" in state:
        arguments = arguments | {"num_classes": len(state["classes"])}
    built = build(
        card.name, in_channels=pictures.state["channels"], image_size=(size, size), **arguments
    ).eval()
    load_whole(built, tensors, layer)
    options = resolve_device(TrainingOptions(device=device))
    found = configure(options)
    context = Context(found, measuring_batch(options), options.workers or 0, report=False)
    return vectors(pictures, built.to(found), list(inputs), context, layer, normalised)


def prepared(card: Card, run: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[Pictures, str]:
    """Return how pictures are prepared, and how they are normalised in words.

    ``run`` is the preprocessing of the run that the weights come from, or empty; ``given`` are
    ``image_size``, ``channels`` and ``normalize``, ``None`` where they are not said.
    """
    said = {key: value for key, value in given.items() if value is not None}
    options = read_options(PictureOptions, said, "the settings")
    size, _ = choose_size(card, {}, options.image_size or run.get("size") or max(card.input[1:]))
    channels = card.input[0] if card.fixed_channels else options.channels or card.input[0]
    fresh = {"size": size, "channels": channels, "depth": 8, "resize": "crop", "fill": 0.0}
    pictures = Pictures(options, fresh | {"mirror": False})
    pictures.state |= {key: run[key] for key in ("depth", "resize", "fill") if key in run}
    if "normalize" not in said:
        if pictures.inherit(dict(run)):
            return pictures, "normalised as in the run"
        raise RequestError(
            "The weights do not tell how their training normalised pictures. Say it by "
            "--normalize: imagenet, none (from 0 to 1), or LOW:HIGH for black and white."
        )
    if options.normalize.replace("_", "-") in FITTED:
        raise RequestError(
            f"normalize is {options.normalize}, which is fitted on training pictures, and there "
            "are none. Take imagenet, none or LOW:HIGH."
        )
    words = fixed_normalisation(options.normalize, pictures.state)
    if words is None:
        raise RequestError(
            f"normalize is {options.normalize!r}; it should be imagenet, none or LOW:HIGH (for "
            "example -0.1:1.175)."
        )
    return pictures, words


def load_whole(network: nn.Module, tensors: Mapping[str, Tensor], layer: str | None) -> None:
    """Load weights; refuse those that would leave something random on the way to a layer."""
    new = set(load_weights(network, tensors).new)
    new &= {name for name, _ in network.named_parameters()}
    heads = head_names(network)
    if layer is None or layer.split(".")[0] not in heads:
        new = {name for name in new if name.split(".")[0] not in heads}
    if new:
        raise RequestError(
            f"The weights lack {listed(sorted(new))}, or have other shapes there: what the network "
            "finds would be partly random. Give whole weights, and their channels and image size."
        )


def write_vectors(path: Path, inputs: Sequence[str], found: NDArray[np.float32]) -> None:
    """Write vectors (inputs, width) as one file, Parquet or NumPy's by its suffix.

    ``.parquet`` has the columns ``input`` and ``vector`` (a list of fixed size of float32),
    ``.npz`` the arrays ``inputs`` and ``features``.
    """
    names = [name.encode("utf-8", "backslashreplace").decode() for name in inputs]
    with replacing(path) as temporary:
        if path.suffix.lower() == ".npz":
            with temporary.open("wb") as file:
                np.savez(file, inputs=np.array(names), features=found)
            return
        import pyarrow  # type: ignore[import-untyped]
        from pyarrow import parquet

        column = pyarrow.FixedSizeListArray.from_arrays(
            pyarrow.array(found.reshape(-1)), found.shape[1]
        )
        table = pyarrow.table({"input": pyarrow.array(names), "vector": column})
        parquet.write_table(table, temporary)
