"""The feed: batches loaded ahead in threads, in order, with the time spent waiting counted."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Batch = TypeVar("Batch")


class Feed(Generic[Item, Batch]):
    """Calls ``load`` on each item, ``workers`` at a time and ``ahead`` items early.

    Threads suffice: Pillow and numpy let go of the interpreter while they work. With
    ``workers = 0`` everything is loaded in the calling thread. ``waited`` is the time in
    seconds for which the caller had to wait.
    """

    def __init__(
        self, load: Callable[[Item], Batch], items: Iterable[Item], workers: int = 1
    ) -> None:
        self.load = load
        self.items = items
        self.workers = workers
        self.waited = 0.0

    def __iter__(self) -> Iterator[Batch]:
        if self.workers == 0:
            for item in self.items:
                start = time.perf_counter()
                batch = self.load(item)
                self.waited += time.perf_counter() - start
                yield batch
            return
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="folio-feed")
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
