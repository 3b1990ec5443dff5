"""``folio predict``: answers for files, folders, patterns, or paths on standard input."""

import csv
import glob
import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from torchfolio.cli.flags import flag_parameters, positional_tokens, run_verb, with_flags
from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.cli.process import quick_imports
from torchfolio.cli.targets import require_writable
from torchfolio.errors import RequestError

if TYPE_CHECKING:
    from torchfolio.export.exported import Exported
    from torchfolio.run import Run
    from torchfolio.tasks.rows import Shows

EXPORTED = (".onnx", ".pt2", ".safetensors")
IGNORED = ("thumbs.db", "desktop.ini")
SWITCHES = {"json", "quiet", "help", "h"}


def predict(tokens: list[str]) -> int:
    """Read the request, whose flags are also those of the run's task, and answer."""
    run = next(iter(positional_tokens(tokens, SWITCHES)), None)
    flags = answer_flags(run) if run is not None and tokens != [run] else []
    return run_verb("predict", with_flags(answer, flags), tokens) or 0


def answer_flags(run: str) -> list[inspect.Parameter]:
    """Return the flags of the answers of a run's task, or of an exported file's."""
    if is_exported(run):
        options = exported(run).answers.Options
    else:
        with quick_imports():
            from torchfolio.run import Run
            from torchfolio.tasks.registry import find_task

        options = find_task(Run(run).recipe.task["name"]).AnswerOptions
    return flag_parameters(options, "Answers", defaults=True)


def is_exported(run: str | Path) -> bool:
    """Return whether a path is meant as an exported file."""
    return Path(run).suffix.lower() in EXPORTED and not Path(run).is_dir()


def exported(path: str | Path) -> "Exported":
    """Open an exported file, which needs no torch."""
    with quick_imports():
        from torchfolio.export.exported import Exported

    return Exported(path)


def answer(
    run: Path,
    *inputs: Annotated[str, Parameter(allow_leading_hyphen=True)],  # "-" is standard input
    out: Annotated[
        Path | None, Parameter(help="Write the answers to this CSV or JSON file.")
    ] = None,
    pictures: Annotated[
        Path | None, Parameter(help="Write annotated pictures into this folder.")
    ] = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    json: Json = False,
    quiet: Quiet = False,
    **settings: Any,
) -> int:
    """Answer files, folders, patterns, or (with -) paths on standard input.

    Every input gets a row; one that cannot be read has its error in it, and the status is then 1.
    'folio predict RUN --help' shows the flags that apply to that run.

    Example: folio predict runs/resnet18-photos-1 holiday/ 'more/*.jpg' --out answers.csv

    Parameters
    ----------
    run
        The run folder, or a file of 'folio export' (.onnx, .pt2).
    inputs
        Files, folders (with all that is in them), patterns, or - for paths on standard input.
    """
    require_inputs("predict", run, inputs)
    if out is not None and out.suffix.lower() not in (".csv", ".json"):
        raise RequestError(f"--out is {out}; it should end in .csv or .json.")
    if out is not None:
        require_writable(out, "--out")
    files, unlisted = files_of(inputs)
    output = Output(json, quiet)
    trained, task = opened(run)
    rows = []
    answers = trained.predict(files, device=device, pictures=pictures, **settings)
    for row in chain(answers, map(unlisted_row, unlisted)):
        rows.append(dict(row))  # without what a row carries besides: masks
        if not json and out is None:
            output.show(line(task, row))
    output.document(rows)
    if out is not None:
        write(out, rows, task)
        output.show(f"{len(rows):,} answers in {out}")
    drawn = sum(row.get("picture") is not None for row in rows)
    if pictures is not None:
        output.say(f"{drawn:,} pictures in {pictures}")
    failed = sum(row["error"] is not None for row in rows)
    if failed:
        output.error(f"{failed} of {len(rows)} inputs could not be read; their rows say why.")
    return 1 if failed else 0


def require_inputs(verb: str, run: Path, inputs: Sequence[str]) -> None:
    """Raise where there is no input, or one that is meant as a flag."""
    if not inputs:
        raise RequestError(
            f"{verb} needs an input: a file, a folder, a pattern, or - for standard input."
        )
    for item in inputs:
        if item.startswith("-") and item != "-" and not Path(item).exists():
            raise RequestError(
                f"Unknown option: {item}. 'folio {verb} {run} --help' shows the flags."
            )


def files_of(inputs: Sequence[str]) -> tuple[list[str], list[OSError]]:
    """Return the files that inputs stand for, and the errors of folders that cannot be listed."""
    unlisted: list[OSError] = []
    files = list(expand(inputs, unlisted))
    if not files and not unlisted:
        raise RequestError(f"There is no file in {', '.join(inputs)}.")
    return files, unlisted


def opened(run: Path) -> "tuple[Run | Exported, Shows]":
    """Return what answers, a run or an exported file, and what shows its rows."""
    if is_exported(run):
        file = exported(run)
        return file, file.answers
    with quick_imports():
        from torchfolio.run import Run

    trained = Run(run)
    return trained, trained.load()[0]


def expand(inputs: Sequence[str], unlisted: list[OSError]) -> Iterator[str]:
    """Return the files that inputs stand for; a path that does not exist stays, to fail by name.

    The errors of folders that cannot be listed are put into ``unlisted``.
    """
    for item in inputs:
        if item == "-":
            yield from (text.rstrip("\r\n") for text in sys.stdin if text.strip())
        elif Path(item).is_dir():
            folders = os.walk(item, onerror=unlisted.append)
            paths = [Path(folder, name) for folder, _, names in folders for name in names]
            yield from (str(path) for path in sorted(paths) if wanted(path))
        elif not Path(item).exists() and glob.has_magic(item):
            found = sorted(glob.glob(item, recursive=True))  # noqa: PTH207  # takes absolute patterns
            if not found:
                raise RequestError(f"No file matches {item!r}.")
            yield from (path for path in found if Path(path).is_file())
        else:
            yield item


def unlisted_row(error: OSError) -> dict[str, Any]:
    """Return the row of a folder whose files are not known."""
    reason = f"{error.filename} cannot be listed: {error.strerror}."
    return {
        "input": str(error.filename),
        "prediction": None,
        "probability": None,
        "error": f"{reason} Give yourself the right to read it.",
    }


def wanted(path: Path) -> bool:
    """Return whether a file of a folder is meant: hidden and system files are not."""
    return path.is_file() and not path.name.startswith(".") and path.name.lower() not in IGNORED


def line(task: "Shows", row: dict[str, Any]) -> str:
    """Return one row as the text that a person reads."""
    if row["error"] is not None:
        return f"{row['input']}: error: {row['error']}"
    return f"{row['input']}: {task.line(row)}"


def write(path: Path, rows: list[dict[str, Any]], task: "Shows") -> None:
    """Write the answers as JSON, or as CSV with the columns of the task."""
    import io
    import json as json_module

    from torchfolio.checkpoint import write_text

    if path.suffix.lower() == ".json":
        write_text(path, json_module.dumps(rows, ensure_ascii=False, indent=2) + "\n")
        return
    columns, table = cells(rows, task)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(table)
    write_text(path, text.getvalue())


def cells(rows: list[dict[str, Any]], task: "Shows") -> tuple[list[str], list[dict[str, Any]]]:
    """Return columns and rows of a table; the columns are those of answers, if there is one."""
    from torchfolio.tasks.rows import plain_values

    table = []
    for row in rows:
        found = task.cells(row) if row["error"] is None else plain_values(row)
        table += [
            each | {"input": row["input"], "error": row["error"]}
            for each in (found if isinstance(found, list) else [found])
        ]
    answers = [each for each in table if each["error"] is None] or table
    columns = dict.fromkeys(["input", *(name for each in answers for name in each)])
    return list(columns), table
