"""Splits of examples with several labels each: every label in proportion on every side.

After Sechidis, Tsoumakas, Vlahavas, "On the Stratification of Multi-label Data", ECML PKDD 2011,
Algorithm 1 (iterative stratification): the label with the fewest examples left is dealt out first.
There each of its examples goes to the side that wants most of that label; here to the side that
would be fullest least of all its labels and of examples (the divisors of Sainte-Lague, as for
classes), which keeps the sizes exact and the label that comes last in proportion, too. Examples
that hang together are dealt out as one, and a label with as many examples as there are sides goes
to each of them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Indices
from torchfolio.data.draws import uniforms


def stratify(
    units: Indices, targets: NDArray[np.uint8], shares: Sequence[float], seed: int
) -> Indices:
    """Return the side of each row: 0 for train, then 1 for each share in order.

    ``units`` (rows,) numbers what stays together from 0 on, ``targets`` (rows, labels) says which
    labels each row has. There are at least as many rows as sides.
    """
    sizes = np.bincount(units)
    held = labels_of(units, targets)
    order = order_of(units, sizes, seed).tolist()
    members: list[list[int]] = [[] for _ in range(targets.shape[1])]
    for unit in order:
        for label, _ in held[unit]:
            members[label].append(unit)
    left = targets.sum(0, dtype=np.int64)  # examples of each label that are on no side yet
    room = room_of(len(units), shares)
    wanted = [wanted_of(count, shares) for count in left.tolist()]
    # Plain lists: one unit at a time, numpy would be slower.
    sides = range(len(room))
    side_of, taken = [-1] * len(sizes), [0] * len(room)
    placed = [[0] * len(room) for _ in wanted]

    def fullness(side: int, unit: int, width: int) -> float:
        """Return how full a side would be with half of a unit, of examples and of its labels."""
        total = width * (taken[side] + width / 2) / room[side]
        for label, count in held[unit]:
            total += count * (placed[label][side] + count / 2) / wanted[label][side]
        return total

    def put(unit: int, width: int, among: Sequence[int]) -> None:
        free = [side for side in among if room[side] - taken[side] >= width]
        free = free or [max(sides, key=lambda each: room[each] - taken[each])]
        side = min(free, key=lambda each: fullness(each, unit, width))
        side_of[unit] = side
        taken[side] += width
        for label, count in held[unit]:
            placed[label][side] += count
            left[label] -= count

    widths = sizes.tolist()
    while left.any():
        label = int(np.where(left > 0, left, left.max() + 1).argmin())  # the rarest
        for unit in members[label]:
            if side_of[unit] < 0:
                without = [side for side in sides if wanted[label][side] >= 1 > placed[label][side]]
                # the last examples of a label are for sides that have none of it
                put(unit, widths[unit], without if left[label] <= len(without) else sides)
    for unit in order:
        if side_of[unit] < 0:
            put(unit, widths[unit], sides)
    return np.array(side_of, np.int64)[units]


def labels_of(units: Indices, targets: NDArray[np.uint8]) -> list[list[tuple[int, int]]]:
    """Return for each unit its labels, each with how many of its rows have it."""
    rows, labels = np.nonzero(targets)
    pairs, counts = np.unique(units[rows] * targets.shape[1] + labels, return_counts=True)
    owners, labels = np.divmod(pairs, targets.shape[1])
    held: list[list[tuple[int, int]]] = [[] for _ in range(int(units.max()) + 1)]
    for owner, label, count in zip(owners.tolist(), labels.tolist(), counts.tolist(), strict=True):
        held[owner].append((label, count))
    return held


def order_of(units: Indices, sizes: Indices, seed: int) -> Indices:
    """Return the units, the largest first, those of one size at random by the seed."""
    first = np.unique(units, return_index=True)[1]
    keys = uniforms("split", seed, 0, np.arange(len(units)), 1)[:, 0]
    return np.lexsort((keys[first], -sizes))


def wanted_of(count: int, shares: Sequence[float]) -> list[float]:
    """Return how many examples of a label each side wants, of ``count``.

    Training wants one at least, and so do the others where there are as many as sides.
    """
    low = 1.0 if count > len(shares) else 0.0
    high = float(max(count - len(shares), 1))  # the other sides want one, too
    later = [min(max(low, count * share), high) for share in shares]
    return [max(1.0, count - sum(later)), *later]


def room_of(rows: int, shares: Sequence[float]) -> list[int]:
    """Return how many rows each side takes: the shares to rounding, one at least each."""
    room = [0]
    for number, share in enumerate(shares, 1):
        others = len(shares) - number + 1  # sides that still need a row, train among them
        room.append(max(1, min(round(share * rows), rows - sum(room) - others)))
    room[0] = rows - sum(room)
    return room
