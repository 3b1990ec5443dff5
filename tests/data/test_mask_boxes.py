"""Masks turned into boxes: numbered objects, a file an object, touching pixels of a class."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from torchfolio.data.readers import find_reader, open_dataset
from torchfolio.errors import DataError

SIZE = (20, 30)  # height and width


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(sum(map(ord, path.stem)))
    Image.fromarray(draw.integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(path)


def mask(path: Path, *parts: tuple[int, int, int, int, int]) -> None:
    """Write a mask: of each part left, top, right, bottom (not counted in) and its value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros(SIZE, np.uint8)
    for left, top, right, bottom, value in parts:
        values[top:bottom, left:right] = value
    Image.fromarray(values).save(path)


def boxes(data: object, index: int) -> list[list[float]]:
    found = data.records.objects[index]  # type: ignore[attr-defined]
    return [[*box, label] for box, label in zip(found.boxes.tolist(), found.labels, strict=True)]


def test_each_number_is_an_object_even_where_objects_touch(tmp_path: Path) -> None:
    root = tmp_path / "行人"
    for name in ("a", "b"):
        picture(root / "images" / f"{name}.png")
    mask(root / "masks" / "a.png", (2, 3, 10, 12, 1), (10, 3, 15, 12, 2), (20, 0, 30, 20, 3))
    mask(root / "masks" / "b.png", (5, 5, 6, 6, 1))
    kind, _ = find_reader(root, kinds={"object-detection"})
    assert kind.name == "mask-boxes"
    data = open_dataset(root, reader="mask-boxes")
    assert data.kind == "object-detection"
    assert data.classes == ("object",)
    assert boxes(data, 0) == [[2, 3, 10, 12, 0], [10, 3, 15, 12, 0], [20, 0, 30, 20, 0]]
    assert boxes(data, 1) == [[5, 5, 6, 6, 0]]
    assert "one number an object" in data.reading
    assert open_dataset(root).kind == "semantic-segmentation"  # where no network says otherwise


def test_each_file_is_an_object_where_a_picture_has_several(tmp_path: Path) -> None:
    for name in ("one", "two"):
        picture(tmp_path / name / "images" / f"{name}.png")
        mask(tmp_path / name / "masks" / "x.png", (1, 1, 5, 5, 255))
        mask(tmp_path / name / "masks" / "y.png", (4, 4, 9, 8, 255), (20, 2, 22, 3, 255))
    data = open_dataset(tmp_path, reader="mask-boxes")
    assert boxes(data, 0) == [[1, 1, 5, 5, 0], [4, 2, 22, 8, 0]]
    assert "a file for each object" in data.reading


def test_else_pixels_of_a_class_that_touch_are_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / "images" / f"{name}.png")
    mask(tmp_path / "masks" / "a.png", (0, 0, 4, 4, 255), (4, 4, 6, 6, 255), (10, 10, 12, 20, 255))
    mask(tmp_path / "masks" / "b.png")
    data = open_dataset(tmp_path, reader="mask-boxes")
    assert data.classes == ("foreground",)
    assert boxes(data, 0) == [[0, 0, 6, 6, 0], [10, 10, 12, 20, 0]]
    assert boxes(data, 1) == []  # a picture without objects is one
    asked = open_dataset(
        tmp_path, reader="mask-boxes",
        reader_options={"mask_values": "0=background 255=tumour", "objects": "groups"},
    )  # fmt: skip
    assert asked.classes == ("tumour",)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "images" / "b.png")
    mask(tmp_path / "masks" / "a.png", (0, 0, 4, 4, 1), (6, 6, 9, 9, 2))
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / "masks" / "b.png")
    data = open_dataset(tmp_path, reader="mask-boxes")
    assert len(data) == 1
    [problem] = data.problems
    assert problem.path == "masks/b.png"
    assert "the mask has 5 x 5 pixels, its picture 20 x 30" in problem.problem
    (tmp_path / "masks" / "a.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="no picture with a mask that can be read"):
        open_dataset(tmp_path, reader="mask-boxes")


def test_tumours_of_which_some_pictures_have_two_or_none_have_boxes(public_data: Path) -> None:
    data = open_dataset(public_data / "tumours" / "busi", reader="mask-boxes")
    counts = [len(each) for each in data.records.objects]
    assert len(data) > 10
    assert 0 in counts  # the pictures called normal
    assert max(counts) >= 1


def test_of_masks_with_loss_a_box_is_around_the_object_not_its_ringing(tmp_path: Path) -> None:
    for name in ("one", "two"):
        picture(tmp_path / name / "images" / f"{name}.png")
        for file, box in (("x", (3, 3, 13, 11)), ("y", (17, 2, 28, 18))):
            target = tmp_path / name / "masks" / f"{file}.jpg"
            mask(target.with_suffix(".png"), (*box, 255))
            with Image.open(target.with_suffix(".png")) as image:
                image.save(target, quality=50)
            target.with_suffix(".png").unlink()
    with Image.open(tmp_path / "one" / "masks" / "x.jpg") as image:
        assert np.asarray(image)[:, 13:].any()
    data = open_dataset(tmp_path, reader="mask-boxes")
    assert "a file for each object" in data.reading
    assert boxes(data, 0) == [[3, 3, 13, 11, 0], [17, 2, 28, 18, 0]]


def test_the_lower_value_is_background_where_a_file_is_an_object(tmp_path: Path) -> None:
    for name in ("one", "two"):
        picture(tmp_path / name / "images" / f"{name}.png")
        for file, box in (("x", (1, 1, 5, 5)), ("y", (4, 4, 9, 8))):
            mask(tmp_path / name / "masks" / f"{file}.png", (0, 0, 30, 20, 10), (*box, 200))
    data = open_dataset(tmp_path, reader="mask-boxes")
    assert boxes(data, 0) == [[1, 1, 5, 5, 0], [4, 4, 9, 8, 0]]


def test_several_files_of_a_class_are_an_object_each_of_that_class(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.png")
        mask(tmp_path / f"{name}_mask_liver_1.png", (1, 1, 5, 5, 255), (7, 1, 9, 3, 255))
        mask(tmp_path / f"{name}_mask_liver_2.png", (4, 4, 9, 8, 255))
        mask(tmp_path / f"{name}_mask_tumour_1.png", (20, 2, 22, 3, 255))
    data = open_dataset(tmp_path, reader="mask-boxes")
    assert data.classes == ("liver", "tumour")
    assert boxes(data, 0) == [[1, 1, 9, 5, 0], [4, 4, 9, 8, 0], [20, 2, 22, 3, 1]]
