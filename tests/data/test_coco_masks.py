"""Shapes in COCO's JSON files: what is wrong with them is named, and needs no box."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from torchfolio.data.readers import open_dataset
from torchfolio.errors import DataError

SIZE = [4, 5]  # height, width
SQUARE = [[1, 1, 4, 1, 4, 3, 1, 3]]
# Columns of four pixels, read downwards: nine of background, then two, two, two and five.
COUNTS = [9, 2, 2, 2, 5]
# The same by COCO's own rule: each number less the one two before it from the fourth on, in digits
# of base 32 from the lowest on, 48 added to each: 9, 2, 2, 2 - 2 and 5 - 2.
STRING = "92203"


def write(root: Path, *shapes: Any, **picture: Any) -> Path:
    """Write one picture and a JSON file with an object for each shape, or entry of an object."""
    root.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SIZE, 3), 9, np.uint8)).save(root / "图 1.png")
    told = {
        "images": [{"id": 1, "file_name": "图 1.png", "height": 4, "width": 5} | picture],
        "categories": [{"id": 7, "name": "cat"}],
        "annotations": [
            {"id": place, "image_id": 1, "category_id": 7, "bbox": [1, 1, 3, 2]}
            | (each if isinstance(each, dict) and "size" not in each else {"segmentation": each})
            for place, each in enumerate(shapes)
        ],
    }
    (root / "instances.json").write_text(json.dumps(told), encoding="utf-8")
    return root


def test_run_lengths_are_a_list_or_a_string(tmp_path: Path) -> None:
    for place, counts in enumerate((COUNTS, STRING)):
        data = open_dataset(
            write(tmp_path / f"数据 {place}", {"size": SIZE, "counts": counts}),
            reader="coco-masks",
        )
        assert not data.problems
        assert data.records.masks.get(0).tolist() == [
            [0, 0, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0],
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        (
            {"size": SIZE, "counts": [9, 2, 20]},
            "its run lengths are of 31 pixels, its picture of 20",
        ),
        ({"size": SIZE, "counts": [9, 2]}, "its run lengths are of 11 pixels, its picture of 20"),
        ({"size": SIZE, "counts": [9, -2]}, "its run lengths are no list of whole numbers"),
        ({"size": SIZE, "counts": ["9"]}, "its run lengths are no list of whole numbers"),
        ({"size": SIZE, "counts": STRING[:2]}, "its run lengths cannot be read (Invalid RLE"),
        ({"size": SIZE, "counts": "é"}, "its run lengths cannot be read (RLE string is malformed"),
        ({"size": SIZE, "counts": "9999999999"}, "its run lengths cannot be read (RLE counts"),
        ({"size": SIZE}, "its segmentation has no run lengths (counts)"),
        ({"size": 20, "counts": COUNTS}, "its run lengths are of 20, its picture 4 x 5"),
        ({"size": SIZE, "counts": [20]}, "its shape covers no pixel"),
        ([[1, 1, 1e9, 1, 1e9, 3]], "polygon 0 has a point at 1e+09, far outside its picture"),
        ([[1, 1, 10**400, 1, 2, 3]], "polygon 0 is no list of pairs of numbers"),
        ([[1, 1, float("nan"), 1, 4, 3]], "polygon 0 is no list of pairs of numbers"),
        ([[0.1, 0.1, 0.3, 0.1, 0.3, 0.3]], "its shape covers no pixel"),
        (None, "it has no shape (segmentation)"),
    ],
)
def test_a_broken_shape_is_named_and_the_others_are_read(
    tmp_path: Path, shape: Any, problem: str
) -> None:
    data = open_dataset(write(tmp_path, SQUARE, shape), reader="coco-masks")
    (found,) = data.problems
    assert found.path == "instances.json"
    assert found.problem.startswith(f"annotation 1: {problem}")
    assert found.problem.endswith(": left out")
    assert data.records.masks.get(0).sum() == 6  # the square of 3 x 2


@pytest.mark.parametrize("box", [None, [1, 2], "x", [1, 1, "a", 2]])
@pytest.mark.parametrize("shape", [SQUARE, {"size": SIZE, "counts": COUNTS}])
def test_masks_need_no_box(tmp_path: Path, shape: Any, box: Any) -> None:
    root = write(tmp_path, {"segmentation": shape, "bbox": box}, {"bbox": [1, 1, 2, 2]})
    data = open_dataset(root, reader="coco-masks")
    assert data.records.masks.get(0).any()
    assert [each.problem[:13] for each in data.problems] == ["annotation 1:"]  # it has no shape
    boxes = open_dataset(root, reader="coco-boxes")
    taken = box is None and isinstance(shape, list)  # from the polygon
    assert len(boxes.records.objects[0]) == 1 + taken
    assert [each.problem[:13] for each in boxes.problems] == ["annotation 0:"] * (not taken)


def test_shapes_for_another_size_of_the_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="5 x 4 pixels, and its shapes are for 10 x 8: left out"):
        open_dataset(write(tmp_path, SQUARE, height=8, width=10), reader="coco-masks")
    with pytest.raises(DataError, match=r"\(it is shown turned\), and its shapes are for 4 x 5"):
        open_dataset(write(tmp_path, SQUARE, height=5, width=4), reader="coco-masks")
    assert len(open_dataset(write(tmp_path, SQUARE, height=None), reader="coco-masks")) == 1


def test_254_categories_are_read_and_more_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path, {"segmentation": SQUARE, "category_id": 254}) / "instances.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    for number, message in ((254, ""), (255, "has 255 categories; up to 254 are read")):
        told["categories"] = [{"id": i, "name": f"c{i}"} for i in range(1, number + 1)]
        file.write_text(json.dumps(told), encoding="utf-8")
        if message:
            with pytest.raises(DataError, match=message):
                open_dataset(tmp_path, reader="coco-masks")
        else:
            found = open_dataset(tmp_path, reader="coco-masks").records.masks.get(0)
            assert np.unique(found).tolist() == [0, 254]


def test_pictures_of_one_volume_are_a_group(tmp_path: Path) -> None:
    names = [f"{patient}_{place}.png" for patient in range(10, 16) for place in (3, 4)]
    root = write(tmp_path, SQUARE)
    told = json.loads((root / "instances.json").read_text(encoding="utf-8"))
    told["images"] = [{"id": i, "file_name": name} for i, name in enumerate(names, 1)]
    (root / "instances.json").write_text(json.dumps(told), encoding="utf-8")
    for name in names:
        Image.fromarray(np.full((*SIZE, 3), 9, np.uint8)).save(root / name)
    data = open_dataset(root, reader="coco-masks")
    assert data.groups is not None
    assert len(set(data.groups.tolist())) == 6
    assert "6 groups, such as 10, stay together" in data.reading
    none = open_dataset(root, reader="coco-masks", reader_options={"group_pattern": "none"})
    assert none.groups is None
