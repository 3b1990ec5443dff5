"""A plain threshold: hand-counted cases, and every other cut for comparison."""

import numpy as np
import pytest

from torchfolio.evaluation.grey_cut import LEVELS, GreyCut, best_cut
from torchfolio.evaluation.segmentation import figures


def counted(first: dict[int, int], second: dict[int, int]) -> np.ndarray:
    found = np.zeros((2, LEVELS), np.int64)
    for row, values in zip(found, (first, second), strict=True):
        for value, number in values.items():
            row[value] = number
    return found


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({10: 5, 20: 5}, {200: 3}, GreyCut(21, True)),  # bright on dark
        ({200: 9}, {10: 2, 30: 2}, GreyCut(31, False)),  # dark on bright
        ({50: 8, 90: 1}, {80: 4}, GreyCut(51, True)),  # one pixel is given up: IoU 8/9 and 4/5
    ],
)
def test_the_cut_parts_two_groups(
    first: dict[int, int], second: dict[int, int], expected: GreyCut
) -> None:
    assert best_cut(counted(first, second)) == expected


def test_no_other_cut_has_a_better_mean_iou() -> None:
    draw = np.random.default_rng(0)
    means = ((90, 30), (140, 40))
    values = [draw.normal(*each, 4000).clip(0, 255).astype(np.uint8) for each in means]
    counts = np.stack([np.bincount(each, minlength=LEVELS) for each in values])

    def mean_iou(cut: GreyCut) -> float:
        matrix = [np.bincount(cut.answer(each), minlength=2) for each in values]
        return float(np.nan_to_num(figures(np.array(matrix))["mean_iou"]))

    chosen = best_cut(counts)
    every = [mean_iou(GreyCut(level, above)) for level in range(257) for above in (True, False)]
    assert mean_iou(chosen) == pytest.approx(max(every))
    assert 0.5 < max(every) < 0.9


def test_a_class_without_pixels_has_a_cut_all_the_same() -> None:
    found = best_cut(counted({10: 5}, {}))
    assert found.answer(np.array([[10]], np.uint8)).tolist() == [[0]]


def test_a_cut_that_parts_nothing_is_told_as_such() -> None:
    assert GreyCut(120, above=True).told() == "grey from 120 on"
    assert GreyCut(256, above=True).told() == "no grey value parts them better than no pixel"
    assert GreyCut(0, above=False).told() == "no grey value parts them better than no pixel"
    assert GreyCut(0, above=True).told() == "no grey value parts them better than every pixel"
