"""``folio demo``: the main job on data that come with the installation."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.cli.process import quick_imports


def demo(
    *,
    out: Annotated[
        Path | None, Parameter(help="The run folder; runs/lenet5-digits-<n> unless given.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train LeNet-5 on 1,797 real handwritten digits, evaluate it and write a report.

    Example: folio demo
    """
    with quick_imports():
        from torchfolio.cli.progress import TrainingMonitor, show_result
        from torchfolio.run import train

    output = Output(json, quiet)
    output.say("This is: folio train lenet5 digits")
    monitor = TrainingMonitor(output)
    with monitor:
        run = train("lenet5", "digits", out=out, watcher=monitor)
    show_result(run, output, report=True)
    output.show(f"Try: folio predict {run.path} PICTURE ..., folio evaluate {run.path}, folio list")
