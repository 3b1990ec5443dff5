import zipfile
from pathlib import Path

import numpy as np
import pytest

from torchfolio.data.readers import open_dataset
from torchfolio.errors import DataError

GREY = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3)
LABELS = np.array([5, 2, 5, 2])


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("X_train", "Y_train", "X_test", "Y_test"),
        ("images_train", "labels_train", "images_test", "labels_test"),
    ],
)
def test_splits_are_told_by_their_names(tmp_path: Path, keys: tuple[str, ...]) -> None:
    values = (GREY[:3], LABELS[:3], GREY[3:], LABELS[3:])
    np.savez(tmp_path / "set.npz", **dict(zip(keys, values, strict=True)))
    for path in (tmp_path / "set.npz", tmp_path):
        dataset = open_dataset(path)
        assert dataset.reader == "npz"
        assert dataset.classes == ("2", "5")
        assert dataset.labels is not None
        assert dataset.labels.tolist() == [1, 0, 1, 0]
        assert {name: rows.tolist() for name, rows in dataset.given.items()} == {
            "train": [0, 1, 2],
            "test": [3],
        }
        assert np.array_equal(dataset.records.array[..., 0], GREY)
        assert dataset.records.name(3) == f"set.npz[{keys[2]}][0]"
    assert open_dataset(tmp_path / "set.npz").name == "set"


@pytest.mark.parametrize("keys", [("images", "labels"), ("x", "y"), ("data", "target")])
def test_data_without_splits_are_all_train(tmp_path: Path, keys: tuple[str, str]) -> None:
    np.savez(tmp_path / "set.npz", **{keys[0]: GREY, keys[1]: LABELS})
    assert {name: len(rows) for name, rows in open_dataset(tmp_path).given.items()} == {"train": 4}


def test_a_label_below_zero_is_a_class_like_any_other(tmp_path: Path) -> None:
    dataset = open_dataset(save(tmp_path, GREY, np.array([-1, 3, -1, 3])))
    assert dataset.classes == ("-1", "3")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 1, 0, 1]


def save(
    folder: Path, images: np.ndarray, labels: np.ndarray | None = None, **more: object
) -> Path:
    labels = np.arange(len(images)) % 2 if labels is None else labels
    np.savez(folder / "set.npz", images=images, labels=labels, **more)
    return folder / "set.npz"


def test_channels_first_or_last(tmp_path: Path) -> None:
    last = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    assert np.array_equal(open_dataset(save(tmp_path, last)).records.array, last)
    first = last.transpose(0, 3, 1, 2)
    assert np.array_equal(open_dataset(save(tmp_path, first)).records.array, last)


def test_rows_are_square_pictures(tmp_path: Path) -> None:
    array = open_dataset(save(tmp_path, np.arange(18, dtype=np.uint8).reshape(2, 9))).records.array
    assert array[1, ..., 0].tolist() == [[9, 10, 11], [12, 13, 14], [15, 16, 17]]
    array = open_dataset(save(tmp_path, np.arange(24, dtype=np.uint8).reshape(2, 12))).records.array
    assert array[0, 0, 1].tolist() == [1, 5, 9]  # three planes of 2x2


def test_alpha_lies_over_white(tmp_path: Path) -> None:
    pixels = np.array([[[[10, 20, 30, 255], [10, 20, 30, 0]]]] * 2, np.uint8)
    array = open_dataset(save(tmp_path, pixels)).records.array
    assert array[0].tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize(
    ("values", "expected", "depth"),
    [
        (np.array([0, 51, 255], np.int64), [0, 51, 255], 8),
        (np.array([0, 51, 255], np.float32), [0, 51, 255], 8),
        (np.array([False, True, True]), [0, 255, 255], 8),
        (np.array([0, 13107, 65535], np.uint16), [0, 0.2, 1], 16),
        (np.array([0, 0.5, 1], np.float64), [0, 0.5, 1], 16),
        (np.array([0, 127.5, 255], np.float64), [0, 0.5, 1], 16),
        (np.array([-1, 0, 3], np.float64), [0, 0.25, 1], 16),
    ],
)
def test_values_keep_their_range(
    tmp_path: Path, values: np.ndarray, expected: list[float], depth: int
) -> None:
    images = np.tile(values.reshape(1, 1, 3), (2, 1, 1))
    dataset = open_dataset(save(tmp_path, images))
    assert dataset.facts["depth"] == depth
    assert dataset.records.pixels(0)[0, :, 0] == pytest.approx(expected)
    assert (dataset.records.array is None) == (depth == 16)


def test_pictures_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    images = np.linspace(0, 1, 12).reshape(3, 2, 2)
    images[1, 0, 0] = np.nan
    dataset = open_dataset(save(tmp_path, images, np.array([0, 1, 1])))
    assert len(dataset) == 2
    assert [each.path for each in dataset.problems] == ["images[1]"]
    with pytest.raises(DataError, match=r"images\[1\]: values that are not finite"):
        open_dataset(tmp_path, on_error="stop")


@pytest.mark.parametrize(
    ("labels", "classes", "indices"),
    [
        (np.array(["dog", "cat", "dog", "bird"]), ("bird", "cat", "dog"), [2, 1, 2, 0]),
        (np.array([b"dog", b"cat", b"dog", b"dog"]), ("cat", "dog"), [1, 0, 1, 1]),
        (np.array([[0, 1], [1, 0], [0, 1], [0, 1]]), ("0", "1"), [1, 0, 1, 1]),
        (np.array([[3], [1], [3], [3]]), ("1", "3"), [1, 0, 1, 1]),
        (np.array([3.0, 1.0, 3.0, 3.0]), ("1", "3"), [1, 0, 1, 1]),
    ],
)
def test_forms_of_labels(
    tmp_path: Path, labels: np.ndarray, classes: tuple[str, ...], indices: list[int]
) -> None:
    dataset = open_dataset(save(tmp_path, GREY, labels))
    assert dataset.classes == classes
    assert dataset.labels is not None
    assert dataset.labels.tolist() == indices


def test_names_of_classes_may_be_in_the_file(tmp_path: Path) -> None:
    names = np.array(["zero", "one", "two", "three", "four", "five"])
    assert open_dataset(save(tmp_path, GREY, LABELS, class_names=names)).classes == ("two", "five")


def test_objects_are_refused_and_not_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    file = save(tmp_path, np.array([Trap(), Trap()], object))
    with pytest.raises(DataError, match="is damaged or holds objects"):
        open_dataset(file)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": GREY, "labels": LABELS[:3]}, "images holds 4 pictures, labels 3 labels"),
        ({"images": np.zeros((2, 5)), "labels": LABELS[:2]}, r"shape \(2, 5\)"),
        (
            {"images": GREY, "labels": [5, 2, 5.5, 2]},
            r"set\.npz \[labels\]: row 2 is 5\.5; classes were expected, as whole numbers",
        ),
        ({"images": GREY, "labels": [0, 1, 0, np.nan]}, r"set\.npz \[labels\]: row 3 is nan;"),
        ({"images": GREY, "labels": [[0], [np.inf], [0], [1]]}, r"\[labels\]: row 1 is inf;"),
        ({"images": GREY, "labels": [[0, 1], [1, 0], [np.nan, 0], [1, 0]]}, "row 2 is nan;"),
        ({"images": GREY, "labels": np.zeros((4, 0))}, r"\[labels\] has the shape \(4, 0\); one"),
        ({"images": np.zeros((4, 0, 8)), "labels": LABELS}, r"set\.npz \[images\].*no pixel"),
        ({"images": np.zeros((4, 0)), "labels": LABELS}, r"shape \(4, 0\): pictures of no pixel"),
        ({"images": GREY.astype("U"), "labels": LABELS}, r"set\.npz \[images\] holds <U"),
        (
            {"x_train": GREY, "y_train": LABELS, "x_test": GREY[:, :1], "y_test": LABELS},
            r"set\.npz: the splits differ in the size",
        ),
        ({"pictures of": GREY}, "holds pictures of; a NumPy archive"),
        ({"images": np.full((2, 2, 2), np.nan), "labels": LABELS[:2]}, "npz holds no picture"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "set.npz", reader="npz")


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    file = save(tmp_path, GREY)
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        start = archive.infolist()[0].header_offset + 40
    content[start : start + 60] = bytes(60)
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"set\.npz is damaged"):
        open_dataset(file)
    file.write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"set\.npz is damaged or no \.npz file"):
        open_dataset(file)
