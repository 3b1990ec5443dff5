"""``folio train --dry-run``: what it would do, and what it would cost."""

from typing import Any

from torchfolio.cli.output import Output


def dry_run(
    network: str,
    data: str,
    settings: dict[str, Any],
    recipe: str | None,
    task: str | None,
    output: Output,
    folds: int | None = None,
    repeats: int | None = None,
) -> None:
    """Resolve everything, time a few updates, and print; nothing is written.

    Of folds and repeats the first is timed, and counted as often as there are trainings.
    """
    from torchfolio.cli.progress import describe
    from torchfolio.folds.training import prepare_all
    from torchfolio.training.estimate import estimate
    from torchfolio.training.report import duration
    from torchfolio.training.start import make_loop, prepare

    trainings = 1
    if folds is None and repeats is None:
        start = prepare(network, data, settings, which=recipe, wanted_task=task)
    else:
        start, plan, _ = prepare_all(network, data, folds, repeats, settings, recipe, task)
        trainings = len(plan.trainings)
    found = estimate(make_loop(start))
    seconds = found.seconds * trainings
    output.document(
        {
            "network": start.card.name,
            "data": {
                "path": str(start.dataset.path),
                "reader": start.dataset.reader,
                "examples": len(start.dataset),
                "classes": list(start.dataset.classes),
                "splits": {name: len(each) for name, each in start.splits.indices.items()},
            },
            "decisions": start.lines,
            "recipe": start.recipe.as_toml(),
            "estimate": {
                "seconds_an_epoch": found.seconds_an_epoch,
                "trainings": trainings,
                "seconds": seconds,
                "peak_memory_bytes": found.peak_memory,
                "parameters": found.parameters,
            },
        }
    )
    for line in describe(start):
        output.show(line)
    output.show(f"parameters: {found.parameters:,}")
    each = f"{trainings} trainings of {duration(found.seconds)}, " if trainings > 1 else ""
    output.show(
        f"estimate: {duration(found.seconds_an_epoch)} an epoch, {each}{duration(seconds)} in all"
        f"{memory(found.peak_memory)}; nothing was written"
    )


def memory(size: int) -> str:
    """Return bytes as a person reads them, or nothing where they are not known."""
    return f", {size / 2**30:.1f} GiB of memory at the peak" if size else ""
