import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from torchfolio.data import cache
from torchfolio.errors import FolioError, RequestError


def test_the_folder_is_the_variable_or_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.cache_folder() == Path(os.environ["TORCHFOLIO_CACHE"])
    monkeypatch.delenv("TORCHFOLIO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    monkeypatch.setattr(cache.sys, "platform", "linux")
    assert cache.cache_folder() == Path("/x/torchfolio")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_folder() == Path.home() / ".cache" / "torchfolio"
    monkeypatch.setattr(cache.sys, "platform", "darwin")
    assert cache.cache_folder() == Path.home() / "Library" / "Caches" / "torchfolio"
    monkeypatch.setattr(cache.sys, "platform", "win32")
    assert cache.cache_folder() == Path("/local/torchfolio/cache")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", 10 * 2**30), ("500", 500), ("1k", 1024), ("1.5M", 3 * 2**19), ("20G", 20 * 2**30),
        ("20GB", 20 * 2**30), ("20 GiB", 20 * 2**30), ("1T", 2**40), ("0", 0),
    ],
)  # fmt: skip
def test_the_limit_is_a_size(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("TORCHFOLIO_CACHE_LIMIT", text)
    assert cache.cache_limit() == size


@pytest.mark.parametrize("text", ["much", "-1G", "G", "nan"])
def test_a_limit_that_is_no_size_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TORCHFOLIO_CACHE_LIMIT", text)
    with pytest.raises(RequestError, match="a size such as 500M"):
        cache.cache_limit()


def test_arrays_come_back(own_cache: Path) -> None:
    assert cache.read_arrays("scans", "key") is None
    values = {"a": np.arange(3), "b": np.array([1.5])}
    assert cache.write_arrays("scans", "key", values)
    read = cache.read_arrays("scans", "key")
    assert read is not None
    assert {name: each.tolist() for name, each in read.items()} == {"a": [0, 1, 2], "b": [1.5]}
    (own_cache / "scans" / "key.npz").write_bytes(b"rubbish")
    assert cache.read_arrays("scans", "key") is None


def entry(folder: Path, name: str, size: int, age: float, *, whole_folder: bool = False) -> Path:
    path = folder / "kind" / name
    path.parent.mkdir(exist_ok=True)
    if whole_folder:
        path.mkdir()
        (path / "data").write_bytes(bytes(size))
        (path / cache.SIZE_NOTE).write_text(str(size), encoding="utf-8")
    else:
        path.write_bytes(bytes(size))
    used = time.time() - age
    os.utime(path, (used, used))
    return path


def test_the_least_recently_used_goes_first(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHFOLIO_CACHE_LIMIT", "1000")
    old, newer, new = (entry(own_cache, f"{age}", 300, age) for age in (300, 200, 100))
    cache.make_room(100)
    assert old.exists()
    cache.make_room(101)
    assert (old.exists(), newer.exists(), new.exists()) == (False, True, True)
    cache.make_room(700)
    assert (newer.exists(), new.exists()) == (False, True)


def test_a_folder_in_use_is_spared(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHFOLIO_CACHE_LIMIT", "1000")
    hour, week = 3600, 7 * 24 * 3600
    recent = entry(own_cache, "recent", 600, hour, whole_folder=True)
    forgotten = entry(own_cache, "forgotten", 300, week, whole_folder=True)
    cache.make_room(400)
    assert (recent.exists(), forgotten.exists()) == (True, False)
    with pytest.raises(FolioError, match="Set TORCHFOLIO_CACHE_LIMIT higher"):
        cache.make_room(401)
    assert recent.exists()


def test_unfinished_entries_of_dead_processes_are_removed(own_cache: Path) -> None:
    dead = entry(own_cache, ".dead.part", 10, 2 * 24 * 3600)
    working = entry(own_cache, ".working.part", 10, 60)
    cache.make_room(1)
    assert (dead.exists(), working.exists()) == (False, True)


HOLD = """
import sys
from torchfolio.data import cache
with cache.held():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_waited_for_and_not_for_ever(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LOCK_SECONDS", 0.3)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"held"
        began = time.monotonic()
        with cache.held():
            assert time.monotonic() - began >= 0.3
        process.kill()
    monkeypatch.setattr(cache, "LOCK_SECONDS", 60.0)
    began = time.monotonic()
    with cache.held():  # the system has let go of it
        assert time.monotonic() - began < 30


def test_without_a_lock_that_can_be_written_the_work_goes_on(own_cache: Path) -> None:
    (own_cache / cache.LOCK).mkdir()
    assert cache.write_arrays("scans", "key", {"a": np.arange(3)})
    assert cache.read_arrays("scans", "key") is not None
