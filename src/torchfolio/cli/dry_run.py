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
) -> None:
    """Resolve everything, time a few updates, and print; nothing is written."""
    from torchfolio.cli.progress import describe
    from torchfolio.training.estimate import estimate
    from torchfolio.training.report import duration
    from torchfolio.training.start import make_loop, prepare

    start = prepare(network, data, settings, which=recipe, wanted_task=task)
    found = estimate(make_loop(start))
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
                "seconds": found.seconds,
                "peak_memory_bytes": found.peak_memory,
                "parameters": found.parameters,
            },
        }
    )
    for line in describe(start):
        output.show(line)
    output.show(f"parameters: {found.parameters:,}")
    output.show(
        f"estimate: {duration(found.seconds_an_epoch)} an epoch, {duration(found.seconds)} in all"
        f"{memory(found.peak_memory)}; nothing was written"
    )


def memory(size: int) -> str:
    """Return bytes as a person reads them, or nothing where they are not known."""
    return f", {size / 2**30:.1f} GiB of memory at the peak" if size else ""
