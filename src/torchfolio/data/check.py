"""What is in the data, and what is wrong with it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset, Indices, Problem, Progress
from torchfolio.data.folders import counted
from torchfolio.data.near import FLAT, look, near_duplicates
from torchfolio.data.splits import NAMES, Splits

FEW = 10  # pictures of a class, below which it can hardly be learnt or measured
LONG = 4.0  # ratio of the sides, above which a crop to a square loses most of the picture
UNEVEN = 10.0  # largest class over smallest, above which accuracy misleads
TINY = 8  # pixels of the shorter side, below which little can be seen

# kinds of problem, in the order in which they are told, with their heading
KINDS = {
    "file": "files that cannot be read",
    "note": "notes on the files",
    "split": "splits",
    "conflict": "the same picture in two classes",
    "differing": "the same picture with different labels",
    "leak": "the same picture in two splits",
    "duplicate": "exact duplicates",
    "near-leak": "nearly the same picture in two splits",
    "near": "near duplicates",
    "class": "classes",
    "label": "labels",
    "small": "small pictures",
    "shape": "long or narrow pictures",
    "blank": "blank pictures",
}


@dataclass
class Findings:
    """What :func:`inspect_dataset` found.

    ``counts`` (classes, 3) are the pictures of each class, or with each label, in train, val and
    test. ``problems`` holds the problems of each kind in :data:`KINDS`. ``copies`` are groups of
    records with the same content, ``conflicts`` those among them that stand in several classes or
    have different labels, ``near`` pairs of records that look alike.
    """

    counts: Indices
    problems: dict[str, list[Problem]] = field(default_factory=dict)
    copies: list[Indices] = field(default_factory=list)
    conflicts: list[Indices] = field(default_factory=list)
    near: list[tuple[int, int]] = field(default_factory=list)

    def add(self, kind: str, path: str, problem: str) -> None:
        """Note one problem."""
        self.problems.setdefault(kind, []).append(Problem(path, problem))

    def rows(self) -> Iterator[tuple[str, Problem]]:
        """Give every problem with its kind, in the order of :data:`KINDS`."""
        for kind in KINDS:
            for problem in self.problems.get(kind, []):
                yield kind, problem


def inspect_dataset(
    dataset: Dataset,
    splits: Splits | None,
    network_min_size: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Look through pictures with classes for what is wrong with them.

    ``splits`` are those a training would make, or ``None`` where there can be none.
    ``network_min_size`` is the smallest height and width that a network takes.
    """
    records: Any = dataset.records
    side = np.zeros(len(dataset), np.int64)
    if splits is not None:
        for number, name in enumerate(NAMES):
            side[splits.indices[name]] = number
    labels = identities(dataset)
    found = Findings(counts_of(dataset, side))
    for problem in dataset.problems:
        found.add(problem_kind(problem), problem.path, problem.problem)
    digests = records.digests()
    _exact(found, dataset, digests, labels, side)
    looks = look(records.pixels, len(dataset), progress)
    found.near = near_duplicates(looks, digests)
    for first, later in found.near:
        text = f"nearly the same as {records.name(first)}"
        kind = "near"
        if side[first] != side[later]:
            kind = "near-leak"
            text += f" ({NAMES[side[first]]}), and in {NAMES[side[later]]}"
        if labels[first] != labels[later] and dataset.targets is None:
            text += f"; classes {dataset.truth(first)!r} and {dataset.truth(later)!r}"
        elif labels[first] != labels[later]:
            text += f"; {dataset.truth(first)} and {dataset.truth(later)}"
        found.add(kind, records.name(later), text)
    if dataset.targets is None:
        _classes(found, dataset)
    else:
        _labels(found, dataset)
    shapes(found, records.sizes, records.name, network_min_size)
    for index in np.flatnonzero(looks.detail < FLAT / 4):
        pixels = records.pixels(int(index))
        if (pixels == pixels[:1, :1]).all():
            found.add("blank", records.name(int(index)), "one colour all over")
    return found


def identities(dataset: Dataset) -> Indices:
    """Return a number a record; equal ones are of one class, or have the same labels."""
    if dataset.targets is not None:
        found = np.unique(dataset.targets, axis=0, return_inverse=True)[1]
        return found.reshape(-1).astype(np.int64)
    return dataset.labels if dataset.labels is not None else np.zeros(len(dataset), np.int64)


def counts_of(dataset: Dataset, side: Indices) -> Indices:
    """Return the records of each class, or with each label, on each side. Shape: (classes, 3)."""
    if dataset.targets is None:
        return count(identities(dataset), side, len(dataset.classes))
    sums = [dataset.targets[side == number].sum(0, dtype=np.int64) for number in range(len(NAMES))]
    return np.stack(sums, axis=1)


def count(labels: Indices, side: Indices, classes: int) -> Indices:
    """Return the records of each class on each side. Shape: (classes, 3)."""
    cells = np.bincount(labels * len(NAMES) + side, minlength=classes * len(NAMES))
    return cells.reshape(classes, len(NAMES))


def problem_kind(problem: Problem) -> str:
    """Return "note" for what concerns no single file, or leaves nothing out; else "file"."""
    return "note" if problem.note or problem.path == "." else "file"


def _exact(
    found: Findings, dataset: Dataset, digests: NDArray[np.uint64], labels: Indices, side: Indices
) -> None:
    """Note exact duplicates, those across splits, and those of several classes."""
    for group in groups_of(digests):
        found.copies.append(group)
        first = int(group[0])
        original = dataset.records.name(first)
        if (labels[group] != labels[first]).any():
            found.conflicts.append(group)
        for each in group[1:].tolist():
            text, kind = f"the same picture as {original}", "duplicate"
            if side[each] != side[first]:
                kind = "leak"
                text += f" ({NAMES[side[first]]}), and in {NAMES[side[each]]}"
            if labels[each] != labels[first] and dataset.targets is None:
                kind = "conflict"
                text += f", but of class {dataset.truth(each)!r}, not {dataset.truth(first)!r}"
            elif labels[each] != labels[first]:
                kind = "differing"
                text += f", but with {dataset.truth(each)}, not {dataset.truth(first)}"
            found.add(kind, dataset.records.name(each), text)


def groups_of(digests: NDArray[np.uint64]) -> list[Indices]:
    """Return the records of each content that occurs more than once, in order."""
    order = np.argsort(digests, kind="stable")
    edges = np.flatnonzero(np.diff(digests[order])) + 1
    groups = [group for group in np.split(order, edges) if len(group) > 1]
    return sorted(groups, key=lambda group: int(group[0]))


def _classes(found: Findings, dataset: Dataset) -> None:
    totals, filled = found.counts.sum(1), found.counts.sum(0) > 0
    for name, total, sides in zip(dataset.classes, totals, found.counts.tolist(), strict=True):
        if total < FEW:
            found.add(
                "class", name, f"{counted(total, 'picture')} only; at least {FEW} are advisable"
            )
        absent = [NAMES[i] for i in range(3) if not sides[i] and filled[i]]
        if absent:
            found.add("class", name, f"no picture in {' and '.join(absent)}")
    if len(totals) > 1 and totals.max() > UNEVEN * totals.min():
        most, least = int(totals.argmax()), int(totals.argmin())
        found.add(
            "class",
            ".",
            f"uneven: {dataset.classes[most]!r} has {totals[most]:,} pictures, "
            f"{dataset.classes[least]!r} {totals[least]:,}; look at macro F1 beside accuracy, or "
            "use --sampler balanced",
        )


def _labels(found: Findings, dataset: Dataset) -> None:
    totals, filled = found.counts.sum(1).tolist(), found.counts.sum(0) > 0
    for name, total, sides in zip(dataset.classes, totals, found.counts.tolist(), strict=True):
        absent = [NAMES[i] for i in range(3) if not sides[i] and filled[i]]
        if total == 0:
            found.add("label", name, "no picture has it: there is nothing to learn")
        elif total == len(dataset):
            found.add("label", name, "every picture has it: there is nothing to tell apart")
        elif total < FEW:
            found.add(
                "label", name, f"{counted(total, 'picture')} only; at least {FEW} are advisable"
            )
        if total and absent:
            found.add("label", name, f"no picture in {' and '.join(absent)}")
    spellings: dict[str, str] = {}
    for name in dataset.classes:
        other = spellings.setdefault(name.casefold(), name)
        if other != name:
            found.add("label", name, f"differs from {other!r} in case only: one label, perhaps")


def note_copies(
    found: Findings, records: Any, side: Indices, same: Callable[[int, int], bool]
) -> None:
    """Note pictures that are there twice; ``same`` says whether two have the same answer."""
    for group in groups_of(records.digests()):
        found.copies.append(group)
        first = int(group[0])
        for each in group[1:].tolist():
            text, kind = f"the same picture as {records.name(first)}", "duplicate"
            if not same(first, each):
                text, kind = f"{text}, with another answer", "differing"
            if side[each] != side[first]:
                kind = "leak" if kind == "duplicate" else kind
                text += f" ({NAMES[side[first]]}), and in {NAMES[side[each]]}"
            found.add(kind, records.name(each), text)


def label_sets(dataset: Dataset) -> list[tuple[str, int]]:
    """Return the sets of labels that pictures have, in words, the commonest first, with counts."""
    assert dataset.targets is not None
    _, first, counts = np.unique(dataset.targets, axis=0, return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    return [(dataset.truth(int(first[each])), int(counts[each])) for each in order]


def shapes(
    found: Findings,
    sizes: NDArray[np.int64],
    name: Callable[[int], str],
    least: tuple[int, int] | None,
) -> None:
    """Note pictures that are too small, or far from square."""
    heights, widths = sizes[:, 0], sizes[:, 1]
    low = least or (0, 0)
    small = (heights < low[0]) | (widths < low[1])
    if small.all() and len(small) > 1:
        found.add(
            "small",
            ".",
            f"all pictures are smaller than the {low[0]} x {low[1]} pixels that the network "
            f"needs (the first: {heights[0]} x {widths[0]}); they will be enlarged or padded",
        )
        small[:] = False
    for index in np.flatnonzero(small).tolist():
        text = f"{heights[index]} x {widths[index]} pixels; the network needs {low[0]} x {low[1]}"
        found.add("small", name(index), text)
    for index in np.flatnonzero(~small & (np.minimum(heights, widths) < TINY)).tolist():
        found.add("small", name(index), f"only {heights[index]} x {widths[index]} pixels")
    ratio = np.maximum(heights, widths) / np.maximum(np.minimum(heights, widths), 1)
    for index in np.flatnonzero(ratio > LONG).tolist():
        size = f"{heights[index]} x {widths[index]} pixels"
        text = f"{size}: one side is {ratio[index]:.3g} times the other"
        found.add("shape", name(index), text)
