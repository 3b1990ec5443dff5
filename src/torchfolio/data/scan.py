"""The full scan of picture files: every file is decoded once before anything is split."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from torchfolio.data import cache
from torchfolio.data.dataset import Progress
from torchfolio.data.images import SUFFIXES, NotAnImageError, examine
from torchfolio.data.records import digest, fingerprint
from torchfolio.errors import DataError

FORMAT = "scan 4"  # of a cache entry; a new number makes old entries unread
BETWEEN = "\0"  # parts the texts of a cache entry
BATCH = 16  # files that a thread takes at once
LOOKS = 256  # files whose size and time a thread asks for at once
READERS = max(8, min(32, os.cpu_count() or 1))  # threads: on a slow disk most of them wait
UNREADABLE = "cannot be read:"  # the error of a file that may be readable another time
IGNORED = "not a picture"  # the error of a file that is no picture and does not say it is one
NOTHING = (0, 0, 0, 0)  # the facts of a file that does not open


@dataclass
class Scan:
    """What the files are, one row a file: the columns of a table."""

    names: list[str]
    sizes: NDArray[np.int64]  # (files, 2): height and width, 0 where a file does not open
    channels: NDArray[np.int64]
    deep: NDArray[np.bool_]  # more than 8 bits a value
    digests: NDArray[np.uint64]
    errors: list[str]  # empty where the file is good

    def chosen(self, rows: Sequence[int]) -> "Scan":
        """Return some of the rows."""
        where = np.array(rows, np.int64)
        return Scan(
            [self.names[row] for row in rows],
            self.sizes[where],
            self.channels[where],
            self.deep[where],
            self.digests[where],
            [self.errors[row] for row in rows],
        )

    def in_colours(self) -> "Scan":
        """Return the table with 1 or 3 channels, where pictures have others."""
        channels = np.where(self.channels > 2, 3, np.minimum(self.channels, 1))
        return replace(self, channels=channels)


def scan(
    root: Path,
    names: Sequence[str],
    reader: str,
    progress: Progress | None = None,
    *,
    bands: bool = False,
) -> Scan:
    """Decode every file below ``root`` once, in threads, and say what it is.

    Pictures of more channels than colour count as colour unless ``bands`` are wanted.

    What an earlier scan found of a file is used again where its path, size and time of change
    are the same; it is kept in the cache folder, under the folder and the reader's name.
    """
    count = len(names)
    stats = _stats(root, names)
    table = Columns(stats, np.zeros((count, 4), np.int64), np.zeros(count, np.uint64), [""] * count)
    key = fingerprint(FORMAT, PIL.__version__, root.resolve(), reader)
    missing = _recall(key, names, table).tolist()
    done = count - len(missing)
    batches = [missing[start : start + BATCH] for start in range(0, len(missing), BATCH)]
    with ThreadPoolExecutor(READERS, thread_name_prefix="folio-scan") as pool:
        found = pool.map(
            lambda batch: [_examine(root / names[index], bands) for index in batch], batches
        )
        for batch, results in zip(batches, found, strict=True):
            for index, row in zip(batch, results, strict=True):
                table.facts[index], table.digests[index], table.errors[index] = row
            done += len(batch)
            if progress is not None:
                progress(done, count)
    if missing:
        _save(key, names, table)
    facts = table.facts
    scanned = Scan(
        names=list(names),
        sizes=facts[:, :2],
        channels=facts[:, 2],
        deep=facts[:, 3].astype(bool),
        digests=table.digests,
        errors=table.errors,
    )
    return scanned if bands else scanned.in_colours()


@dataclass
class Columns:
    """What is known of files, in columns: an object a file would take several times the memory."""

    stats: NDArray[np.int64]  # (files, 2): size and time of change, -1 where it cannot be asked for
    facts: NDArray[np.int64]  # (files, 4): height, width, channels, deep
    digests: NDArray[np.uint64]
    errors: list[str]


def _stats(root: Path, names: Sequence[str]) -> NDArray[np.int64]:
    """Return size and time of change of each file, asked for in threads; shape (files, 2)."""

    def some(start: int) -> NDArray[np.int64]:
        part = names[start : start + LOOKS]
        return np.array([_stat(f"{root}{os.sep}{name}") for name in part], np.int64)

    with ThreadPoolExecutor(READERS, thread_name_prefix="folio-scan") as pool:
        found = list(pool.map(some, range(0, len(names), LOOKS)))
    return np.concatenate([np.zeros((0, 2), np.int64), *found])


def _stat(path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)  # noqa: PTH116  # of a million files; Path.stat takes thrice as long
    except OSError:
        return (-1, -1)
    return (stat.st_size, stat.st_mtime_ns)


def _examine(path: Path, bands: bool) -> tuple[tuple[int, int, int, int], int, str]:
    """Return height, width, channels and deep, digest and error of one file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return NOTHING, 0, f"{UNREADABLE} {error.strerror or error}"
    number = digest(data)
    named = path.suffix.lower() in SUFFIXES
    if not data and not named:
        return NOTHING, number, IGNORED
    try:
        height, width, channels, deep = examine(data, path.suffix.lower(), bands=bands)
    except NotAnImageError as error:
        return NOTHING, number, str(error) if named else IGNORED
    except DataError as error:
        return NOTHING, number, str(error)
    return (height, width, channels, int(deep)), number, ""


def _recall(key: str, names: Sequence[str], table: Columns) -> NDArray[np.intp]:
    """Fill the rows of the files that the cache knows as they are; return the other rows.

    Nothing is known where the entry is missing or damaged.
    """
    nothing = np.arange(len(names))
    columns = cache.read_arrays("scans", key)
    if columns is None:
        return nothing
    try:
        known, errors = _texts(columns["names"]), _texts(columns["errors"])
        numbers, digests = columns["numbers"], columns["digests"]
    except (KeyError, ValueError):
        return nothing
    if not len(known) == len(errors) == len(digests) or numbers.shape != (len(known), 6):
        return nothing
    places = {name: place for place, name in enumerate(known)}
    row_of = np.fromiter((places.get(name, -1) for name in names), np.int64, len(names))
    same = row_of >= 0
    same[same] = (numbers[row_of[same], :2] == table.stats[same]).all(1)
    rows = row_of[same]
    table.facts[same], table.digests[same] = numbers[rows, 2:], digests[rows]
    for index, row in zip(np.flatnonzero(same).tolist(), rows.tolist(), strict=True):
        table.errors[index] = errors[row]
    return np.flatnonzero(~same)


def _save(key: str, names: Sequence[str], table: Columns) -> None:
    keep = [i for i, error in enumerate(table.errors) if not error.startswith(UNREADABLE)]
    cache.write_arrays(
        "scans",
        key,
        {
            "names": _bytes([names[index] for index in keep]),
            "errors": _bytes([table.errors[index] for index in keep]),
            "numbers": np.concatenate([table.stats, table.facts], axis=1)[keep],
            "digests": table.digests[keep],
        },
    )


def _bytes(texts: list[str]) -> NDArray[np.uint8]:
    return np.frombuffer(BETWEEN.join(texts).encode("utf-8", "surrogateescape"), np.uint8)


def _texts(content: NDArray[np.uint8]) -> list[str]:
    return content.tobytes().decode("utf-8", "surrogateescape").split(BETWEEN)
