"""Connected pixels: the groups of a mask, which data, figures and losses all ask for."""

import numpy as np
from numpy.typing import NDArray


def objects(mask: NDArray[np.bool_], *, corners: bool = True) -> tuple[NDArray[np.int32], int]:
    """Return the number of the group of each pixel, from 1 on, and how many groups there are.

    A group are pixels that touch, also at ``corners``. Shape: (height, width) -> (height, width), 0
    where the mask is false. Groups are numbered in the order of their first pixel.
    """
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1).reshape(-1)  # (height * (width + 1),)
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)  # of runs in a row
    if not len(starts):
        return np.zeros(mask.shape, np.int32), 0
    above = starts - (width + 1), ends - (width + 1)  # where a run would lie one row higher
    first = np.searchsorted(ends, above[0], "left" if corners else "right")
    last = np.searchsorted(starts, above[1], "right" if corners else "left")
    parent = list(range(len(starts)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    for run in np.flatnonzero(last > first).tolist():
        for other in range(int(first[run]), int(last[run])):
            one, two = sorted((root(run), root(other)))
            parent[two] = one
    roots = np.array([root(run) for run in range(len(starts))])
    _, numbers = np.unique(roots, return_inverse=True)
    found = np.zeros(height * (width + 1) + 1, np.int32)
    found[starts] = numbers + 1
    found[ends] = -(numbers + 1)  # between two runs there is a pixel, or the end of a row
    filled = np.cumsum(found[:-1], dtype=np.int32).reshape(height, width + 1)
    return filled[:, :width], int(numbers.max()) + 1
