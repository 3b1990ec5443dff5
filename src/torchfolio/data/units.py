"""What is divided: rows that stay together are one unit, and units are dealt to sides by class."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.draws import uniforms
from torchfolio.data.folders import counted


@dataclass(frozen=True)
class Units:
    """The unit and the class of each row, both (rows,), and how units were made.

    ``copies`` counts the rows that repeat another; ``groups`` the groups, where there are some.
    """

    of: Indices
    labels: Indices
    copies: int
    groups: int | None
    how: list[str]

    @property
    def count(self) -> int:
        """How many units there are."""
        return int(self.of.max()) + 1


def make_units(dataset: Dataset, rows: Indices, together: bool) -> Units:
    """Tie the rows of each group, and with ``together`` those of the same content."""
    labels, of = np.zeros(len(rows), np.int64), np.arange(len(rows))
    copies, groups, how = 0, None, []
    if dataset.labels is not None:
        labels = dataset.labels[rows]
        how.append("stratified by class")
    if dataset.targets is not None:
        how.append("stratified by label")
    if together:
        of = np.unique(dataset.records.digests()[rows], return_inverse=True)[1]
        copies = len(rows) - int(of.max()) - 1
        if copies:
            how.append(f"{counted(copies, 'exact duplicate')} beside the original")
    if dataset.groups is not None:
        group = np.unique(dataset.groups[rows], return_inverse=True)[1]
        groups = int(group.max()) + 1
        of = join(group, of)
        how.append("each group kept whole")
    return Units(of, labels, copies, groups, how)


def join(first: Indices, second: Indices) -> Indices:
    """Return the component of each row; rows of equal numbers in either array are tied."""
    component = first
    while True:  # each round passes the smallest number on, through one array, then the other
        before = component
        for tie in (second, first):
            smallest = np.full(int(tie.max()) + 1, np.iinfo(np.int64).max)
            np.minimum.at(smallest, tie, component)
            component = smallest[tie]
        if np.array_equal(component, before):
            return np.unique(component, return_inverse=True)[1]


def shares_of(labels: Indices, shares: list[float]) -> Indices:
    """Return how many of each class a side gets (sides, classes): train first, then each share."""
    counts = np.bincount(labels)
    targets = np.zeros((len(shares) + 1, len(counts)), np.int64)
    for number, share in enumerate(shares, 1):
        later = len(shares) - number  # sides that still need one of each class
        free = counts - targets.sum(0)
        high = np.maximum(free - 1 - later * (counts > 2), 0)
        low = np.minimum((counts > 2).astype(np.int64), high)
        spare = int(np.maximum(free - 1, 0).sum()) - later
        total = max(1, min(round(share * len(labels)), spare))
        targets[number] = allocate(counts, total, low, high)
    targets[0] = counts - targets[1:].sum(0)
    return targets


def assign(units: Units, targets: Indices, purpose: str, seed: int) -> Indices:
    """Return the side of each row, where each side gets of each class what ``targets`` says.

    ``targets`` is (sides, classes). Units of several rows go first, the largest before the others;
    single rows then fill each class of each side exactly. ``purpose`` and ``seed`` draw the order.
    """
    labels, of = units.labels, units.of
    keys = uniforms(purpose, seed, 0, np.arange(len(of)), 1)[:, 0]
    several = np.bincount(of)[of] > 1
    side: Indices = np.zeros(len(of), np.int64)
    if several.any():
        side[several], targets = _place_units(of[several], labels[several], keys[several], targets)
    singles = np.flatnonzero(~several)
    singles = singles[np.argsort(keys[singles], kind="stable")]
    narrow = labels[singles].astype(np.min_scalar_type(targets.shape[1]))  # sorted by radix: quick
    singles = singles[np.argsort(narrow, kind="stable")]
    classes = labels[singles]
    held = np.bincount(classes, minlength=targets.shape[1])
    rank = np.arange(len(singles)) - (np.cumsum(held) - held)[classes]  # within the class
    bound: Indices = np.zeros(targets.shape[1], np.int64)
    for number in range(1, len(targets)):
        taken = (rank >= bound[classes]) & (rank < (bound + targets[number])[classes])
        side[singles[taken]] = number
        bound += targets[number]
    return side


def allocate(counts: Indices, total: int, low: Indices, high: Indices) -> Indices:
    """Return how many of each class make ``total``, in proportion to ``counts``.

    By largest remainder (Hamilton), each class held between ``low`` and ``high``.
    """
    wanted = counts * (total / int(counts.sum()))
    ready = np.clip(np.floor(wanted).astype(np.int64), low, high)
    left = total - int(ready.sum())
    while left:
        step = 1 if left > 0 else -1
        open_ = np.flatnonzero(ready < high if step > 0 else ready > low)
        if not len(open_):
            break
        order = open_[np.argsort(-step * (wanted - ready)[open_], kind="stable")][: abs(left)]
        ready[order] += step
        left -= step * len(order)
    return ready


def _place_units(
    units: Indices, labels: Indices, keys: NDArray[np.float64], targets: Indices
) -> tuple[Indices, Indices]:
    """Return the side of each unit's rows, and what of ``targets`` (sides, classes) is left.

    A unit goes where, with half of it, its classes would be fullest least (the divisors of
    Sainte-Lague), so that units of every size spread over the sides in proportion.
    """
    pairs, counts = np.unique(units * targets.shape[1] + labels, return_counts=True)
    owner, classes = np.divmod(pairs, targets.shape[1])
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    ends = np.append(starts[1:], len(owner))
    rows_of = np.bincount(units)[owner[starts]]
    first = np.unique(units, return_index=True)[1]
    order = np.lexsort((keys[first], -rows_of))
    # Plain lists: one unit at a time, numpy would be slower.
    wanted: list[list[float]] = np.maximum(targets, 0.5).T.tolist()
    placed = [[0.0] * len(targets) for _ in wanted]
    held = list(zip(classes.tolist(), counts.tolist(), strict=True))
    chosen = np.zeros(len(starts), np.int64)
    for unit, start, end in zip(
        order.tolist(), starts[order].tolist(), ends[order].tolist(), strict=True
    ):
        fullness = [0.0] * len(targets)
        for each, n in held[start:end]:
            pairing = zip(fullness, placed[each], wanted[each], strict=True)
            fullness = [full + n * (have + n / 2) / want for full, have, want in pairing]
        best = fullness.index(min(fullness))
        for each, n in held[start:end]:
            placed[each][best] += n
        chosen[unit] = best
    left = targets - np.array(placed).T.astype(np.int64)
    return chosen[np.searchsorted(owner[starts], units)], np.maximum(left, 0)


def fill_empty(units: Indices, side: Indices, sides: int) -> None:
    """Give a side that got nothing the smallest unit of the side with most units."""
    for number in range(sides):
        if (side == number).any():
            continue
        first = np.unique(units, return_index=True)[1]
        rich = np.bincount(side[first], minlength=sides).argmax()
        there, sizes = np.unique(units[side == rich], return_counts=True)
        side[units == there[sizes.argmin()]] = number
