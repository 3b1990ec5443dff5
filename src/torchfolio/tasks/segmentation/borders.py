"""What pixels between two objects weigh more, so that the gap between them is learnt.

Ronneberger et al., 2015, Equation 2: w(x) = w_c(x) + 10 exp(-(d1(x) + d2(x))^2 / (2 * 5^2)), with
the distances in pixels to the nearest and to the second nearest object.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGMA = 5.0  # pixels (Section 3)
REACH = 20  # pixels: where d1 + d2 is larger, the weight is below 0.0004 of the largest


def border_weights(numbers: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Return exp(-(d1 + d2)^2 / (2 * 5^2)) for background pixels, 0 for those of objects.

    Shape: (height, width) -> (height, width). ``numbers`` are those of objects, 0 is background.
    """
    rows, columns = np.nonzero(numbers)
    _, places = np.unique(numbers[rows, columns], return_inverse=True)
    count = int(places.max()) + 1 if places.size else 0
    order = np.argsort(places, kind="stable")
    cuts = np.searchsorted(places[order], np.arange(count + 1))
    nearest = np.full(numbers.shape, np.inf, np.float32)
    second = nearest.copy()
    for place in range(count if count > 1 else 0):  # beside one alone there is no gap
        own = order[cuts[place] : cuts[place + 1]]
        box = (around(rows[own], numbers.shape[0]), around(columns[own], numbers.shape[1]))
        distance = distances(numbers[box] == numbers[rows[own[0]], columns[own[0]]])
        second[box] = np.minimum(second[box], np.maximum(nearest[box], distance))
        nearest[box] = np.minimum(nearest[box], distance)
    weights = np.exp(-((nearest + second) ** 2) / (2 * SIGMA**2))
    weights[rows, columns] = 0
    return weights


def around(places: NDArray[np.int64], side: int) -> slice:
    """Return the part of a side within reach of places."""
    return slice(max(0, int(places.min()) - REACH), min(side, int(places.max()) + REACH + 1))


def distances(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return how far every pixel is from the nearest one inside; infinite out of reach."""
    along = np.where(inside, 0.0, np.inf).astype(np.float32)
    for axis in (1, 0):  # squares add up along one axis after the other
        found = along.copy()
        side = along.shape[axis]
        for step in range(1, min(REACH, side - 1) + 1):
            near = [slice(None)] * 2
            far = [slice(None)] * 2
            near[axis], far[axis] = slice(0, side - step), slice(step, side)
            to, off = tuple(near), tuple(far)
            found[to] = np.minimum(found[to], along[off] + step**2)
            found[off] = np.minimum(found[off], along[to] + step**2)
        along = found
    return np.sqrt(along)
