import codecs
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchfolio.data.readers import open_dataset
from torchfolio.data.readers.array_pickle import load_arrays
from torchfolio.errors import DataError, RequestError

TEN = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def planes(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072)).astype(np.uint8)


def binary(rows: np.ndarray, *labels: list[int]) -> bytes:
    columns = [np.array(each, np.uint8)[:, None] for each in labels]
    return np.concatenate([*columns, rows], axis=1).tobytes()


def test_the_binary_form_of_ten_is_read(tmp_path: Path) -> None:
    train, test = planes(0, 3), planes(1, 2)
    (tmp_path / "data_batch_1.bin").write_bytes(binary(train, [0, 9, 3]))
    (tmp_path / "test_batch.bin").write_bytes(binary(test, [1, 1]))
    (tmp_path / "batches.meta.txt").write_text("\n".join([*TEN, "", ""]), encoding="utf-8")
    dataset = open_dataset(tmp_path)
    assert dataset.reader == "cifar"
    assert dataset.classes == tuple(TEN)
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 9, 3, 1, 1]
    assert {name: rows.tolist() for name, rows in dataset.given.items()} == {
        "train": [0, 1, 2],
        "test": [3, 4],
    }
    picture = dataset.records.pixels(3)
    # the first 1,024 bytes are the red plane, row by row
    assert picture[0, 1].tolist() == [test[0, 1], test[0, 1025], test[0, 2049]]
    assert picture[1, 0].tolist() == [test[0, 32], test[0, 1056], test[0, 2080]]
    assert dataset.records.name(4) == "test_batch.bin[1]"
    assert "data_batch_2.bin" in dataset.problems[0].problem


def test_names_of_classes_in_gb_18030_are_read(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(binary(planes(0, 2), [0, 1]))
    (tmp_path / "batches.meta.txt").write_bytes("飞机\n汽车\n".encode("gb18030"))
    assert open_dataset(tmp_path).classes == ("飞机", "汽车")


def test_fine_and_coarse_labels_of_a_hundred(tmp_path: Path) -> None:
    (tmp_path / "train.bin").write_bytes(binary(planes(0, 2), [1, 0], [2, 1]))
    (tmp_path / "test.bin").write_bytes(binary(planes(1, 1), [0], [0]))
    (tmp_path / "fine_label_names.txt").write_text("apple\nbear\nbus\n", encoding="utf-8")
    (tmp_path / "coarse_label_names.txt").write_text("fruit\nother\n", encoding="utf-8")
    fine = open_dataset(tmp_path)
    assert fine.classes == ("apple", "bear", "bus")
    assert fine.labels is not None
    assert fine.labels.tolist() == [2, 1, 0]
    coarse = open_dataset(tmp_path, reader_options={"labels": "coarse"})
    assert coarse.classes == ("fruit", "other")
    assert coarse.labels is not None
    assert coarse.labels.tolist() == [1, 0, 0]
    assert coarse.reader_options == {"labels": "coarse"}


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_the_python_form_is_read(tmp_path: Path, protocol: int) -> None:
    rows = planes(0, 2)
    batch = {b"data": rows, b"labels": [4, 2], b"batch_label": b"x", b"filenames": [b"a", b"b"]}
    for name, value in {
        "data_batch_1": batch,
        "test_batch": {"data": rows[:1], "labels": [0]},
        "batches.meta": {b"label_names": [name.encode() for name in TEN]},
    }.items():
        (tmp_path / name).write_bytes(pickle.dumps(value, protocol=protocol))
    dataset = open_dataset(tmp_path)
    assert dataset.classes == tuple(TEN)
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [4, 2, 0]
    assert dataset.records.pixels(0)[0, 1].tolist() == [rows[0, 1], rows[0, 1025], rows[0, 2049]]


def test_the_python_form_of_a_hundred_is_read(tmp_path: Path) -> None:
    names = {"fine_label_names": ["apple", "bear"], "coarse_label_names": ["fruit", "beast"]}
    (tmp_path / "meta").write_bytes(pickle.dumps(names, protocol=2))
    for name in ("train", "test"):
        value = {"data": planes(0, 2), "fine_labels": [1, 0], "coarse_labels": [1, 0]}
        (tmp_path / name).write_bytes(pickle.dumps(value, protocol=2))
    assert open_dataset(tmp_path).classes == ("apple", "bear")
    coarse = open_dataset(tmp_path, reader_options={"labels": "coarse"})
    assert coarse.classes == ("fruit", "beast")


def test_arrays_written_by_columns_come_back(tmp_path: Path) -> None:
    values = np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3))
    (tmp_path / "x").write_bytes(pickle.dumps({"a": values, "b": values.T[::2]}, protocol=2))
    loaded = load_arrays(tmp_path / "x")
    assert loaded["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert loaded["b"].tolist() == [[0, 3], [2, 5]]


class Calls:
    """Something that calls a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class Plain:
    pass


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch {}",)),
        (os.mkdir, ("{}",)),
        (eval, ("open('{}', 'w')",)),
        (exec, ("open('{}', 'w')",)),
        (getattr, (os, "mkdir")),
        (open, ("{}", "w")),
        (np.save, ("{}", 1)),
        (np.load, ("{}",)),
        (codecs.open, ("{}", "w")),
        (np.ndarray, ((1,), np.dtype("O"), bytes(8))),
        (np.frombuffer, (b"12345678",)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_malicious_pickle_is_refused_and_not_executed(
    tmp_path: Path, function: Any, arguments: tuple[Any, ...], protocol: int
) -> None:
    mark = tmp_path / "executed"
    ready = [each.format(mark) if isinstance(each, str) else each for each in arguments]
    if os in ready:
        ready[0] = np  # modules cannot be pickled
        content = b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR."
    else:
        content = pickle.dumps({"data": Calls(function, *ready)}, protocol=protocol)
    (tmp_path / "set").mkdir()
    file = tmp_path / "set" / "test_batch"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"test_batch is refused: it holds .* nothing in it was ex"):
        open_dataset(tmp_path / "set")
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"data": Plain()}),
        pickle.dumps({"data": np.array([Plain()], object)}),
        pickle.dumps({"data": np.array([1, "a"], object)}),
        b"\x80\x02\x8a\x01\x01\x82\x01.",  # an extension code
        b"Pid\n.",  # a persistent id
    ],
    ids=["class", "array of objects", "array of mixed", "extension", "persistent"],
)
def test_objects_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(DataError, match=r"test_batch is (refused|a damaged pickle)"):
        open_dataset(tmp_path)


def test_a_pickle_cannot_change_what_stands_in_for_numpy(tmp_path: Path) -> None:
    # BUILD with a pair of dictionaries sets attributes of the object on the stack
    content = b"\x80\x02cnumpy\ndtype\nN}X\x01\0\0\0aK\x01s\x86b."
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(DataError, match="damaged pickle"):
        load_arrays(tmp_path / "test_batch")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test_batch.bin", bytes(3073 + 5), r"3,078 bytes; a multiple of 3,073 was expected"),
        ("test_batch.bin", b"", r"has 0 bytes"),
        (
            "test_batch.bin",
            bytes([200]) + bytes(3072),
            r"picture 0 has the label 200; there",
        ),
        ("test_batch", b"rubbish", "is a damaged pickle"),
        ("test_batch", b"", "is a damaged pickle"),
        ("test_batch", pickle.dumps([1]), "holds a list; a dictionary was expected"),
        ("test_batch", pickle.dumps({"labels": [1]}), "'data' should be an array"),
        (
            "test_batch",
            pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, protocol=2),
            "'labels' should be a list of 2 whole numbers",
        ),
    ],
)
def test_damage_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "batches.meta.txt").write_text("\n".join(TEN), encoding="utf-8")
    with pytest.raises(DataError, match=f"{name}.*{message}"):
        open_dataset(tmp_path)


def test_coarse_labels_of_ten_do_not_exist(tmp_path: Path) -> None:
    (tmp_path / "test_batch.bin").write_bytes(bytes(3073))
    with pytest.raises(RequestError, match="coarse is for CIFAR-100"):
        open_dataset(tmp_path, reader_options={"labels": "coarse"})
    with pytest.raises(RequestError, match="labels in the reader cifar is 'corse'"):
        open_dataset(tmp_path, reader_options={"labels": "corse"})


def test_the_public_test_batch_equals_its_png_copy(public_data: Path, tmp_path: Path) -> None:
    import io
    import tarfile

    from PIL import Image

    dataset = open_dataset(public_data / "cifar10_small")
    assert len(dataset) == 500
    assert dataset.classes == tuple(TEN)
    assert dataset.labels is not None
    compared = 0
    with tarfile.open(public_data / "cifar10_small" / "cifar10_png.tar.gz") as archive:
        for member in archive:
            parts = member.name.split("/")
            if not member.isfile() or "test" not in parts:
                continue
            number = int(Path(parts[-1]).stem)
            stored = archive.extractfile(member)
            assert stored is not None
            with Image.open(io.BytesIO(stored.read())) as image:
                assert np.array_equal(dataset.records.pixels(number), np.asarray(image))
            assert dataset.classes[dataset.labels[number]] == parts[-2]
            compared += 1
    assert compared == 500
