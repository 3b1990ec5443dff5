"""Tables of pictures with several labels: what is read, what is told, and how they are divided."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchfolio.data.dataset import Dataset
from torchfolio.data.readers import find_reader, open_dataset
from torchfolio.data.splits import SplitOptions, make_splits
from torchfolio.errors import DataError, RequestError

KIND = "multilabel-classification"


@pytest.fixture
def folder(tmp_path: Path, draw: Any) -> Path:
    for index in range(6):
        draw(tmp_path / "img" / f"{index}.png")
    return tmp_path


def write(folder: Path, header: str, *cells: str, encoding: str = "utf-8") -> Path:
    """Write a table with a row for each picture, in order."""
    lines = [f"path,{header}", *(f"img/{row}.png,{cell}" for row, cell in enumerate(cells))]
    (folder / "labels.csv").write_bytes("\n".join(lines).encode(encoding))
    return folder / "labels.csv"


def labels_of(dataset: Dataset) -> dict[str, str]:
    return {dataset.records.name(index): dataset.truth(index) for index in range(len(dataset))}


MARKS = ("beach,sunset", "1,0", "0,1", "1,1", "0,0", "1,0", "0,1")
EXPECTED = ["beach", "sunset", "beach, sunset", "no label", "beach", "sunset"]


def test_columns_of_yes_and_no_are_read(folder: Path) -> None:
    file = write(folder, *MARKS)
    for path in (file, folder):
        dataset = open_dataset(path)
        assert (dataset.kind, dataset.reader) == (KIND, "image-table")
        assert dataset.classes == ("beach", "sunset")
        assert dataset.labels is None
        assert dataset.targets is not None
        assert (dataset.targets.dtype, dataset.targets.shape) == (np.uint8, (6, 2))
        assert list(labels_of(dataset).values()) == EXPECTED
        assert dataset.reading.startswith("several labels a picture, a column each: 'beach'")
        assert dataset.problems == []


def test_lists_in_a_cell_are_read(folder: Path) -> None:
    file = write(folder, "labels", "beach", "sunset", "sunset|beach", "", "beach", "sunset")
    dataset = open_dataset(file)
    assert dataset.kind == KIND
    assert list(labels_of(dataset).values()) == EXPECTED
    assert dataset.reader_options == {"label_column": "labels", "separator": "|"}
    quoted = [cell.replace("|", ",") for cell in ("a", "b", '"a|b"', "c", '"b|c"', '"c|a|b"')]
    dataset = open_dataset(write(folder, "labels", *quoted))
    assert list(labels_of(dataset).values()) == ["a", "b", "a, b", "c", "b, c", "a, b, c"]


def test_chinese_tables_and_labels_are_read(folder: Path) -> None:
    text = ("海滩,日落", "是,否", "否,是", "是,是", "否,否", "是,否", "否,是")
    dataset = open_dataset(write(folder, *text, encoding="gb18030"))
    assert dataset.classes == ("海滩", "日落")
    assert dataset.truth(2) == "海滩, 日落"


def test_the_flags_overrule(folder: Path) -> None:
    file = write(folder, "kind,beach,sunset", *(f"{'ab'[i % 2]},1,{i % 2}" for i in range(6)))
    with pytest.raises(RequestError, match="with --label-columns 'beach,sunset'"):
        open_dataset(file)
    one = open_dataset(file, reader_options={"label_column": "kind"})
    assert (one.kind, one.classes, one.targets) == ("image-classification", ("a", "b"), None)
    several = open_dataset(file, reader_options={"label_columns": "sunset,beach"})
    assert (several.kind, several.classes) == (KIND, ("sunset", "beach"))
    assert several.reader_options == {"label_columns": "sunset,beach"}


@pytest.mark.parametrize(
    ("header", "cells", "settings", "kind"),
    [
        ("beach,sunset", MARKS[1:], {}, KIND),
        ("label", ["a|b", "b", "a", "a", "b", "b"], {}, KIND),
        ("label", ["a|b", "b", "a", "a", "b", "b"], {"separator": "none"}, "image-classification"),
        ("label", ["a", "b", "a", "a", "b", "b"], {}, "image-classification"),
        ("label", ["a", "b", "a", "a", "b", "b"], {"separator": "|"}, KIND),
        ("k,m,n", ["a,1,0", "b,1,1"] * 3, {"label_columns": "m,n"}, KIND),
    ],
)
def test_the_kind_is_known_before_anything_is_read(
    folder: Path, header: str, cells: list[str], settings: dict[str, str], kind: str
) -> None:
    file = write(folder, header, *cells)
    reader, place = find_reader(file)
    assert reader.kind_of(place, settings | {"epochs": 3, "label_column": None}) == kind
    assert open_dataset(file, reader_options=settings).kind == kind


def test_what_is_wrong_is_told_by_line_and_left_out(folder: Path) -> None:
    (folder / "img" / "5.png").write_bytes(b"x")
    file = write(folder, "beach,sunset", "1,0", "0,?", "1,1", "0,", "1,0", "0,1")
    flags = {"label_columns": "beach,sunset"}
    dataset = open_dataset(file, reader_options=flags)
    assert len(dataset) == 3
    assert {(each.path, each.problem) for each in dataset.problems} == {
        ("img/1.png", "'?' in 'sunset' is neither yes nor no (line 3 of labels.csv)"),
        ("img/3.png", "no 'sunset' (line 5 of labels.csv)"),
        ("img/5.png", "not a picture of a format that is read (line 7 of labels.csv)"),
    }
    with pytest.raises(DataError, match="3 bad files"):
        open_dataset(file, reader_options=flags, on_error="stop")


def test_labels_that_only_bad_files_have_are_no_labels(folder: Path) -> None:
    (folder / "img" / "1.png").write_bytes(b"x")
    dataset = open_dataset(write(folder, "labels", "a|b", "c", "a", "b", "b", "a"))
    assert dataset.classes == ("a", "b")
    for index in range(6):
        (folder / "img" / f"{index}.png").write_bytes(b"x")
    with pytest.raises(DataError, match="has no picture that can be read"):
        open_dataset(write(folder, "labels", "a|b", "c", "a", "b", "b", "a"))


def test_labels_that_no_picture_has_are_an_error(folder: Path) -> None:
    file = write(folder, "beach,sunset", *["0,0"] * 6)
    with pytest.raises(DataError, match="No picture that can be read has a label in 'beach', 'sun"):
        open_dataset(file)


def test_columns_of_splits_and_groups_are_kept(folder: Path) -> None:
    cells = [f"{i % 2},1,{'train' if i < 4 else 'test'},p{i // 2}" for i in range(6)]
    file = write(folder, "beach,sunset,split,patient", *cells)
    dataset = open_dataset(file, reader_options={"group_column": "patient"})
    assert dataset.classes == ("beach", "sunset")
    assert {name: rows.tolist() for name, rows in dataset.given.items()} == {
        "train": [0, 1, 2, 3],
        "test": [4, 5],
    }
    assert dataset.groups is not None
    assert dataset.groups.tolist() == ["p0", "p0", "p1", "p1", "p2", "p2"]


def test_the_fingerprint_tells_labels_and_their_names(folder: Path) -> None:
    first = open_dataset(write(folder, *MARKS)).fingerprint
    assert open_dataset(write(folder, *MARKS)).fingerprint == first
    other = open_dataset(write(folder, *MARKS[:-1], "1,1")).fingerprint
    renamed = open_dataset(write(folder, "beach,night", *MARKS[1:])).fingerprint
    assert len({first, other, renamed}) == 3


def test_a_table_of_labels_beside_class_folders_is_read(pets: Path) -> None:
    names = [f"{kind}/{index}.png" for kind in ("cat", "dog") for index in range(3)]
    lines = [f"{name},{row % 2},{row % 3 % 2}" for row, name in enumerate(names)]
    (pets / "t.csv").write_text("path,young,wet\n" + "\n".join(lines), encoding="utf-8")
    dataset = open_dataset(pets)
    assert (dataset.reader, dataset.kind) == ("image-table", KIND)
    assert open_dataset(pets, reader="image-folder").classes == ("cat", "dog")


def test_one_label_is_enough_and_can_be_divided(folder: Path) -> None:
    file = write(folder, "beach", "1", "0", "1", "0", "1", "0")
    assert open_dataset(file).classes == ("0", "1")
    dataset = open_dataset(file, reader_options={"label_columns": "beach"})
    assert dataset.classes == ("beach",)
    assert dataset.targets is not None
    splits = make_splits(dataset, SplitOptions(0.3, 0.3), 0)
    sums = {name: dataset.targets[rows].sum() for name, rows in splits.indices.items()}
    assert sums == {"train": 1, "val": 1, "test": 1}
