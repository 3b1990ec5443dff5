import math

import numpy as np
import pytest

from torchfolio.tasks.segmentation.borders import border_weights, distances


def test_distances_are_those_of_a_search() -> None:
    inside = np.random.default_rng(0).random((18, 23)) < 0.04
    found = distances(inside)
    rows, columns = np.nonzero(inside)
    for place in np.ndindex(18, 23):
        assert found[place] == pytest.approx(
            math.sqrt(min((rows - place[0]) ** 2 + (columns - place[1]) ** 2))
        )


def test_a_gap_between_two_objects_weighs_by_both_distances() -> None:
    mask = np.zeros((5, 12), bool)
    mask[:, :3] = mask[:, 7:] = True  # a gap of columns 3 to 6
    weights = border_weights(mask)
    for column, (one, other) in {3: (1, 4), 4: (2, 3), 5: (3, 2), 6: (4, 1)}.items():
        wanted = math.exp(-((one + other) ** 2) / 50)
        assert weights[:, column] == pytest.approx(wanted)
    assert not weights[mask].any()


def test_one_object_alone_has_no_border() -> None:
    mask = np.zeros((9, 9), bool)
    assert not border_weights(mask).any()
    mask[2:4, 2:4] = True
    assert not border_weights(mask).any()


def test_the_third_object_does_not_count() -> None:
    mask = np.zeros((1, 9), bool)
    mask[0, [0, 4, 8]] = True
    weights = border_weights(mask)
    assert weights[0, 2] == pytest.approx(math.exp(-16 / 50))
    assert weights[0, 3] == pytest.approx(math.exp(-16 / 50))
    assert weights[0, 5] == pytest.approx(math.exp(-16 / 50))
