"""The answers of a detector in one file of COCO's form."""

import json
from pathlib import Path
from typing import Any

import pytest

from torchfolio import FolioError
from torchfolio.tasks.detection import coco_file
from torchfolio.tasks.detection.answers import BoxRow
from torchfolio.tasks.drawing import drawn


def box_row(path: Path, score: float = 0.5) -> BoxRow:
    """An answer to a picture: one object of the second class."""
    told = {"class": "b", "score": score, "box": [1.0, 2.0, 4.0, 8.0]}
    row = BoxRow({"input": str(path), "error": None, "objects": [told]})
    row.size, row.labels, row.classes = (10, 20), [1], ["a", "b"]
    row.forms = frozenset(("coco",))
    return row


class Drawer:
    """Says that every picture was drawn."""

    def picture(self, row: dict[str, Any], target: Path) -> Path:
        return target / "drawn.png"


def told_in(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def test_a_file_of_coco_has_each_picture_once_and_all_classes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a/1.png", "b/1.png", "a/1.png")]
    rows = [box_row(path, score) for path, score in zip(paths, (0.3, 0.4, 0.5), strict=True)]
    assert list(drawn(Drawer(), iter(rows), tmp_path / "out")) == rows
    told = told_in(tmp_path / "out" / "coco.json")
    assert [each["file_name"] for each in told["images"]] == ["b/1.png", "a/1.png"]
    assert told["categories"] == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    assert [each["category_id"] for each in told["annotations"]] == [2, 2]
    assert [each["bbox"] for each in told["annotations"]] == [[1, 2, 3, 6]] * 2
    scores = {each["image_id"]: each["score"] for each in told["annotations"]}
    assert [scores[each["id"]] for each in told["images"]] == [0.4, 0.5]
    assert len({each["id"] for each in told["annotations"]}) == 2


def test_later_answers_are_added_to_a_file_of_coco(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png", "a/2.png"):
        list(drawn(Drawer(), iter([box_row(tmp_path / name)]), tmp_path / "out"))
        told = told_in(tmp_path / "out" / "coco.json")
        names = [each["file_name"] for each in told["images"]]
        if name == "a/1.png":
            assert names == ["1.png"]  # one folder holds all pictures
    assert names == ["a/1.png", "b/1.png", "a/2.png"]
    assert {each["image_id"] for each in told["annotations"]} == {
        each["id"] for each in told["images"]
    }
    row = box_row(tmp_path / "a" / "1.png")
    row.classes = ["c", "d"]
    with pytest.raises(FolioError, match="holds boxes of other classes"):
        list(drawn(Drawer(), iter([row]), tmp_path / "out"))
    for text in ("{", '{"images": [], "categories": [], "annotations": [1]}'):
        (tmp_path / "out" / "coco.json").write_text(text)
        with pytest.raises(FolioError, match="is damaged or no file of boxes"):
            list(drawn(Drawer(), iter([row]), tmp_path / "out"))


def test_a_file_of_coco_is_written_as_often_as_its_pictures_double(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 1, 2, 4 ... 64 pictures, and at the end, also where that comes early."""
    lengths: list[int] = []

    def count(path: Path, content: str) -> None:
        lengths.append(len(json.loads(content)["images"]))

    monkeypatch.setattr(coco_file, "write_text", count)
    rows = (box_row(tmp_path / f"{number}.png") for number in range(1000))
    answers = drawn(Drawer(), rows, tmp_path / "out")
    for _ in range(100):
        next(answers)
    assert lengths == [1, 2, 4, 8, 16, 32, 64]
    answers.close()  # type: ignore[attr-defined]
    assert lengths[-1] == 100
