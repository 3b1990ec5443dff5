"""Curves: learning, ROC, precision against recall, calibration."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import NDArray

from torchfolio.evaluation.calibration import ReliabilityBin
from torchfolio.evaluation.figures.canvas import Canvas, drawing, shorten, width_of
from torchfolio.evaluation.ranking import Curve
from torchfolio.evaluation.theme import INK, MUTED, RULE, SERIES

WIDTH, LEFT = 440.0, 52.0
FEW = 6  # classes that have a line each
STRETCHES = 300  # of a learning curve that has more epochs than can be told apart
DECADES = 30.0  # largest over smallest value from which a loss is drawn on a logarithmic scale


def learning_curve(
    series: Mapping[str, Sequence[float | None]],
    *,
    ylabel: str,
    best: int | None = None,
    logarithmic: bool | None = None,
) -> str:
    """Draw a value an epoch, one line a series ("training", "validation").

    The first entry is epoch 1; ``None`` and not-a-number leave a gap. ``best`` is the epoch whose
    weights were kept, marked on the last series. The scale is logarithmic if asked for, and by
    default where positive values span a factor of 30 or more.
    """
    columns = {name: np.array(values, np.float64) for name, values in series.items()}
    every = np.concatenate([np.zeros(0), *columns.values()])
    every = every[np.isfinite(every)]
    if logarithmic is None:
        logarithmic = bool(len(every) and every.min() > 0 and every.max() > DECADES * every.min())
    ends = {
        name: values[np.isfinite(values)][[0, -1]]
        for name, values in columns.items()
        if np.isfinite(values).any()
    }
    told = [f"{name} from {first:.4g} to {last:.4g}" for name, (first, last) in ends.items()]
    label = f"{ylabel} by epoch: " + (", ".join(told) or "no values")
    with drawing(label, WIDTH, 270) as canvas:
        axes = canvas.axes(LEFT, 34, WIDTH - LEFT - 14, 200)
        colours = _colours(columns)
        for name, values in columns.items():
            alone = "o" if np.isfinite(values).sum() < 3 else ""
            epochs = _envelope(values)
            axes.plot(epochs + 1, values[epochs], color=colours[name], linewidth=2, marker=alone)
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter("")
            axes.tick_params(which="minor", length=0)
        _mark_best(axes, columns, colours, best)
        axes.xaxis.set_major_locator(
            MaxNLocator(7, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
        )
        axes.set_xlim(left=max(0.5, axes.get_xlim()[0]))
        axes.set_xlabel("epoch")
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
        canvas.text(0, 12, ylabel, color=MUTED)
        beside = LEFT + max(90, width_of(ylabel) - LEFT + 24)
        canvas.legend([(name, colours[name]) for name in columns], beside, 12)
    return canvas.svg


def _colours(names: Mapping[str, object]) -> dict[str, str]:
    """Give training vermilion and validation blue in every figure, others what is left."""
    fixed = {"training": SERIES[1], "validation": SERIES[0]}
    others = iter([colour for colour in SERIES if colour not in fixed.values()] * len(names))
    return {name: fixed.get(name) or next(others) for name in names}


def _envelope(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the indices to draw: all, or of very many the least and largest of each stretch."""
    if len(values) <= 2 * STRETCHES:
        return np.arange(len(values))
    kept = {0, len(values) - 1}
    for stretch in np.array_split(np.arange(len(values)), STRETCHES):
        if np.isfinite(values[stretch]).any():
            low, high = np.nanargmin(values[stretch]), np.nanargmax(values[stretch])
            kept |= {int(stretch[low]), int(stretch[high])}
    return np.array(sorted(kept))


def _mark_best(
    axes: Axes,
    columns: Mapping[str, NDArray[np.float64]],
    colours: Mapping[str, str],
    best: int | None,
) -> None:
    """Draw a hairline at the best epoch and a ring on the last series."""
    last = list(columns)[-1] if columns else ""
    if best is None or not last or not 1 <= best <= len(columns[last]):
        return
    axes.axvline(best, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
    axes.plot([best], [columns[last][best - 1]], "o", color=colours[last], markersize=6)
    right = best > 0.6 * len(columns[last])
    values = [each[best - 1] for each in columns.values() if len(each) >= best]
    points = [(best, each) for each in values if np.isfinite(each)] or [(best, 0.0)]
    places = axes.transAxes.inverted().transform(axes.transData.transform(points))[:, 1]
    axes.annotate(
        f"best: epoch {best}",
        (best, 0.04 if places.min() > 1 - places.max() else 0.96),
        xycoords=("data", "axes fraction"),
        xytext=(-5 if right else 5, 0),
        va="center_baseline",
        textcoords="offset points",
        ha="right" if right else "left",
        color=MUTED,
    )


def roc_curves(
    curves: Sequence[Curve | None], classes: Sequence[str], *, what: str = "classes"
) -> str:
    """Draw true against false positives, one class against the rest.

    Up to six classes have a line each (two classes mirror each other: only the second is drawn);
    of more the mean is drawn over the range of all, and the three of least area beside it.
    ``what`` they are may be something else than classes: labels mirror nothing.
    """
    axes = "false positive rate", "true positive rate"
    return _by_class(curves, classes, *axes, chance=True, what=what)


def precision_recall_curves(
    curves: Sequence[Curve | None], classes: Sequence[str], *, what: str = "classes"
) -> str:
    """Draw precision against recall, one class against the rest, in the manner of the ROC."""
    return _by_class(curves, classes, "recall", "precision", chance=False, what=what)


def _by_class(
    curves: Sequence[Curve | None],
    classes: Sequence[str],
    x: str,
    y: str,
    *,
    chance: bool,
    what: str,
) -> str:
    known = [(curve, name) for curve, name in zip(curves, classes, strict=True) if curve]
    if chance and len(known) == 2 == len(curves) and what == "classes":
        known = known[1:]
    few = len(known) <= FEW
    shown = known if few else sorted(known, key=lambda pair: pair[0].area)[:3]
    mean = float(np.mean([curve.area for curve, _ in known])) if known else float("nan")
    entries = [
        (f"{shorten(name, 110)} · {curve.area:.3f}", colour)
        for (curve, name), colour in zip(shown, SERIES if few else SERIES[1:], strict=False)
    ]
    if not few:
        entries.insert(0, (f"mean of {len(known)} {what} · {mean:.3f}", SERIES[0]))
    label = f"{y} against {x}; " + (f"area: {mean:.3f} on average" if known else "no curve")
    with drawing(label, WIDTH, 330 + 16 * ((len(entries) + 1) // 2)) as canvas:
        top = 6.0
        axes = canvas.axes(LEFT, top, 360, 280)
        if chance:
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
        if not few:
            _band(axes, [curve for curve, _ in known])
        for (curve, _), (_, colour) in zip(shown, entries[-len(shown) :], strict=True):
            steps = "default" if chance else "steps-pre"
            axes.plot(curve.x, curve.y, color=colour, linewidth=2 if few else 1.3, drawstyle=steps)
        _unit_square(axes, x, y)
        _two_columns(canvas, entries, top + 326)
    return canvas.svg


def _two_columns(canvas: Canvas, entries: Sequence[tuple[str, str]], top: float) -> None:
    for number, entry in enumerate(entries):
        canvas.legend([entry], LEFT + 195 * (number % 2), top + 16 * (number // 2))


def _band(axes: Axes, curves: Sequence[Curve]) -> None:
    """Draw the mean of many curves, and the range that holds eight in ten of them."""
    grid = np.linspace(0, 1, 101)
    table = np.array([np.interp(grid, curve.x, curve.y) for curve in curves])
    low, high = np.percentile(table, [10, 90], axis=0)
    axes.fill_between(grid, low, high, color=SERIES[0], alpha=0.18, linewidth=0)
    axes.plot(grid, table.mean(0), color=SERIES[0], linewidth=2.2)


def _unit_square(axes: Axes, x: str, y: str) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.005), xlabel=x, ylabel=y)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.grid()


def reliability_diagram(
    bins: Sequence[ReliabilityBin],
    *,
    measured: str = "accuracy",
    given: str = "confidence",
    right: str = "right",
) -> str:
    """Draw accuracy by confidence over how often each confidence was given.

    A calibrated network's bars reach the diagonal; the part of a bar that is missing or too much
    is outlined. The words are what is ``measured``, what was ``given``, and what a bar shows.
    """
    filled = [each for each in bins if each.count]
    total = sum(each.count for each in filled)
    gap = sum(each.count * abs(each.accuracy - each.confidence) for each in filled) / max(1, total)
    label = f"{measured} by {given} in {len(bins)} bins; mean distance {gap:.3f}"
    with drawing(label, WIDTH, 374) as canvas:
        axes = canvas.axes(LEFT, 24, 360, 220)
        width = 1 / max(1, len(bins))
        middles = [(each.low + each.high) / 2 for each in filled]
        accuracies = [each.accuracy for each in filled]
        confidences = [each.confidence for each in filled]
        axes.bar(middles, accuracies, 0.86 * width, color=SERIES[0], alpha=0.8, linewidth=0)
        gaps = np.subtract(confidences, accuracies)
        axes.bar(
            *(middles, gaps, 0.86 * width, accuracies),
            facecolor="none",
            edgecolor=SERIES[1],
            linewidth=1.2,
        )
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
        _unit_square(axes, "", measured)
        axes.tick_params(labelbottom=False)
        below = canvas.axes(LEFT, 258, 360, 80)
        shares = [each.count / total for each in filled]
        below.bar(middles, shares, 0.86 * width, color=MUTED, alpha=0.55, linewidth=0)
        below.set(xlim=(0, 1), xlabel=given, ylabel="answers")
        below.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        below.yaxis.set_major_locator(MaxNLocator(2))
        below.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        below.grid(axis="y")
        canvas.legend([(right, SERIES[0]), (f"distance to {given}", SERIES[1])], LEFT, 10)
        axes.spines["bottom"].set_color(RULE)
        axes.yaxis.label.set_color(INK if not filled else MUTED)
    return canvas.svg
