"""``folio compare``: runs side by side, with a paired test."""

from pathlib import Path
from typing import Annotated, Any

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
    McNemar's test, adjusted for the number of pairs; of folders with the same folds (folio train
    --folds) by the corrected resampled t-test.

    Example: folio compare runs/lenet5-digits-1 runs/mlp-digits-1 --out compared.html

    Parameters
    ----------
    runs
        The run folders, or folders of folds and repeats, two or more.
    """
    with quick_imports():
        from torchfolio import comparison
        from torchfolio.folds import comparison_page
        from torchfolio.folds.plan import is_folds

    output = Output(json, quiet)
    kind: Any = comparison_page if any(map(is_folds, runs)) else comparison
    found = kind.compare_runs(runs, device=device, speed=speed, say=output.say)
    if out is not None:
        kind.write_page(out, found)
    output.document(found.as_json() | {"page": None if out is None else str(out)})
    rows = [kind.cells_of(side) for side in found.sides]
    output.table(kind.HEADER, rows, right=range(2, len(kind.HEADER)))
    for line in kind.lines(found):
        output.show(line)
    if out is not None:
        output.show(f"page: {out}")
