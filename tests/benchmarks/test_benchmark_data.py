from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import data
from torchfolio.data.readers import open_dataset


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("name", ["mnist", "notmnist", "jpegs_500"])
def test_data_are_the_same_each_time(name: str, public_data: Path, tmp_path: Path) -> None:
    first, second = (data.prepare(name, "small", tmp_path / each) for each in ("a", "b"))
    assert contents(Path(first.path)) == contents(Path(second.path))
    assert replace(first, path="") == replace(second, path="")
    assert data.prepare(name, "small", tmp_path / "a") == first  # not made again


def test_our_readers_see_the_splits_that_are_told(public_data: Path, tmp_path: Path) -> None:
    for name in ("mnist", "cifar", "notmnist", "jpegs_500"):
        found = data.prepare(name, "small", tmp_path)
        dataset = open_dataset(found.path)
        counts = {split: len(rows) for split, rows in dataset.given.items()}
        assert counts["test"] == found.test, name
        assert counts["train"] + counts.get("val", 0) == found.train + found.val, name
        assert len(dataset.classes) == found.classes, name


def test_photographs_are_500_by_375_and_near_50_kilobytes(
    public_data: Path, tmp_path: Path
) -> None:
    found = data.prepare("jpegs_500", "small", tmp_path)
    assert found.mean_bytes is not None
    assert 40_000 < found.mean_bytes < 60_000
    sizes = set()
    for path in Path(found.path).rglob("*.jpg"):
        with Image.open(path) as picture:
            sizes.add(picture.size)
    assert sizes == {(500, 375)}


def test_classes_differ_by_tint_and_stripes() -> None:
    grey = [Image.new("RGB", (600, 450), (128, 128, 128))]
    values = [
        np.asarray(data.photograph(grey, label, 20.0, np.random.default_rng(0)), float)
        for label in range(10)
    ]
    means = [each.mean((0, 1)) for each in values]
    for label in range(5):  # the same tint, other stripes
        assert np.abs(means[label] - means[label + 5]).max() < 2
        other = (label + 1) % 5
        assert np.abs(means[label] - means[other]).max() > 15
        rows = [each.mean((1, 2)) - each.mean() for each in (values[label], values[label + 5])]
        waves = [int(np.abs(np.fft.rfft(each)).argmax()) for each in rows]
        assert 26 <= waves[0] <= 37  # 375 / 12, 15 % more or less
        assert 10 <= waves[1] <= 14  # 375 / 32


def test_without_public_data_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCHFOLIO_DATA", raising=False)
    with pytest.raises(SystemExit, match="TORCHFOLIO_DATA is not set"):
        data.prepare("mnist", "small", tmp_path)


def test_our_readers_see_the_masks_and_boxes_that_were_drawn(
    public_data: Path, tmp_path: Path
) -> None:
    scenes = open_dataset(data.prepare("scenes", "small", tmp_path).path)
    boxes = open_dataset(data.prepare("boxes", "small", tmp_path).path)
    assert (scenes.reader, boxes.reader) == ("image-masks", "coco-boxes")
    for found in (scenes, boxes):
        assert {split: len(rows) for split, rows in found.given.items()} == {
            "train": 12, "val": 6, "test": 6,
        }  # fmt: skip
    assert boxes.classes == ("disc", "square")
    for index in range(24):  # the same shapes
        assert scenes.records.name(index).split("/")[-1] == boxes.records.name(index).split("/")[-1]
        mask, objects = scenes.records.masks.get(index), boxes.records.objects[index]
        for (left, top, right, bottom), label, area in zip(
            objects.boxes.astype(int), objects.labels, objects.areas, strict=True
        ):
            inside = mask[top:bottom, left:right] == label + 1
            assert inside.sum() == area
            assert inside.any(0).all()
            assert inside.any(1).all()
