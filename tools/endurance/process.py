"""Commands of ``folio`` in processes of their own, forked from one that has imported everything.

A start of Python and torch takes seconds; a fork takes milliseconds, so that hundreds of kills are
affordable. A fork is a process like any other: it has its own files, threads and signals. The
parent computes nothing and has one thread. Linux only.
"""

import atexit
import json
import mmap
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from tools.endurance.dropout import give_dropout
from tools.endurance.events import watch

# What a training, its evaluation and its report import when they come to it.
MODULES = (
    *("torchfolio.run", "torchfolio.cli.train", "torchfolio.cli.resume", "torchfolio.cli.progress"),
    *(
        "torchfolio.data.readers",
        "torchfolio.tasks.image_classification_report",
        "matplotlib.pyplot",
    ),
    *("torchfolio.tasks.image_classification", "torchfolio.training.report", "captum.attr"),
    "safetensors.torch",
)

STRUCK = -signal.SIGKILL
LONGEST = 300.0  # seconds that one command may take: none of ours takes a tenth of it
PLACE = 64  # bytes of the shared memory that say what a process is at; after them, where it was

# What a process is at while it is in one of these: the last one entered counts.
PLACES = {
    "start": ("torchfolio.run", "prepare"),
    "cache": ("torchfolio.data.store", "Slots.write"),
    "scan": ("torchfolio.data.readers.image_folder", "scan"),
    "resume": ("torchfolio.run", "reopen"),
    "step": ("torchfolio.training.loop", "Loop.run_epoch"),
    "validation": ("torchfolio.training.loop", "Loop.validate"),
    "checkpoint": ("torchfolio.training.recording", "Recorder.write"),
    "evaluation": ("torchfolio.run", "Run.finish"),
}


@dataclass(frozen=True)
class Outcome:
    """How a command ended: exit status (-9: killed), its output, seconds, and where it was."""

    status: int
    out: str
    err: str
    seconds: float
    place: str
    events: list[tuple[str, str]]  # kind and path: all of them, or the one that was struck

    @property
    def result(self) -> dict[str, Any]:
        """The JSON of a command that ended well."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Attack:
    """What is done to a process: a strike at an event, or SIGKILL after so many seconds.

    The seconds are from its start, or from when it first is at ``place``.
    """

    strike: str = "kill"
    at: int = 0
    seconds: float | None = None
    place: str | None = None


def warm(scratch: Path) -> None:
    """Import what a training imports, so that its forks need not, and compute on one thread."""
    import torch
    from PIL import Image

    torch.set_num_threads(1)
    Image.init()
    os.environ["MPLCONFIGDIR"] = str(scratch / "matplotlib")  # else each would list the fonts
    for name in MODULES:
        import_module(name)


def run(
    arguments: list[str],
    scratch: Path,
    folders: Iterable[Path],
    attack: Attack | None = None,
    save_every: int = 3,
    prepare: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run ``folio`` with arguments in a fork, under an attack, and wait for its end.

    ``folders`` are watched; ``save_every``: a training saves whenever it has asked so many times
    whether it is time to (by the clock, tiny trainings would save too seldom to be tested).
    ``prepare`` is called in the fork before anything else.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    paths = {name: scratch / name for name in ("out", "err", "events")}
    for path in paths.values():
        path.write_bytes(b"")
    sys.stdout.flush()
    sys.stderr.flush()
    place = mmap.mmap(-1, PLACE + len(PLACES))
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.setpgid(0, 0)
            become(paths)
            prepare()
            log = os.open(paths["events"], os.O_WRONLY | os.O_APPEND)
            note_places(place)
            save_often(save_every)
            give_dropout()
            by_event = attack is not None and attack.seconds is None
            if attack is None or by_event:
                watch(folders, attack.at if attack else 0, attack.strike if attack else "", log)
            status = folio(arguments)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    ended, hung = None, began + LONGEST
    wanted = attack.place if attack is not None else None
    if wanted is not None:
        ended = await_end(child, hung, lambda: was_at(place, wanted))
    if ended is None:
        seconds = attack.seconds if attack is not None else None
        begun = began if wanted is None else time.monotonic()
        ended = await_end(child, hung if seconds is None else begun + seconds)
    if ended is None:
        os.kill(child, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if time.monotonic() > hung:
            raise TimeoutError(f"folio {' '.join(arguments)} hangs: {paths['err'].read_text()}")
    lines = paths["events"].read_text(encoding="utf-8").splitlines()
    return Outcome(
        ended,
        paths["out"].read_text(encoding="utf-8"),
        paths["err"].read_text(encoding="utf-8"),
        time.monotonic() - began,
        name_at(place),
        [(kind, path) for _, kind, path in (line.split("\t") for line in lines)],
    )


def name_at(memory: mmap.mmap) -> str:
    """Return what a process is at, as it has written into shared memory."""
    return memory[:PLACE].rstrip(b"\0").decode() or "begin"


def was_at(memory: mmap.mmap, place: str) -> bool:
    """Return whether a process has been at a place, however shortly."""
    return bool(memory[PLACE + list(PLACES).index(place)])


def await_end(
    child: int, deadline: float, enough: Callable[[], bool] = lambda: False
) -> int | None:
    """Return the exit status of a process; ``None`` if it still runs then, or it is enough."""
    while not enough():
        done, raw = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(raw)
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(0.001, left))
    return None


def become(paths: dict[str, Path]) -> None:
    """Send this process's output into files; what the parent does at its end is not for us."""
    atexit._clear()
    for number, name in ((1, "out"), (2, "err")):
        target = os.open(paths[name], os.O_WRONLY | os.O_APPEND)
        os.dup2(target, number)
        os.close(target)


def note_places(memory: mmap.mmap) -> None:
    """Write into shared memory what the process is at, whenever that changes."""
    entered: list[str] = []
    lock = threading.Lock()

    def note(change: Callable[[str], None], name: str) -> None:
        with lock:
            change(name)
            memory[:PLACE] = "".join(entered[-1:]).encode().ljust(PLACE, b"\0")
            memory[PLACE + list(PLACES).index(name)] = 1

    def wrapped(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **settings: Any) -> Any:
            note(entered.append, name)
            try:
                return plain(*arguments, **settings)
            finally:
                note(entered.remove, name)

        return call

    for name, (module, path) in PLACES.items():
        holder: Any = import_module(module)
        *outer, last = path.split(".")
        for each in outer:
            holder = getattr(holder, each)
        setattr(holder, last, wrapped(name, getattr(holder, last)))


def save_often(every: int) -> None:
    """Let a training save by count instead of by the clock."""
    from torchfolio.training.recording import Recorder

    asked = count(1)
    Recorder.is_due = lambda *_: next(asked) % every == 0  # type: ignore[method-assign]


def folio(arguments: list[str]) -> int:
    """Run the command in this process and return its exit status."""
    from torchfolio.cli.app import main

    try:
        main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        return 99
    return 0
