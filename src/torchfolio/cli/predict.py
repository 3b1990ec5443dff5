"""``folio predict``: answers for files, folders, patterns, or paths on standard input."""

import csv
import glob
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.errors import RequestError

IGNORED = ("thumbs.db", "desktop.ini")


def predict(
    run: Path,
    *inputs: Annotated[str, Parameter(allow_leading_hyphen=True)],  # "-" is standard input
    out: Annotated[
        Path | None, Parameter(help="Write the answers to this CSV or JSON file.")
    ] = None,
    pictures: Annotated[
        Path | None, Parameter(help="Write annotated pictures into this folder.")
    ] = None,
    top: Annotated[int, Parameter(help="How many classes to name, with probabilities.")] = 3,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Answer files, folders, patterns, or (with -) paths on standard input.

    Every input gets a row; one that cannot be read has its error in it, and the status is then 1.

    Example: folio predict runs/resnet18-photos-1 holiday/ 'more/*.jpg' --out answers.csv

    Parameters
    ----------
    run
        The run folder.
    inputs
        Files, folders (with all that is in them), patterns, or - for paths on standard input.
    """
    if not inputs:
        raise RequestError(
            "predict needs an input: a file, a folder, a pattern, or - for standard input."
        )
    if "" in inputs:
        raise RequestError("An input is empty: an unset variable, perhaps. Name a file or folder.")
    for item in inputs:
        if item.startswith("-") and item != "-" and not Path(item).exists():
            raise RequestError(f"Unknown option: {item}. 'folio predict --help' shows the flags.")
    if top < 1:
        raise RequestError(f"--top is {top}; it should be 1 or more.")
    if out is not None and out.suffix.lower() not in (".csv", ".json"):
        raise RequestError(f"--out is {out}; it should end in .csv or .json.")
    files = list(expand(inputs))
    if not files:
        raise RequestError(f"There is no file in {', '.join(inputs)}.")
    from torchfolio.run import Run

    output = Output(json, quiet)
    rows = []
    failed = 0
    for row in Run(run).predict(files, device=device, pictures=pictures):
        row = row | {"top": row.get("top", [])[:top]}
        rows.append(row)
        failed += row["error"] is not None
        if not json and out is None:
            output.show(line(row))
    output.document(rows)
    if out is not None:
        write(out, rows, top)
        output.show(f"{len(rows):,} answers in {out}")
    if pictures is not None:
        output.say(f"pictures in {pictures}")
    if failed:
        output.error(f"{failed} of {len(rows)} inputs could not be read; their rows say why.")
    return 1 if failed else 0


def expand(inputs: Sequence[str]) -> Iterator[str]:
    """Return the files that inputs stand for; a path that does not exist stays, to fail by name."""
    for item in inputs:
        if item == "-":
            yield from (text.rstrip("\r\n") for text in sys.stdin if text.strip())
        elif Path(item).is_dir():
            yield from (str(path) for path in sorted(Path(item).rglob("*")) if wanted(path))
        elif not Path(item).exists() and glob.has_magic(item):
            found = sorted(glob.glob(item, recursive=True))  # noqa: PTH207  # takes absolute patterns
            if not found:
                raise RequestError(f"No file matches {item!r}.")
            yield from (path for path in found if Path(path).is_file())
        else:
            yield item


def wanted(path: Path) -> bool:
    """Return whether a file of a folder is meant: hidden and system files are not."""
    return path.is_file() and not path.name.startswith(".") and path.name.lower() not in IGNORED


def line(row: dict[str, Any]) -> str:
    """Return one answer as a line."""
    if row["error"] is not None:
        return f"{row['input']}: error: {row['error']}"
    answers = ", ".join(f"{each['class']} {each['probability']:.1%}" for each in row["top"])
    return f"{row['input']}: {answers or row['prediction']}"


def write(path: Path, rows: list[dict[str, Any]], top: int) -> None:
    """Write the answers as JSON, or as CSV with one pair of columns for each further class."""
    import io
    import json as json_module

    from torchfolio.checkpoint import write_text

    if path.suffix.lower() == ".json":
        write_text(path, json_module.dumps(rows, ensure_ascii=False, indent=2) + "\n")
        return
    columns = ["input", "prediction", "probability", "error"]
    extra = [f"{kind}_{place}" for place in range(1, top + 1) for kind in ("class", "probability")]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns + extra, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        places = {
            f"{kind}_{place}": each[kind]
            for place, each in enumerate(row["top"], 1)
            for kind in ("class", "probability")
        }
        writer.writerow(row | places)
    write_text(path, text.getvalue())
