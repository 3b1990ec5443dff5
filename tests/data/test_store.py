import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torchfolio.data import cache, store
from torchfolio.data.store import PictureStore, memory_budget
from torchfolio.errors import RequestError

SIZES = np.array([[2, 3], [4, 1], [2, 2], [1, 5]])


class Maker:
    """Makes a picture of noise for each index, always the same, and counts."""

    def __init__(self, sizes: np.ndarray = SIZES, dtype: torch.dtype = torch.uint8) -> None:
        self.sizes, self.dtype = sizes, dtype
        self.made: list[int] = []

    def picture(self, index: int) -> Tensor:
        draw = torch.Generator().manual_seed(index)
        picture = torch.randint(0, 256, (3, *self.sizes[index].tolist()), generator=draw)
        return picture.to(self.dtype)

    def __call__(self, index: int) -> Tensor:
        self.made.append(index)
        return self.picture(index)

    def store(self, key: str = "a", **more: int) -> PictureStore:
        return PictureStore(self, self.sizes, 3, self.dtype, key, **more)

    def check(self, found: PictureStore, indices: list[int]) -> None:
        for index in indices:
            assert torch.equal(found.get(index), self.picture(index))


def entry(own_cache: Path, key: str = "a") -> Path:
    return own_cache / "pictures" / key


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_each_picture_is_made_once_for_all_processes(dtype: torch.dtype) -> None:
    make = Maker(dtype=dtype)
    make.check(make.store(), [3, 1, 3])
    assert make.made == [3, 1]
    make.check(make.store(), [3, 1, 0])  # as another process would
    assert make.made == [3, 1, 0]


def test_what_was_made_by_anyone_is_not_missing() -> None:
    make = Maker()
    make.check(make.store(), [3, 1])
    found = make.store()
    assert found.missing(np.array([0, 1, 2, 3])).tolist() == [0, 2]
    make.check(found, [2])
    assert found.missing(np.array([2, 0])).tolist() == [0]


def test_what_is_kept_in_memory_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "open_slots", lambda *_: None)
    make = Maker()
    found = make.store(budget=18)  # bytes: the first picture and no other
    make.check(found, [0, 1])
    assert found.missing(np.arange(4)).tolist() == [1, 2, 3]


def test_stores_that_are_open_together_make_each_picture_once() -> None:
    make = Maker()
    first, second = make.store(), make.store()
    make.check(first, [0, 1])
    make.check(second, [1, 0, 2])
    make.check(first, [2])
    assert make.made == [0, 1, 2]


def test_a_slot_that_another_process_has_half_filled_does_not_count(own_cache: Path) -> None:
    make = Maker()
    first, second = make.store(), make.store()
    make.check(first, [0])
    with (entry(own_cache) / "pixels").open("r+b") as file:
        file.write(bytes([make.picture(0).flatten()[0].item() ^ 1]))
    make.check(second, [0])
    assert make.made == [0, 0]


def test_two_that_begin_together_do_not_count_on_the_same_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One has the room; the other sees that it is taken, and keeps its pictures in memory."""
    monkeypatch.setenv("TORCHFOLIO_CACHE_LIMIT", "80")  # an entry is of 30 bytes and two sums
    together = threading.Barrier(2)
    plain = cache.make_room

    def make_room(size: int) -> None:
        plain(size)
        with suppress(threading.BrokenBarrierError):
            together.wait(1)  # where both can be here at once, they are

    monkeypatch.setattr(cache, "make_room", make_room)
    make = Maker(SIZES[:2])
    with ThreadPoolExecutor(2) as pool:
        stores = list(pool.map(make.store, ["a", "b"]))
    assert sorted(each.slots is None for each in stores) == [False, True]
    assert cache.contents()["pictures"] == (1, 46)
    for each in stores:
        make.check(each, [0, 1, 0, 1])
    assert sorted(make.made) == [0, 0, 1, 1]


def test_two_that_begin_with_the_same_pictures_share_their_entry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCHFOLIO_CACHE_LIMIT", "80")
    together = threading.Barrier(2)
    plain = store.make_entry

    def make_entry(*arguments: Any) -> None:
        together.wait(5)  # neither has found one
        plain(*arguments)

    monkeypatch.setattr(store, "make_entry", make_entry)
    make = Maker(SIZES[:2])
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(make.store, ["a", "a"])
    make.check(first, [0, 1])
    make.check(second, [0, 1])
    assert make.made == [0, 1]


def test_the_entry_of_another_user_is_left_alone(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker()
    make.check(make.store(), [0])

    def not_ours(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", not_ours)
        make.check(make.store(), [0, 0])
    assert make.made == [0, 0]
    make.check(make.store(), [0])
    assert make.made == [0, 0]  # what was kept is still there


def test_another_key_is_another_entry() -> None:
    make = Maker()
    make.check(make.store("a"), [0])
    make.check(make.store("b"), [0])
    assert make.made == [0, 0]


def test_a_batch_is_read_from_the_cache_and_belongs_to_the_caller(own_cache: Path) -> None:
    make = Maker(np.full((4, 2), 2))
    for number in range(4):
        if number in (0, 2):
            found = make.store()
        batch = found.batch(np.array([3, 1, 3]))
        assert torch.equal(batch, torch.stack([make.picture(index) for index in (3, 1, 3)]))
        batch.zero_()
    assert make.made == [1, 3]


def test_large_uniform_pictures_are_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SMALL", 10)
    make = Maker(np.full((4, 2), 2))
    found = make.store()
    for _ in range(2):
        batch = found.batch(np.array([2, 0]))
        assert torch.equal(batch, torch.stack([make.picture(2), make.picture(0)]))
    assert (make.made, found.small, found.kept) == ([2, 0], None, {})


@pytest.mark.parametrize("place", [0, 5, 17])
def test_a_damaged_slot_is_made_anew(own_cache: Path, place: int) -> None:
    make = Maker()
    make.check(make.store(), [0, 1])
    with (entry(own_cache) / "pixels").open("r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
    make.check(make.store(), [0, 1])
    assert make.made == [0, 1, 0]
    make.check(make.store(), [0, 1])
    assert make.made == [0, 1, 0]


def test_pixels_without_their_checksum_do_not_count(own_cache: Path) -> None:
    make = Maker()
    make.check(make.store(), [0, 1])
    (entry(own_cache) / "sums").write_bytes(bytes(8 * 4))  # killed between the two
    make.check(make.store(), [0, 1])
    assert make.made == [0, 1, 0, 1]


@pytest.mark.parametrize("name", ["pixels", "sums"])
def test_an_entry_that_was_cut_off_or_lost_a_file_is_made_anew(own_cache: Path, name: str) -> None:
    make = Maker()
    make.check(make.store(), [0])
    path = entry(own_cache) / name
    os.truncate(path, path.stat().st_size - 1)
    make.check(make.store(), [0])
    path.unlink()
    make.check(make.store(), [0])
    make.check(make.store(), [0])
    assert make.made == [0, 0, 0]


def test_removing_the_cache_does_not_disturb_who_reads_it(own_cache: Path) -> None:
    make = Maker()
    found = make.store()
    make.check(found, [0])
    cache.remove(entry(own_cache))
    make.check(found, [0, 1, 0, 1])


def test_without_a_folder_that_can_be_written_memory_serves_up_to_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").write_bytes(b"")
    monkeypatch.setenv("TORCHFOLIO_CACHE", str(tmp_path / "a file"))
    make = Maker()
    found = make.store(budget=3 * (6 + 4))  # the pictures 0 and 2; 1 has as many values as 2
    make.check(found, [0, 2, 1, 0, 2, 1])
    assert make.made == [0, 2, 1, 1]


def test_what_the_cache_has_no_room_for_is_kept_in_memory(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHFOLIO_CACHE_LIMIT", "60")  # 48 may be taken: pictures 0 and 1
    make = Maker()
    make.check(make.store(), [0, 1, 2, 3])
    make.check(make.store(), [0, 1, 2, 3])
    assert make.made == [0, 1, 2, 3, 2, 3]
    assert (entry(own_cache) / "pixels").stat().st_size == 30


def test_a_full_disk_costs_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    make = Maker()
    found = make.store()
    monkeypatch.setattr(store, "write_at", full)
    make.check(found, [0, 0])
    assert make.made == [0]
    monkeypatch.undo()
    make.check(make.store(), [0])


def test_a_picture_that_changed_its_size_is_not_kept() -> None:
    make = Maker()
    found = PictureStore(make, SIZES + 1, 3, torch.uint8, "a")
    make.check(found, [0, 0])
    assert make.made == [0, 0]


def test_threads_do_not_spend_the_budget_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").write_bytes(b"")
    monkeypatch.setenv("TORCHFOLIO_CACHE", str(tmp_path / "a file"))
    together = threading.Barrier(4, timeout=5)

    def make(index: int) -> Tensor:
        together.wait()
        return torch.zeros(3, *SIZES[index].tolist(), dtype=torch.uint8)

    found = PictureStore(make, SIZES, 3, torch.uint8, "a", budget=18)
    threads = [threading.Thread(target=found.get, args=(0,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found.left, list(found.kept)) == (0, [0])


def test_several_threads_fill_one_store() -> None:
    make = Maker(np.full((40, 2), 8))
    found = make.store()
    batches = [np.arange(start, 40, 3) for start in range(3)] * 2
    results: list[Tensor] = [torch.empty(0)] * len(batches)

    def load(number: int) -> None:
        results[number] = found.batch(batches[number])

    threads = [threading.Thread(target=load, args=(number,)) for number in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for batch, result in zip(batches, results, strict=True):
        assert torch.equal(result, torch.stack([make.picture(index) for index in batch.tolist()]))


def test_the_budget_is_a_part_of_this_machines_memory() -> None:
    assert 2**27 <= memory_budget() <= 2**44


def test_a_file_changed_meanwhile_is_not_kept_under_its_old_name() -> None:
    make = Maker()
    changed = True
    found = PictureStore(make, SIZES, 3, torch.uint8, "a", same=lambda _: not changed)
    make.check(found, [0, 0])
    assert make.made == [0, 0]
    changed = False
    make.check(found, [0, 0])
    assert make.made == [0, 0, 0]


def test_a_limit_that_is_no_size_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHFOLIO_CACHE_LIMIT", "abc")
    with pytest.raises(RequestError, match="TORCHFOLIO_CACHE_LIMIT"):
        Maker().store()
