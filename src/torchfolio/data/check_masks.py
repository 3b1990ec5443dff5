"""What is in pictures with masks, and what is wrong with them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from torchfolio.data.check import Findings, note_copies, problem_kind, shapes
from torchfolio.data.dataset import Dataset, Indices, Progress
from torchfolio.data.folders import counted
from torchfolio.data.masks import IGNORE
from torchfolio.data.scan import READERS
from torchfolio.data.splits import NAMES, Splits
from torchfolio.errors import DataError

RARE = 0.001  # of the pixels, below which a class is hardly seen in random crops


def class_pixels(dataset: Dataset, found: Findings, progress: Progress | None = None) -> Indices:
    """Return how many pixels of each class every picture has. Shape: (pictures, classes).

    A mask that cannot be read any more has none, and is noted.
    """
    records: Any = dataset.records
    classes = len(dataset.classes)

    def one(index: int) -> Indices:
        try:
            mask = records.masks.get(index)
        except (DataError, OSError) as error:
            found.add("file", records.name(index), str(error))
            return np.zeros(classes, np.int64)
        return np.bincount(mask[mask != IGNORE], minlength=classes)

    rows = []
    with ThreadPoolExecutor(READERS, thread_name_prefix="folio-masks") as pool:
        for row in pool.map(one, range(len(dataset))):
            rows.append(row)
            if progress is not None:
                progress(len(rows), len(dataset))
    return np.stack(rows)


def inspect_masks(
    dataset: Dataset,
    splits: Splits | None,
    network_min_size: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Look through pictures with masks for what is wrong with them, as ``inspect_dataset`` does.

    ``counts`` are the pictures in which each class occurs.
    """
    records: Any = dataset.records
    side = np.zeros(len(dataset), np.int64)
    if splits is not None:
        for number, name in enumerate(NAMES):
            side[splits.indices[name]] = number
    found = Findings(np.zeros((len(dataset.classes), len(NAMES)), np.int64))
    pixels = class_pixels(dataset, found, progress)
    present = pixels > 0
    counts = np.stack([present[side == number].sum(0) for number in range(len(NAMES))], 1)
    found.counts = counts.astype(np.int64)
    for problem in dataset.problems:
        found.add(problem_kind(problem), problem.path, problem.problem)
    masks = records.masks.digests
    note_copies(found, records, side, lambda one, two: bool(masks[one] == masks[two]))
    occurrences(found, dataset, pixels, counts)
    shapes(found, records.sizes, records.name, network_min_size)
    return found


def occurrences(found: Findings, dataset: Dataset, pixels: Indices, counts: Indices) -> None:
    """Note classes that are rare or absent, and masks that hold nothing but the first class."""
    totals, filled = pixels.sum(0), counts.sum(0) > 0
    for name, total, sides in zip(dataset.classes, totals, counts.tolist(), strict=True):
        if not total:
            found.add("class", name, "no pixel of it in any mask")
            continue
        absent = [NAMES[i] for i in range(3) if not sides[i] and filled[i]]
        if absent:
            found.add("class", name, f"in no picture of {' and '.join(absent)}")
        if total < RARE * totals.sum():
            found.add("class", name, f"{total / totals.sum():.2g} of all pixels")
    empty = np.flatnonzero(pixels[:, 1:].sum(1) == 0)
    for index in empty.tolist():
        what = f"{dataset.classes[0]} only" if pixels[index, 0] else "nothing that counts"
        found.add("class", dataset.records.name(index), f"its mask holds {what}")
    if len(empty) == len(dataset):
        text = f"{counted(len(empty), 'mask')}, and all hold {dataset.classes[0]} only"
        found.add("class", ".", text)
