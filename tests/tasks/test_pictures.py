from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import pictures, prepared
from PIL import Image
from torch import Tensor

from torchfolio import open_data
from torchfolio.data.dataset import Dataset
from torchfolio.data.feed import Feed
from torchfolio.data.records import ImageFiles
from torchfolio.tasks import image_preparation
from torchfolio.tasks import pictures as pictures_module
from torchfolio.tasks.base import in_batches
from torchfolio.tasks.image_classification import ImageClassification

AUGMENTATIONS = [
    {"augment": "shift"},
    {"augment": "crop-flip"},
    {"augment": "photo"},
    {"augment": "randaugment"},
    {"augment": "randaugment", "image_size": 72},
    {"augment": "crop-flip", "mixup": 0.4, "cutmix": 1.0},
    {"augment": "standard", "colour": 0.4},
]


def rows(task: ImageClassification, data: Dataset, parts: list[Any], epoch: int, seed: int) -> Any:
    """Every example's tensors, by its number, when it is loaded in these batches."""
    found: dict[int, list[Tensor]] = {}
    for part in parts:
        batch = task.load(data, np.asarray(part), epoch, seed)
        tensors = [value for value in vars(batch).values() if value is not None]
        for place, index in enumerate(part):
            found[int(index)] = [tensor[place] for tensor in tensors]
    return found


def equal(first: Any, second: Any) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(one, other)
        for key in first
        for one, other in zip(first[key], second[key], strict=True)
    )


@pytest.mark.parametrize("options", AUGMENTATIONS, ids=str)
def test_an_example_is_changed_alike_in_any_batch_and_order(options: dict[str, Any]) -> None:
    data = pictures(24)
    task = prepared(data, **options)
    whole = rows(task, data, [np.arange(24)], 1, 5)
    backwards = rows(task, data, in_batches(np.arange(24)[::-1].copy(), 7), 1, 5)
    assert equal(whole, backwards)
    alone = rows(prepared(data, **options), data, [[index] for index in range(24)], 1, 5)
    assert equal(whole, alone)


@pytest.mark.parametrize("options", AUGMENTATIONS, ids=str)
def test_an_example_is_changed_alike_by_any_number_of_threads(options: dict[str, Any]) -> None:
    data = pictures(24)
    parts = in_batches(np.random.default_rng(1).permutation(24), 4)
    found = []
    for workers in (0, 1, 3):
        task = prepared(data, **options)
        feed = Feed(lambda part, task=task: task.load(data, part, 2, 0), parts, workers)
        found.append([list(vars(batch).values()) for batch in feed])
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            for first, second in zip(one, other, strict=True):
                assert (first is None and second is None) or torch.equal(first, second)


@pytest.mark.parametrize("options", AUGMENTATIONS, ids=str)
def test_an_example_is_changed_otherwise_in_another_epoch_and_by_another_seed(
    options: dict[str, Any],
) -> None:
    data = pictures(24)
    task = prepared(data, **options)
    images = [
        task.load(data, np.arange(24), epoch, seed).images
        for epoch, seed in ((0, 0), (1, 0), (0, 1))
    ]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        differing = (images[first] != images[second]).flatten(1).any(1).sum()
        assert differing > 12


def test_without_augmentation_the_colours_stay_too() -> None:
    data = pictures(12)
    task = prepared(data, augment="none", colour=0.4)
    assert torch.equal(
        task.load(data, np.arange(12), 0, 0).images, task.pictures.fitted(data, np.arange(12))
    )


def test_nothing_is_random_where_the_epoch_is_none() -> None:
    data = pictures(12)
    task = prepared(data, augment="crop-flip", mixup=0.4)
    batch = task.load(data, np.arange(12), None, 0)
    assert torch.equal(batch.images, task.pictures.fitted(data, np.arange(12)))
    assert batch.partners is None


def test_small_pictures_are_padded_with_what_is_at_their_border() -> None:
    data = pictures(6, side=28, channels=1)
    data.records.array[:, [0, -1]] = 200  # type: ignore[attr-defined]
    data.records.array[:, :, [0, -1]] = 200  # type: ignore[attr-defined]
    task = prepared(data, network="lenet5")
    fitted = task.pictures.fitted(data, np.array([2]))
    assert fitted.shape == (1, 1, 32, 32)
    assert fitted[0, 0, :2].unique().tolist() == [200]
    array = data.records.array[2, :, :, 0]  # type: ignore[attr-defined]
    assert np.array_equal(fitted[0, 0, 2:30, 2:30].numpy(), array)


def test_channels_follow_the_network() -> None:
    colour = pictures(6)
    grey = prepared(colour, channels=1).pictures.fitted(colour, np.array([3]))[0, 0].int().numpy()
    from PIL import Image

    array = colour.records.array[3]  # type: ignore[attr-defined]
    expected = np.asarray(Image.fromarray(array).convert("L")).astype(int)
    assert np.abs(grey - expected).max() <= 1
    single = pictures(6, channels=1)
    tripled = prepared(single, channels=3).pictures.fitted(single, np.array([3]))[0]
    assert tripled.shape[0] == 3
    assert torch.equal(tripled[0], tripled[2])


def test_other_data_are_brought_to_the_depth_of_the_run() -> None:
    plain, deep = pictures(6), pictures(6, depth=16)
    task = prepared(plain)
    assert torch.equal(
        task.pictures.fitted(deep, np.arange(6)), task.pictures.fitted(plain, np.arange(6))
    )
    task = prepared(deep)
    found = task.pictures.fitted(plain, np.arange(6))
    assert found.dtype == torch.float32
    assert torch.allclose(found, task.pictures.fitted(deep, np.arange(6)), atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "asked", "mirrored"),
    [(3, None, True), (1, None, False), (1, True, True), (3, False, False)],
)
def test_colour_pictures_are_mirrored_and_grey_ones_only_if_asked(
    channels: int, asked: bool | None, mirrored: bool
) -> None:
    data = pictures(30, channels=channels)
    data.records.array[:, :, :16] = 0  # type: ignore[attr-defined]  # the left half is black
    task = prepared(data, augment="crop-flip", mirror=asked)
    images = task.load(data, np.arange(30), 0, 0).images.float()
    dark_right = images[..., 24:].mean((1, 2, 3)) < images[..., :8].mean((1, 2, 3))
    assert bool(dark_right.any()) == mirrored


def write_photos(folder: Path) -> None:
    """Write eight pictures of noise in two class folders."""
    draw = np.random.default_rng(0)
    for index in range(8):
        path = folder / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (50 + index, 40, 3), np.uint8)).save(path)


def counted_decoding(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the index of every picture is added that is decoded."""
    decoded: list[int] = []
    pixels = ImageFiles.pixels

    def counted(self: ImageFiles, index: int, depth: int | None = None) -> Any:
        decoded.append(index)
        return pixels(self, index, depth)

    monkeypatch.setattr(ImageFiles, "pixels", counted)
    return decoded


@pytest.mark.parametrize("augment", ["none", "crop-flip", "photo"])
def test_files_are_decoded_once_for_all_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, augment: str
) -> None:
    monkeypatch.setenv("TORCHFOLIO_CACHE", str(tmp_path / "cache"))
    write_photos(tmp_path / "photos")
    decoded = counted_decoding(monkeypatch)
    found = []
    for _ in range(2):
        data = open_data(tmp_path / "photos")
        task = prepared(data, augment=augment, image_size=32)
        for epoch in range(2):
            found.append(rows(task, data, in_batches(np.arange(8), 3), epoch, 0))
    assert sorted(decoded) == list(range(8))
    assert equal(found[0], found[2])
    assert equal(found[1], found[3])
    Image.new("RGB", (40, 50)).save(tmp_path / "photos" / "a" / "0.png")  # changed: made anew
    data = open_data(tmp_path / "photos")
    changed = rows(prepared(data, augment="none", image_size=32), data, [[0]], 0, 0)
    assert not bool(changed[0][0].any())


def test_what_is_read_ahead_is_decoded_before_the_first_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHFOLIO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(image_preparation, "PHOTOGRAPHS", 2)  # that the mean is taken of
    write_photos(tmp_path / "photos")
    decoded = counted_decoding(monkeypatch)
    data = open_data(tmp_path / "photos")
    task = prepared(data, augment="photo", image_size=32)
    assert len(decoded) == 2
    task.read_ahead(data, np.arange(6))
    assert len(decoded) == len(set(decoded)) == 6 + len(set(decoded) - set(range(6)))
    before = list(decoded)
    rows(task, data, [np.arange(6)], 0, 0)
    assert decoded == before
    other = open_data(tmp_path / "photos")  # as the next training does
    prepared(other, augment="photo", image_size=32).read_ahead(other, np.arange(6))
    assert decoded == before


def test_reading_ahead_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHFOLIO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(image_preparation, "PHOTOGRAPHS", 1)
    monkeypatch.setattr(pictures_module, "Feed", lambda load, items, _: map(load, items))
    write_photos(tmp_path / "photos")
    decoded = counted_decoding(monkeypatch)
    data = open_data(tmp_path / "photos")
    task = prepared(data, augment="photo", image_size=32, decode_ahead=1e-9)
    task.read_ahead(data, np.arange(8))
    assert 1 < len(decoded) < 8
    fitted = list(decoded)
    task = prepared(data, augment="photo", image_size=32, decode_ahead=0)
    decoded.clear()
    task.read_ahead(data, np.arange(8))
    assert decoded == []
    assert fitted


def test_nothing_more_is_read_ahead_where_nothing_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file, where the cache folder should be")
    monkeypatch.setenv("TORCHFOLIO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pictures_module, "memory_budget", lambda: 0)
    monkeypatch.setattr(pictures_module, "Feed", lambda load, items, _: map(load, items))
    write_photos(tmp_path / "photos")
    data = open_data(tmp_path / "photos")
    task = prepared(data, augment="photo", image_size=32)
    decoded = counted_decoding(monkeypatch)
    task.read_ahead(data, np.arange(8))
    assert len(decoded) == 1
