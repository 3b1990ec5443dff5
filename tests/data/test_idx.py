import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from torchfolio.data.readers import open_dataset
from torchfolio.errors import DataError


def idx(values: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes (LeCun's description of the format)."""
    return (
        bytes([0, 0, 8, values.ndim])
        + struct.pack(f">{values.ndim}I", *values.shape)
        + values.astype(np.uint8).tobytes()
    )


PICTURES = np.arange(3 * 2 * 4).reshape(3, 2, 4)
LABELS = np.array([7, 1, 7])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures to train on, plain; one to test on, gzipped."""
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(PICTURES))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(PICTURES[:1] + 100)))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS[1:2])))
    return tmp_path


def test_pictures_labels_and_names_are_those_of_the_files(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert dataset.reader == "idx"
    assert dataset.classes == ("1", "7")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [1, 0, 1, 0]
    assert {name: rows.tolist() for name, rows in dataset.given.items()} == {
        "train": [0, 1, 2],
        "test": [3],
    }
    assert dataset.records.array.shape == (4, 2, 4, 1)
    assert dataset.records.pixels(1)[..., 0].tolist() == [[8, 9, 10, 11], [12, 13, 14, 15]]
    assert dataset.records.pixels(3)[0, 0, 0] == 100
    assert dataset.records.name(2) == "train-images-idx3-ubyte[2]"
    assert dataset.records.name(3) == "t10k-images-idx3-ubyte.gz[0]"
    assert dataset.facts["size_median"] == [2, 4]


def test_equal_pictures_have_equal_digests(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(PICTURES[[0, 1, 0]]))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS))
    first, second, third = open_dataset(tmp_path).records.digests()
    assert first == third != second


def test_one_file_stands_for_its_pair(folder: Path) -> None:
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        dataset = open_dataset(folder / name)
        assert len(dataset) == 1
        assert list(dataset.given) == ["train"]
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="has no partner: its labels were expected"):
        open_dataset(folder / "t10k-images-idx3-ubyte.gz")


def test_names_with_dots_and_colour_pictures_are_read(tmp_path: Path) -> None:
    colour = np.arange(2 * 2 * 2 * 3).reshape(2, 2, 2, 3)
    (tmp_path / "train-images.idx4-ubyte").write_bytes(idx(colour))
    (tmp_path / "train-labels.idx1-ubyte").write_bytes(idx(np.array([0, 1])))
    assert np.array_equal(open_dataset(tmp_path).records.array, colour)


def test_names_of_classes_stand_in_classes_txt(folder: Path) -> None:
    lines = "\n".join(f"name {number}" for number in range(10))
    (folder / "classes.txt").write_text(lines, encoding="utf-8")
    assert open_dataset(folder).classes == ("name 1", "name 7")


def test_two_sets_in_one_folder_are_refused(folder: Path) -> None:
    for what, dimensions, values in (("images", 3, PICTURES), ("labels", 1, LABELS)):
        name = f"emnist-letters-train-{what}-idx{dimensions}-ubyte"
        (folder / name).write_bytes(idx(values))
    with pytest.raises(DataError, match="more than one IDX set"):
        open_dataset(folder)
    assert len(open_dataset(folder / "emnist-letters-train-images-idx3-ubyte")) == 3


TRAIN = "train-images-idx3-ubyte"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(PICTURES)[:-1], r"announces 3 x 2 x 4 = 24 bytes, and 23 follow"),
        (idx(PICTURES) + b"x", r"announces 3 x 2 x 4 = 24 bytes, and more follow"),
        (b"\x89PNG" + bytes(40), r"is no IDX file: it begins with 89 50 4e 47"),
        (b"", r"is no IDX file: it begins with nothing"),
        (b"\0\0\x0d\x03" + idx(PICTURES)[4:], r"of type 0x0d with 3 dimensions; unsigned bytes"),
        (idx(LABELS), r"of type 0x08 with 1 dimensions"),
        (b"\0\0\x08\x03\0\0", "cut off within its header"),
        (idx(PICTURES[:2]), r"holds 2 pictures, train-labels-idx1-ubyte 3 labels"),
        (b"\0\0\x08\x03" + b"\xff" * 12, r"= 79,228,162,458,924,105,385,300,197,375 bytes, and 0"),
        (gzip.compress(idx(PICTURES))[:-12], "is a damaged gzip file"),
        (gzip.compress(idx(PICTURES))[:10] + b"\xff" * 20, "is a damaged gzip file"),
    ],
    ids=[
        "truncated", "too long", "png", "empty", "float", "one dimension", "header", "count",
        "huge", "short gzip", "bad gzip",
    ],
)  # fmt: skip
def test_damage_is_named(folder: Path, content: bytes, message: str) -> None:
    (folder / TRAIN).write_bytes(content)
    with pytest.raises(DataError, match=f"{TRAIN}.*{message}"):
        open_dataset(folder)


def test_mnist_is_mnist(public_data: Path) -> None:
    dataset = open_dataset(public_data / "mnist")
    assert {name: len(rows) for name, rows in dataset.given.items()} == {
        "train": 60_000,
        "test": 10_000,
    }
    assert dataset.labels is not None
    # Deng, "The MNIST database", 2012, Table 1, gives the training counts of the digits
    counts = np.bincount(dataset.labels[:60_000]).tolist()
    assert counts == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    array = dataset.records.array
    # the mean and standard deviation that everyone normalises by: 0.1307, 0.3081
    assert array[:60_000].mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert array[:60_000].std() / 255 == pytest.approx(0.3081, abs=5e-5)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
def test_names_of_classes_are_read_in_every_usual_encoding(folder: Path, encoding: str) -> None:
    lines = "\n".join(f"类 {number}" for number in range(10))
    (folder / "classes.txt").write_text(lines, encoding=encoding)
    assert open_dataset(folder).classes == ("类 1", "类 7")


def test_names_of_classes_that_are_no_text_are_refused(folder: Path) -> None:
    (folder / "classes.txt").write_bytes(b"a\n\xff\xff\xff\n")
    with pytest.raises(DataError, match=r"classes\.txt is neither UTF-8 nor GB 18030 text"):
        open_dataset(folder)
