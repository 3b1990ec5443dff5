import threading
import time

import pytest

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
