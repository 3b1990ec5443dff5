"""Killed, starved or locked out at one numbered event after another, then gone on with."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tools.endurance.process import STRUCK, Attack
from tools.endurance.trial import Bench, BrokenError, require_struck

# Words of a clear error: what was found and where, and what to do. A traceback has none of them.
CLEAR = ("cannot be written", "cannot be made", "Free some space", "Give yourself the right")


def spread(numbers: Sequence[int], sample: int | None) -> Sequence[int]:
    """Return all numbers, or so many of them, spread over all; of one, that in the middle."""
    if sample is None or sample >= len(numbers):
        return numbers
    last = len(numbers) - 1
    if sample == 1:
        return [numbers[last // 2]]
    return sorted({numbers[round(last * n / (sample - 1))] for n in range(sample)})


def kill_at_each(bench: Bench, strike: str, chosen: Iterable[int]) -> dict[str, Any]:
    """Kill one training at each of these events, resume each, compare; raise at the first wrong."""
    struck: Counter[str] = Counter()
    for number in chosen:
        bench.clear()
        outcome = bench.run(Attack(strike, number))
        if not require_struck(outcome):
            bench.finish(outcome)
            continue
        what = bench.what(outcome.events[-1])
        struck[what] += 1
        try:
            bench.finish()
        except BrokenError as error:
            raise BrokenError(f"{strike} at event {number} ({what}): {error}") from error
    return {"strike": strike, "struck": sum(struck.values()), "same": True, "at": dict(struck)}


def deny_at_each(bench: Bench, strike: str, chosen: Iterable[int]) -> dict[str, Any]:
    """Let the disk be full, or closed, from each of these events on; then mend it and go on.

    Until then the training ends well and right, or with a clear error; after that it ends as the
    one left alone.
    """
    ended: Counter[str] = Counter()
    struck: Counter[str] = Counter()
    for number in chosen:
        bench.clear()
        outcome = bench.run(Attack(strike, number))
        what = bench.what(outcome.events[-1]) if outcome.events else "nothing"
        struck[what] += 1
        where = f"{strike} from event {number} on ({what})"
        try:
            if outcome.status == 0:
                bench.finish(outcome)
                ended["not needed"] += 1
                continue
            require_clear(outcome.status, outcome.err)
            ended["clear error"] += 1
            bench.finish()
        except BrokenError as error:
            raise BrokenError(f"{where}: {error}") from error
    return {"strike": strike, "struck": sum(struck.values()), "ended": dict(ended), "same": True}


def require_clear(status: int, text: str) -> None:
    """Raise unless a command failed as it should: exit 1 or 2 and one line that says what to do."""
    lines = [line for line in text.splitlines() if line.strip()]
    clear = any(word in text for word in CLEAR)
    if status not in (1, 2) or "Traceback" in text or not clear or len(lines) > 3:
        raise BrokenError(f"its error is not clear (exit {status}): {text.strip()}")


def finish_and_report(bench: Bench, sample: int | None) -> dict[str, Any]:
    """Kill a finished training at each event of its evaluation and its report, and resume."""
    import shutil

    kept = bench.folder / "finished"
    shutil.rmtree(kept, ignore_errors=True)
    bench.clear()
    bench.finish(bench.run(Attack(at=0)))
    shutil.copytree(bench.out, kept)
    whole = bench.run(Attack(at=0), report=True)
    bench.finish(whole)
    struck: Counter[str] = Counter()
    for number in spread(range(1, len(whole.events) + 1), sample):
        shutil.rmtree(bench.out)
        shutil.copytree(kept, bench.out)
        outcome = bench.run(Attack("kill", number), report=True)
        if outcome.status != STRUCK:
            raise BrokenError(f"event {number} of resuming a finished run did not come")
        struck[bench.what(outcome.events[-1])] += 1
        bench.finish(bench.run(Attack(at=0), report=True))
        if not (bench.out / "report.html").is_file():
            raise BrokenError(f"event {number}: no report.html")
    return {"strike": "kill", "struck": sum(struck.values()), "same": True, "at": dict(struck)}
