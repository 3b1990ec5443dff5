"""Pictures and masks that are halves of one file, as pix2pix has them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from torchfolio.data.readers import open_dataset
from torchfolio.errors import DataError

COLOURS = np.array([[0, 0, 222], [0, 48, 255], [255, 79, 0], [192, 255, 63]], np.uint8)


def classes(number: int) -> np.ndarray:
    """Four quarters, turned by the number of the file."""
    quarters = np.kron(np.array([[0, 1], [2, 3]], np.uint8), np.ones((24, 24), np.uint8))
    return np.rot90(quarters, number)


def write(path: Path, number: int, *, mask_left: bool = False, quality: int = 90) -> None:
    """A picture of noise beside its mask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(number)
    halves = [draw.integers(0, 256, (48, 48, 3), np.uint8), COLOURS[classes(number)]]
    content = np.concatenate(halves[::-1] if mask_left else halves, 1)
    Image.fromarray(content).save(path, quality=quality)


@pytest.mark.parametrize("mask_left", [False, True])
def test_the_half_of_few_colours_is_the_mask(tmp_path: Path, mask_left: bool) -> None:
    for number in range(4):
        split = "val" if number == 3 else "train"
        write(tmp_path / "对 1" / split / f"{number}.jpg", number, mask_left=mask_left)
    data = open_dataset(tmp_path / "对 1")
    assert (data.reader, data.kind) == ("mask-halves", "semantic-segmentation")
    assert {split: len(rows) for split, rows in data.given.items()} == {"train": 3, "val": 1}
    assert data.facts["size_max"] == [48, 48]
    assert len(data.classes) == 4
    turned = []
    for number in range(4):
        picture, mask = data.records.pixels(number), data.records.masks.get(number)
        assert picture.shape == (48, 48, 3)
        drawn = np.random.default_rng(number).integers(0, 256, (48, 48, 3), np.uint8)
        grey = np.array([0.299, 0.587, 0.114])  # chroma is halved by JPEG
        both = np.corrcoef((picture @ grey).ravel(), (drawn @ grey).ravel())
        assert both[0, 1] > 0.9  # the noise, not the mask
        order = [mask[12, 12], mask[12, 36], mask[36, 12], mask[36, 36]]
        quarters = [[order[0], order[1]], [order[2], order[3]]]
        assert np.mean(mask == np.kron(quarters, np.ones((24, 24)))) > 0.95
        turned.append(np.rot90(np.array(quarters), -number).tolist())
    assert all(each == turned[0] for each in turned)


def test_a_colour_that_loss_spreads_over_two_cells_is_one_class(tmp_path: Path) -> None:
    """#ff4f00 and #ff5000 lie on two sides of a cell's edge (80 of 32 times 2.5)."""
    for number in range(6):
        write(tmp_path / f"{number}.jpg", number, quality=75 + 3 * number)
    assert len(open_dataset(tmp_path).classes) == 4


def test_wide_pictures_of_classes_are_no_masks(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / ("cat" if number % 2 else "dog") / f"{number}.jpg", number)
    assert open_dataset(tmp_path).reader == "image-folder"
    draw = np.random.default_rng(0)
    for number in range(4):
        noise = draw.integers(0, 256, (48, 96, 3), np.uint8)
        (tmp_path / "noise").mkdir(exist_ok=True)
        Image.fromarray(noise).save(tmp_path / "noise" / f"{number}.png")
    with pytest.raises(DataError, match="in no class folder"):
        open_dataset(tmp_path / "noise")


def test_files_without_two_halves_are_named(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.png", number)
    Image.fromarray(np.zeros((48, 97, 3), np.uint8)).save(tmp_path / "odd.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "0.png").read_bytes()[:200])
    data = open_dataset(tmp_path)
    found = {each.path: each.problem for each in data.problems}
    assert len(data) == 3
    assert found["odd.png"] == "97 pixels wide, which are no two halves"
    assert "torn.png" in found
    with pytest.raises(DataError, match=r"odd\.png"):
        open_dataset(tmp_path, on_error="stop")


def test_the_label_maps_of_facades_have_twelve_classes(public_data: Path) -> None:
    data = open_dataset(public_data / "facades" / "pairs")
    assert (len(data), len(data.classes)) == (60, 12)
    assert not data.problems
