"""The watch: each process learns within seconds that another one failed, or is gone.

A thread of each process tells the others once a second that it lives, over a group of its own. A
process that was killed breaks the connection; a host that vanished lets it time out. The main
thread mostly notices by itself, because the exchange of gradients fails; where it cannot (a GPU
waits for gradients that never come), the process is ended.
"""

import os
import sys
import threading
import time
from datetime import timedelta
from typing import Any

import torch

from torchfolio.errors import FolioError, PeerError

BEAT = 1.0  # seconds between two signs of life
SILENCE = timedelta(seconds=30)  # after which a process counts as gone
GRACE = 15.0  # seconds in which the main thread can end by itself
ADVICE = (
    "What was saved is whole: go on with 'folio resume', with this number of processes or another."
)


class Watch:
    """Signs of life between the processes of a training, from now until :meth:`leave`."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size
        self.state: str | None = None  # None: at work; "": done; else what went wrong here
        self.lost: FolioError | None = None  # what went wrong elsewhere
        self._group: Any = torch.distributed.new_group(backend="gloo", timeout=SILENCE)
        self._woken = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="folio-watch", daemon=True)
        self._thread.start()

    def leave(self, state: str) -> None:
        """Part from the others: done (""), or with what went wrong here."""
        self.state = state
        self._woken.set()
        self._thread.join(SILENCE.total_seconds() + BEAT)

    def blames(self, error: BaseException) -> FolioError | None:
        """Return what went wrong elsewhere, where that caused an error here."""
        if isinstance(error, RuntimeError | KeyboardInterrupt):
            self._over.wait(5 * BEAT)  # the exchange fails a moment before the watch does
            return self.lost
        return None

    def _run(self) -> None:
        states: list[str | None] = [None] * self.size
        while not any(each is not None for each in states):
            self._woken.wait(BEAT)
            try:
                torch.distributed.all_gather_object(states, self.state, group=self._group)
            except (RuntimeError, ValueError):
                self.lost = FolioError(
                    f"Process {self.rank} of {self.size} lost another process of this training: it "
                    f"was killed, or its host cannot be reached. {ADVICE}"
                )
                break
            failed = [rank for rank, each in enumerate(states) if each and rank != self.rank]
            if failed:
                self.lost = PeerError(f"Process {failed[0]} stopped: {states[failed[0]]} {ADVICE}")
        self._over.set()
        if self.lost is not None and self.state is None:
            self._end()

    def _end(self) -> None:
        """End this process if its main thread does not within the grace."""
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline:
            if self.state is not None:
                return
            time.sleep(0.1)
        print(f"error: {self.lost}", file=sys.stderr, flush=True)
        os._exit(1)
