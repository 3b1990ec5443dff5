"""``folio resume``: go on where a training stopped."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.cli.process import quick_imports


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

    Of a folder of folds and repeats, what is finished is kept, and the rest is trained. A finished
    run is measured again, and so is an ensemble.

    Example: folio resume runs/lenet5-digits-1

    Parameters
    ----------
    run
        The run folder, or the folder of folds and repeats.
    """
    with quick_imports():
        from torchfolio.cli.progress import TrainingMonitor, show_result
        from torchfolio.folds.folder import Folds
        from torchfolio.folds.plan import is_folds
        from torchfolio.run import Run
    from torchfolio.training.processes import is_main

    output = Output(json, quiet or not is_main())
    monitor = TrainingMonitor(output)
    with monitor:
        begun: Folds | Run = Folds(run) if is_folds(run) else Run(run)
        finished = begun.resume(watcher=monitor, report=report, device=device)
    if is_main():
        show_result(finished, output, report)
