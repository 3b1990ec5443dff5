import numpy as np
import pytest

from torchfolio.evaluation.objects import (
    count_objects,
    object_figures,
    objects,
    picture_objects,
    rand_error,
)


def mask(*rows: str) -> np.ndarray:
    return np.array([[each == "#" for each in row] for row in rows])


def test_pixels_that_touch_at_a_side_or_a_corner_are_one_object() -> None:
    numbers, count = objects(mask("#..#", ".#..", "...#", "##.#"))
    assert count == 4
    assert numbers.tolist() == [[1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 0, 3], [4, 4, 0, 3]]


def test_arms_that_meet_later_are_one_object() -> None:
    numbers, count = objects(mask("#.#.#", "#.#.#", "#####"))
    assert count == 1
    assert set(numbers[numbers > 0].tolist()) == {1}


def test_a_row_does_not_run_on_into_the_next() -> None:
    numbers, count = objects(mask("...#", "#...", "...#"))
    assert count == 3
    assert numbers.tolist() == [[0, 0, 0, 1], [2, 0, 0, 0], [0, 0, 0, 3]]


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 0), (1, 9)])
def test_nothing_has_no_object(shape: tuple[int, int]) -> None:
    numbers, count = objects(np.zeros(shape, bool))
    assert count == 0
    assert numbers.shape == shape


def test_objects_are_those_of_a_search_from_pixel_to_pixel() -> None:
    draw = np.random.default_rng(0)
    for density in (0.2, 0.4, 0.6):
        drawn = draw.random((25, 31)) < density
        numbers, count = objects(drawn)
        seen = np.zeros(drawn.shape, np.int32)
        found = 0
        for start in zip(*np.nonzero(drawn), strict=True):
            if seen[start]:
                continue
            found += 1
            waiting = [start]
            seen[start] = found
            while waiting:
                row, column = waiting.pop()
                for other in np.ndindex(3, 3):
                    r, c = row + other[0] - 1, column + other[1] - 1
                    inside = 0 <= r < 25 and 0 <= c < 31
                    if inside and drawn[r, c] and not seen[r, c]:
                        seen[r, c] = found
                        waiting.append((r, c))
        assert count == found
        assert (numbers == seen).all()


def test_an_object_is_found_if_half_of_it_is_covered() -> None:
    truth = mask("####.##", ".......", "..##...")
    answer = mask("##...#.", "......#", "......#")
    found = count_objects(truth, answer)
    assert (found.there, found.found) == (3, 2)
    assert found.invented == 0  # the second of the answer touches the truth in its first row
    assert count_objects(truth, mask(".......", ".......", "#......")).invented == 1
    assert (found.pixels, found.said) == (8, 5)


def test_objects_are_counted_by_class_and_only_where_pixels_count() -> None:
    truth = np.array([[1, 1, 0, 2], [0, 0, 0, 2], [255, 255, 0, 0]], np.uint8)
    answer = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [2, 2, 0, 1]], np.uint8)
    first, second = picture_objects(truth, answer, 3)
    assert first == (1, 1, 1, 2, 2)  # half of it is covered; another in the corner
    assert second == (1, 0, 0, 2, 0)  # what was said where nothing counts is no false alarm


def test_figures_of_objects_are_those_of_a_hand_calculation() -> None:
    counts = np.array([[[2, 1, 1, 10, 5]], [[0, 0, 3, 0, 7]], [[2, 2, 0, 4, 6]]])
    found = object_figures(counts, np.array([[1, 1, 1], [2, 1, 0], [0, 1, 0]]))
    assert found["object_recall"][:2, 0] == pytest.approx([3 / 4, 1 / 2])
    assert found["false_alarms"][:, 0] == pytest.approx([4 / 3, 5 / 3, 3])
    assert found["area_error"][:2, 0] == pytest.approx([1 / 2, 1 / 2])  # of pictures with objects
    assert np.isnan(found["object_recall"][2, 0])
    assert np.isnan(found["area_error"][2, 0])


def test_without_corners_pixels_touch_at_sides_alone() -> None:
    numbers, count = objects(mask("#..#", ".#..", "...#", "##.#"), corners=False)
    assert count == 5
    assert numbers.tolist() == [[1, 0, 0, 2], [0, 3, 0, 0], [0, 0, 0, 4], [5, 5, 0, 4]]


def test_the_rand_error_of_hand_calculated_cases() -> None:
    truth = mask("##.##", "##.##")  # two regions of four pixels
    assert rand_error(truth, truth) == 0
    merged = mask("#####", "##.##")  # one region of eight: 2 * 32 / (64 + 32)
    assert rand_error(truth, merged) == pytest.approx(1 - 64 / 96)
    split = mask("##.##", ".....")  # two pixels of each are lost: 2 * 8 / (8 + 32)
    assert rand_error(truth, split) == pytest.approx(1 - 16 / 40)
    assert rand_error(truth, np.zeros_like(truth)) == 1
    assert rand_error(np.zeros_like(truth), truth) == 0


def test_the_rand_error_is_that_of_all_pairs_of_pixels() -> None:
    draw = np.random.default_rng(0)
    truth, answer = draw.random((2, 12, 13)) < 0.7
    there, _ = objects(truth, corners=False)
    said, _ = objects(answer, corners=False)
    one, two = there[truth], said[truth]
    together = (one[:, None] == one[None]).sum()
    told = ((two[:, None] == two[None]) & (two[:, None] > 0)).sum()
    both = ((one[:, None] == one[None]) & (two[:, None] == two[None]) & (two[:, None] > 0)).sum()
    precision, recall = both / told, both / together
    wanted = 1 - 2 * precision * recall / (precision + recall)
    assert rand_error(truth, answer) == pytest.approx(wanted)


def test_objects_that_are_told_apart_count_each_where_they_touch() -> None:
    """Two squares of 4 pixels side by side, of which the answer covers three of the first.

    Told apart, one of two is found; as one group of 8 pixels they are not, and that is the rule
    again where a pixel has no number.
    """
    truth = mask("####", "####")
    answer = mask("##..", "#...")
    told = np.array([[7, 7, 300, 300], [7, 7, 300, 300]])
    found = count_objects(truth, answer, told)
    assert (found.there, found.found, found.invented, found.pixels, found.said) == (2, 1, 0, 8, 3)
    for numbers in (None, told * (told > 7)):
        found = count_objects(truth, answer, numbers)
        assert (found.there, found.found) == (1, 0)


def test_told_objects_are_those_of_their_class_alone() -> None:
    """The file of one object has pixels of two classes: it is one object of each."""
    truth = np.array([[1, 1, 2, 0, 2]], np.uint8)
    told = np.array([[4, 9, 9, 0, 5]])
    first, second = picture_objects(truth, truth, 3, told)
    assert (first.there, first.found, second.there, second.found) == (2, 2, 2, 2)
    first, second = picture_objects(truth, np.zeros_like(truth), 3, told)
    assert (first.there, first.found, second.there, second.found) == (2, 0, 2, 0)
