"""``folio evaluate``: metrics and report on the held-out split, or on other data."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from torchfolio.cli.check import reader_flags
from torchfolio.cli.flags import positional_tokens, run_verb, with_flags
from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.cli.process import quick_imports

SWITCHES = {"download", "report", "json", "quiet", "help", "h"}


def evaluate(tokens: list[str]) -> None:
    """Read the request, whose flags are also those of the reader of other data, and measure."""
    given = positional_tokens(tokens, SWITCHES)
    flags = reader_flags(given[1], tokens, given[0]) if len(given) > 1 else []
    run_verb("evaluate", with_flags(measure, flags), tokens)


def measure(
    run: Path,
    data: str | None = None,
    *,
    split: Annotated[
        Literal["train", "val", "test"] | None,
        Parameter(help="Which split; test unless given, or all of other data without splits."),
    ] = None,
    reader: Annotated[
        str | None, Parameter(help="The reader of other data; nothing is then as in the run.")
    ] = None,
    on_error: Annotated[
        Literal["skip", "stop"] | None,
        Parameter(help="What unreadable files of other data do; skip unless given."),
    ] = None,
    download: Annotated[
        bool, Parameter(negative="", help="Download other data given by name.")
    ] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    report: Annotated[bool, Parameter(help="Write report.html.")] = True,
    json: Json = False,
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Measure a run on its held-out split, or on other data.

    'folio evaluate RUN DATA --help' shows the flags that apply to those data. Those left out are
    as in the run, where the same reader reads both.

    Example: folio evaluate runs/resnet18-photos-1 more-photos/

    Parameters
    ----------
    run
        The run folder.
    data
        Other data with the same classes; the run's own test split unless given.
    """
    with quick_imports():
        from torchfolio.cli.progress import result_lines
        from torchfolio.run import Run

    output = Output(json, quiet)
    reading = {"reader": reader, "on_error": on_error, "download": download or None} | settings
    result = Run(run).evaluate(
        data,
        split=split,
        device=device,
        report=report,
        say=output.say,
        **{key: value for key, value in reading.items() if value is not None},
    )
    keys = ("task", "metrics", "baseline", "digest", "data", "split", "examples", "folder")
    output.document({"run": str(run)} | {key: result[key] for key in keys})
    for line in result_lines(result):
        output.show(line)
    if report:
        output.show(f"report: {Path(result['folder']) / 'report.html'}")
