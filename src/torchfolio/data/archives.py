"""Archives: tar and zip, unpacked once into the cache folder, and nothing outside it."""

import gzip
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from torchfolio.data import cache
from torchfolio.data.folders import is_litter
from torchfolio.data.records import fingerprint
from torchfolio.errors import DataError, FolioError

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")

# An archive is refused as a bomb once it has given this much, and this many times its own size:
# deflate reaches 1,032 on zeros, pictures seldom 3.
BOMB_FLOOR = 2**30
BOMB_RATIO = 200
MAX_FILES = 20_000_000
MAX_DEPTH = 3  # archives inside archives
CHUNK = 2**20

ERRORS = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, lzma.LZMAError, EOFError,
    NotImplementedError, RuntimeError, ValueError,
)  # fmt: skip


def archive_suffix(path: Path) -> str:
    """Return the suffix that makes a name an archive's, or nothing."""
    name = path.name.lower()
    return max((each for each in SUFFIXES if name.endswith(each)), key=len, default="")


def is_archive(path: Path) -> bool:
    """Return whether a file is an archive by its name."""
    return bool(archive_suffix(path)) and path.is_file()


def unpack(path: Path) -> Path:
    """Return the folder with the content of an archive, unpacked into the cache folder if needed.

    It is used again while the archive's path, size and time of change are the same. Archives
    inside it become folders of their name. Refused with a ``DataError``: paths and links that
    lead outside, bombs, and damaged or encrypted archives.
    """
    try:
        stat = path.stat()
        key = fingerprint("archive 1", path.resolve(), stat.st_size, stat.st_mtime_ns)
        folder = cache.cache_folder() / "archives" / key
        if (folder / cache.SIZE_NOTE).is_file():
            os.utime(folder)
            return folder / "content"
        cache.make_room(min(stat.st_size, cache.cache_limit()))
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=folder.parent))
    except OSError as error:
        raise FolioError(
            f"{path} cannot be unpacked into the cache folder {cache.cache_folder()}: "
            f"{error.strerror or error}. Set TORCHFOLIO_CACHE to a folder that can be written, or "
            "unpack the archive yourself and give the folder."
        ) from error
    try:
        budget = Budget(path, stat.st_size)
        _unpack_into(path, work / "content", budget, 0)
        (work / cache.SIZE_NOTE).write_text(str(budget.written), encoding="utf-8")
        with cache.held():
            if not (folder / cache.SIZE_NOTE).is_file():  # no other process was quicker
                cache.make_room(budget.written)
                cache.remove(folder)  # what is left of one that was being removed
            try:
                work.rename(folder)
            except OSError:
                if not (folder / cache.SIZE_NOTE).is_file():
                    raise
    except OSError as error:
        raise FolioError(
            f"{path} cannot be unpacked into {folder.parent}: {error.strerror or error}."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder / "content"


@dataclass
class Budget:
    """What an archive may still write."""

    archive: Path
    size: int
    written: int = 0
    files: int = 0

    def take(self, size: int) -> None:
        """Count bytes before they are written, and refuse what is too much."""
        self.written += size
        if self.written > max(BOMB_FLOOR, BOMB_RATIO * self.size):
            raise DataError(
                f"{self.archive} ({self.size:,} bytes) grows more than {BOMB_RATIO}-fold when it "
                "is unpacked, like a bomb: refused. If it is what you want, unpack it yourself "
                "and give the folder."
            )
        if self.written > cache.cache_limit():
            raise DataError(
                f"{self.archive} holds more than the cache folder may "
                f"({cache.cache_limit() / 2**30:.3g} GiB). Set TORCHFOLIO_CACHE_LIMIT higher "
                "(50G), or unpack it yourself and give the folder."
            )

    def count(self) -> None:
        """Count one file."""
        self.files += 1
        if self.files > MAX_FILES:
            raise DataError(f"{self.archive} holds more than {MAX_FILES:,} files: refused.")


def _unpack_into(path: Path, target: Path, budget: Budget, depth: int) -> None:
    """Write the files of one archive, and of the archives inside it, below ``target``."""
    target.mkdir(parents=True)
    inner: list[Path] = []
    links: list[tuple[PurePosixPath, PurePosixPath]] = []
    made: set[Path] = set()
    try:
        for name, source in _members(path, links):
            if is_litter(name.parts[0]) or is_litter(name.name):
                continue
            file = target.joinpath(*name.parts)
            budget.count()
            if file.parent not in made:
                file.parent.mkdir(parents=True, exist_ok=True)
                made.add(file.parent)
            with file.open("wb") as out:
                while chunk := source.read(CHUNK):
                    budget.take(len(chunk))
                    out.write(chunk)
            if archive_suffix(file):
                inner.append(file)
    except (*ERRORS, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # a full disk is no fault of the archive's
        raise DataError(
            f"{path.name if depth else path}: damaged, encrypted or no archive of its suffix "
            f"({str(error) or type(error).__name__}). Fetch it again, or unpack it yourself."
        ) from error
    for name, origin in links:
        file, source_file = target.joinpath(*name.parts), target.joinpath(*origin.parts)
        if source_file.is_file() and not file.exists():
            budget.count()
            budget.take(source_file.stat().st_size)
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source_file, file)
    for file in inner:
        if depth + 1 >= MAX_DEPTH:
            raise DataError(f"{budget.archive} nests archives more than {MAX_DEPTH} deep: refused.")
        folder = file.with_name(file.name[: -len(archive_suffix(file))])
        if not folder.exists():
            _unpack_into(file, folder, budget, depth + 1)
            file.unlink()


def _members(
    path: Path, links: list[tuple[PurePosixPath, PurePosixPath]]
) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    """Give each plain file with its safe name; note links, each with the file it leads to."""
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            decode = _zip_decoder(archive)
            for entry in archive.infolist():
                if not entry.is_dir() and (entry.external_attr >> 16) & 0o170000 != 0o120000:
                    with archive.open(entry) as source:
                        yield _safe(decode(entry), path), source
        return
    with tarfile.open(path) as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # else it keeps a million objects
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                yield _safe(member.name, path), content
            elif member.islnk() or member.issym():
                name = _safe(member.name, path)
                base = PurePosixPath() if member.islnk() else name.parent
                links.append((name, _safe(str(base / member.linkname), path)))


def _safe(name: str, archive: Path) -> PurePosixPath:
    """Return a path that stays inside, or refuse the archive."""
    parts: list[str] = []
    escapes = name.startswith(("/", "\\")) or "\0" in name
    for part in name.replace("\\", "/").split("/"):
        if part == "..":
            escapes = escapes or not parts
            parts = parts[:-1]
        elif part not in ("", "."):
            escapes = escapes or ":" in part[1:2]  # a drive letter
            parts.append(part)
    if escapes or not parts:
        raise DataError(
            f"{archive} holds a path or a link that leads outside it ({name!r}): refused. "
            "Do not trust this archive."
        )
    return PurePosixPath(*parts)


def _zip_decoder(archive: zipfile.ZipFile) -> Callable[[zipfile.ZipInfo], str]:
    """Return how names are read: UTF-8 where marked; otherwise UTF-8, GB 18030 or code page 437.

    Windows in Chinese writes names in its own code page without a mark.
    """
    raw = [
        entry.filename.encode("cp437")
        for entry in archive.infolist()
        if not entry.flag_bits & 0x800
    ]
    for encoding in ("utf-8", "gb18030"):
        try:
            for name in raw:
                name.decode(encoding)
        except UnicodeDecodeError:
            continue
        break
    else:
        encoding = "cp437"

    def decode(entry: zipfile.ZipInfo) -> str:
        if entry.flag_bits & 0x800:
            return entry.filename
        return entry.filename.encode("cp437").decode(encoding)

    return decode
