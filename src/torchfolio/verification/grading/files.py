"""A person's own file: graded in a process of its own, run there, and the module that it makes."""

import importlib.util
import inspect
import json
import subprocess
import sys
import tomllib
import traceback
from pathlib import Path
from typing import Any

from torch import nn

from torchfolio.errors import FolioError, RequestError
from torchfolio.networks.catalogue import find_card
from torchfolio.verification.criteria import Form
from torchfolio.verification.grading.verdict import Grade

LIMIT = 900.0  # seconds that a person's module may take in all


def grade_file(
    file: Path, name: str, network: str, mapping: Path | None = None, limit: float = LIMIT
) -> Grade:
    """Grade ``name`` of a file as a network, in a process of its own."""
    find_card(network)
    if not file.is_file():
        raise RequestError(f"There is no file {file}. Say FILE.py:NAME.")
    arguments = [sys.executable, "-m", __package__, str(file), name, network]
    arguments += [str(mapping)] if mapping is not None else []
    try:
        done = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
            errors="replace", timeout=limit, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise FolioError(
            f"{file}:{name} did not end within {limit:g} s. Put what trains or tests in that file "
            "below \"if __name__ == '__main__':\"."
        ) from error
    try:
        found = json.loads(done.stdout.rpartition("\n\0")[2])
    except ValueError as error:
        last = done.stderr.strip()[-500:]
        raise FolioError(
            f"The process that ran {file} ended with status {done.returncode} before it could be "
            f"graded. Run it by itself to see why: python {file}" + (f"\n{last}" if last else "")
        ) from error
    if "refused" in found:
        raise RequestError(found["refused"])
    return Grade(**found)


def load(file: Path, name: str, form: Form) -> nn.Module:
    """Execute a file and return the module that its ``name`` is or makes."""
    spec = importlib.util.spec_from_file_location("graded", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["graded"] = module
    sys.path.append(
        str(file.parent.absolute())
    )  # for modules of theirs; ours and Python's go first
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, name):
            kinds = [key for key, value in vars(module).items() if callable(value)]
            has = f"it has {', '.join(kinds[:10])}" if kinds else "nor anything that makes a module"
            raise RequestError(f"{file} has no {name}; {has}.")
        found = getattr(module, name)
        if isinstance(found, nn.Module):
            return found
        if not callable(found):
            raise RequestError(
                f"{name} in {file} is of type {type(found).__name__}. Name a torch.nn.Module, or a "
                "class or function that makes one."
            )
        made = found(**classes(found, form))
    except RequestError:
        raise
    except (Exception, SystemExit) as error:  # a person's code may fail in any way
        hint = ""
        if "required" in str(error) and isinstance(error, TypeError):
            hint = f" Add a function to {file} that gives them, and name it."
        raise RequestError(f"{file}:{name} cannot be made: {told(error, file)}{hint}") from error
    if not isinstance(made, nn.Module):
        raise RequestError(f"{file}:{name} makes a {type(made).__name__}, not a torch.nn.Module.")
    return made


def classes(maker: Any, form: Form) -> dict[str, int]:
    """Return the number of classes under the name that a maker has for it."""
    try:
        known = inspect.signature(maker).parameters
    except (TypeError, ValueError):
        return {}
    names = ("num_classes", "n_classes", "num_class", "nb_classes", "classes", "class_num")
    return next(({name: form.num_classes} for name in names if name in known), {})


def told(error: BaseException, file: Path) -> str:
    """Return an error with the line of the person's file where it arose."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [each.lineno for each in frames if Path(each.filename).name == file.name]
    place = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {error}{place}."


def read_map(path: Path) -> dict[str, str]:
    """Read pairs of layers: TOML, ``"yours" = "the network's"``."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError(
            f'The map {path} cannot be read: {error}. It has lines such as "net.0" = "conv1".'
        ) from error
    if not all(isinstance(value, str) for value in table.values()):
        raise RequestError(f'The map {path} has lines such as "net.0" = "conv1", and no others.')
    return table
