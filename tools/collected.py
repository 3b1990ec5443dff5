"""Grade implementations from elsewhere: of libraries, and of files that somebody has fetched.

    python -m tools.grading collected [WORD ...] [--missing] [--folder DIR]

What is graded stands in ``tools/collected.toml``, or in ``DIR/collected.toml`` for a folder of
others' files; a word chooses those that have it. An entry says whose it is (``of``), which
``module`` or ``file`` of the folder makes it by which expression (``make``), the network that it
is laid beside (``as``), and, where it is another function, what must be named: the first ``layer``
that differs and the ``causes``, read off the code by a person. ``repository``, ``commit`` and
``path`` say where a file is from. Each runs in a process of its own, with your rights. What was
found goes to ``docs/results/collected.json``, others' code nowhere; of a folder's files with what
should have been, as their list is not kept. What fails, or takes too long, has a row too. Several
calls add up.
"""

import argparse
import contextlib
import importlib
import importlib.util
import io
import json
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tools import rows as kept
from tools.origin import here, in_words
from tools.rows import Row
from torchfolio.networks.catalogue import find_card

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_suffix(".toml")
RESULTS = ROOT / "docs" / "results" / "collected.json"
LIMIT = 900.0  # seconds for one implementation

INTRODUCTION = """\
## Implementations from elsewhere

Networks as others wrote them, under their own names: those of libraries, in the versions given, and
those of files, by repository, commit and path. Some are the network that they are laid beside, and
must pass; some are not, though they are taken for it. Which layer differs first in those, and why,
was read off their code before: *layer* and *cause* are right where just that is named. What is
graded stands here, found or not.
"""
COLUMNS = ("of", "made by", "as", "layer", "", "cause", "", "s")


def entries(folder: Path | None = None) -> list[Row]:
    """Return what is to be graded, of the libraries or of a folder's files."""
    file = LIST if folder is None else folder / LIST.name
    found: list[Row] = tomllib.loads(file.read_text(encoding="utf-8"))["implementation"]
    return found


def made(entry: Row, folder: Path | None) -> Any:
    """Return the module of an entry; this runs the code of others."""
    if "file" in entry:
        assert folder is not None
        file = folder / entry["file"]
        sys.path.append(str(file.parent.absolute()))  # for files that it imports
        name = f"collected_{file.stem}"  # torch.py, say, is not to stand for torch
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(entry["module"])
    return eval(entry["make"], {}, Names(module))


class Names(dict[str, Any]):
    """What a module has by its names, those too that it makes when they are asked for."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def __missing__(self, name: str) -> Any:
        try:
            return getattr(self.module, name)
        except AttributeError as error:
            raise KeyError(name) from error  # it may be Python's own


def graded(entry: Row, folder: Path | None) -> Row:
    """Grade one entry, in this process."""
    from torchfolio.verification.grading import grade

    began = time.perf_counter()
    found = grade(made(entry, folder), entry["as"])
    return about(entry) | {
        "passed": found.passed,
        "layer": found.layer,
        "side": found.side,
        "causes": found.causes,
        "cause": found.cause,
        "explained": found.explained,
        "seconds": round(time.perf_counter() - began, 1),
    }


def about(entry: Row) -> Row:
    """Return what a row has of its entry, and of where it is made."""
    source = entry["module"].partition(".")[0] if "module" in entry else ""
    row = {
        **{key: entry[key] for key in ("of", "make", "as")},
        "source": f"{source} {version(source.replace('_', '-'))}" if source else place(entry),
        **here(),
    }
    return row if source else row | should(entry)


def should(entry: Row) -> Row:
    """Return what an entry should be found to be."""
    return {
        "right": "layer" not in entry,
        "expected_layer": entry.get("layer", ""),
        "expected_causes": entry.get("causes", []),
        "why": entry.get("why", ""),
    }


def place(entry: Row) -> str:
    """Return where a file is from."""
    return " ".join(entry[key] for key in ("repository", "commit", "path") if key in entry)


def apart(number: int, folder: Path | None) -> Row:
    """Grade an entry in a process of its own; what fails there has a row that says so."""
    command = [sys.executable, "-m", "tools.collected", str(number)]
    command += [str(folder)] if folder is not None else []
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=LIMIT,
            cwd=ROOT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        error = f"it takes more than {LIMIT:g} s"
    else:
        if not done.returncode:
            row: Row = json.loads(done.stdout.rpartition("\n\0")[2])
            return row
        print(done.stderr[-2000:], file=sys.stderr)
        lines = done.stderr.strip().splitlines() or [f"it ends with {done.returncode}"]
        error = lines[-1]
    return about(entries(folder)[number]) | {
        "passed": False,
        "layer": "",
        "side": "error",
        "causes": [],
        "cause": "",
        "explained": False,
        "error": error,
        "seconds": round(time.perf_counter() - began, 1),
    }


def run(words: Iterable[str], folder: Path | None, missing: bool) -> None:
    """Grade the entries that are asked for, small ones first, and keep what was found.

    Those of a library that is not installed are passed by.
    """
    words = tuple(words)
    known = {key(row) for row in read()} if missing else set()
    numbered = sorted(enumerate(entries(folder)), key=lambda e: find_card(e[1]["as"]).parameters)
    for number, entry in numbered:
        if all(word in " ".join(map(str, entry.values())) for word in words or ("",)) and (
            key(entry) not in known
        ):
            library = entry.get("module", "sys").partition(".")[0]
            if importlib.util.find_spec(library) is None:
                print(f"{library} is not installed: {entry['make']} is not graded", flush=True)
                continue
            row = apart(number, folder)
            add(row)
            print(told(judged(row)), flush=True)


def told(row: Row) -> str:
    """Return a row in words."""
    what = f"{row['of']} {row['make']} as {row['as']}"
    if "error" in row:
        return f"{what}: NOT GRADED, {row['error']}; {row['seconds']:g} s"
    if row["right"]:
        return f"{what}: {'passed' if row['passed'] else 'FAILED'}, {row['seconds']:g} s"
    if row["passed"]:
        return f"{what}: PASSED, and should not; {row['seconds']:g} s"
    layer = "right" if row["layer_right"] else f"WRONG ({row['layer']} {row['side']})"
    cause = "right" if row["cause_right"] else f"WRONG ({row['cause'] or 'none'})"
    return f"{what}: layer {layer}, cause {cause}, {row['seconds']:g} s"


def key(row: Row) -> tuple[str, str, str]:
    """Return what tells rows apart."""
    return row["of"], row["make"], row["as"]


def read() -> list[Row]:
    """Return the rows so far, each with what it should be, by the list, and whether it is.

    Those of libraries that are no more in the list are left out.
    """
    listed = {key(entry) for entry in entries()}
    rows = kept.read(RESULTS)
    return [judged(row) for row in rows if "right" in row or key(row) in listed]


def judged(row: Row) -> Row:
    """Return a row with what it should be, and whether it is; a file's row says that itself."""
    if "right" not in row:
        row = row | should(next(each for each in entries() if key(each) == key(row)))
    layer, causes = row["expected_layer"], row["expected_causes"]
    return row | {
        "layer_right": row["passed"] if row["right"] else row["layer"] == layer,
        "cause_right": row["passed"] if row["right"] else set(row["causes"]) == set(causes),
    }


def missing(rows: list[Row]) -> list[Row]:
    """Return the entries of the list that have no row."""
    known = {key(row) for row in rows}
    return [entry for entry in entries() if key(entry) not in known]


def add(row: Row) -> None:
    """Put a row in the place of the one before, else behind the others."""
    kept.add(RESULTS, kept.read(RESULTS), row, key)


def section(rows: list[Row]) -> list[str]:
    """Return the section of the page."""
    right = [row for row in rows if row["right"]]
    wrong = [row for row in rows if not row["right"]]
    lines = [
        INTRODUCTION,
        f"Of {len(right)} that are the network, {sum(row['passed'] for row in right)} pass. Of "
        f"{len(wrong)} that are not, {sum(row['passed'] for row in wrong)} pass, "
        f"{sum(row['layer_right'] for row in wrong)} have the right layer named and "
        f"{sum(row['cause_right'] for row in wrong)} the right cause.",
    ]
    if left := missing(rows):
        lines += ["", f"Not graded yet, {len(left)} of the list:", ""]
        for library in dict.fromkeys(each["of"] for each in left):
            own = [each for each in left if each["of"] == library]
            words = ", ".join(f"`{each['make']}` as `{each['as']}`" for each in own)
            lines.append(f"- {library}: {words}")
    lines += ["", "Measured on:", ""]
    origins = Counter(in_words(row) for row in rows)
    lines += [*(f"- {each} ({n})" for each, n in origins.items()), ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        cells = [
            row["source"],
            f"`{row['make']}`",
            f"`{row['as']}`",
            "passed" if row["passed"] else row.get("error") or f"`{row['layer']}`",
            word(row, "layer_right", f"`{row['expected_layer']}`"),
            ", ".join(f"`{name}`" for name in row["causes"]),
            word(row, "cause_right", ", ".join(f"`{each}`" for each in row["expected_causes"])),
            f"{row['seconds']:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def word(row: Row, what: str, expected: str) -> str:
    """Return whether a row is right in something, and if not, what it should have been."""
    if row["right"]:
        return "right" if row["passed"] else "wrong: it is the network"
    return "right" if row[what] else f"wrong: {expected}"


def main() -> None:
    """Grade one entry, by its number, and print the row: what :func:`apart` starts."""
    parser = argparse.ArgumentParser(description="grades one entry, for tools.grading")
    parser.add_argument("number", type=int)
    parser.add_argument("folder", nargs="?", type=Path)
    request = parser.parse_args()
    entry = entries(request.folder)[request.number]
    find_card(entry["as"])
    with contextlib.redirect_stdout(io.StringIO()):  # what others print is kept away
        row = graded(entry, request.folder)
    sys.stdout.write("\n\0" + json.dumps(row))


if __name__ == "__main__":
    main()
