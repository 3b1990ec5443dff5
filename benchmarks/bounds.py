"""What each workload is to reach, and whether the rounds show it."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.statistics import OURS, Round, Spread, values, verdict

SYMBOLS = {"ratio": "{:.3g}", "difference": "{:.2f} s", "seconds": "{:.3g} s"}


@dataclass(frozen=True)
class Bound:
    """The most that a contestant of ours may take.

    ``over`` are the peers that each round is held against, "fastest" the one of least median that
    reached the accuracy of the workload. ``kind`` is "ratio" (ours over it), "difference" (ours
    less it) or "seconds" (ours alone). ``bf16`` is the bound where ours computed in bf16.
    """

    most: float
    over: tuple[str, ...] = ()
    ours: str = OURS
    kind: str = "ratio"
    quantity: str = "wall"
    bf16: float | None = None


def paired(rounds: Sequence[Round], bound: Bound, peer: str | None) -> list[float]:
    """Return what the bound is about, of each round in which both did the work."""
    found = []
    for each in rounds:
        own = values([each], bound.ours, bound.quantity)
        if bound.kind == "seconds":
            found += own
            continue
        other = values([each], peer or "", bound.quantity)
        if own and other:
            found.append(own[0] / other[0] if bound.kind == "ratio" else own[0] - other[0])
    return found


def reaches(rounds: Sequence[Round], name: str, mark: float) -> bool:
    """Return whether the mean accuracy of a contestant reaches the mark (no: it has none)."""
    found = values(rounds, name, "accuracy")
    return bool(found) and statistics.mean(found) >= mark


def fastest(rounds: Sequence[Round], mark: float | None) -> str | None:
    """Return the peer of the least median time among those whose mean accuracy reaches the mark."""
    medians = {}
    for name in {name for each in rounds for name in each if not name.startswith(OURS)}:
        times = values(rounds, name, "wall")
        if times and (mark is None or reaches(rounds, name, mark)):
            medians[name] = statistics.median(times)
    return min(medians, key=medians.__getitem__) if medians else None


def told(
    rounds: Sequence[Round],
    bounds: Sequence[Bound],
    mark: float | None,
    in_bf16: Sequence[str],
    least_rounds: int,
) -> list[tuple[str, str, str, str, str]]:
    """Return a row for each bound and peer: what, over whom, reached, at most, and the answer.

    Where fewer than ``least_rounds`` rounds have both, there is no answer yet. A bound is not
    reached beside a peer of a better metric, unless a ``mark`` says what accuracy is enough; then
    ours has to reach it. ``in_bf16`` are the contestants that computed in bf16.
    """
    rows = []
    for bound in bounds:
        most = bound.most
        if bound.bf16 is not None and bound.ours in in_bf16:
            most = bound.bf16
        peers: Sequence[str | None] = bound.over or (None,)
        for name in peers:
            peer = fastest(rounds, mark) if name == "fastest" else name
            spread = Spread.of(paired(rounds, bound, peer))
            form = SYMBOLS[bound.kind]
            what = {"wall": "time", "memory": "peak memory"}.get(
                bound.quantity, bound.quantity.replace("_", " ")
            )
            told_median, answer = "not measured", "not measured"
            if spread is not None:
                told_median = form.format(spread.median)
                if spread.count > 1:
                    told_median += f" ({spread.low:.3g} to {spread.high:.3g})"
                answer = "yes" if spread.median <= most else "no"
                if spread.count < least_rounds:
                    answer = f"not yet a result ({spread.count} of {least_rounds} rounds)"
                elif mark is not None and not reaches(rounds, bound.ours, mark):
                    answer = "no: the mark is not reached"
                elif mark is None and verdict(rounds, peer or "", bound.ours).startswith("higher"):
                    answer = f"no: the metric of {peer} is better"
            rows.append(
                (
                    f"{bound.ours}: {what}",
                    (peer or "") + (", the fastest" if name == "fastest" else ""),
                    told_median,
                    form.format(most),
                    answer,
                )
            )
    return rows
