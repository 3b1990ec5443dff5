"""What every reader of classified pictures ends with: a dataset from a scan, or from arrays."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset, Indices, Problem, Reader
from torchfolio.data.folders import told
from torchfolio.data.images import Pixels
from torchfolio.data.records import ImageArray, ImageFiles, fingerprint
from torchfolio.data.scan import Scan
from torchfolio.errors import DataError
from torchfolio.options import plain

KIND = "image-classification"
SEVERAL = "multilabel-classification"  # several labels a picture


def picture_dataset(
    *,
    reader: Reader,
    path: Path,
    root: Path,
    scan: Scan,
    keep: NDArray[np.bool_],
    class_names: NDArray[Any] | None = None,
    split_names: NDArray[Any],
    problems: list[Problem],
    groups: NDArray[Any] | None = None,
    labels: tuple[Sequence[str], NDArray[np.uint8]] | None = None,
) -> Dataset:
    """Return the dataset of the files that are good.

    Each file has a class in ``class_names`` (files,), or several in ``labels``: their names, and
    zeros and ones (files, labels).
    """
    rows = np.flatnonzero(keep)
    if not len(rows):
        raise DataError(
            f"{path} has no picture that can be read: {reader.reads} was expected.\n"
            + told(problems)
        )
    names = [scan.names[row] for row in rows]
    records = ImageFiles(
        root, names, scan.digests[rows], scan.sizes[rows], scan.channels[rows], scan.deep[rows]
    )
    splits = split_names[rows]
    given = {
        split: np.flatnonzero(splits == split)
        for split in ("train", "val", "test")
        if (splits == split).any()
    }
    if len(set(split_names)) == 1:  # a single split is no split
        given = {"train": np.arange(len(rows))}
    answers: dict[str, Any]
    told_by: tuple[Any, ...]
    if labels is not None:
        targets = np.ascontiguousarray(labels[1][rows])
        answers = {"kind": SEVERAL, "classes": tuple(labels[0]), "targets": targets}
        told_by = (targets, "\n".join(labels[0]))
    else:
        assert class_names is not None
        classes, indices = np.unique(class_names[rows].astype(str), return_inverse=True)
        answers = {"kind": KIND, "classes": tuple(str(each) for each in classes)}
        answers["labels"] = indices.astype(np.int64)
        told_by = (answers["labels"],)
    return Dataset(
        **answers,
        name=str(path),
        path=str(path),
        reader=reader.name,
        records=records,
        given=given,
        fingerprint=fingerprint("\n".join(names), scan.digests[rows], *told_by),
        groups=groups[rows] if groups is not None else None,
        facts=records.facts(),
        problems=problems,
        reader_options=plain(reader.options),
    )


def array_dataset(
    *,
    reader: Reader,
    path: Path | str,
    parts: Mapping[str, tuple[Pixels, Indices, Sequence[tuple[str, int]]]],
    classes: Sequence[str],
    problems: Sequence[Problem] = (),
) -> Dataset:
    """Return the dataset of pictures in memory.

    ``parts`` holds for each split its pictures (count, height, width, channels), their labels
    (count,) and the names of their sources with the count of each.
    """
    order = [split for split in ("train", "val", "test") if split in parts]
    pictures = [parts[split][0] for split in order]
    array = pictures[0] if len(order) == 1 else np.concatenate(pictures)
    labels = np.concatenate([parts[split][1] for split in order]).astype(np.int64)
    if not len(array):
        raise DataError(f"{path} holds no pictures.")
    ends = np.cumsum([len(each) for each in pictures])
    given = {
        split: np.arange(end - len(parts[split][0]), end, dtype=np.int64)
        for split, end in zip(order, ends, strict=True)
    }
    if len(order) == 1:  # a single split is no split
        given = {"train": np.arange(len(array), dtype=np.int64)}
    records = ImageArray(array, [source for split in order for source in parts[split][2]])
    return Dataset(
        kind=KIND,
        name=str(path),
        path=str(path),
        reader=reader.name,
        records=records,
        given=given,
        fingerprint=fingerprint(array, labels, "\n".join(classes)),
        classes=tuple(classes),
        labels=labels,
        facts=records.facts(),
        problems=list(problems),
        reader_options=plain(reader.options),
    )
