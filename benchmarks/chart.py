"""A bar chart of medians, with a line from the smallest to the largest value."""

from collections.abc import Mapping

from matplotlib.ticker import MaxNLocator

from benchmarks.statistics import OURS, Spread
from torchfolio.evaluation.figures import standalone
from torchfolio.evaluation.figures.canvas import drawing, width_of
from torchfolio.evaluation.theme import INK, MUTED, SERIES

WIDTH, ROW = 640.0, 24.0  # pixels


def bars(spreads: Mapping[str, Spread], label: str) -> str:
    """Return an SVG file: a bar of seconds for each contestant, ours in another colour.

    ``label`` is what is read aloud.
    """
    left = max(map(width_of, spreads)) + 14
    with drawing(label, WIDTH, ROW * len(spreads) + 46) as canvas:
        axes = canvas.axes(left, 4, WIDTH - left - 76, ROW * len(spreads))
        places = range(len(spreads))
        medians = [each.median for each in spreads.values()]
        colours = [SERIES[1] if name.startswith(OURS) else SERIES[0] for name in spreads]
        axes.barh(places, medians, 0.6, color=colours, linewidth=0)
        lows, highs = zip(*((each.low, each.high) for each in spreads.values()), strict=True)
        axes.hlines(places, lows, highs, color=INK, linewidth=1.5)
        for place, (median, high) in enumerate(zip(medians, highs, strict=True)):
            axes.annotate(
                f"{median:.3g} s",
                (max(median, high), place),
                xytext=(6, 0),
                textcoords="offset points",
                va="center_baseline",
                color=MUTED,
            )
        axes.set_yticks(list(places), list(spreads), color=INK)
        axes.set(xlim=(0, max(highs)), ylim=(len(spreads) - 0.4, -0.6), xlabel="seconds")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
    return standalone(canvas.svg)
