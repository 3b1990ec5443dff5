"""Number every change of files below some folders, and strike at one of them.

What Python asks the system for is counted: making a file or folder, each write that reaches the
system (by half, too), flush, rename, removal. :func:`watch` replaces the functions through which
all of it goes (``open``, ``os.fsync``, ``os.replace`` ...), so that the program under test is not
changed and may write as it likes; what it writes through no such function is found out by
:mod:`tools.endurance.trial`, which compares files with events. For Linux: the path of an open file
is read in ``/proc``.
"""

# pathlib calls what is watched here:
# ruff: noqa: PTH100, PTH110, PTH115, PTH116, PTH118
import builtins
import errno
import io
import mmap
import os
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

# What a full disk refuses; it still lets rename, and remove.
NEED_SPACE = ("make", "write", "half", "flush", "mkdir", "resize")
EXISTING = ("remove", "resize")  # what can be done only to a file that is there
WRITING = frozenset("wax+")


class Watch:
    """Counts events below ``folders`` and strikes at number ``at`` (from 1; 0: never).

    ``strike`` is "kill"; "power" (killed, and what was not flushed is lost); "full" (from there
    on the disk is full) or "denied" (from there on nothing may be changed). ``log`` is an open
    file descriptor outside the folders, to which each event is told.
    """

    def __init__(self, folders: Iterable[Path], at: int, strike: str, log: int) -> None:
        self.folders = [f"{os.path.realpath(folder)}{os.sep}" for folder in folders]
        self.at = at
        self.strike = strike
        self.log = log
        self.count = 0
        self.unflushed: dict[str, int] = {}  # path: bytes that are safe
        self.lock = threading.RLock()
        self.system: dict[str, Callable[..., Any]] = {}

    def path(self, file: Any, folder: int | None = None) -> str | None:
        """Return the whole path of a file or descriptor if it is below the folders."""
        with suppress(OSError, TypeError, ValueError):
            if isinstance(file, int):
                name = os.readlink(f"/proc/self/fd/{file}")
            else:
                name = os.fsdecode(file)
                if folder is not None:
                    name = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name)
                name = os.path.abspath(name)
            if any(f"{name}{os.sep}".startswith(each) for each in self.folders):
                return name
        return None

    def event(self, kind: str, path: str, before: Callable[[], Any] = lambda: None) -> None:
        """Count one event, and strike if it is the one; ``before`` is done before the strike."""
        with self.lock:
            self.count += 1
            if self.at and self.count == self.at:
                before()
                self.tell(kind, path)
                if self.strike == "power":
                    self.lose()
                if self.strike in ("kill", "power"):
                    os.kill(os.getpid(), signal.SIGKILL)
            elif self.at == 0:
                self.tell(kind, path)
            if 0 < self.at <= self.count:
                if self.strike == "full" and kind in NEED_SPACE:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
                if self.strike == "denied":
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    def tell(self, kind: str, path: str) -> None:
        self.system["write"](self.log, f"{self.count}\t{kind}\t{path}\n".encode())

    def changed(self, path: str, safe: int) -> None:
        """Note that a file has bytes, from ``safe`` on, that are not flushed."""
        with self.lock:
            self.unflushed[path] = min(safe, self.unflushed.get(path, safe))

    def flushed(self, path: str) -> None:
        with self.lock:
            self.unflushed.pop(path, None)

    def renamed(self, path: str, target: str | None) -> None:
        with self.lock:
            safe = self.unflushed.pop(path, None)
            if target is not None:
                self.unflushed.pop(target, None)
                if safe is not None:
                    self.unflushed[target] = safe

    def lose(self) -> None:
        """Lose what was not flushed: cut it off, or (at even numbers) let it be zeros."""
        for path, safe in self.unflushed.items():
            with suppress(OSError):
                size = os.stat(path).st_size
                self.system["truncate"](path, min(safe, size))
                if self.at % 2 == 0:
                    self.system["truncate"](path, size)


class WatchedFile(io.FileIO):
    """A file whose writes are events."""

    watch: Watch
    path: str

    def write(self, data: Any, /) -> int:
        """Write as the system does, after the events "write" and "half"."""
        view = memoryview(data).cast("B")
        self.watch.event("write", self.path)
        end = os.fstat(self.fileno()).st_size
        self.watch.changed(self.path, end if "a" in self.mode else min(end, self.tell()))
        put = super().write
        if len(view) > 1:
            self.watch.event("half", self.path, lambda: put(view[: len(view) // 2]))
        return put(view)

    def truncate(self, size: int | None = None, /) -> int:
        self.watch.event("resize", self.path)
        return super().truncate(size)


def watch(folders: Iterable[Path], at: int, strike: str, log: int) -> Watch:
    """Watch this process from now on, to its end."""
    watched = Watch(folders, at, strike, log)
    for name in ("write", "truncate"):
        watched.system[name] = getattr(os, name)
    watch_open(watched)
    watch_system(watched)
    watch_memory(watched)
    return watched


def watch_open(watched: Watch) -> None:
    """Let every file that is opened for writing be a :class:`WatchedFile`."""
    plain = io.open

    def opened(
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        path = watched.path(file) if WRITING & set(mode) else None
        if path is None:
            return plain(file, mode, buffering, encoding, errors, newline, closefd, opener)
        is_new = not isinstance(file, int) and (not os.path.exists(path) or "w" in mode)
        if is_new:
            watched.event("make", path)
        raw = WatchedFile(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        raw.watch, raw.path = watched, path
        if is_new:
            watched.changed(path, 0)
        if buffering == 0:
            return raw
        buffer: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffer
        return io.TextIOWrapper(buffer, io.text_encoding(encoding), errors, newline)

    io.open = builtins.open = opened


def watch_system(watched: Watch) -> None:
    """Watch what ``os`` does to files."""

    def replace(name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        setattr(os, name, make(getattr(os, name)))

    def on_path(kind: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def make(plain: Callable[..., Any]) -> Callable[..., Any]:
            def call(file: Any, *rest: Any, dir_fd: int | None = None, **more: Any) -> Any:
                path = watched.path(file, dir_fd)
                changes = path is not None and os.path.lexists(path) == (kind in EXISTING)
                if path is not None and changes:
                    watched.event(kind, path)
                if dir_fd is not None:
                    more["dir_fd"] = dir_fd
                return plain(file, *rest, **more)

            return call

        return make

    def on_rename(plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(old: Any, new: Any, **more: Any) -> Any:
            path, target = watched.path(old, more.get("src_dir_fd")), watched.path(new)
            if path is not None or target is not None:
                watched.event("rename", str(target or path))
            result = plain(old, new, **more)
            if path is not None:
                watched.renamed(path, target)
            return result

        return call

    def on_flush(plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(descriptor: Any) -> Any:
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            path = watched.path(number)
            if path is not None:
                watched.event("flush", path)
            result = plain(descriptor)
            if path is not None:
                watched.flushed(path)
            return result

        return call

    def on_write(plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(descriptor: int, data: Any, *rest: Any) -> Any:
            path = watched.path(descriptor)
            if path is not None:
                watched.event("write", path)
                watched.changed(path, rest[0] if rest else os.fstat(descriptor).st_size)
                view = memoryview(data).cast("B")
                half = view[: len(view) // 2]
                watched.event("half", path, lambda: plain(descriptor, half, *rest))
            return plain(descriptor, data, *rest)

        return call

    def on_open(plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, flags: int, *rest: Any, dir_fd: int | None = None, **more: Any) -> Any:
            path = watched.path(file, dir_fd) if flags & os.O_CREAT else None
            if path is not None and not os.path.exists(path):
                watched.event("make", path)
            return plain(file, flags, *rest, dir_fd=dir_fd, **more)

        return call

    for name in ("unlink", "remove", "rmdir"):
        replace(name, on_path("remove"))
    for name in ("truncate", "ftruncate", "posix_fallocate"):
        replace(name, on_path("resize"))
    for name in ("link", "symlink", "mkdir"):
        replace(name, on_path(name if name == "mkdir" else "make"))
    for name in ("rename", "replace"):
        replace(name, on_rename)
    for name in ("fsync", "fdatasync"):
        replace(name, on_flush)
    for name in ("write", "pwrite"):
        replace(name, on_write)
    for name in ("sendfile", "copy_file_range"):
        replace(name, lambda plain: on_copy(watched, plain))
    replace("open", on_open)


def on_copy(watched: Watch, plain: Callable[..., Any]) -> Callable[..., Any]:
    """Watch a copy from one descriptor to another; the target is whichever is below the folders."""

    def call(first: int, second: int, *rest: Any, **more: Any) -> Any:
        path = watched.path(second) or watched.path(first)
        if path is not None:
            watched.event("write", path)
            watched.changed(path, 0)
        return plain(first, second, *rest, **more)

    return call


def watch_memory(watched: Watch) -> None:
    """Watch files that are mapped into memory: all of such a file is unsafe until its flush."""
    plain = mmap.mmap

    class WatchedMemory(plain):  # type: ignore[misc, valid-type]
        path: str | None

        def __new__(cls, descriptor: int, *rest: Any, **more: Any) -> Any:
            made = super().__new__(cls, descriptor, *rest, **more)
            writes = more.get("access", mmap.ACCESS_WRITE) == mmap.ACCESS_WRITE
            made.path = watched.path(descriptor) if descriptor >= 0 and writes else None
            if made.path is not None:
                watched.event("map", made.path)
                watched.changed(made.path, 0)
            return made

        def flush(self, *place: int) -> Any:
            if self.path is not None:
                watched.event("flush", self.path)
            result = super().flush(*place)
            if self.path is not None and not place:
                watched.flushed(self.path)
            return result

    mmap.mmap = WatchedMemory  # type: ignore[assignment, misc]
