"""What a person sees of a training: the decisions, a bar with what matters, and the result."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchfolio.cli.output import Output
from torchfolio.data.folders import counted
from torchfolio.run import Monitor, Run

if TYPE_CHECKING:
    from torchfolio.folds.folder import Folds
    from torchfolio.training.loop import Loop
    from torchfolio.training.start import Start

LINE_SECONDS = 30.0  # between two plain lines where there is no terminal


class TrainingMonitor(Monitor):
    """A progress bar in a terminal, plain lines otherwise."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.bar: Any = None
        self.bar_task: Any = None
        self.metric = ""  # of the last validation
        self.loss: float | None = None
        self.told = 0.0
        self.began = 0.0
        self.first_update: int | None = None
        self.described = False
        self.which = ""  # of several trainings: "fold 2 of 5, "

    def __enter__(self) -> "TrainingMonitor":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_bar()

    def reading(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self.shows_bar() or (now - self.told < 0.2 and done < total):
            return
        self.told = now
        console = self.output.stderr
        console.print(f"reading {done:,} of {total:,} files", end="\r" if done < total else "\n")

    def begins(self, number: int, total: int, name: str) -> None:
        self.stop_bar()
        self.which, self.metric, self.loss, self.first_update = f"{name}, ", "", None, None

    def prepared(self, start: "Start", path: Path) -> None:
        """Print what was decided, and the recipe; of further trainings, their splits."""
        if not self.described:
            for line in describe(start):
                self.output.say(line)
        more = f", {splits_line(start)}" if self.described else ""
        self.output.say(f"{self.which}run: {path}{more}")
        self.described = True
        self.began = time.monotonic()
        if self.shows_bar():
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )

            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(),
                console=self.output.stderr,
                transient=True,
            )
            self.bar_task = self.bar.add_task("training", total=None, figures="")
            self.bar.start()

    def shows_bar(self) -> bool:
        """Return whether there is a terminal to draw in."""
        return not self.output.quiet and self.output.in_terminal

    def stop_bar(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def updated(self, loop: "Loop", loss: float | None) -> None:
        if loss is not None:
            self.loss = loss if self.loss is None else 0.9 * self.loss + 0.1 * loss
        if self.first_update is None:
            self.first_update = loop.progress.update - 1
        now = time.monotonic()
        if self.output.quiet or now - self.told < (0.1 if self.bar else LINE_SECONDS):
            return
        self.told = now
        done, figures = loop.share_done(), self.figures(loop)
        if self.bar is not None:
            total = loop.options.epochs * loop.updates_an_epoch
            if loop.options.minutes is not None:
                total = max(1, round(loop.progress.update / max(done, 1e-6)))
            self.bar.update(
                self.bar_task,
                completed=loop.progress.update,
                total=total,
                description=f"{self.which}epoch {loop.progress.epoch + 1}",
                figures=figures,
            )
        elif now - self.began >= LINE_SECONDS:
            taken = loop.progress.update - self.first_update
            left = (
                (now - self.began)
                / max(1, taken)
                * loop.progress.update
                * (1 - done)
                / max(done, 1e-6)
            )
            self.output.say(f"  {done:.0%} {figures} time left {left / 60:.1f} min")

    def figures(self, loop: "Loop") -> str:
        """Return loss, metric and rate as one short text."""
        progress = loop.progress
        rate = progress.examples / max(1e-9, progress.epoch_seconds)
        loss = "" if self.loss is None else f"loss {self.loss:.4f} "
        metric = self.metric or running_figure(loop)
        return f"{loss}{metric} {rate:,.0f}/s".replace("  ", " ")

    def epoch_ended(self, loop: "Loop", row: dict[str, Any]) -> None:
        shown = [f"epoch {row['epoch']:>3}"]
        for key, label in (("train_loss", "loss"), ("val_loss", "val loss")):
            if key in row:
                shown.append(f"{label} {row[key]:.4f}")
        value = row.get(f"val_{loop.monitor}")
        if value is not None and loop.monitor != "loss":
            self.metric = f"val {loop.monitor} {value:.4f}"
            best = " (best)" if loop.progress.best_epoch == row["epoch"] else ""
            shown.append(f"{self.metric}{best}")
        rates = [f"{rate:.3g}" for key, rate in row.items() if key == "lr" or key.startswith("lr_")]
        shown.append(f"lr {' '.join(rates)}")
        shown.append(f"{row['examples_per_second']:,.0f}/s")
        if row["data_wait"] > 0.1:
            shown.append(f"waited for data {row['data_wait']:.0%}")
        self.output.say("  ".join(shown))
        if line := loop.unmeasured():
            self.output.say(line)

    def say(self, line: str) -> None:
        self.stop_bar()
        self.output.say(line)


def running_figure(loop: "Loop") -> str:
    """Return the first training figure of this epoch that is no loss, so far; "" without one."""
    progress = loop.progress
    for name, (total, count) in progress.sums.items():
        if name not in progress.first_losses:
            return f"train {name} {total / count:.4f}"
    return ""


def describe(start: "Start") -> list[str]:
    """Return what a training will do, line by line: data, decisions, recipe."""
    dataset, recipe = start.dataset, start.recipe
    what = "classes" if dataset.targets is None else "labels"
    lines = [
        f"{start.card.name}: {start.card.paper}, {start.card.year}",
        f"data: {dataset.path}, read by {dataset.reader} (--reader): {len(dataset):,} examples, "
        f"{len(dataset.classes)} {what}",
        *([f"read as: {dataset.reading}"] if dataset.reading else []),
        splits_line(start),
    ]
    if dataset.problems:
        first = dataset.problems[0]
        where = "" if first.path == "." else f"{first.path}: "
        lines.append(
            f"reading met {counted(len(dataset.problems), 'problem')}, the first: {where}"
            f"{first.problem} ('folio check' lists all)"
        )
    lines += [f"- {line}" for line in start.lines]
    table = recipe.as_toml()
    for section in ("task", "training"):
        lines.append(f"{section}: {one_line(table[section])}")
    for part, values in table["optimizer"].items():
        lines.append(f"optimizer of {part}: {one_line(values)}")
    return lines


def splits_line(start: "Start") -> str:
    """Return how many examples each split has."""
    counts = (f"{name} {len(indices):,}" for name, indices in start.splits.indices.items())
    return f"splits: {', '.join(counts)}"


def one_line(values: dict[str, Any]) -> str:
    """Return settings as one line."""
    return ", ".join(
        f"{key} {shown(value)}" for key, value in values.items() if value not in ({}, [])
    )


def shown(value: Any) -> str:
    """Return one value in the shortest form that a person reads."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def show_result(run: "Run | Folds", output: Output, report: bool) -> None:
    """Print the figures of a finished run, or folder of runs, and where its report is."""
    metrics = run.metrics
    keys = ("task", "metrics", "baseline", "digest", "training", "folds")
    output.document({"run": str(run.path)} | {key: metrics[key] for key in keys if key in metrics})
    for line in result_lines(metrics):
        output.show(line)
    if report and result_lines(metrics)[1:]:
        output.show(f"report: {run.path / 'report.html'}")


def result_lines(result: dict[str, Any]) -> list[str]:
    """Return metrics with their intervals, beside the baseline's.

    Of several runs together, also mean and standard deviation of the runs' own. What the task notes
    on them follows.
    """
    what = "all data" if result["split"] == "all" else f"{result['split']} split"
    if not result["examples"]:
        return ["no examples were held out: nothing was measured"]
    lines = [f"{result.get('plan', what)}, {result['examples']:,} examples:"]
    width = max(20, *map(len, result["metrics"]))
    for name, value in result["metrics"].items():
        if value["value"] is None:
            continue
        line = f"  {name:<{width}} {value['value']:.4f}"
        if value.get("low") is not None:
            line += f"  [{value['low']:.4f}, {value['high']:.4f}]"
        if value.get("std") is not None:
            line += f"  runs {value['mean']:.4f} ± {value['std']:.4f}"
        baseline = result["baseline"].get(name)
        if baseline and baseline["value"] is not None:
            line += f"  baseline {baseline['value']:.4f}"
        lines.append(line)
    if len(lines) == 1:
        lines.append("  no figure is defined: there is nothing in these examples to measure by")
    return lines + result.get("details", {}).get("notes", [])
