"""``folio resume``: go on where a training stopped."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from torchfolio.cli.output import Json, Output, Quiet


def resume(
    run: Path,
    *,
    report: Annotated[bool, Parameter(help="Write report.html.")] = True,
    device: Annotated[
        str | None, Parameter(help="Another device than the training began on, or auto.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on where a training stopped; it ends with the same weights as one left alone.

    Example: folio resume runs/lenet5-digits-1

    Parameters
    ----------
    run
        The run folder.
    """
    from torchfolio.cli.progress import TrainingMonitor, show_result
    from torchfolio.run import Run

    output = Output(json, quiet)
    monitor = TrainingMonitor(output)
    with monitor:
        finished = Run(run).resume(watcher=monitor, report=report, device=device)
    show_result(finished, output, report)
