"""``folio compare``: runs side by side, with a paired test."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.cli.process import quick_imports
from torchfolio.cli.targets import require_writable
from torchfolio.errors import RequestError


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
    --folds) by the corrected resampled t-test. Of several labels a picture it is the mean average
    precision, and how often all labels are right.

    Example: folio compare runs/lenet5-digits-1 runs/mlp-digits-1 --out compared.html

    Parameters
    ----------
    runs
        The run folders, or folders of folds and repeats, two or more.
    """
    if out is not None:
        if out.suffix.lower() not in (".html", ".htm"):
            raise RequestError(f"--out is {out}; it should end in .html.")
        require_writable(out, "--out")
    with quick_imports():
        from torchfolio.comparison import page as runs_page
        from torchfolio.folds import comparison_page as folds_page
        from torchfolio.folds.plan import is_folds

    output = Output(json, quiet)
    kind: Any = folds_page if any(map(is_folds, runs)) else runs_page
    found = kind.compare_runs(runs, device=device, speed=speed, say=output.say)
    if out is not None:
        kind.write_page(out, found)
    output.document(found.as_json() | {"page": None if out is None else str(out)})
    header, rows = kind.table_of(found)
    output.table(header, rows, right=range(2, len(header)))
    for line in kind.lines(found):
        output.show(line)
    if out is not None:
        output.show(f"page: {out}")
