import threading
import time

import pytest
import torch

from torchfolio.data.feed import Feed


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_order_is_that_of_the_items(workers: int) -> None:
    def load(number: int) -> int:
        time.sleep(0.003 * (number % 3))  # later items are ready before earlier ones
        return number * number

    assert list(Feed(load, range(20), workers)) == [number * number for number in range(20)]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_nothing_is_loaded_far_ahead(workers: int) -> None:
    loaded = []
    feed = iter(Feed(lambda number: loaded.append(number) or number, range(100), workers))
    assert next(feed) == 0
    time.sleep(0.05)
    assert len(loaded) <= workers + 2
    feed.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_arrives_in_its_place(workers: int) -> None:
    def load(number: int) -> int:
        if number == 3:
            raise ValueError("the fourth")
        return number

    found: list[int] = []
    with pytest.raises(ValueError, match="the fourth"):
        found.extend(Feed(load, range(6), workers))
    assert found == [0, 1, 2]


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    list(Feed(lambda number: number, range(10), 3))
    feed = iter(Feed(lambda number: number, range(10), 3))
    next(feed)
    feed.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_several_items_load_at_once() -> None:
    together = threading.Barrier(3, timeout=5)

    def load(number: int) -> int:
        together.wait()  # breaks unless three are here
        return number

    assert list(Feed(load, range(3), 3)) == [0, 1, 2]


@pytest.mark.parametrize(("workers", "low", "high"), [(0, 0.24, 2.0), (1, 0.04, 0.2)])
def test_waiting_is_counted(workers: int, low: float, high: float) -> None:
    feed = Feed(lambda number: time.sleep(0.05), range(5), workers)
    for _ in feed:
        time.sleep(0.1)  # the caller computes meanwhile
    assert low <= feed.waited < high


def test_a_feed_without_items_is_empty() -> None:
    assert list(Feed(lambda number: number, [], 2)) == []


def test_workers_compute_alone_and_leave_the_caller_its_threads() -> None:
    own = torch.get_num_threads()
    assert set(Feed(lambda _: torch.get_num_threads(), range(8), 2)) == {1}
    assert set(Feed(lambda _: torch.get_num_threads(), range(8), 2, team=2)) == {2}
    assert torch.get_num_threads() == own


def test_the_callers_matrix_products_keep_their_threads() -> None:
    def limits() -> list[str]:
        told = torch.__config__.parallel_info().splitlines()
        return [line for line in told if "max_threads" in line]

    before = limits()
    list(Feed(lambda _: torch.ones(9, 9) @ torch.ones(9, 9), range(8), 2))
    assert limits() == before


def test_a_crew_that_cannot_be_had_leaves_no_thread_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def one_only(self: threading.Thread) -> None:
        if any(each.name.startswith("folio-feed") for each in threading.enumerate()):
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", one_only)
    with pytest.raises(RuntimeError, match="new thread"):
        list(Feed(lambda number: number, range(3), 2))
    deadline = time.monotonic() + 5
    while any(each.name.startswith("folio-feed") for each in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
