"""What is in pictures with boxes, and what is wrong with them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.boxes import Objects
from torchfolio.data.check import Findings, note_copies, problem_kind, shapes
from torchfolio.data.dataset import Dataset, Progress
from torchfolio.data.splits import NAMES, Splits

FEW = 10  # objects of a class, below which it can hardly be learnt or measured
SMALL = 8.0  # pixels of a side, below which a detector sees next to nothing


def inspect_boxes(
    dataset: Dataset,
    splits: Splits | None,
    network_min_size: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Look through pictures with boxes for what is wrong with them, as ``inspect_dataset`` does.

    ``counts`` are the objects of each class; those set aside (difficult, crowds) are not counted.
    """
    records: Any = dataset.records
    side = np.zeros(len(dataset), np.int64)
    if splits is not None:
        for number, name in enumerate(NAMES):
            side[splits.indices[name]] = number
    every: list[Objects] = records.objects
    counts = np.zeros((len(dataset.classes), len(NAMES)), np.int64)
    for index, objects in enumerate(every):
        np.add.at(counts[:, side[index]], objects.labels[~objects.aside], 1)
        if progress is not None:
            progress(index + 1, len(every))
    found = Findings(counts)
    for problem in dataset.problems:
        found.add(problem_kind(problem), problem.path, problem.problem)
    note_copies(found, records, side, lambda one, two: same_objects(every[one], every[two]))
    totals, filled = counts.sum(1), counts.sum(0) > 0
    for name, total, sides in zip(dataset.classes, totals, counts.tolist(), strict=True):
        absent = [NAMES[i] for i in range(3) if not sides[i] and filled[i]]
        if not total:
            found.add("class", name, "no object of it in any picture")
        elif absent:
            found.add("class", name, f"no object of it in {' and '.join(absent)}")
        elif total < FEW:
            found.add("class", name, f"{total} objects only")
    tiny = sum(int((sides_of(each).min(1) < SMALL).sum()) for each in every if len(each))
    if tiny:
        text = f"{tiny:,} of {sum(map(len, every)):,} boxes have a side below {SMALL:.0f} pixels"
        found.add("small", ".", text)
    empty = sum(not len(each) for each in every)
    if empty:
        found.add("note", ".", f"{empty:,} of {len(every):,} pictures have no object")
    shapes(found, records.sizes, records.name, network_min_size)
    return found


def sides_of(objects: Objects) -> NDArray[np.float32]:
    """Return width and height of each box. Shape: (objects, 2)."""
    return objects.boxes[:, 2:] - objects.boxes[:, :2]


def relative_sizes(dataset: Dataset) -> NDArray[np.float64]:
    """Return width and height of every box as shares of its picture's longer side.

    Shape: (boxes, 2).
    """
    records: Any = dataset.records
    found = [
        sides_of(each) / size.max()
        for each, size in zip(records.objects, records.sizes, strict=True)
    ]
    return np.concatenate([np.zeros((0, 2)), *found])


def same_objects(one: Objects, other: Objects) -> bool:
    """Return whether two pictures have the same boxes and classes."""
    return np.array_equal(one.boxes, other.boxes) and np.array_equal(one.labels, other.labels)
