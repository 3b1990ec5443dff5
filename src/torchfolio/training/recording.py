"""The run folder while a training goes on: what is saved when, what stops it, and who watches."""

import contextlib
import importlib.util
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from torchfolio.errors import FolioError, RequestError
from torchfolio.training.folder import RunFolder
from torchfolio.training.loop import Loop
from torchfolio.training.processes import Processes
from torchfolio.training.start import Start

# A state is saved after an epoch, and within long ones, but no sooner than so many seconds after
# the last, and never so often that saving takes more than its share of the time.
SAVE_AFTER_EPOCH, SAVE_WITHIN_EPOCH = 1.0, 30.0
SAVE_SHARE = 0.02
ECHO = 2.0  # seconds within which a second Ctrl-C, or an end asked for by torchrun, is the first
# Who asks for a stop: a person, or a machine that is taken away (Slurm, containers, torchrun).
ASKING = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "a request to end (SIGTERM)"}


class Monitor:
    """Who watches a training: prints nothing; the command has one with a progress bar."""

    def reading(self, done: int, total: int) -> None:
        """So many of the data's files are read."""

    def begins(self, number: int, total: int, name: str) -> None:
        """Of several trainings this one follows, counted from 1: "fold 2 of 5"."""

    def prepared(self, start: Start, path: Path) -> None:
        """Everything is decided and the run folder made; the first step follows."""

    def updated(self, loop: Loop, loss: float | None) -> None:
        """One update was taken."""

    def epoch_ended(self, loop: Loop, row: dict[str, Any]) -> None:
        """One epoch ended, with this row of the history."""

    def say(self, line: str) -> None:
        """Something happened."""


class Recorder:
    """Keeps a run folder up to date while the loop runs, and lets it stop at Ctrl-C and SIGTERM."""

    def __init__(
        self, folder: RunFolder, start: Start, monitor: Monitor, world: Processes | None = None
    ) -> None:
        self.folder = folder
        self.world = world or Processes()
        self.monitor = monitor
        self.all_save = self.world.several and start.recipe.training.sharded
        self.board = None
        self.tensorboard = start.recipe.training.tensorboard and self.world.main
        self.stopping = False
        self.asked_at = 0.0  # when it was asked to stop
        self.asked_by = "a request to another process"  # unless this one was asked
        self.saved_at = time.monotonic()
        self.cost = 0.0  # seconds that the last save took
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Recorder":
        if self.tensorboard:
            self.board = open_tensorboard(self.folder.path)
        if threading.current_thread() is threading.main_thread():
            self._previous = {each: signal.signal(each, self._interrupted) for each in ASKING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self.board is not None:
            self.board.close()

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        # A second request does not wait for the update to end; torchrun passes on each that the
        # processes have had from the terminal already.
        echo = self.world.several and time.monotonic() - self.asked_at < ECHO
        if self.stopping and not echo:
            raise KeyboardInterrupt
        if not self.stopping:
            self.asked_by = ASKING[signal.Signals(number)]
        self.stopping, self.asked_at = True, time.monotonic()

    def started(self, loop: Loop) -> None:
        """Save the beginning, so that there always is a good state to go back to."""
        if loop.progress.update == 0:
            self.write(loop)

    def updated(self, loop: Loop, loss: float | None) -> None:
        self.monitor.updated(loop, loss)
        if self.is_due(SAVE_WITHIN_EPOCH):
            self.write(loop)

    def epoch_ended(self, loop: Loop, row: dict[str, Any]) -> None:
        if not self.world.main:
            return
        self.monitor.epoch_ended(loop, row)
        self.folder.log(", ".join(f"{name} {value}" for name, value in row.items()))
        if line := loop.unmeasured():
            self.folder.log(line)
        if self.board is not None:
            for name, value in row.items():
                if isinstance(value, int | float):
                    self.board.add_scalar(name, value, row["epoch"])

    def should_stop(self) -> bool:
        return self.stopping

    def save(self, loop: Loop, *, final: bool) -> None:
        if final or self.is_due(SAVE_AFTER_EPOCH):
            self.write(loop)
        if final:
            states = loop.weights()
            if self.world.main:
                self.folder.write_weights("last", states)

    def is_due(self, seconds: float) -> bool:
        """Return whether the last save is long enough ago (the first process's, for all)."""
        due = time.monotonic() - self.saved_at > max(seconds, self.cost / SAVE_SHARE)
        return self.world.any(due and self.world.main) if self.all_save else due

    def write(self, loop: Loop) -> None:
        """Write best weights first, the state last: an older state leads to the same best again."""
        began = time.monotonic()
        if not (self.world.main or self.all_save):
            return
        state = loop.state_dict()
        if not self.world.main:
            return
        self.write_best(loop)
        self.folder.write_state(state, loop.progress.update)
        self.saved_at = time.monotonic()
        self.cost = self.saved_at - began

    def write_best(self, loop: Loop) -> None:
        """Write the best weights, where they are new, and the history."""
        if loop.best is not None:
            self.folder.write_weights("best", loop.best)
            loop.best = None
        if loop.progress.history:
            self.folder.write_table("history.csv", loop.progress.history)

    def keep_best(self, loop: Loop) -> None:
        """Keep the best weights of a training that failed; its state stays the last good one."""
        with contextlib.suppress(FolioError):
            self.write_best(loop)


def require_tensorboard() -> None:
    """Raise unless TensorBoard is installed: it is an extra."""
    if importlib.util.find_spec("tensorboard") is None:
        raise RequestError(
            "TensorBoard is not installed. Install torchfolio[tensorboard], or leave --tensorboard "
            "out."
        )


def open_tensorboard(path: Path) -> Any:
    """Return a TensorBoard writer into the run."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(path / "tensorboard")
