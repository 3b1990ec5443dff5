"""The data of the workloads, made once from the public data into a folder, always the same.

``TORCHFOLIO_DATA`` names the folder of the public data. "small" data, a few pictures, are for
trying a contestant out.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import struct
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VERSION = 3  # of what this file makes: another number makes the data anew
VAL_SHARE = 0.15  # of the training pictures, where the data bring no validation split
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Data:
    """Prepared data: where they are, how many pictures each split has, how many classes."""

    path: str
    train: int
    val: int
    test: int
    classes: int = 10
    mean_bytes: float | None = None  # of a file, where each picture is one


def prepare(name: str, size: str, folder: Path) -> Data:
    """Return data by their name; they are made where the folder has them not."""
    target = folder / f"{name}-{size}-{VERSION}"
    note = target / "about.json"
    if not note.is_file():
        source = os.environ.get("TORCHFOLIO_DATA")
        if not source:
            raise SystemExit("TORCHFOLIO_DATA is not set: it names the folder of the public data.")
        unfinished = target.with_name(target.name + ".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        (unfinished / "data").mkdir(parents=True)
        data = MAKERS[name](Path(source), unfinished / "data", size == "small")
        (unfinished / "about.json").write_text(json.dumps(asdict(data)), encoding="utf-8")
        unfinished.rename(target)
    about = json.loads(note.read_text(encoding="utf-8"))
    return Data(**about | {"path": str(target / about["path"])})


def read_all(folder: Path) -> None:
    """Read every file once, so that the operating system has it in memory."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.read_bytes()


def without_val(count: int) -> tuple[int, int]:
    """Return how many pictures train and validate where a share is drawn for validation."""
    val = round(VAL_SHARE * count)
    return count - val, val


# MNIST, as torchvision and we read it: IDX files in MNIST/raw


def mnist(source: Path, target: Path, small: bool) -> Data:
    """Write MNIST's IDX files; small are the first 1,000 and 500 pictures."""
    (target / "MNIST" / "raw").mkdir(parents=True)
    counts = {"train": 1_000, "t10k": 500} if small else {"train": 60_000, "t10k": 10_000}
    for split, count in counts.items():
        for kind, header, row in (("images-idx3", 16, 28 * 28), ("labels-idx1", 8, 1)):
            name = f"{split}-{kind}-ubyte"
            content = gzip.decompress((source / "mnist" / f"{name}.gz").read_bytes())
            head = content[:4] + struct.pack(">I", count) + content[8:header]
            path = target / "MNIST" / "raw" / name
            path.write_bytes(head + content[header : header + count * row])
    train, val = without_val(counts["train"])
    return Data("data", train, val, counts["t10k"])


# Pictures of CIFAR's size, in one array


def cifar(source: Path, target: Path, small: bool) -> Data:
    """Write 10,000 pictures of CIFAR-10 and 2,000 to test on, as one .npz (small: 500 and 200)."""
    found: dict[str, list[tuple[str, bytes]]] = {"train": [], "test": []}
    with tarfile.open(source / "cifar10_small" / "cifar10_jpeg.tar.gz") as archive:
        for member in archive:
            if file := archive.extractfile(member) if member.isfile() else None:
                _, split, label, name = member.name.split("/")
                found[split].append((f"{name}/{label}", file.read()))
    arrays = {}
    for split, files in found.items():
        files = sorted(files)[: {"train": 500, "test": 200}[split] if small else None]
        names = sorted({name.split("/")[1] for name, _ in files})
        arrays[f"x_{split}"] = np.stack([pixels(content) for _, content in files])
        labels = [names.index(name.split("/")[1]) for name, _ in files]
        arrays[f"y_{split}"] = np.array(labels, np.int64)
    np.savez(target / "cifar.npz", **arrays)  # type: ignore[arg-type]  # the stub misreads **
    train, val = without_val(len(arrays["x_train"]))
    return Data("data/cifar.npz", train, val, len(arrays["x_test"]))


def pixels(content: bytes) -> Pixels:
    """Return the pixels of a picture's file, (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


# notMNIST in class folders, one split for everybody


def notmnist(source: Path, target: Path, small: bool) -> Data:
    """Write notMNIST-small as train (50 %), val (30 %), test (20 %); equal files on one side."""
    counts = {"train": 0, "val": 0, "test": 0}
    with tarfile.open(source / "notmnist_small" / "notMNIST_small.tar.gz") as archive:
        for member in archive:
            if not member.name.endswith(".png"):
                continue
            file = archive.extractfile(member)
            assert file is not None
            content = file.read()
            draw = int.from_bytes(hashlib.blake2b(content, digest_size=4).digest(), "big") / 2**32
            if small and draw % 0.05 > 0.002:
                continue
            split = "train" if draw < 0.5 else "val" if draw < 0.8 else "test"
            _, label, name = member.name.split("/")
            path = target / split / label / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            counts[split] += 1
    return Data("data", **counts)


# Photographs of 500x375 in class folders


def jpegs(train: int, val: int, test: int, stripes: float) -> Callable[[Path, Path, bool], Data]:
    """Return what makes so many photographs (small: 60, 20 and 40) with a class to learn.

    ``stripes`` is their height in grey levels: what every seed learns well within two epochs.
    """

    def make(source: Path, target: Path, small: bool) -> Data:
        counts = {"train": 60, "val": 20, "test": 40} if small else {}
        counts = counts or {"train": train, "val": val, "test": test}
        photographs = [
            Image.open(path).convert("RGB")
            for folder in ("hymenoptera", "tiny_coco")
            for path in sorted((source / folder).rglob("*.jpg"))
        ]
        sizes = []
        for number, (split, count) in enumerate(counts.items()):
            for index in range(count):
                label = index % 10
                draw = np.random.default_rng([number, index])
                path = target / split / f"class{label}" / f"{index:05}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture = photograph(photographs, label, stripes, draw)
                picture.save(path, "JPEG", quality=JPEG_QUALITY)
                sizes.append(path.stat().st_size)
        return Data("data", **counts, mean_bytes=float(np.mean(sizes)))

    return make


WIDTH, HEIGHT = 500, 375
JPEG_QUALITY = 87
GRAIN = 4.0  # standard deviation, in grey levels: it brings a file near 50 kB
TINT = 120.0  # grey levels between the brightest and the darkest channel of a class's tint


def photograph(
    photographs: list[Image.Image], label: int, height: float, draw: np.random.Generator
) -> Image.Image:
    """Cut a random part out of a random photograph and give it the mark of its class.

    The mark is a tint (one of five) and horizontal stripes of a ``height`` in grey levels, fine or
    coarse: it survives crops and mirroring, and what the photograph shows hides it in part.
    """
    picture = photographs[draw.integers(len(photographs))]
    scale = draw.uniform(0.5, 1.0) * min(picture.width / WIDTH, picture.height / HEIGHT)
    wide, tall = int(WIDTH * scale), int(HEIGHT * scale)
    left = int(draw.integers(picture.width - wide + 1))
    top = int(draw.integers(picture.height - tall + 1))
    cut = picture.crop((left, top, left + wide, top + tall)).resize((WIDTH, HEIGHT))
    if draw.random() < 0.5:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    values = np.asarray(cut, np.float64)
    angle = 2 * np.pi * (label % 5 + draw.normal(0, 0.12)) / 5
    tint = TINT / 2 * np.cos(angle + 2 * np.pi * np.arange(3) / 3)
    wavelength = (12 if label < 5 else 32) * draw.uniform(0.85, 1.15)  # pixels
    rows = np.arange(HEIGHT) + draw.uniform(0, wavelength)
    stripes = height * np.sin(2 * np.pi * rows / wavelength)
    values = values + tint + stripes[:, None, None] + draw.normal(0, GRAIN, (HEIGHT, WIDTH, 1))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


# Discs and squares on photographs, with masks or with boxes


SIDES = (160, 120)  # width and height of these pictures
SHAPES = ("disc", "square")


def scenes(train: int, val: int, test: int) -> Callable[[Path, Path, bool], Data]:
    """Return what makes so many pictures with masks (small: 12, 6 and 6)."""

    def make(source: Path, target: Path, small: bool) -> Data:
        counts = few(train, val, test, small)
        for split, name, picture, found in drawn_shapes(source, counts):
            mask = np.zeros(SIDES[::-1], np.uint8)
            for label, inside, _ in found:
                mask[inside] = label + 1
            save(picture, target / split / "images" / f"{name}.jpg")
            save(Image.fromarray(mask), target / split / "masks" / f"{name}.png")
        return Data("data", **counts, classes=len(SHAPES) + 1)

    return make


def boxes(train: int, val: int, test: int) -> Callable[[Path, Path, bool], Data]:
    """Return what makes so many pictures with boxes, as COCO and as YOLO write them."""

    def make(source: Path, target: Path, small: bool) -> Data:
        counts = few(train, val, test, small)
        told: dict[str, dict[str, list[Any]]] = {
            split: {
                "images": [],
                "annotations": [],
                "categories": [{"id": place, "name": each} for place, each in enumerate(SHAPES, 1)],
            }
            for split in counts
        }
        width, height = SIDES
        for split, name, picture, found in drawn_shapes(source, counts):
            save(picture, target / "images" / split / f"{name}.jpg")
            of_split, lines = told[split], []
            number = len(of_split["images"]) + 1
            of_split["images"].append(
                {"id": number, "file_name": f"{name}.jpg", "height": height, "width": width}
            )
            for label, inside, (left, top, wide, high) in found:
                of_split["annotations"].append(
                    {
                        "id": len(of_split["annotations"]) + 1,
                        "image_id": number,
                        "category_id": label + 1,
                        "bbox": [left, top, wide, high],
                        "area": int(inside.sum()),
                        "iscrowd": 0,
                    }
                )
                shares = (left + wide / 2) / width, (top + high / 2) / height, wide / width
                lines.append(" ".join(map(str, (label, *shares, high / height))))
            labels = target / "labels" / split / f"{name}.txt"
            labels.parent.mkdir(parents=True, exist_ok=True)
            labels.write_text("\n".join(lines), encoding="utf-8")
        for split, content in told.items():
            file = target / "annotations" / f"instances_{split}.json"
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(content), encoding="utf-8")
        return Data("data", **counts, classes=len(SHAPES))

    return make


def few(train: int, val: int, test: int, small: bool) -> dict[str, int]:
    """Return how many pictures each split has."""
    return (
        {"train": 12, "val": 6, "test": 6} if small else {"train": train, "val": val, "test": test}
    )


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=JPEG_QUALITY)


Shape = tuple[int, NDArray[np.bool_], tuple[int, int, int, int]]  # class, pixels, box


def drawn_shapes(
    source: Path, counts: dict[str, int]
) -> Iterator[tuple[str, str, Image.Image, list[Shape]]]:
    """Give split, name, picture and shapes: one to four brightened discs and squares each."""
    paths = sorted((source / "hymenoptera").rglob("*.jpg"))
    photographs = [Image.open(path).convert("RGB").resize(SIDES) for path in paths]
    width, height = SIDES
    rows, columns = np.indices((height, width))
    for number, (split, count) in enumerate(counts.items()):
        for index in range(count):
            draw = np.random.default_rng([7, number, index])
            values = np.asarray(photographs[draw.integers(len(photographs))], np.float64) * 0.6
            found: list[Shape] = []
            taken = np.zeros((height, width), bool)
            for _ in range(draw.integers(1, 5)):
                label, half = int(draw.integers(2)), int(draw.integers(9, 20))
                row, column = (int(draw.integers(half, side - half)) for side in (height, width))
                down, across = np.abs(rows - row), np.abs(columns - column)
                inside = (down < half) & (across < half)
                if label == 0:
                    inside = down**2 + across**2 < half**2
                if (taken & inside).any():
                    continue
                taken |= inside
                values[inside] += [[20.0, 90.0, 30.0], [90.0, 30.0, 20.0]][label]
                side = 2 * half - 1
                found.append((label, inside, (column - half + 1, row - half + 1, side, side)))
            picture = Image.fromarray(values.clip(0, 255).astype(np.uint8))
            yield split, f"{index:04}", picture, found


MAKERS: dict[str, Callable[[Path, Path, bool], Data]] = {
    "mnist": mnist,
    "cifar": cifar,
    "notmnist": notmnist,
    "jpegs_2000": jpegs(2_000, 250, 500, stripes=32.0),
    "jpegs_500": jpegs(500, 100, 300, stripes=60.0),
    "scenes": scenes(80, 16, 32),
    "many_scenes": scenes(80, 16, 400),
    "boxes": boxes(48, 12, 24),
    "many_boxes": boxes(48, 12, 400),
}
