"""What image tasks decide before training: size, channels, padding, mean and deviation."""

import math
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.feed import Feed
from torchfolio.errors import RequestError
from torchfolio.networks.catalogue import Card
from torchfolio.tasks.base import in_batches
from torchfolio.tasks.pictures import PictureOptions, Pictures, unit

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
FIT_PICTURES = 5_000  # the training pictures that means are fitted on
PHOTOGRAPHS = 1_000  # of them, where they are large
FITTED = ("standard", "pixel-mean")  # ways to normalise that are fitted on training pictures


def plan_pictures(
    card: Card, dataset: Dataset, train: Indices, options: PictureOptions
) -> tuple[Pictures, list[str]]:
    """Decide size, channels, padding and normalisation from the pictures of the training split.

    Returns the pictures, whose ``state`` holds what was decided, and a line on each decision.
    """
    facts = dataset.records.facts(train)
    size, why = choose_size(card, facts, options.image_size)
    channels = card.input[0] if card.fixed_channels else options.channels or facts["channels"]
    how = options.resize
    if how == "auto":
        how = "pad" if max(facts["size_max"]) <= size <= min(facts["size_min"]) + 4 else "crop"
    state = {
        "size": size,
        "channels": channels,
        "depth": facts["depth"],
        "resize": how,
        "fill": 0.0,
        "mirror": channels == 3 if options.mirror is None else options.mirror,
    }
    lines = [f"image size {size} x {size}: {why}", f"{channels} channel(s), resized by: {how}"]
    if options.augment not in ("none", "shift"):
        mirrored = "mirrored at random" if state["mirror"] else "not mirrored"
        lines.append(f"training pictures are {mirrored} (--mirror, --no-mirror)")
    sample = train[np.linspace(0, len(train) - 1, min(len(train), FIT_PICTURES)).astype(int)]
    pictures = Pictures(options, state)
    if how == "pad":
        state["fill"] = border_value(pictures, dataset, sample)
    lines.append(fit_normalisation(pictures, dataset, sample))
    return pictures, lines


def choose_size(card: Card, facts: dict[str, Any], wanted: int | None) -> tuple[int, str]:
    """Return the side of the input and the reason for it."""
    smallest, step = card.smallest, card.step
    usual = max(card.input[1:]) // step * step
    if card.one_size:
        if wanted not in (None, usual):
            raise RequestError(
                f"{card.name} takes images of {usual} x {usual}, as its paper fixes them; "
                f"image-size is {wanted}. Leave it out: pictures are fitted."
            )
        return usual, f"{card.name} takes no other"
    if card.fixed_size and wanted is None:
        return usual, f"that of {card.name}'s paper (--image-size overrules)"
    if wanted is not None:
        if wanted < smallest:
            raise RequestError(f"image-size is {wanted}; {card.name} takes {smallest} or more.")
        if wanted % step:
            below = wanted // step * step
            raise RequestError(
                f"image-size is {wanted}; {card.name} takes multiples of {step}, its "
                f"{card.multiple_of}. The nearest are {below} and {below + step}."
            )
        return wanted, "as asked"
    median = int(min(facts["size_median"]))
    nearest = (median + step // 2) // step * step
    size = max(min(nearest, usual), smallest)
    if size == median:
        return size, "the median of the data's"
    if smallest < size < usual:
        return size, (
            f"the nearest to the data's median, {median}, of the multiples of {step} that "
            f"{card.name} takes"
        )
    word = "smallest sensible" if size == smallest else "usual"
    return size, f"the {word} size of {card.name}; the data's median is {median}"


def fit_normalisation(pictures: Pictures, dataset: Dataset, sample: Indices) -> str:
    """Fit mean and standard deviation on pictures of the training split."""
    how, state = pictures.options.normalize.replace("_", "-"), pictures.state
    line = fixed_normalisation(how, state)
    if line is not None:
        return line
    if how not in FITTED:
        raise RequestError(
            f"normalize is {how!r}; it should be standard, pixel-mean, imagenet, none or "
            "LOW:HIGH (for example -0.1:1.175)."
        )
    total, squares, count = moments(pictures, dataset, sample, whole=how == "pixel-mean")
    mean, square = total / count, squares / count
    channel_mean = mean.mean((1, 2), keepdim=True)
    std = (square.mean((1, 2), keepdim=True) - channel_mean.square()).clamp_min(1e-8).sqrt()
    state["mean"] = (mean if how == "pixel-mean" else channel_mean).float()
    state["std"] = std.float()
    shown = ", ".join(f"{value:.3f}" for value in channel_mean.flatten().tolist())
    return f"normalised by the training pictures' {how} (mean {shown})"


def fixed_normalisation(how: str, state: dict[str, Any]) -> str | None:
    """Set mean and standard deviation where pictures have no say in them; else return ``None``."""
    channels = state["channels"]
    if how == "none":
        state |= {"mean": torch.zeros(channels, 1, 1), "std": torch.ones(channels, 1, 1)}
        return "pixels from 0 to 1, not normalised"
    if ":" in how:
        low, high = read_range(how)
        state["mean"] = torch.full((channels, 1, 1), -low / (high - low))
        state["std"] = torch.full((channels, 1, 1), 1 / (high - low))
        return f"black becomes {low:g}, white {high:g}"
    if how == "imagenet":
        if channels != 3:
            raise RequestError(f"normalize = imagenet needs 3 channels; the data have {channels}.")
        state["mean"] = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
        state["std"] = torch.tensor(IMAGENET_STD).view(3, 1, 1)
        return "normalised by ImageNet's mean and standard deviation"
    return None


def fit_channels(how: str, state: dict[str, Any], pictures: Iterable[Tensor]) -> str:
    """Set mean and deviation of each channel as asked, or by pictures (channels, height, width).

    ``pictures`` are looked at where they have a say. Returns what was done.
    """
    line = fixed_normalisation(how, state)
    if line is not None:
        return line
    if how != "standard":
        raise RequestError(
            f"normalize is {how!r}; it should be standard, imagenet, none or LOW:HIGH."
        )
    total, squares, count = torch.zeros(state["channels"]), torch.zeros(state["channels"]), 0
    for picture in pictures:
        of_one = sums(picture[None], whole=False)
        total, squares = total + of_one[0].flatten(), squares + of_one[1].flatten()
        count += of_one[2]
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(1e-8).sqrt()
    state["mean"], state["std"] = (each.float().view(-1, 1, 1) for each in (mean, std))
    shown = ", ".join(f"{each:.3f}" for each in mean.tolist())
    return f"normalised by the training pictures' mean and deviation (mean {shown})"


def moments(
    pictures: Pictures, dataset: Dataset, sample: Indices, whole: bool
) -> tuple[Tensor, Tensor, int]:
    """Return the sums of values and of their squares, and how many values are in each sum.

    ``whole`` has a sum for each place in a fitted picture, (channels, size, size); else there is
    one for each channel, (channels, 1, 1). Photographs that training crops at random are taken as
    they are before it, the others fitted.
    """
    size, channels = pictures.state["size"], pictures.state["channels"]
    cropped = pictures.how_moved() == "photo" and not whole
    if cropped:
        sample = sample[np.linspace(0, len(sample) - 1, min(len(sample), PHOTOGRAPHS)).astype(int)]

    def of_part(part: Indices) -> tuple[Tensor, Tensor, int]:
        if not cropped:
            return sums(pictures.fitted(dataset, part), whole)
        found = [sums(pictures.large(dataset, index)[None], whole) for index in part.tolist()]
        totals, squares, counts = zip(*found, strict=True)
        return sum(totals), sum(squares), sum(counts)

    at_once = max(1, min(256, 2**23 // (channels * size**2)))
    feed = Feed(of_part, in_batches(sample, at_once), min(8, os.cpu_count() or 1))
    totals, squares, counts = zip(*feed, strict=True)
    return sum(totals), sum(squares), sum(counts)


def sums(images: Tensor, whole: bool) -> tuple[Tensor, Tensor, int]:
    """Return what :func:`moments` does, of images (batch, channels, height, width)."""
    if whole:
        values = unit(images).double()
        return values.sum(0), values.square().sum(0), len(values)
    channels = images.transpose(0, 1).flatten(1)  # (channels, values)
    if images.dtype == torch.uint8:  # exact, and quicker: by how often each of the 256 occurs
        counts = np.stack([np.bincount(each, minlength=256) for each in channels.numpy()])
        levels = np.arange(256) / 255
        total, squares = torch.from_numpy(counts @ np.stack([levels, levels**2], 1)).unbind(1)
    else:
        values = channels.double()
        total, squares = values.sum(1), values.square().sum(1)
    return total.view(-1, 1, 1), squares.view(-1, 1, 1), channels.shape[1]


def border_value(pictures: Pictures, dataset: Dataset, sample: Indices) -> float:
    """Return the median of the pictures' outermost pixels: what padding continues them with."""
    edges = []
    for index in sample[:: max(1, len(sample) // 500)]:
        picture = pictures.picture_of(dataset, int(index))  # (channels, height, width)
        sides = (picture[:, 0], picture[:, -1], picture[..., 0], picture[..., -1])
        edges.append(torch.cat(sides, 1).flatten())
    return float(np.median(torch.cat(edges).numpy()))


def read_range(text: str) -> tuple[float, float]:
    """Read LOW:HIGH."""
    try:
        low, high = (float(each) for each in text.split(":"))
    except ValueError:
        low = high = 0.0
    if not (low < high and math.isfinite(high - low)):
        raise RequestError(f"normalize is {text!r}; LOW:HIGH needs two numbers, the lower first.")
    return low, high
