"""What segmentation decides before training: scale, crop, channels, normalisation, class shares."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.masks import IGNORE
from torchfolio.errors import RequestError
from torchfolio.evaluation.grey_cut import LEVELS, GreyCut, best_cut, grey
from torchfolio.networks.catalogue import Card
from torchfolio.tasks.image_preparation import fit_channels
from torchfolio.tasks.segmentation.options import SegmentationOptions
from torchfolio.tasks.segmentation.scenes import RARE, Scenes

FIT_PICTURES = 500  # the training pictures that mean and deviation are fitted on
CUT_PICTURES = 50  # those that a plain threshold is fitted on
LITTLE = 0.01  # of the training pixels: a class below this is looked for more often
OFTEN = 2 / 3  # crops: of two classes, a third of all then shows the rare one (nnU-Net's share)
MULTIPLE = 16  # of crops, so that maps can be halved four times


def plan_scenes(
    card: Card, dataset: Dataset, train: Indices, options: SegmentationOptions
) -> tuple[Scenes, list[str]]:
    """Decide all from the training split; return the scenes and a line on each decision."""
    facts = dataset.records.facts(train)
    usual = max(card.input[1:])
    median = int(min(facts["size_median"]))
    wanted = options.image_size or min(median, usual)
    scale = wanted / median
    if options.image_size is not None:
        why = "as asked"
    elif scale < 1:
        why = f"their median side, {median}, becomes {usual}, the usual size of {card.name}"
    else:
        why = f"their median side, {median}, is not above {usual}, the usual size of {card.name}"
    channels = card.input[0] if card.fixed_channels else options.channels or facts["channels"]
    least = max(card.smallest, 1)
    crop = options.crop or max(least, min(usual, -(-wanted // MULTIPLE) * MULTIPLE))
    if crop < least:
        raise RequestError(f"crop is {crop}; {card.name} takes {least} or more.")
    state: dict[str, Any] = {
        "scale": scale,
        "crop": crop,
        "channels": channels,
        "depth": facts["depth"],
        "classes": list(dataset.classes),
    }
    slices = volume_state(dataset)
    cutting = []
    if slices:
        state["volume"] = slices
        finest = f"{slices['spacing']:.3g} mm, the finest spacing of all volumes"
        cutting = [f"{slices['axis']} slices, stretched to pixels of {finest} (--axis)"]
    scenes = Scenes(options, state)
    lines = [
        *cutting,
        "pictures as they are: " + why if scale == 1 else f"pictures scaled by {scale:.3g}: {why}",
        f"training crops of {crop} x {crop}, {channels} channel(s) (--crop, --channels)",
        fit_channels(options.normalize, state, sample(scenes, dataset, train)),
    ]
    pixels = np.zeros(len(dataset.classes), np.int64)
    empty = 0
    for index in train.tolist():
        mask = scenes.mask(dataset, index).numpy()
        found = np.bincount(mask[mask != IGNORE], minlength=len(pixels))
        pixels += found
        empty += not found[1:].any()
    state["train_pixels"] = pixels.tolist()
    if len(pixels) == 2:
        state["cut"] = vars(fitted_cut(scenes, dataset, train))
    shares = pixels / max(1, pixels.sum())
    named = ", ".join(
        f"{name} {share:.3g}" for name, share in zip(dataset.classes[:12], shares, strict=False)
    )
    lines.append(f"shares of the training pixels: {named}")
    if options.rare is None:
        state["rare"], line = rare_crops(shares, dataset.classes)
        lines.append(line)
    if options.border_weight:
        told = f"gaps between objects weigh up to {options.border_weight:g} more (--border-weight)"
        if not scenes.border_weight:
            told = f"no weight between objects: {dataset.classes[0]} is no background"
        lines.append(told)
    if empty:
        lines.append(f"{empty:,} of {len(train):,} training masks hold {dataset.classes[0]} only")
    return scenes, lines


def rare_crops(shares: NDArray[np.float64], classes: Sequence[str]) -> tuple[float, str]:
    """Return which share of crops is around a pixel of a class drawn at random, and why."""
    there = np.flatnonzero(shares)
    rarest = int(there[shares[there].argmin()]) if len(there) else 0
    told = f"the rarest class, {classes[rarest]}, has {shares[rarest]:.2%} of the pixels (--rare)"
    if shares[rarest] < LITTLE:
        return OFTEN, f"two of three crops are around a pixel of a class drawn at random: {told}"
    return RARE, f"half of the crops are around a pixel of a class drawn at random: {told}"


def fitted_cut(scenes: Scenes, dataset: Dataset, train: Indices) -> GreyCut:
    """Return the best cut at one grey value, on some training pictures."""
    counts = np.zeros((2, LEVELS), np.int64)
    for index in spread(train, CUT_PICTURES).tolist():
        values, mask = grey(dataset.records, index), scenes.mask(dataset, index).numpy()
        for label in range(2):
            counts[label] += np.bincount(values[mask == label], minlength=LEVELS)
    return best_cut(counts)


def volume_state(dataset: Dataset) -> dict[str, Any]:
    """Return how volumes are cut, so that others can be; nothing for pictures."""
    records: Any = dataset.records
    if not hasattr(records, "factors"):
        return {}
    return {
        "axis": records.axis,
        "window": dataset.reader_options.get("window", "auto"),
        "spacing": records.spacing,
    }


def sample(scenes: Scenes, dataset: Dataset, train: Indices) -> Iterator[torch.Tensor]:
    """Yield training pictures, evenly spread, as many as are looked at."""
    for index in spread(train, FIT_PICTURES).tolist():
        yield scenes.picture(dataset, index)


def spread(train: Indices, most: int) -> Indices:
    """Return so many of the training pictures at most, evenly spread."""
    return train[np.linspace(0, len(train) - 1, min(len(train), most)).astype(int)]
