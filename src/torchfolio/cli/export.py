"""``folio export``: a run's network in another format, checked on the run's own data."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.cli.process import quick_imports
from torchfolio.cli.targets import require_writable


def export(
    run: Path,
    *,
    format: Annotated[  # noqa: A002
        Literal["onnx", "torch", "safetensors"],
        Parameter(help="A program for onnxruntime and others, one for torch, or weights alone."),
    ] = "onnx",
    out: Annotated[
        Path | None, Parameter(help="The file; in exports/ of the run unless given.")
    ] = None,
    check: Annotated[
        str | None, Parameter(help="Check on other data with the same classes.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a run's network as one file that takes pictures and gives probabilities.

    It takes uint8 pictures of the run's size in batches of any size; normalisation is inside. The
    file is kept only if it answers as the run does on the run's validation split.

    Example: folio export runs/resnet18-photos-1 --format onnx --out photos.onnx

    Parameters
    ----------
    run
        The run folder.
    """
    if out is not None:
        require_writable(out, "--out")
    with quick_imports():
        from torchfolio.run import Run

    output = Output(json, quiet)
    found = Run(run).export(format, out, check=check, say=output.say)
    output.document(found)
    output.show(
        f"{found['metric']} on {found['examples']:,} {found['split']} examples: "
        f"{found['torch']:.4f} by the run, {found['exported']:.4f} by the file; probabilities "
        f"differ by at most {found['difference']:.1g}"
    )
    if found["rounded"]:
        output.show(
            f"other answers by rounding alone, where two are equally likely: {found['rounded']}"
        )
    size = Path(found["file"]).stat().st_size
    output.show(f"file: {found['file']} ({size / 1e6:,.1f} MB)")
