"""Asking a segmentation network about one picture, tile by tile."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.data.masks import IGNORE
from torchfolio.tasks.pictures import normalised
from torchfolio.tasks.segmentation.tiles import resampled, scores
from torchfolio.tasks.segmentation.tiling import EDGE, MARGIN, TYPICAL_STEP, bands, tiles


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
    probabilities: NDArray[Any] | None = None


def ask(
    state: dict[str, Any],
    network: nn.Module,
    picture: Tensor,
    size: tuple[int, ...],
    mask: Tensor | None = None,
    *,
    whole: type[np.floating[Any]] | None = None,
) -> Answer:
    """Return the classes of a picture's own pixels.

    ``picture`` (channels, height, width) is scaled, ``size`` what it was before, ``mask`` the truth
    of that size. ``whole`` asks for the probabilities of all classes, too, in a type.
    """
    height, width = picture.shape[-2:]
    rows, columns = size
    step, margin = how_tiled(network)
    found = Answer(np.empty((rows, columns), np.uint8), np.empty((rows, columns), np.uint8))
    images = normalised(picture[None], state)
    edge = 0 if size == (height, width) else EDGE
    for tile in tiles(height, width, margin, step):
        wider = tile.wider(edge)
        said = scores(network, images, wider)
        box = tile.enlarged((height, width), (rows, columns))
        for band in bands(box, said.shape[1]):
            if edge:
                at = (wider.core[0], wider.core[2])
                part = resampled(said, at, (height, width), (rows, columns), band)
            else:
                part = said[..., band[0] - box[0] : band[1] - box[0], :]
            note(found, part, (slice(*band[:2]), slice(*band[2:])), mask, whole)
    return found


def how_tiled(network: nn.Module) -> tuple[int, int]:
    """Return of how many pixels the beginnings of tiles are multiples, and how far tiles see."""
    lost = bool(getattr(network, "margin", 0))  # which then come out of the picture mirrored
    reach = 0 if lost else int(getattr(network, "reach", MARGIN))
    return int(getattr(network, "step", TYPICAL_STEP)), reach


def note(
    found: Answer, part: Tensor, place: tuple[slice, slice], mask: Tensor | None, whole: Any
) -> None:
    """Note what scores (1, classes, rows, columns) say of a part of a picture."""
    probabilities = part.softmax(1)
    best, classes = probabilities.max(1)
    if whole is not None:
        if found.probabilities is None:
            shape = (part.shape[1], *found.classes.shape)
            found.probabilities = np.empty(shape, whole)
        found.probabilities[:, place[0], place[1]] = probabilities[0].cpu().numpy()
    found.classes[place] = classes[0].to(torch.uint8).cpu().numpy()
    found.probability[place] = (best[0] * 255).round().to(torch.uint8).cpu().numpy()
    if mask is not None:
        truth = mask[place].long()[None]
        found.loss += float(F.cross_entropy(part, truth, reduction="sum", ignore_index=IGNORE))
        found.pixels += float((truth != IGNORE).sum())
