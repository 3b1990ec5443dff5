import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from discs import write_touching
from PIL import Image

from torchfolio import open_data
from torchfolio.connected import objects
from torchfolio.data.store import PictureStore, memory_budget
from torchfolio.networks.catalogue import find_card
from torchfolio.tasks.segmentation import scenes
from torchfolio.tasks.segmentation.borders import border_weights, distances
from torchfolio.tasks.segmentation.options import SegmentationOptions
from torchfolio.tasks.segmentation.plan import plan_scenes


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
    weights = border_weights(objects(mask)[0])
    for column, (one, other) in {3: (1, 4), 4: (2, 3), 5: (3, 2), 6: (4, 1)}.items():
        wanted = math.exp(-((one + other) ** 2) / 50)
        assert weights[:, column] == pytest.approx(wanted)
    assert not weights[mask].any()


def test_one_object_alone_has_no_border() -> None:
    mask = np.zeros((9, 9), bool)
    assert not border_weights(mask.astype(int)).any()
    mask[2:4, 2:4] = True
    assert not border_weights(mask.astype(int)).any()


def test_the_third_object_does_not_count() -> None:
    mask = np.zeros((1, 9), bool)
    mask[0, [0, 4, 8]] = True
    weights = border_weights(objects(mask)[0])
    assert weights[0, 2] == pytest.approx(math.exp(-16 / 50))
    assert weights[0, 3] == pytest.approx(math.exp(-16 / 50))
    assert weights[0, 5] == pytest.approx(math.exp(-16 / 50))


def test_objects_that_touch_have_a_border_beside_them() -> None:
    numbers = np.zeros((4, 6), int)
    numbers[2:, :3], numbers[2:, 3:] = 5, 9  # two that touch, background above
    weights = border_weights(numbers)
    assert weights[1, 2] == pytest.approx(math.exp(-((1 + math.sqrt(2)) ** 2) / 50))
    assert weights[0, 0] == pytest.approx(math.exp(-((2 + math.sqrt(13)) ** 2) / 50))
    assert not border_weights(np.minimum(numbers, 1)).any()  # as one object they have none


@pytest.mark.parametrize("kind", ["numbers", "files"])
def test_objects_that_the_files_tell_stay_apart_where_they_touch(kind: str, tmp_path: Path) -> None:
    data = open_data(write_touching(tmp_path, kind))
    card, options = find_card("unet"), SegmentationOptions(border_weight=10, augment="none")
    found, lines = plan_scenes(card, data, np.arange(4), options)
    assert "gaps between objects weigh up to 10 more (--border-weight)" in lines
    batch = found.crops(data, np.array([0]), 1, 0)
    assert batch.borders is not None
    counted = batch.masks < 255  # the whole picture
    assert counted.sum() == 60 * 60
    wanted = 10 * math.exp(-((1 + math.sqrt(2)) ** 2) / 50)
    assert float(batch.borders[counted].max()) == pytest.approx(wanted, abs=10 / 255)


def test_masks_with_loss_number_no_objects(tmp_path: Path) -> None:
    """Of 0 and 1 in a JPEG what lies above 0 is foreground, whatever its value."""
    mask = np.zeros((64, 64), np.uint8)
    mask[:32] = 1
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in "abcd":
            Image.fromarray(mask).save(tmp_path / folder / f"{name}.jpg", quality=100)
    masks: Any = open_data(tmp_path).records.masks
    assert (masks.rule.how, masks.rule.values) == ("threshold", (0,))
    assert masks.objects(0) is None


def test_weights_between_objects_are_for_training_and_share_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_data(write_touching(tmp_path, "numbers"))
    budgets = []

    def opened(*given: Any) -> PictureStore:
        budgets.append(given[5])
        return PictureStore(*given)

    monkeypatch.setattr(scenes, "PictureStore", opened)
    options = SegmentationOptions(border_weight=10)
    found, _ = plan_scenes(find_card("unet"), data, np.arange(4), options)
    found.whole(data, np.array([0]))
    assert len(budgets) == 2
    for epoch in (1, 2):
        found.crops(data, np.array([0]), epoch, 0)
    assert len(budgets) == 3
    assert 0.99 * memory_budget() < sum(budgets) <= memory_budget()
