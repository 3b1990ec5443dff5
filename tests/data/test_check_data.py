import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from torchfolio.data.check import inspect_dataset
from torchfolio.data.clean import fix, folder_names, safe_name
from torchfolio.data.readers import open_dataset
from torchfolio.data.splits import SplitOptions, make_splits
from torchfolio.errors import RequestError


def findings_of(path: Path, least: tuple[int, int] | None = None, *, split: bool = True):
    dataset = open_dataset(path)
    splits = make_splits(dataset, SplitOptions(), 0) if split else None
    return dataset, inspect_dataset(dataset, splits, least)


def told(findings, kind: str) -> dict[str, str]:
    return {each.path: each.problem for each in findings.problems.get(kind, [])}


@pytest.fixture
def zoo(tmp_path: Path, draw) -> Path:
    """Three classes of twelve pictures each, 24 x 24, nothing wrong with them."""
    for kind in ("cat", "dog", "owl"):
        for index in range(12):
            draw(tmp_path / "zoo" / kind / f"{index:02}.png", size=(24, 24))
    return tmp_path / "zoo"


def test_good_data_have_no_problem(zoo: Path) -> None:
    dataset, findings = findings_of(zoo, (24, 24))
    assert findings.problems == {}
    assert findings.counts.sum() == 36
    assert findings.counts.sum(1).tolist() == [12, 12, 12]
    assert len(dataset) == 36


def test_counts_are_those_of_the_split(zoo: Path) -> None:
    dataset, findings = findings_of(zoo)
    splits = make_splits(dataset, SplitOptions(), 0)
    for column, name in enumerate(("train", "val", "test")):
        expected = np.bincount(dataset.labels[splits.indices[name]], minlength=3)
        assert findings.counts[:, column].tolist() == expected.tolist()


def test_duplicates_and_conflicts_are_told_apart(zoo: Path) -> None:
    shutil.copy(zoo / "cat" / "03.png", zoo / "cat" / "same.png")
    shutil.copy(zoo / "cat" / "05.png", zoo / "owl" / "odd.png")
    dataset, findings = findings_of(zoo)
    assert told(findings, "duplicate") == {"cat/same.png": "the same picture as cat/03.png"}
    assert told(findings, "conflict") == {
        "owl/odd.png": "the same picture as cat/05.png, but of class 'owl', not 'cat'"
    }
    named = [[dataset.records.name(int(i)) for i in group] for group in findings.copies]
    assert named == [["cat/03.png", "cat/same.png"], ["cat/05.png", "owl/odd.png"]]
    assert len(findings.conflicts) == 1


def test_a_picture_in_two_given_splits_is_a_leak(tmp_path: Path, draw) -> None:
    for split in ("train", "test"):
        for kind in ("cat", "dog"):
            for index in range(10):
                draw(tmp_path / split / kind / f"{index}.png")
    shutil.copy(tmp_path / "train" / "cat" / "1.png", tmp_path / "test" / "cat" / "again.png")
    spots = Image.fromarray(np.random.default_rng(9).integers(0, 256, (5, 6), np.uint8))
    spots.resize((60, 50)).save(tmp_path / "train" / "dog" / "2.png")
    spots.resize((60, 50)).resize((120, 100)).save(tmp_path / "test" / "dog" / "big.png")
    _, findings = findings_of(tmp_path)
    assert list(told(findings, "leak")) == ["train/cat/1.png"]
    text = told(findings, "leak")["train/cat/1.png"]
    assert text.startswith("the same picture as test/cat/again.png (test), and in ")
    assert list(told(findings, "near-leak")) == ["train/dog/2.png"]
    assert (
        "nearly the same as test/dog/big.png (test)"
        in told(findings, "near-leak")["train/dog/2.png"]
    )


def test_bad_files_and_other_files_are_told(zoo: Path) -> None:
    (zoo / "cat" / "bad.png").write_bytes(b"x")
    (zoo / "readme.txt").write_text("x", encoding="utf-8")
    _, findings = findings_of(zoo)
    assert list(told(findings, "file")) == ["cat/bad.png"]
    assert told(findings, "note") == {".": "not a picture, ignored (1): readme.txt"}


def test_small_and_long_and_blank_pictures_are_told(zoo: Path, draw) -> None:
    draw(zoo / "cat" / "small.png", size=(20, 30))
    draw(zoo / "cat" / "tiny.png", size=(30, 5))
    draw(zoo / "dog" / "long.png", size=(130, 30))
    Image.new("RGB", (24, 24), "red").save(zoo / "owl" / "red.png")
    _, findings = findings_of(zoo, (24, 24))
    assert told(findings, "small") == {
        "cat/small.png": "30 x 20 pixels; the network needs 24 x 24",
        "cat/tiny.png": "5 x 30 pixels; the network needs 24 x 24",
    }
    assert told(findings, "shape") == {
        "cat/tiny.png": "5 x 30 pixels: one side is 6 times the other",
        "dog/long.png": "30 x 130 pixels: one side is 4.33 times the other",
    }
    assert told(findings, "blank") == {"owl/red.png": "one colour all over"}
    _, findings = findings_of(zoo)
    assert told(findings, "small") == {"cat/tiny.png": "only 5 x 30 pixels"}
    _, findings = findings_of(zoo, (200, 200))
    assert list(told(findings, "small")) == [".", "cat/tiny.png"]
    assert "all pictures are smaller than the 200 x 200" in told(findings, "small")["."]


def test_classes_with_too_few_pictures_are_told(zoo: Path, draw) -> None:
    draw(zoo / "yak" / "only.png", size=(24, 24))
    _, findings = findings_of(zoo)
    problems = [(each.path, each.problem) for each in findings.problems["class"]]
    assert ("yak", "1 picture only; at least 10 are advisable") in problems
    assert ("yak", "no picture in val and test") in problems
    (uneven,) = [text for path, text in problems if path == "."]
    assert uneven.startswith("uneven: 'cat' has 12 pictures, 'yak' 1;")


def test_data_that_cannot_be_split_are_looked_at_all_the_same(tmp_path: Path, draw) -> None:
    draw(tmp_path / "cat" / "1.png")
    _, findings = findings_of(tmp_path, split=False)
    assert told(findings, "class") == {"cat": "1 picture only; at least 10 are advisable"}
    assert findings.counts.tolist() == [[1, 0, 0]]


def test_arrays_are_looked_at_too(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (24, 8, 8)).astype(np.uint8)
    pictures[5] = pictures[3]
    pictures[7] = pictures[2]
    np.savez(tmp_path / "set.npz", x=pictures, y=np.arange(24) % 2)
    _, findings = findings_of(tmp_path / "set.npz")
    assert list(told(findings, "duplicate")) == ["set.npz[x][5]"]
    assert list(told(findings, "conflict")) == ["set.npz[x][7]"]


def removed(folder: Path) -> dict[str, str]:
    with (folder / "removed.csv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


def test_a_clean_copy_has_what_is_good_byte_for_byte(zoo: Path, tmp_path: Path) -> None:
    shutil.copy(zoo / "cat" / "03.png", zoo / "cat" / "same.png")
    shutil.copy(zoo / "cat" / "05.png", zoo / "owl" / "odd.png")
    (zoo / "dog" / "bad.jpg").write_bytes(b"x")
    (zoo / "dog" / "deep").mkdir()
    shutil.move(zoo / "dog" / "00.png", zoo / "dog" / "deep" / "01.png")
    dataset, findings = findings_of(zoo)
    target = tmp_path / "clean"
    assert fix(dataset, findings, target) == {"kept": 35, "removed": 4}
    assert removed(target) == {
        "dog/bad.jpg": "not a picture of a format that is read",
        "cat/same.png": "the same picture as cat/03.png",
        "cat/05.png": "the same picture is in another class: owl/odd.png",
        "owl/odd.png": "the same picture is in another class: cat/05.png",
    }
    kept = {file.relative_to(target).as_posix() for file in target.rglob("*.png")}
    assert {"cat/03.png", "dog/01.png", "dog/01_2.png"} <= kept
    assert not {"cat/same.png", "cat/05.png", "owl/odd.png"} & kept
    assert (target / "cat" / "03.png").read_bytes() == (zoo / "cat" / "03.png").read_bytes()
    again, clean = findings_of(target)
    assert len(again) == 35
    assert {kind for kind in clean.problems if kind != "note"} == set()


def test_a_clean_copy_keeps_splits_and_of_a_leak_the_test_picture(tmp_path: Path, draw) -> None:
    for split in ("train", "test"):
        for kind in ("cat", "dog"):
            for index in range(10):
                draw(tmp_path / "set" / split / kind / f"{index}.png")
    shutil.copy(
        tmp_path / "set" / "train" / "cat" / "1.png", tmp_path / "set" / "test" / "cat" / "x.png"
    )
    dataset, findings = findings_of(tmp_path / "set")
    fix(dataset, findings, tmp_path / "clean")
    assert removed(tmp_path / "clean") == {"train/cat/1.png": "the same picture as test/cat/x.png"}
    again = open_dataset(tmp_path / "clean")
    assert {name: len(rows) for name, rows in again.given.items()} == {"train": 19, "test": 21}


def test_a_clean_copy_of_arrays_has_the_same_pixels(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    deep = random.integers(0, 65536, (6, 5, 4)).astype(np.uint16)
    colour = random.integers(0, 256, (6, 5, 4, 3)).astype(np.uint8)
    for name, pictures in (("deep", deep), ("colour", colour)):
        np.savez(tmp_path / f"{name}.npz", x=pictures, y=np.array(list("ababab")))
        dataset, findings = findings_of(tmp_path / f"{name}.npz")
        fix(dataset, findings, tmp_path / name)
        with Image.open(tmp_path / name / "a" / "000000.png") as image:
            assert np.array_equal(np.asarray(image), pictures[0])
        again = open_dataset(tmp_path / name, reader="image-folder")
        assert again.facts["depth"] == dataset.facts["depth"]


def test_a_folder_that_holds_something_is_refused(zoo: Path, tmp_path: Path) -> None:
    dataset, findings = findings_of(zoo)
    with pytest.raises(RequestError, match="exists and is not an empty folder"):
        fix(dataset, findings, zoo)
    (tmp_path / "empty").mkdir()
    assert fix(dataset, findings, tmp_path / "empty")["kept"] == 36


def test_names_of_classes_become_names_of_folders() -> None:
    classes = ("T-shirt/top", "../up", "a:b", "A_B", "con", "end. ", "猫", "", ".hidden")
    assert folder_names(classes) == [
        "T-shirt_top", "_._up", "a_b", "A_B_", "_con", "end", "猫", "_", "_hidden",
    ]  # fmt: skip
    assert all(os.sep not in name and name not in (".", "..") for name in folder_names(classes))
    assert safe_name("a\x00b\n") == "a_b_"


def test_the_messy_folder_is_cleaned(public_data: Path, tmp_path: Path) -> None:
    dataset, findings = findings_of(public_data / "dirty_images" / "messy_folder", (32, 32))
    assert len(told(findings, "file")) == 8
    assert set(told(findings, "shape")) == {"ants/wide.jpg", "bees/wide.jpg"}
    assert {"ants/tiny_3x5.png", "bees/tiny_3x5.png"} <= set(told(findings, "small"))
    fix(dataset, findings, tmp_path / "clean")
    again = open_dataset(tmp_path / "clean", on_error="stop")
    assert len(again) == len(dataset)
    assert (tmp_path / "clean" / "ants" / "照片 01.jpg").is_file()
