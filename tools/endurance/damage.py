"""Files of a run cut off, or ended with zeros: the good state before, or a clear error."""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.endurance.process import Attack
from tools.endurance.trial import Bench, BrokenError

# A clear error names the file and says what can be done.
CLEAR = ("Restore it", "Restore that file", "start again", "train again", "go on from the state")
# What nothing goes on from: written for people, or written anew from the state.
UNREAD = ("log.txt", "history.csv", "metrics.json", "lock")
UNREAD_FOLDERS = ("predictions", "figures")


def damage_each_file(bench: Bench, at: int, tenths: Sequence[int] = range(10)) -> dict[str, Any]:
    """Kill a training at an event, damage each of its files in turn, and resume.

    It ends as the one left alone, or with an error that names the file; and once the file is put
    back it ends as the one left alone.
    """
    bench.clear()
    if bench.run(Attack("kill", at)).status == 0:
        raise BrokenError(f"the training ended before event {at}")
    kept = bench.folder / "killed"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(bench.out, kept)
    ended: dict[str, Counter[str]] = {}
    for path in sorted(each for each in kept.rglob("*") if each.is_file()):
        name = path.relative_to(kept)
        if name.name in UNREAD or name.parts[0] in UNREAD_FOLDERS or name.name.endswith(".part"):
            continue
        for what, content in damaged(path.read_bytes(), tenths):
            shutil.rmtree(bench.out)
            shutil.copytree(kept, bench.out)
            (bench.out / name).write_bytes(content)
            how = resumed(bench, name, what)
            ended.setdefault(name.as_posix(), Counter())[how] += 1
    cases = sum(sum(each.values()) for each in ended.values())
    return {"cases": cases, "ended": {name: dict(each) for name, each in ended.items()}}


def damaged(content: bytes, tenths: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """Give a file's content cut at each tenth of its length, and with zeros from there on."""
    for tenth in tenths:
        kept = content[: len(content) * tenth // 10]
        yield f"cut at {tenth}/10", kept
        if len(kept) < len(content):
            yield f"zeros from {tenth}/10", kept.ljust(len(content), b"\0")


def resumed(bench: Bench, name: Path, what: str) -> str:
    """Resume a run with a damaged file; return how it ended, or raise if it is broken."""
    outcome = bench.run(Attack(at=0))
    try:
        if outcome.status == 0:
            bench.finish(outcome)
            return "the same weights"
        text = outcome.err
        if outcome.status != 1 or "Traceback" in text or not any(each in text for each in CLEAR):
            raise BrokenError(f"its error is not clear (exit {outcome.status}): {text.strip()}")
        if name.name not in text and name.name != "data.json":
            raise BrokenError(f"its error does not name the file: {text.strip()}")
    except BrokenError as error:
        raise BrokenError(f"{name}, {what}: {error}") from error
    return "a clear error"


def both_states_damaged(bench: Bench, at: int) -> dict[str, Any]:
    """Cut both saved states: the error says that the weights may be whole."""
    bench.clear()
    bench.run(Attack("kill", at))
    states = sorted((bench.out / "state").glob("update-*"))
    for path in states:
        path.write_bytes(path.read_bytes()[:-1])
    outcome = bench.run(Attack(at=0))
    if outcome.status != 1 or "Every saved state" not in outcome.err:
        raise BrokenError(f"both states cut, and yet: {outcome.err.strip() or 'it goes on'}")
    return {"states": len(states), "ended": "a clear error"}
