import csv
import os
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from torchfolio.data import scan
from torchfolio.data.readers import find_reader, open_dataset, recognise
from torchfolio.data.readers.image_folder import ImageFolder
from torchfolio.data.splits import SplitOptions, make_splits
from torchfolio.errors import DataError, RequestError


def test_each_folder_is_a_class_in_alphabetical_order(pets: Path) -> None:
    dataset = open_dataset(pets)
    assert dataset.kind == "image-classification"
    assert (dataset.reader, dataset.name) == ("image-folder", "pets")
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels is not None
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert dataset.records.name(4) == "dog/0.png"
    assert {name: rows.tolist() for name, rows in dataset.given.items()} == {
        "train": list(range(7))
    }
    assert dataset.problems == []
    with Image.open(pets / "dog" / "0.png") as image:
        assert np.array_equal(dataset.records.pixels(4), np.asarray(image))


def test_facts_are_those_of_the_pictures(pets: Path, draw) -> None:
    draw(pets / "cat" / "wide.png", size=(20, 6))
    draw(pets / "dog" / "tall.png", size=(8, 31))
    assert open_dataset(pets).facts == {
        "channels": 3,
        "depth": 8,
        "size_min": [6, 8],
        "size_median": [6, 8],
        "size_max": [31, 20],
        "uniform": False,
    }


def test_all_grey_is_one_channel_and_one_colour_picture_makes_three(tmp_path: Path, draw) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        draw(tmp_path / name, "L")
    assert open_dataset(tmp_path).facts["channels"] == 1
    draw(tmp_path / "b" / "2.png", "RGB")
    dataset = open_dataset(tmp_path)
    assert dataset.facts["channels"] == 3
    assert dataset.records.pixels(0).shape == (6, 8, 3)


def test_most_pictures_decide_the_depth(tmp_path: Path, draw) -> None:
    deep = np.array([[0, 257, 65535]], np.uint16)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(deep).save(tmp_path / name / "deep.png")
    dataset = open_dataset(tmp_path)
    assert dataset.facts["depth"] == 16
    assert dataset.records.pixels(0)[0, :, 0] == pytest.approx([0, 257 / 65535, 1])
    for name in ("a/1.png", "b/1.png"):
        draw(tmp_path / name, "L")
    dataset = open_dataset(tmp_path)  # two of four: not most
    assert dataset.facts["depth"] == 8
    assert dataset.records.name(1) == "a/deep.png"
    assert dataset.records.pixels(1)[0, :, 0].tolist() == [0, 1, 255]


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "val", "test"), ["train", "val", "test"]),
        (("Training", "validation", "Testing"), ["train", "val", "test"]),
        (("train", "valid"), ["train", "val"]),
        (("train", "dev"), ["train", "val"]),
        (("train", "test"), ["train", "test"]),
        (("val", "test"), ["val", "test"]),
    ],
)
def test_splits_of_the_data_are_kept(tmp_path: Path, draw, names, splits) -> None:
    for name in names:
        for kind in ("cat", "dog"):
            draw(tmp_path / name / kind / "1.png")
    dataset = open_dataset(tmp_path)
    assert list(dataset.given) == splits
    for name, split in zip(names, splits, strict=True):
        held = {dataset.records.name(int(row)) for row in dataset.given[split]}
        assert held == {f"{name}/cat/1.png", f"{name}/dog/1.png"}


def test_a_class_may_be_called_train(tmp_path: Path, draw) -> None:
    for name in ("train/1.png", "bus/1.png"):
        draw(tmp_path / name)
    assert open_dataset(tmp_path).classes == ("bus", "train")


def test_a_single_split_is_no_split(tmp_path: Path, draw) -> None:
    for name in ("test/cat/1.png", "test/dog/1.png"):
        draw(tmp_path / name)
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert list(dataset.given) == ["train"]


def test_a_test_split_stays_one_where_all_of_train_is_bad(tmp_path: Path, draw) -> None:
    for kind in ("cat", "dog"):
        draw(tmp_path / "test" / kind / "1.png")
        (tmp_path / "train" / kind).mkdir(parents=True)
        (tmp_path / "train" / kind / "1.png").write_bytes(b"")
    dataset = open_dataset(tmp_path)
    assert list(dataset.given) == ["test"]
    with pytest.raises(DataError, match=r"nothing to train on\. Reading met 2 problems.*empty fil"):
        make_splits(dataset, SplitOptions(), 0)


def test_wrappers_are_passed_through(tmp_path: Path, draw) -> None:
    for name in ("cat/1.png", "dog/deep/er/1.png"):
        draw(tmp_path / "outer" / "inner" / name)
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert [dataset.records.name(i) for i in range(2)] == ["cat/1.png", "dog/deep/er/1.png"]


def test_one_class_is_read(tmp_path: Path, draw) -> None:
    draw(tmp_path / "cat" / "1.png")
    assert open_dataset(tmp_path).classes == ("cat",)


def test_chinese_and_spaced_names_are_read(tmp_path: Path, draw) -> None:
    draw(tmp_path / "我的 照片" / "猫 一" / "图 1.png")
    draw(tmp_path / "我的 照片" / "狗" / "二.jpg")
    dataset = open_dataset(tmp_path / "我的 照片")
    assert dataset.classes == ("狗", "猫 一")
    assert dataset.records.name(1) == "猫 一/图 1.png"


def test_class_names_are_composed_unicode(tmp_path: Path, draw) -> None:
    draw(tmp_path / unicodedata.normalize("NFD", "café") / "1.png")
    draw(tmp_path / "thé" / "1.png")
    assert open_dataset(tmp_path).classes == ("caf\u00e9", "th\u00e9")


def test_litter_is_ignored_silently_and_other_files_once(pets: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._1.png", "__MACOSX/x.png"):
        (pets / "cat" / name).parent.mkdir(exist_ok=True)
        (pets / "cat" / name).write_bytes(b"x")
    (pets / "notes.txt").write_text("n", encoding="utf-8")
    (pets / "cat" / "list.csv").write_text("a,b", encoding="utf-8")
    (pets / "dog" / "empty.txt").write_bytes(b"")
    dataset = open_dataset(pets, reader="image-folder")
    assert len(dataset) == 7
    assert [(each.path, each.problem) for each in dataset.problems] == [
        (".", "not a picture, ignored (3): cat/list.csv, dog/empty.txt, notes.txt")
    ]


def test_what_says_it_is_a_picture_and_does_not_open_is_a_problem(pets: Path) -> None:
    (pets / "cat" / "empty.jpg").write_bytes(b"")
    (pets / "cat" / "text.png").write_text("text", encoding="utf-8")
    data = (pets / "dog" / "0.png").read_bytes()
    (pets / "dog" / "half.png").write_bytes(data[: len(data) // 2])
    dataset = open_dataset(pets)
    assert len(dataset) == 7
    assert {each.path for each in dataset.problems} == {
        "cat/empty.jpg",
        "cat/text.png",
        "dog/half.png",
    }
    with pytest.raises(DataError, match=r"3 bad files:\n  cat/empty\.jpg: empty file"):
        open_dataset(pets, on_error="stop")


def test_a_picture_without_a_suffix_is_read(pets: Path) -> None:
    (pets / "cat" / "0.png").rename(pets / "cat" / "no suffix")
    dataset = open_dataset(pets)
    assert dataset.records.name(3) == "cat/no suffix"
    assert dataset.problems == []


def test_a_picture_in_no_class_folder_is_told(pets: Path, draw) -> None:
    draw(pets / "lost.png")
    dataset = open_dataset(pets)
    assert len(dataset) == 7
    assert [(each.path, each.problem) for each in dataset.problems] == [
        ("lost.png", "in no class folder: left out")
    ]


def test_an_empty_class_folder_is_told(pets: Path) -> None:
    (pets / "bird").mkdir()
    dataset = open_dataset(pets)
    assert dataset.classes == ("cat", "dog")
    assert [each.path for each in dataset.problems] == ["bird"]


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is empty\. The readers and what they read:\n  idx:"):
        open_dataset(tmp_path)
    with pytest.raises(RequestError, match="There is no file or folder"):
        open_dataset(tmp_path / "absent")
    Image.new("RGB", (3, 3)).save(tmp_path / "loose.png")
    with pytest.raises(DataError, match=r"holds 1 picture in no class folder\. Put the pictures"):
        open_dataset(tmp_path)
    (tmp_path / "loose.png").unlink()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bad.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no picture that can be read.*\n  a/bad\.png: not a pic"):
        open_dataset(tmp_path)


def test_an_unknown_reader_names_the_nearest(pets: Path) -> None:
    with pytest.raises(RequestError, match=r"no reader named 'image-foldr'.* image-folder"):
        open_dataset(pets, reader="image-foldr")
    assert find_reader(pets, "image_folder") == (ImageFolder, pets)
    with pytest.raises(RequestError, match="no setting in the reader image-folder named 'labels'"):
        open_dataset(pets, reader_options={"labels": "fine"})


def test_a_file_that_cannot_be_read_now_is_asked_again_later(tmp_path: Path, draw) -> None:
    first = scan.scan(tmp_path, ["late.png"], "a reader")
    assert first.errors == ["cannot be read: No such file or directory"]
    draw(tmp_path / "late.png")
    assert scan.scan(tmp_path, ["late.png"], "a reader").errors == [""]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all files")
def test_a_file_without_permission_is_a_problem(pets: Path) -> None:
    (pets / "cat" / "0.png").chmod(0)
    dataset = open_dataset(pets)
    assert [each.path for each in dataset.problems] == ["cat/0.png"]
    assert "Permission denied" in dataset.problems[0].problem


def test_equal_files_have_equal_digests(pets: Path) -> None:
    shutil.copy(pets / "cat" / "1.png", pets / "dog" / "copy.png")
    dataset = open_dataset(pets)
    digests = dict(
        zip(
            [dataset.records.name(i) for i in range(8)],
            dataset.records.digests().tolist(),
            strict=True,
        )
    )
    assert digests["cat/1.png"] == digests["dog/copy.png"]
    assert len(set(digests.values())) == 7


def test_the_fingerprint_follows_content_and_not_place(pets: Path, tmp_path: Path) -> None:
    first = open_dataset(pets).fingerprint
    moved = shutil.copytree(pets, tmp_path / "elsewhere")
    assert open_dataset(moved).fingerprint == first
    Image.new("RGB", (8, 6)).save(moved / "cat" / "1.png")
    assert open_dataset(moved).fingerprint != first


def test_a_second_start_decodes_nothing(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (pets / "cat" / "bad.png").write_bytes(b"x")
    first = open_dataset(pets)
    seen: list[str] = []
    examine = scan.examine

    def noted(data: bytes, suffix: str, **settings: bool) -> tuple[int, int, int, bool]:
        seen.append(suffix)
        return examine(data, suffix, **settings)

    monkeypatch.setattr(scan, "examine", noted)
    second = open_dataset(pets)
    assert seen == []
    assert second.fingerprint == first.fingerprint
    assert second.facts == first.facts
    assert second.problems == first.problems
    Image.new("L", (3, 2)).save(pets / "cat" / "0.png")
    os.utime(pets / "cat" / "0.png", ns=(1, 1))
    third = open_dataset(pets)
    assert seen == [".png"]  # the changed one only
    assert third.facts["size_min"] == [2, 3]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 rubbish", b"rubbish"])
def test_a_damaged_cache_entry_is_made_anew(pets: Path, own_cache: Path, content: bytes) -> None:
    first = open_dataset(pets)
    (entry,) = (own_cache / "scans").iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(content or whole[: len(whole) // 2])
    assert open_dataset(pets).fingerprint == first.fingerprint
    assert len(entry.read_bytes()) == len(whole)


def test_reading_goes_on_where_the_cache_cannot_be_written(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").write_bytes(b"")
    monkeypatch.setenv("TORCHFOLIO_CACHE", str(tmp_path / "a file" / "cache"))
    assert len(open_dataset(pets)) == 7


def test_progress_counts_to_the_end(pets: Path) -> None:
    told: list[tuple[int, int]] = []
    open_dataset(pets, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (7, 7)


def test_the_messy_folder_is_read_right(public_data: Path) -> None:
    folder = public_data / "dirty_images" / "messy_folder"
    dataset = open_dataset(folder)
    names = {dataset.records.name(i) for i in range(len(dataset))}
    problems = {each.path for each in dataset.problems}
    with (public_data / "dirty_images" / "messy_folder.csv").open(encoding="utf-8") as source:
        for row in csv.DictReader(source):
            file, note = row["file"], row["note"]
            if note.startswith("good"):
                assert file in names
            elif note.startswith("bad"):
                assert file not in names
                assert file in problems
            elif note.startswith("damaged"):
                assert (file in names) != (file in problems)
            else:
                assert file not in names | problems
    assert dataset.problems[-1].problem == "not a picture, ignored (1): notes.txt"
    assert dataset.classes == ("ants", "bees")
    for index in range(len(dataset)):
        assert dataset.records.pixels(index).shape[2] == 3


def test_ants_and_bees_keep_their_val(public_data: Path) -> None:
    dataset = open_dataset(public_data / "hymenoptera")
    assert {name: len(rows) for name, rows in dataset.given.items()} == {"train": 81, "val": 52}


def test_folders_are_listed_once_until_a_reader_recognises_them(
    tmp_path: Path, draw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("ant", "bee"):
        draw(tmp_path / "photos" / kind / "a.png")
    listed: list[str] = []
    scan = os.scandir

    def noted(folder: Any) -> Any:
        listed.append(str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", noted)
    reader = recognise(tmp_path / "photos")
    assert reader is not None
    assert reader.name == "image-folder"
    assert len(listed) == len(set(listed)) == 3
    draw(tmp_path / "photos" / "wasp" / "a.png")
    assert open_dataset(tmp_path / "photos").classes == ("ant", "bee", "wasp")
