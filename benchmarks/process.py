"""One process, measured from its start to its end: time, CPU time, memory, marks, last words."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MARKS = "TORCHFOLIO_BENCHMARK_MARKS"  # the file that a contestant writes its time marks to
ROOT = Path(__file__).resolve().parent.parent
NOT_INHERITED = ("PYTHONDONTWRITEBYTECODE",)
SAMPLE_SECONDS = 0.25
PROC = Path("/proc")


def mark(name: str) -> None:
    """Note the time of an event, called by a contestant; only the first of each name counts."""
    if MARKS in os.environ:
        with Path(os.environ[MARKS]).open("a", encoding="utf-8") as file:
            file.write(f"{name} {time.time()}\n")


def surroundings(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that finds our modules, with more variables.

    Python may keep its bytecode, as it does for a user: without, every import takes twice as long.
    """
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    inherited = {name: each for name, each in os.environ.items() if name not in NOT_INHERITED}
    return {**inherited, "PYTHONPATH": path, **variables}


def measure(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    limit: float = 3600,
) -> dict[str, Any]:
    """Run a process in a folder of its own and return what it took.

    ``environment`` comes on top of ours; after ``limit`` seconds the process is killed. Keys, where
    a figure is to be had on this system (else ``None``):

    - ``wall``, seconds from start to end; ``cpu``, seconds of user and system time, with those of
      the processes that it started and waited for;
    - ``memory``, the largest resident memory of one of its processes, in bytes; ``anonymous``, the
      same without what is mapped from files; ``memory_all``, of all its processes together, where
      pages that they share count several times;
    - ``first_step``, seconds from start to that mark;
    - ``status``, the exit status; ``output``, the JSON document that it printed last; ``errors``,
      the end of what it printed otherwise.
    """
    marks = folder / "marks"
    given = {**surroundings(environment), MARKS: str(marks)}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began, start = time.time(), time.perf_counter()
        process = subprocess.Popen(
            arguments, stdout=out, stderr=err, stdin=subprocess.DEVNULL, cwd=folder, env=given,
            start_new_session=os.name == "posix",
        )  # fmt: skip
        sampler = Sampler(process, limit)
        sampler.start()
        try:
            cpu, largest = wait(process)
        finally:
            wall = time.perf_counter() - start
            kill(process)  # what it left behind; on Ctrl-C the process itself
            sampler.stop()
        printed, said = (read_back(file) for file in (out, err))
    if sampler.killed:
        said += f"\nkilled after {limit:g} s"
    first = read_marks(marks).get("first_step")
    return {
        "wall": wall,
        "cpu": cpu,
        "memory": max(filter(None, (largest, sampler.memory)), default=None),
        "anonymous": sampler.anonymous or None,
        "memory_all": sampler.memory_all or None,
        "first_step": None if first is None else first - began,
        "status": process.returncode,
        "output": last_document(printed),
        "errors": (said or printed)[-2000:],
    }


def wait(process: "subprocess.Popen[bytes]") -> tuple[float | None, int | None]:
    """Wait for the end; return seconds of CPU time, and bytes of the largest process.

    A process begins as a copy of this one, so that less than this one holds cannot be told.
    """
    if not hasattr(os, "wait4"):
        process.wait()
        return None, None
    import resource

    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    told = usage.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit if told else None


def kill(process: "subprocess.Popen[bytes]") -> None:
    """End a process and all that it started."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()


class Sampler(threading.Thread):
    """Looks at the memory of a process and its children four times a second; keeps the largest."""

    def __init__(self, process: "subprocess.Popen[bytes]", limit: float) -> None:
        super().__init__(daemon=True)
        self.process, self.limit = process, limit
        self.memory = self.anonymous = self.memory_all = 0
        self.killed = False
        self.ended = threading.Event()

    def run(self) -> None:
        deadline = time.monotonic() + self.limit
        while not self.ended.wait(SAMPLE_SECONDS):
            found = [memory_of(pid) for pid in family(self.process.pid)]
            if found:
                self.memory = max(self.memory, max(resident for resident, _ in found))
                self.anonymous = max(self.anonymous, max(private for _, private in found))
                self.memory_all = max(self.memory_all, sum(resident for resident, _ in found))
            if time.monotonic() > deadline:
                self.killed = True
                kill(self.process)
                return

    def stop(self) -> None:
        self.ended.set()
        self.join()


def family(pid: int) -> list[int]:
    """Return a process and all its descendants, as far as /proc tells."""
    found = [pid]
    for each in found:
        for task in PROC.glob(f"{each}/task/*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in task.read_text(encoding="ascii").split()]
    return found


def memory_of(pid: int) -> tuple[int, int]:
    """Return a process's resident and its anonymous memory in bytes; zeros where unknown."""
    try:
        lines = (PROC / str(pid) / "status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0, 0
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    resident, private = (
        int(fields.get(name, "0 kB").split()[0]) * 1024 for name in ("VmRSS", "RssAnon")
    )
    return resident, private


def read_marks(path: Path) -> dict[str, float]:
    """Return the time of each mark, the first of its name."""
    marks: dict[str, float] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, moment = line.partition(" ")
            marks.setdefault(name, float(moment))
    return marks


def read_back(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode("utf-8", "replace"))


def last_document(text: str) -> Any:
    """Return the JSON object or list that is all of a text, or its last line that is one."""
    for candidate in (text, *reversed(text.splitlines())):
        with contextlib.suppress(json.JSONDecodeError):
            document = json.loads(candidate)
            if isinstance(document, dict | list):
                return document
    return None
