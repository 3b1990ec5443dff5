"""The feed: batches loaded ahead in threads, in order, with the time spent waiting counted."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

Item = TypeVar("Item")
Batch = TypeVar("Batch")


class Feed(Generic[Item, Batch]):
    """Calls ``load`` on each item, ``workers`` at a time and ``ahead`` items early.

    Threads suffice: Pillow and numpy let go of the interpreter while they work. With
    ``workers = 0`` everything is loaded in the calling thread. Each worker computes with ``team``
    of torch's threads (:func:`crew`). ``waited`` is the time in seconds for which the caller had
    to wait.
    """

    def __init__(
        self,
        load: Callable[[Item], Batch],
        items: Iterable[Item],
        workers: int = 1,
        team: int = 1,
    ) -> None:
        self.load = load
        self.items = items
        self.workers = workers
        self.team = team
        self.waited = 0.0

    def __iter__(self) -> Iterator[Batch]:
        if self.workers == 0:
            for item in self.items:
                start = time.perf_counter()
                batch = self.load(item)
                self.waited += time.perf_counter() - start
                yield batch
            return
        pool = crew(self.workers, self.team)
        pending: deque[Future[Batch]] = deque()
        try:
            for item in self.items:
                pending.append(pool.submit(self.load, item))
                if len(pending) > self.workers + 1:
                    yield self._next(pending)
            while pending:
                yield self._next(pending)
        finally:
            for future in pending:
                future.cancel()
            pool.shutdown(wait=True)

    def _next(self, pending: "deque[Future[Batch]]") -> Batch:
        start = time.perf_counter()
        batch = pending.popleft().result()
        self.waited += time.perf_counter() - start
        return batch


def crew(workers: int, team: int = 1) -> ThreadPoolExecutor:
    """Return a pool of threads that compute with so many of torch's threads each.

    Unless it is told otherwise, torch gives every thread that computes a team of its own. Where
    all teams together have more threads than there are cores, libgomp puts those that wait to sleep
    at once, and waking them takes longer than a small operation: LeNet-5 trains at half its speed.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="folio-feed")
    together = threading.Barrier(workers + 1)

    def begin() -> None:
        torch.get_num_threads()  # a thread's first question overwrites its number, so it is asked
        torch.set_num_threads(team)
        together.wait()

    own = torch.get_num_threads()
    try:
        for _ in range(workers):
            pool.submit(begin)
    except RuntimeError:  # the system gives no further thread
        together.abort()
        raise
    together.wait()
    torch.set_num_threads(own)  # what a thread sets holds for the matrix products of all
    return pool
