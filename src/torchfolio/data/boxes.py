"""Pictures with the objects in them: boxes and their classes.

A box is left, top, right and bottom in pixels, from 0 on; its right and bottom are where the next
pixel begins, so that its width is right less left.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.records import ImageArray, ImageFiles

Boxes = NDArray[np.float32]  # (objects, 4): left, top, right, bottom


@dataclass(frozen=True)
class Objects:
    """The objects of one picture.

    ``boxes`` (objects, 4) float32, ``labels`` (objects,) int64, ``aside`` (objects,): which are in
    neither loss nor scores: those that VOC calls difficult, and COCO crowds; ``crowd`` (objects,):
    which of these are crowds, of which a detection need only lie in one; ``areas`` (objects,)
    float32: pixels of each, of its shape where a file tells it, else of its box, by which COCO
    calls it small, medium or large.
    """

    boxes: Boxes
    labels: NDArray[np.int64]
    aside: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)


class BoxFiles(ImageFiles):
    """Pictures in files below one folder, with their objects."""

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        digests: NDArray[np.uint64],
        sizes: NDArray[np.int64],
        channels: NDArray[np.int64],
        deep: NDArray[np.bool_],
        objects: Sequence[Objects],
    ) -> None:
        super().__init__(root, names, digests, sizes, channels, deep)
        self.objects = list(objects)

    def renumbered(self, table: NDArray[np.int64]) -> "BoxFiles":
        """Return the same pictures, whose objects have other classes: those of ``table``."""
        return renumbered(self, table)


class BoxArray(ImageArray):
    """Pictures of one size in memory, with their objects."""

    def __init__(
        self, array: Any, sources: Sequence[tuple[str, int]], objects: Sequence[Objects]
    ) -> None:
        super().__init__(array, sources)
        self.objects = list(objects)
        self.channels = array.shape[3]

    def unchanged(self, index: int) -> bool:
        """Return whether a picture is what it was when the data were read."""
        return True

    def renumbered(self, table: NDArray[np.int64]) -> "BoxArray":
        """Return the same pictures, whose objects have other classes: those of ``table``."""
        return renumbered(self, table)


def renumbered(records: Any, table: NDArray[np.int64]) -> Any:
    """Return records whose objects have other classes."""
    found = copy.copy(records)
    found.objects = [replace(each, labels=table[each.labels]) for each in records.objects]
    return found


def box_areas(boxes: Boxes) -> NDArray[np.float32]:
    """Return the area of each box in pixels."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def told_objects(objects: Sequence[Objects]) -> list[NDArray[Any]]:
    """Return all objects as a few arrays, of which a fingerprint can be taken."""
    return [
        np.array([len(each) for each in objects], np.int64),
        np.concatenate([np.zeros((0, 4), np.float32), *(each.boxes for each in objects)]),
        np.concatenate([np.zeros(0, np.int64), *(each.labels for each in objects)]),
        np.concatenate([np.zeros(0, bool), *(each.aside for each in objects)]).astype(np.uint8),
        np.concatenate([np.zeros(0, np.float32), *(each.areas for each in objects)]),
    ]
