"""The figures of all runs of a folder together, and how far they are spread."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchfolio.checkpoint import remove_leftovers
from torchfolio.data.dataset import Dataset
from torchfolio.data.records import fingerprint
from torchfolio.folds.plan import Plan, Planned
from torchfolio.run import Run
from torchfolio.tasks.base import HeldOut
from torchfolio.training.folder import RunFolder


def summarise(
    path: Path,
    plan: Plan,
    described: dict[str, Any],
    dataset: Dataset,
    say: Callable[[str], None],
    report: bool,
    device: str | None = None,
) -> None:
    """Measure all runs together; write metrics, predictions and report of the whole.

    Each metric is that of all answers together, with an interval over the examples, and beside it
    the mean and the standard deviation of the runs' own. ``device`` is that of the trainings
    unless given.
    """
    say(f"measuring the {len(plan.trainings)} runs together")
    first = Run(path / plan.trainings[0].name)
    device = device or first.recipe.training.device
    task, _, context = first.ready(device, say, report)
    evaluation = task.pool(held_out(path, plan, device), dataset, context)
    members = [member(path, each) for each in plan.trainings]
    result = {
        "run": path.absolute().name,
        "task": task.name,
        "data": described["data"]["path"],
        "plan": str(plan),
        "split": "test",
        "examples": len(evaluation.predictions),
        "metrics": {
            name: figure | spread(members, name) for name, figure in evaluation.metrics.items()
        },
        "baseline": evaluation.baseline,
        "details": evaluation.details,
        "digest": fingerprint(*(each["digest"] for each in members)),
        "division": described["division"],
        "training": {"seconds": round(sum(each["training"]["seconds"] for each in members), 3)},
        "folds": members,
    }
    folder = RunFolder(path)
    remove_leftovers(path)
    remove_leftovers(path / "predictions", within=True)
    folder.write_predictions("predictions/test", evaluation)
    folder.write_metrics(result)
    if report:
        from torchfolio.folds.page import write_page

        write_page(path, plan, described, evaluation, result)


def held_out(path: Path, plan: Plan, device: str) -> Iterator[HeldOut]:
    """Give each run's network and what it was tested on, one network at a time in memory."""
    for each in plan.trainings:
        run = Run(path / each.name)
        task, parts, _ = run.ready(device, report=False)
        yield HeldOut(task, parts, run.folder.splits()["test"], each.place)


def member(path: Path, planned: Planned) -> dict[str, Any]:
    """Return a run's own figures, what it was trained and tested on, and its seed."""
    run = Run(path / planned.name)
    counts, metrics = run.folder.data()["split"]["counts"], run.metrics
    return {
        "run": planned.name,
        **planned.place,
        "seed": run.recipe.training.seed,
        "train": counts["train"],
        "val": counts["val"],
        "examples": metrics["examples"],
        **{key: metrics[key] for key in ("metrics", "baseline", "digest", "training")},
    }


def spread(members: Sequence[dict[str, Any]], name: str) -> dict[str, float | None]:
    """Return mean and sample standard deviation of a metric over the runs that have it."""
    values = [each["metrics"][name]["value"] for each in members if name in each["metrics"]]
    known = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "std": float(np.std(known, ddof=1)) if len(known) > 1 else None,
    }
