"""What image tasks decide before training: the size of the input, and what padding looks like."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.errors import RequestError
from torchfolio.networks.catalogue import Card


def choose_size(card: Card, facts: dict[str, Any], wanted: int | None) -> tuple[int, str]:
    """Return the side of the input and the reason for it."""
    smallest, usual = max(card.min_input[1:]), max(card.input[1:])
    if card.fixed_size:
        if wanted not in (None, usual):
            raise RequestError(
                f"{card.name} takes images of {usual} x {usual}, as its paper fixes them; "
                f"image-size is {wanted}. Leave it out: pictures are fitted."
            )
        return usual, f"{card.name} takes no other"
    if wanted is not None:
        if wanted < smallest:
            raise RequestError(f"image-size is {wanted}; {card.name} takes {smallest} or more.")
        return wanted, "as asked"
    median = int(min(facts["size_median"]))
    size = min(max(median, smallest), usual)
    if size == median:
        return size, "the median of the data's"
    word = "smallest sensible" if size == smallest else "usual"
    return size, f"the {word} size of {card.name}; the data's median is {median}"


def border_value(dataset: Dataset, sample: Indices) -> float:
    """Return the median of the pictures' outermost pixels: what padding continues them with."""
    edges = []
    for index in sample[:: max(1, len(sample) // 500)]:
        pixels = dataset.records.pixels(int(index))  # type: ignore[attr-defined]
        edges.append(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).ravel())
    return float(np.median(np.concatenate(edges)))


def read_range(text: str) -> tuple[float, float]:
    """Read LOW:HIGH."""
    try:
        low, high = (float(each) for each in text.split(":"))
    except ValueError:
        low = high = 0.0
    if low >= high:
        raise RequestError(f"normalize is {text!r}; LOW:HIGH needs two numbers, the lower first.")
    return low, high


def unit(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [0, 1]; float images as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def with_channels(picture: Tensor, channels: int) -> Tensor:
    """Return a picture (1 or 3, height, width) with 1 channel (grey) or 3."""
    if len(picture) == channels:
        return picture
    if channels == 3:
        return picture.expand(3, -1, -1)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)  # ITU-R BT.601, as Pillow's
    grey = (picture.float() * weights).sum(0, keepdim=True)
    return grey.round().to(picture.dtype) if picture.dtype == torch.uint8 else grey
