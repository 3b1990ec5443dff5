"""``folio check`` on pictures with several labels."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from torchfolio.cli.app import run
from torchfolio.data.readers import open_dataset

LABELS = ("beach", "sunset", "people", "Beach", "water", "ufo")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHFOLIO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Forty pictures; one comes again with other labels, one with the same, one is damaged."""
    folder = tmp_path / "scenes"
    (folder / "img").mkdir(parents=True)
    random = np.random.default_rng(0)
    lines = ["path," + ",".join(LABELS)]
    for index in range(40):
        pixels = random.integers(0, 256, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "img" / f"{index}.png")
        marks = [index % 2, index % 4 == 1, index % 9 == 2, index % 3 == 1, 1, 0]
        lines.append(f"img/{index}.png," + ",".join(str(int(each)) for each in marks))
    for name, source, marks in (("again", 1, "1,1,0,1,1,0"), ("other", 3, "0,0,0,0,1,0")):
        (folder / "img" / f"{name}.png").write_bytes(
            (folder / "img" / f"{source}.png").read_bytes()
        )
        lines.append(f"img/{name}.png,{marks}")
    (folder / "img" / "bad.png").write_bytes(b"")
    lines.append("img/bad.png,1,0,0,0,1,0")
    (folder / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return dict(json.loads(capsys.readouterr().out))


def test_json_tells_labels_and_their_sets(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(scenes), "--json"]) == 0
    told = document(capsys)
    assert told["kind"] == "multilabel-classification"
    assert told["classes"] == list(LABELS)
    assert told["splits"] == {"train": 30, "val": 6, "test": 6}
    dataset = open_dataset(scenes)
    assert dataset.targets is not None
    sums = dict(zip(LABELS, dataset.targets.sum(0).tolist(), strict=True))
    assert {name: sum(each.values()) for name, each in told["counts"].items()} == sums
    assert told["labels_a_picture"] == pytest.approx(dataset.targets.sum() / 42)
    assert told["without_label"] == 0
    assert told["label_sets"] == len(np.unique(dataset.targets, axis=0))
    first = told["commonest_sets"][0]
    assert first["pictures"] == max(np.unique(dataset.targets, axis=0, return_counts=True)[1])


def test_what_is_wrong_with_labels_is_told(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", str(scenes), "--json"]) == 0
    found = {(each["path"], each["kind"]): each["problem"] for each in document(capsys)["problems"]}
    assert found["img/again.png", "duplicate"] == "the same picture as img/1.png"
    told = found["img/other.png", "differing"]
    assert told.startswith("the same picture as img/3.png")
    assert "but with water, not beach, water" in told
    assert found["img/bad.png", "file"] == "empty file (0 bytes) (line 44 of labels.csv)"
    labels = {name: problem for (name, kind), problem in found.items() if kind == "label"}
    assert labels == {
        "people": "5 pictures only; at least 10 are advisable",
        "Beach": "differs from 'beach' in case only: one label, perhaps",
        "water": "every picture has it: there is nothing to tell apart",
        "ufo": "no picture has it: there is nothing to learn",
    }


def test_a_label_that_a_split_lacks_is_told(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (scenes / "labels.csv").read_text(encoding="utf-8").splitlines()
    rows[1:] = [
        f"{row.rsplit(',', 1)[0]},{int(number == 5)}" for number, row in enumerate(rows[1:])
    ]
    (scenes / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    assert run(["check", str(scenes), "--json"]) == 0
    problems = [each for each in document(capsys)["problems"] if each["path"] == "ufo"]
    assert [each["problem"] for each in problems] == [
        "1 picture only; at least 10 are advisable",
        "no picture in val and test",
    ]


def test_a_person_reads_how_it_was_read_counts_and_sets(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", str(scenes)]) == 0
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(lines)
    assert "42 pictures with 6 labels, read by image-table (--reader)" in lines[0]
    assert lines[1].startswith("read as: several labels a picture, a column each: 'beach', 'sun")
    assert "a picture; 0 pictures have none" in lines[2]
    assert lines[3].startswith("label sets: ")
    assert "stratified by label, 2 exact duplicates beside the original" in text
    rows = {line.split("  ")[0].strip(): line.split() for line in lines}
    assert rows["(no label)"][-4:] == ["0", "0", "0", "0"]
    assert rows["all"] == ["all", "30", "6", "6", "42"]  # pictures, not the sum of labels
    assert "the same picture with different labels (1)" in text
    assert "labels (4)" in text


def test_the_page_has_labels_their_sets_and_what_stands_together(
    scenes: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    assert run(["check", str(scenes), "--html", str(page), "--quiet"]) == 0
    text = page.read_text(encoding="utf-8")
    for words in (
        "Labels together", "Sets of labels", "Pictures with each label", "All pictures",
        "One picture, different labels", "several labels a picture", "img/bad.png",
    ):  # fmt: skip
        assert words in text, words
    assert "Pictures of each class" not in text


def test_a_clean_copy_is_a_table_that_reads_the_same(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (scenes / "labels.csv").read_text(encoding="utf-8").splitlines()
    more = ["split,group", *(f"{'train' if n < 29 else 'test'},{n // 2}" for n in range(43))]
    rows = [f"{row},{cells}" for row, cells in zip(rows, more, strict=True)]
    (scenes / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    target = tmp_path / "clean"
    flags = ["--group-column", "group"]
    assert run(["check", str(scenes), "--fix", str(target), *flags, "--json"]) == 0
    assert document(capsys)["fixed"] == {"folder": str(target), "kept": 39, "removed": 4}
    with (target / "pictures" / "removed.csv").open(encoding="utf-8", newline="") as file:
        removed = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert removed["img/3.png"] == "the same picture has other labels: img/other.png"
    old = open_dataset(scenes, reader_options={"group_column": "group"})
    new = open_dataset(target, reader_options={"group_column": "group"})
    assert new.classes == old.classes
    before = {old.records.name(i).split("/")[1]: old.truth(i) for i in range(len(old))}
    for index in range(len(new)):
        assert new.truth(index) == before[new.records.name(index).split("/")[1]]
    assert {name: len(each) for name, each in new.given.items()} == {"train": 27, "test": 12}
    assert new.groups is not None


def test_pictures_without_labels_are_counted(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        f"img/{index}.png,{'a|b' if index < 4 else 'a' if index < 20 else ''}"
        for index in range(40)
    ]
    (scenes / "labels.csv").write_text("path,tags\n" + "\n".join(lines), encoding="utf-8")
    assert run(["check", str(scenes)]) == 0
    text = capsys.readouterr().out
    assert "labels: 0.60 a picture; 20 pictures have none" in text
    assert "label sets: 3, the commonest: no label (20); a (16); a, b (4)" in text
    assert "in the column 'tags', parted by '|'" in text
