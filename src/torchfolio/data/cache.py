"""The cache folder: bounded, shared between processes, and never needed for a right answer."""

import os
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.checkpoint import write_bytes
from torchfolio.errors import FolioError, RequestError
from torchfolio.locks import lock

DEFAULT_LIMIT = 10 * 2**30
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

# What it holds, each in a folder of its name.
KINDS = {
    "scans": "what scans found in data",
    "pictures": "decoded pictures",
    "archives": "unpacked archives",
    "downloads": "data sets fetched by name",
    "matplotlib": "fonts of figures",
}

SIZE_NOTE = ".torchfolio-size"  # in a whole folder: how many bytes it holds

# A folder used within this time may be in use by a training that goes on: it is not evicted.
SPARED_SECONDS = 24 * 3600

LOCK = ".lock"  # in the cache folder: who holds it makes room and fills it
LOCK_SECONDS = 60.0  # after which a process that holds it is not waited for


def cache_folder() -> Path:
    """Return the cache folder: ``TORCHFOLIO_CACHE``, or the platform's usual place."""
    given = os.environ.get("TORCHFOLIO_CACHE")
    if given:
        return Path(given).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Local") / "torchfolio" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "torchfolio"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "torchfolio"


def keep_matplotlib_inside() -> None:
    """Let matplotlib keep its list of fonts in our cache folder; to be called before its import."""
    os.environ.setdefault("MPLCONFIGDIR", str(cache_folder() / "matplotlib"))


def cache_limit() -> int:
    """Return the largest size of the cache in bytes: ``TORCHFOLIO_CACHE_LIMIT``, or 10 GiB."""
    text = os.environ.get("TORCHFOLIO_CACHE_LIMIT", "").strip().upper()
    if not text:
        return DEFAULT_LIMIT
    number = text.removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:] in "KMGT" else ""
    try:
        limit = int(float(number.removesuffix(unit)) * UNITS[unit])
    except (ValueError, OverflowError):
        limit = -1
    if limit < 0:
        raise RequestError(
            f"TORCHFOLIO_CACHE_LIMIT is {text!r}: it should be a size such as 500M, 20G or 1T."
        )
    return limit


def read_arrays(kind: str, key: str) -> dict[str, NDArray[Any]] | None:
    """Return the arrays kept under a key, or ``None`` where there are none or they are damaged."""
    path = cache_folder() / kind / f"{key}.npz"
    try:
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        os.utime(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError):
        return None
    return arrays


def write_arrays(kind: str, key: str, arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Keep arrays under a key; return whether that was possible.

    Where the folder cannot be written the work goes on without, only slower the next time.
    """
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # the stub misreads **
    content = buffer.getvalue()
    try:
        with held():
            make_room(len(content))
            write_bytes(cache_folder() / kind / f"{key}.npz", content)
    except RequestError:  # a limit that is no size
        raise
    except (FolioError, OSError):
        return False
    return True


@contextmanager
def held() -> Iterator[None]:
    """Let one process at a time make room and fill it, which takes the block a few seconds at most.

    Where that cannot be had (nothing can be written, the file system has no locks, another process
    hangs), the block is run all the same.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            cache_folder().mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((cache_folder() / LOCK).open("a+b"))
            deadline = time.monotonic() + LOCK_SECONDS
            while lock(file) is False and time.monotonic() < deadline:
                time.sleep(0.02)
        yield


def make_room(size: int) -> None:
    """Remove what was used least recently until ``size`` more bytes fit under the limit.

    An entry is a file or a folder two levels below the cache folder; its time of change is the
    time of its last use. Raises ``FolioError`` where it cannot fit.
    """
    limit, folder = cache_limit(), cache_folder()
    now = time.time()
    entries = []
    total = 0
    for kind in _children(folder):
        for entry in _children(kind):
            if entry.name.startswith("."):  # unfinished: of a process at work, or of a dead one
                if now - _last_use(entry) > SPARED_SECONDS:
                    remove(entry)
                continue
            used, bytes_held = _last_use(entry), _size(entry)
            total += bytes_held
            entries.append((used, bytes_held, entry))
    for used, bytes_held, entry in sorted(entries, key=lambda each: each[0]):
        if total + size <= limit:
            break
        if entry.is_dir() and now - used < SPARED_SECONDS:
            continue
        remove(entry)
        total -= bytes_held
    if total + size > limit:
        raise FolioError(
            f"The cache folder {folder} may hold {limit / 2**30:.3g} GiB, of which "
            f"{total / 2**30:.3g} GiB are in use, and {size / 2**30:.3g} GiB more are needed. "
            "Set TORCHFOLIO_CACHE_LIMIT higher (20G), or remove what you no longer need there."
        )


def contents() -> dict[str, tuple[int, int]]:
    """Return how many entries of each kind there are, and how many bytes they may take."""
    found = {}
    for kind in KINDS:
        entries = _children(cache_folder() / kind)
        if entries:
            found[kind] = (len(entries), sum(_size(each) for each in entries))
    return found


def clear() -> None:
    """Remove everything that we keep in the cache folder, and nothing else that lies there."""
    for kind in KINDS:
        for entry in _children(cache_folder() / kind):
            remove(entry)


def remove(entry: Path) -> None:
    """Remove a file or folder of the cache; another process may do the same at the same time."""
    if entry.is_dir():
        leaving = entry.with_name(f".{entry.name}.{os.getpid()}.part")
        try:
            entry.rename(leaving)  # so that nobody meets it half removed
        except OSError:
            leaving = entry
        shutil.rmtree(leaving, ignore_errors=True)
    else:
        with suppress(OSError):
            entry.unlink(missing_ok=True)


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir()) if folder.is_dir() else []
    except OSError:
        return []


def _last_use(entry: Path) -> float:
    """Return when an entry was last used; one that is just being renamed is in use now."""
    try:
        return entry.stat().st_mtime
    except OSError:
        return time.time()


def _size(entry: Path) -> int:
    """Return the size of an entry in bytes."""
    try:
        if not entry.is_dir():
            return entry.stat().st_size
        note = entry / SIZE_NOTE
        if note.is_file():  # so that a large folder need not be walked
            return int(note.read_text(encoding="utf-8"))
        return sum(each.stat().st_size for each in entry.rglob("*") if each.is_file())
    except (OSError, ValueError):
        return 0
