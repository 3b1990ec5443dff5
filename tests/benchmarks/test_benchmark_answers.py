"""Whether masks and boxes were answered alike: the figures of the workloads, by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.workloads.answers import objects_found, overlap, shares_agree


def test_overlaps() -> None:
    # 2 x 2 of 4 x 4 and 4 x 4: 4 / (16 + 16 - 4)
    assert overlap([0, 0, 4, 4], [2, 2, 6, 6]) == pytest.approx(4 / 28)
    assert overlap([0, 0, 4, 4], [0, 0, 4, 4]) == 1
    assert overlap([0, 0, 4, 4], [4, 0, 8, 4]) == 0
    assert overlap([0, 0, 1, 1], [5, 5, 6, 6]) == 0


def test_shares_agree_with_masks(tmp_path: Path) -> None:
    mask = np.array([[0, 0, 1, 2]], np.uint8)
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    row = {"input": str(tmp_path / "images" / "a.jpg")}
    true = row | {"shares": {"background": 0.5, "disc": 0.25, "square": 0.25}}
    # off by 0.5, 0.25 and 0.25: half of their sum is 0.5
    other = row | {"shares": {"background": 1.0, "disc": 0.0, "square": 0.0}}
    assert shares_agree([true], None) == (1.0, 1)
    assert shares_agree([true, other], None) == (0.75, 2)
    assert shares_agree({"rows": [true, row | {"shares": {}}]}, None) == (0.5, 2)  # one error


def test_objects_are_found_by_class_and_overlap(tmp_path: Path) -> None:
    told = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
        "categories": [{"id": 3, "name": "disc"}, {"id": 4, "name": "square"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [0, 0, 10, 10]},
            {"image_id": 7, "category_id": 4, "bbox": [20, 0, 10, 10]},
        ],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_test.json").write_text(json.dumps(told))
    folder = tmp_path / "images" / "test"
    found = [
        {"class": "disc", "box": [0, 0, 10, 8]},  # 0.8 of its union
        {"class": "disc", "box": [20, 0, 30, 10]},  # of another class
    ]
    rows = [
        {"input": str(folder / "a.jpg"), "objects": found},
        {"input": str(folder / "b.jpg"), "objects": []},
    ]
    assert objects_found(rows, None) == (0.5, 2)
