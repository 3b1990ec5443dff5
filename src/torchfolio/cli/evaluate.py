"""``folio evaluate``: metrics and report on the held-out split, or on other data."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from torchfolio.cli.output import Json, Output, Quiet


def evaluate(
    run: Path,
    data: str | None = None,
    *,
    split: Annotated[
        Literal["train", "val", "test"] | None,
        Parameter(help="Which split; test unless given, or all of other data without splits."),
    ] = None,
    reader: Annotated[str | None, Parameter(help="The reader of other data.")] = None,
    on_error: Annotated[
        Literal["skip", "stop"], Parameter(help="What unreadable files do.")
    ] = "skip",
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    report: Annotated[bool, Parameter(help="Write report.html.")] = True,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure a run on its held-out split, or on other data.

    Example: folio evaluate runs/resnet18-photos-1 more-photos/

    Parameters
    ----------
    run
        The run folder.
    data
        Other data with the same classes; the run's own test split unless given.
    """
    from torchfolio.cli.progress import result_lines
    from torchfolio.run import Run

    output = Output(json, quiet)
    result = Run(run).evaluate(
        data,
        split=split,
        device=device,
        report=report,
        say=output.say,
        **reading(data, reader, on_error),
    )
    keys = ("task", "metrics", "baseline", "digest", "data", "split", "examples", "folder")
    output.document({"run": str(run)} | {key: result[key] for key in keys})
    for line in result_lines(result):
        output.show(line)
    if report:
        output.show(f"report: {Path(result['folder']) / 'report.html'}")


def reading(data: str | None, reader: str | None, on_error: str) -> dict[str, str | None]:
    """Return how other data are read; the run's own are read as its recipe says."""
    return {} if data is None else {"reader": reader, "on_error": on_error}
