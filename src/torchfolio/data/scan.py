"""The full scan of picture files: every file is decoded once before anything is split."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from torchfolio.data import cache
from torchfolio.data.dataset import Progress
from torchfolio.data.images import SUFFIXES, NotAnImageError, examine
from torchfolio.data.records import digest, fingerprint
from torchfolio.errors import DataError

FORMAT = "scan 3"  # of a cache entry; a new number makes old entries unread
BETWEEN = "\0"  # parts the texts of a cache entry
BATCH = 16  # files that a thread takes at once
LOOKS = 256  # files whose size and time a thread asks for at once
READERS = max(8, min(32, os.cpu_count() or 1))  # threads: on a slow disk most of them wait
UNREADABLE = "cannot be read:"  # the error of a file that may be readable another time
IGNORED = "not a picture"  # the error of a file that is no picture and does not say it is one


@dataclass
class Scan:
    """What the files are, one row a file: the columns of a table."""

    names: list[str]
    sizes: NDArray[np.int64]  # (files, 2): height and width, 0 where a file does not open
    channels: NDArray[np.int64]
    deep: NDArray[np.bool_]  # more than 8 bits a value
    digests: NDArray[np.uint64]
    errors: list[str]  # empty where the file is good


def scan(root: Path, names: Sequence[str], reader: str, progress: Progress | None = None) -> Scan:
    """Decode every file below ``root`` once, in threads, and say what it is.

    What an earlier scan found of a file is used again where its path, size and time of change
    are the same; it is kept in the cache folder, under the folder and the reader's name.
    """
    stats = _stats(root, names)
    key = fingerprint(FORMAT, PIL.__version__, root.resolve(), reader)
    known = _load(key)
    rows: list[tuple[int, int, int, int, int, str] | None] = [
        known.get((name, *stat)) for name, stat in zip(names, stats, strict=True)
    ]
    missing = [index for index, row in enumerate(rows) if row is None]
    done = len(names) - len(missing)
    batches = [missing[start : start + BATCH] for start in range(0, len(missing), BATCH)]
    with ThreadPoolExecutor(READERS, thread_name_prefix="folio-scan") as pool:
        found = pool.map(lambda batch: [_examine(root / names[index]) for index in batch], batches)
        for batch, results in zip(batches, found, strict=True):
            for index, row in zip(batch, results, strict=True):
                rows[index] = row
            done += len(batch)
            if progress is not None:
                progress(done, len(names))
    whole = [row for row in rows if row is not None]
    if missing:
        _save(key, names, stats, whole)
    numbers = np.array([row[:4] for row in whole], np.int64).reshape(len(whole), 4)
    return Scan(
        names=list(names),
        sizes=numbers[:, :2],
        channels=numbers[:, 2],
        deep=numbers[:, 3].astype(bool),
        digests=np.array([row[4] for row in whole], np.uint64),
        errors=[row[5] for row in whole],
    )


def _stats(root: Path, names: Sequence[str]) -> list[tuple[int, int]]:
    """Return size and time of change of each file, asked for in threads."""
    parts = [names[start : start + LOOKS] for start in range(0, len(names), LOOKS)]
    with ThreadPoolExecutor(READERS, thread_name_prefix="folio-scan") as pool:
        found = pool.map(lambda part: [_stat(f"{root}{os.sep}{name}") for name in part], parts)
        return [each for part in found for each in part]


def _stat(path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)  # noqa: PTH116  # of a million files; Path.stat takes thrice as long
    except OSError:
        return (-1, -1)
    return (stat.st_size, stat.st_mtime_ns)


def _examine(path: Path) -> tuple[int, int, int, int, int, str]:
    """Return height, width, channels, deep, digest and error of one file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return (0, 0, 0, 0, 0, f"{UNREADABLE} {error.strerror or error}")
    number = digest(data)
    named = path.suffix.lower() in SUFFIXES
    if not data and not named:
        return (0, 0, 0, 0, number, IGNORED)
    try:
        height, width, channels, deep = examine(data, path.suffix.lower())
    except NotAnImageError as error:
        return (0, 0, 0, 0, number, str(error) if named else IGNORED)
    except DataError as error:
        return (0, 0, 0, 0, number, str(error))
    return (height, width, channels, int(deep), number, "")


Known = dict[tuple[str, int, int], tuple[int, int, int, int, int, str]]


def _load(key: str) -> Known:
    """Return what the cache knows; nothing where the entry is missing or damaged."""
    columns = cache.read_arrays("scans", key)
    if columns is None:
        return {}
    try:
        names = columns["names"].tobytes().decode("utf-8", "surrogateescape").split(BETWEEN)
        errors = columns["errors"].tobytes().decode("utf-8", "surrogateescape").split(BETWEEN)
        numbers = columns["numbers"].tolist()
        digests = columns["digests"].tolist()
        return {
            (name, row[0], row[1]): (row[2], row[3], row[4], row[5], number, error)
            for name, row, number, error in zip(names, numbers, digests, errors, strict=True)
        }
    except (KeyError, ValueError, IndexError):
        return {}


def _save(
    key: str,
    names: Sequence[str],
    stats: Sequence[tuple[int, int]],
    rows: Sequence[tuple[int, int, int, int, int, str]],
) -> None:
    keep = [index for index, row in enumerate(rows) if not row[5].startswith(UNREADABLE)]

    def text(values: list[str]) -> NDArray[np.uint8]:
        return np.frombuffer(BETWEEN.join(values).encode("utf-8", "surrogateescape"), np.uint8)

    cache.write_arrays(
        "scans",
        key,
        {
            "names": text([names[index] for index in keep]),
            "errors": text([rows[index][5] for index in keep]),
            "numbers": np.array(
                [(*stats[index], *rows[index][:4]) for index in keep], np.int64
            ).reshape(len(keep), 6),
            "digests": np.array([rows[index][4] for index in keep], np.uint64),
        },
    )
