"""Asking a segmentation network about one picture, tile by tile."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.data.masks import IGNORE
from torchfolio.tasks.segmentation.tiles import MARGIN, Tile, resampled, scores, tiles

VALUES = 2**23  # scores that are looked at at once: 32 MiB
TYPICAL_STEP = 32  # pixels for one of a network's smallest map, where it does not say


@dataclass
class Answer:
    """The class of each pixel of a picture (height, width), and how sure it is.

    ``loss`` is the sum of the cross-entropies of ``pixels`` pixels, where the truth was given;
    ``probabilities`` (classes, height, width) are those of all classes, where they are wanted.
    """

    classes: NDArray[np.uint8]
    probability: NDArray[np.uint8]  # of the class, 0 to 255
    loss: float = 0.0
    pixels: float = 0.0
    probabilities: NDArray[np.float16] | None = None


def ask(
    state: dict[str, Any],
    network: nn.Module,
    picture: Tensor,
    size: tuple[int, ...],
    mask: Tensor | None = None,
    *,
    whole: bool = False,
) -> Answer:
    """Return the classes of a picture's own pixels.

    ``picture`` (channels, height, width) is scaled, ``size`` what it was before, ``mask`` the truth
    of that size. ``whole`` asks for the probabilities of all classes, too.
    """
    height, width = picture.shape[-2:]
    rows, columns = size
    step = int(getattr(network, "step", TYPICAL_STEP))
    margin = 0 if getattr(network, "margin", 0) else int(getattr(network, "reach", MARGIN))
    found = Answer(np.empty((rows, columns), np.uint8), np.empty((rows, columns), np.uint8))
    images = normalised(state, picture[None])
    edge = 0 if (rows, columns) == (height, width) else 2  # of scores, to interpolate across cores
    for tile in tiles(height, width, margin, step):
        first, end, start, stop = tile.core
        wider = (
            max(first - edge, tile.seen[0]), min(end + edge, tile.seen[1]),
            max(start - edge, tile.seen[2]), min(stop + edge, tile.seen[3]),
        )  # fmt: skip
        said = scores(network, images, Tile(tile.seen, wider))
        top, bottom = -(-first * rows // height), -(-end * rows // height)
        left, right = -(-start * columns // width), -(-stop * columns // width)
        band = max(1, VALUES // (said.shape[1] * max(1, right - left)))  # rows at a time
        for row in range(top, bottom, band):
            box = (row, min(bottom, row + band), left, right)
            part = said[..., box[0] - top : box[1] - top, :]
            if edge:
                at = (wider[0], wider[2])
                part = resampled(said, at, (height, width), (rows, columns), box)
            note(found, part, (slice(box[0], box[1]), slice(left, right)), mask, whole)
    return found


def note(
    found: Answer, part: Tensor, place: tuple[slice, slice], mask: Tensor | None, whole: bool
) -> None:
    """Note what scores (1, classes, rows, columns) say of a part of a picture."""
    probabilities = part.softmax(1)
    best, classes = probabilities.max(1)
    if whole:
        if found.probabilities is None:
            shape = (part.shape[1], *found.classes.shape)
            found.probabilities = np.empty(shape, np.float16)
        found.probabilities[:, place[0], place[1]] = probabilities[0].cpu().numpy()
    found.classes[place] = classes[0].to(torch.uint8).cpu().numpy()
    found.probability[place] = (best[0] * 255).round().to(torch.uint8).cpu().numpy()
    if mask is not None:
        truth = mask[place].long()[None]
        found.loss += float(F.cross_entropy(part, truth, reduction="sum", ignore_index=IGNORE))
        found.pixels += float((truth != IGNORE).sum())


def normalised(state: dict[str, Any], images: Tensor) -> Tensor:
    """Return float32 images as the network takes them, on the images' device."""
    scale = 255.0 if images.dtype == torch.uint8 else 1.0
    mean, std = (state[key].to(images.device) for key in ("mean", "std"))
    return (images.to(torch.float32) - mean * scale) / (std * scale)
