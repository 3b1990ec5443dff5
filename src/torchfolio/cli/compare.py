"""``folio compare``: runs side by side, with a paired test."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.cli.process import quick_imports


def compare(
    *runs: Path,
    out: Annotated[Path | None, Parameter(help="Write a page there: FILE.html.")] = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    speed: Annotated[bool, Parameter(help="Measure the latency of each.")] = True,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare runs that were tested on the same examples.

    Accuracy differs by chance; whether it is more than that is told by a paired bootstrap and
    McNemar's test, adjusted for the number of pairs.

    Example: folio compare runs/lenet5-digits-1 runs/mlp-digits-1 --out compared.html

    Parameters
    ----------
    runs
        The run folders, two or more.
    """
    with quick_imports():
        from torchfolio.comparison import HEADER, cells_of, compare_runs, lines, write_page

    output = Output(json, quiet)
    found = compare_runs(runs, device=device, speed=speed, say=output.say)
    if out is not None:
        write_page(out, found)
    output.document(found.as_json() | {"page": None if out is None else str(out)})
    output.table(HEADER, [cells_of(side) for side in found.sides], right=range(2, len(HEADER)))
    for line in lines(found):
        output.show(line)
    if out is not None:
        output.show(f"page: {out}")
