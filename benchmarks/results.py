"""The files of results: ``results/<workload>_<hardware>_<date>.json``, a list of sittings.

A sitting is one call of the command: where and with what it ran, and its rounds. Rounds of several
sittings add up where workload, hardware and our code are the same.
"""

import ast
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT
from benchmarks.statistics import Round

RESULTS = ROOT / "benchmarks" / "results"
FORMAT = 1
Sitting = dict[str, Any]


def slug(words: str) -> str:
    """Return words as part of a file's name: "AMD EPYC, 2 cores" is "amd-epyc-2-cores"."""
    return re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-")


def result_file(folder: Path, workload: str, hardware: str, date: str) -> Path:
    """Return the file of a workload's sittings on one day."""
    return folder / f"{workload}_{slug(hardware)}_{date}.json"


def read(path: Path) -> list[Sitting]:
    """Return the sittings of a file, none where there is no file."""
    if not path.is_file():
        return []
    document = json.loads(path.read_text(encoding="utf-8"))
    if document["format_version"] != FORMAT:
        raise ValueError(f"{path} has format version {document['format_version']}, not {FORMAT}.")
    return list(document["sittings"])


def write(path: Path, sittings: Sequence[Sitting]) -> None:
    """Write the sittings of a file, which is whole at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"format_version": FORMAT, "sittings": list(sittings)}
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def gather(folder: Path) -> dict[tuple[str, str], list[Sitting]]:
    """Return the sittings that add up, by workload and hardware, oldest first.

    They are those at full size with the code of the newest: a figure is of one state of our code.
    """
    found: dict[tuple[str, str], list[Sitting]] = {}
    for path in sorted(folder.glob("*.json")):
        for sitting in read(path):
            if sitting["size"] == "full":
                found.setdefault((sitting["workload"], sitting["hardware"]), []).append(sitting)
    for key, sittings in found.items():
        sittings.sort(key=lambda each: each["began"])
        code = sittings[-1]["code"]
        found[key] = [each for each in sittings if each["code"] == code]
    return found


def rounds_of(sittings: Sequence[Sitting]) -> list[Round]:
    """Return the rounds of several sittings, one after the other."""
    return [each for sitting in sittings for each in sitting["rounds"]]


def code_digest(
    folder: Path = ROOT / "src" / "torchfolio", data: bool = True, apart: Sequence[str] = ()
) -> str:
    """Return a digest of our code that comments and docstrings do not change.

    With the ``data`` files beside it: cards, recipes. What lies ``apart``, files and folders, does
    not count.
    """
    state = hashlib.blake2b(digest_size=8)
    left_out = tuple(folder / each for each in apart)
    for path in sorted(folder.rglob("*")):
        if any(path.is_relative_to(each) for each in left_out):
            continue
        if path.suffix == ".py":
            content = ast.dump(without_docstrings(ast.parse(path.read_text(encoding="utf-8"))))
        elif path.suffix == ".toml" and data:
            content = path.read_text(encoding="utf-8")
        else:
            continue
        state.update(f"{path.relative_to(folder).as_posix()}\n{content}\n".encode())
    return state.hexdigest()


def without_docstrings(tree: ast.Module) -> ast.Module:
    """Take the docstrings out of a module."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
