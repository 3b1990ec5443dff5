"""``folio explain``: what the answers to pictures rest on, drawn."""

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.cli.predict import files_of, require_inputs, unlisted_row
from torchfolio.cli.process import quick_imports
from torchfolio.errors import RequestError

if TYPE_CHECKING:
    from torchfolio.tasks.base import Task


def explain(
    run: Path,
    *inputs: Annotated[str, Parameter(allow_leading_hyphen=True)],  # "-" is standard input
    out: Annotated[Path | None, Parameter(help="Write the pictures into this folder.")] = None,
    method: Annotated[
        str | None,
        Parameter(help="grad-cam, rollout or occlusion; the network's own unless given."),
    ] = None,
    label: Annotated[
        str | None,
        Parameter(
            name=("--class", "--label"),
            help="Explain this class or label; of the answer, the likeliest unless given.",
        ),
    ] = None,
    layer: Annotated[
        str | None,
        Parameter(help="The layer of grad-cam; the last convolutional stage unless given."),
    ] = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Draw what the answers to pictures rest on: a picture for each input.

    Convolutional networks are explained by Grad-CAM, vision transformers by attention rollout,
    the others by occlusion, which explains every network.

    Example: folio explain runs/resnet18-photos-1 holiday/ --out explained

    Parameters
    ----------
    run
        The run folder.
    inputs
        Files, folders (with all that is in them), patterns, or - for paths on standard input.
    """
    require_inputs("explain", run, inputs)
    if out is None:
        raise RequestError("explain needs --out FOLDER, where the pictures go.")
    files, unlisted = files_of(inputs)
    with quick_imports():
        from torchfolio.run import Run

    output = Output(json, quiet)
    rows = []
    trained = Run(run)
    found = trained.explain(files, out, method=method, label=label, layer=layer, device=device)
    task, _ = trained.load()
    for row in chain(found, map(unexplained_row, unlisted)):
        rows.append(row)
        output.show(line(task, row))
    output.document(rows)
    failed = sum(row["error"] is not None for row in rows)
    drawn = len(rows) - failed
    output.say(f"{drawn:,} {'picture' if drawn == 1 else 'pictures'} in {out}")
    if failed:
        output.error(f"{failed} of {len(rows)} inputs could not be read; their rows say why.")
    return 1 if failed else 0


def unexplained_row(error: OSError) -> dict[str, Any]:
    """Return the row of a folder whose files are not known."""
    return dict.fromkeys(("method", "layer", "class", "picture")) | unlisted_row(error)


def line(task: "Task", row: dict[str, Any]) -> str:
    """Return one row as the text that a person reads."""
    if row["error"] is not None:
        return f"{row['input']}: error: {row['error']}"
    where = row["method"] if row["layer"] is None else f"{row['method']} at {row['layer']}"
    of = "" if row["class"] in (None, row["prediction"]) else f" of {row['class']}"
    return f"{row['input']}: {task.briefly(row)}; {where}{of}: {row['picture']}"
