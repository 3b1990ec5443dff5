"""The run folder: what a training leaves, written atomically, read without executing anything."""

import contextlib
import csv
import io
import json
import os
import platform
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from torch import Tensor, from_numpy

from torchfolio.checkpoint import (
    is_temporary,
    pack,
    read_tensors,
    remove_leftovers,
    unpack,
    write_bytes,
    write_json,
    write_tensors,
    write_text,
)
from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.splits import as_ranges
from torchfolio.errors import FolioError, RequestError
from torchfolio.locks import lock
from torchfolio.tasks.base import Evaluation, Parts
from torchfolio.training.damage import FORMAT, RESTORE, read_object, read_tensor_file, unreadable
from torchfolio.training.recipes import Recipe, check_sections

KEPT_STATES = 2
FOLDS = "folds.json"  # what a folder of several runs holds (torchfolio.folds)
FOLDERS = ("weights", "state", "preprocessing", "predictions", "figures")
# What a run holds before its recipe is written: left by a process that died, it may be used again.
BEFORE = {*FOLDERS, "data.json", "split.csv", "environment.json", "log.txt"}


class RunFolder:
    """The files of one run, by what they are for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # Making and opening

    @staticmethod
    def require_free(path: Path) -> None:
        """Raise where a new run cannot go: into another run, or among other files."""
        if (path / "recipe.toml").exists():
            raise RequestError(
                f"{path} holds a run already. Choose another --out, or go on with "
                f"'folio resume {path}'."
            )
        if path.exists() and not (path.is_dir() and is_unbegun(path)):
            raise RequestError(f"{path} exists and is not an empty folder. Choose another --out.")

    @classmethod
    def create(cls, path: Path) -> "RunFolder":
        """Make a new run folder; it must not hold a run."""
        cls.require_free(path)
        try:
            for name in FOLDERS:
                (path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FolioError(
                f"{path} cannot be made: {error.strerror}. Choose another --out."
            ) from error
        return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """Open an existing run folder."""
        folder = Path(path)
        if (folder / FOLDS).is_file():
            runs = sorted(each.parent for each in folder.glob("*/recipe.toml"))
            raise RequestError(
                f"{folder} is no run but a folder of {len(runs)}. Name one of them"
                f"{f', such as {runs[0]}' if runs else ''}; 'folio compare' and 'folio resume' "
                "take the whole."
            )
        if not (folder / "recipe.toml").is_file():
            if folder.is_dir() and any(folder.iterdir()) and is_unbegun(folder):
                raise RequestError(
                    f"{folder} is of a run that was ended before its first step: there is nothing "
                    "to go on from. Give the same command again ('folio train' or 'folio "
                    f"ensemble'), with --out {folder}."
                )
            raise RequestError(
                f"{folder} is no run: it has no recipe.toml. 'folio train' makes runs."
            )
        return cls(folder)

    @contextlib.contextmanager
    def locked(self) -> Iterator[list[str]]:
        """Hold the run against a second training for the length of a block.

        The system lets go of it if the process dies. What a killed process was about to write is
        removed. Gives what is to be said of it: a line where the file system has no locks.
        """
        try:
            file = (self.path / "state" / "lock").open("a+b")
        except OSError as error:
            raise FolioError(
                f"{self.path} cannot be written: {error.strerror}. Give yourself the right to "
                "write there, or train into another folder."
            ) from error
        with file:
            held = lock(file)
            if held is False:
                raise RequestError(
                    f"Another process is training into {self.path}. Wait for it, or choose "
                    "another --out."
                )
            remove_leftovers(self.path)
            for name in FOLDERS:
                remove_leftovers(self.path / name, within=True)
            unguarded = (
                f"the file system of {self.path} has no locks: nothing keeps a second training out "
                "of this run"
            )
            yield [] if held else [unguarded]

    def log(self, line: str) -> None:
        """Add a line to ``log.txt``; a disk that takes none does not stop the work."""
        with (
            contextlib.suppress(OSError),
            (self.path / "log.txt").open("a", encoding="utf-8", errors="backslashreplace") as file,
        ):
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    # Recipe, data, environment

    def write_recipe(self, recipe: Recipe) -> None:
        text = tomli_w.dumps(recipe.as_toml())
        write_text(self.path / "recipe.toml", text, errors="surrogateescape")

    def recipe(self) -> Recipe:
        path = self.path / "recipe.toml"
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
            check_sections(table, str(path))
            for section in ("network", "task"):
                if "name" not in table.get(section, {}):
                    raise RequestError(f"[{section}] of {path} has no name.")
            return Recipe.from_toml(table, str(path))
        except OSError as error:
            raise unreadable(path, error) from error
        except tomllib.TOMLDecodeError as error:
            raise FolioError(f"{path} is damaged: {error}. {RESTORE}") from error
        except RequestError as error:
            raise FolioError(f"{error} {RESTORE}") from error

    def write_data(
        self, dataset: Dataset, splits: dict[str, Indices], rule: str, digest: str
    ) -> None:
        """Write ``data.json``, and ``split.csv`` where the splits are no plain ranges."""
        ranges = as_ranges(splits)
        write_json(
            self.path / "data.json",
            {
                "format_version": FORMAT,
                "path": str(Path(dataset.path).absolute())
                if Path(dataset.path).exists()
                else dataset.path,
                "name": dataset.name,
                "kind": dataset.kind,
                "reader": dataset.reader,
                "reader_options": dataset.reader_options,
                "reading": dataset.reading,
                "fingerprint": dataset.fingerprint,
                "examples": len(dataset),
                "classes": list(dataset.classes),
                "facts": dataset.facts,
                "problems": [{"path": p.path, "problem": p.problem} for p in dataset.problems],
                "split": {
                    "rule": rule,
                    "digest": digest,
                    "counts": {name: len(indices) for name, indices in splits.items()},
                    "ranges": ranges,
                },
            },
        )
        if ranges is not None:
            return
        names = np.empty(len(dataset), object)
        for name, indices in splits.items():
            names[indices] = name
        rows = (
            (index, name, dataset.records.name(index))
            for index, name in enumerate(names.tolist())
            if name is not None
        )
        self.write_rows("split.csv", ("index", "split", "example"), rows)

    def data(self) -> dict[str, Any]:
        described = read_object(
            self.path / "data.json", ("path", "name", "fingerprint", "examples", "split")
        )
        split = described["split"]
        if not isinstance(split, dict) or not {"rule", "digest", "ranges"} <= split.keys():
            raise FolioError(
                f"{self.path / 'data.json'} is damaged: its split is not whole. {RESTORE}"
            )
        return described

    def splits(self) -> dict[str, Indices]:
        """Return the split as it was made."""
        ranges = self.data()["split"]["ranges"]
        if ranges is not None:
            return {name: np.arange(first, end) for name, (first, end) in ranges.items()}
        path = self.path / "split.csv"
        found: dict[str, list[int]] = {"train": [], "val": [], "test": []}
        try:
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    found[row["split"]].append(int(row["index"]))
        except OSError as error:
            raise unreadable(path, error) from error
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise FolioError(
                f"{path} is damaged: expected the columns index, split (train, val or test) and "
                f"example. {RESTORE}"
            ) from error
        return {name: np.array(indices, np.int64) for name, indices in found.items()}

    def processes(self) -> int | None:
        """Return how many processes the training began with; ``None`` where that is not known."""
        try:
            return int(read_object(self.path / "environment.json").get("processes", 1))
        except (FolioError, TypeError, ValueError):  # damaged, and nothing else hangs on it
            return None

    def write_environment(self, device: str, threads: int, processes: int = 1) -> None:
        """Write ``environment.json``: versions and machine."""
        names = ("torchfolio", "torch", "torchvision", "numpy", "pillow", "safetensors")
        versions = {}
        for name in names:
            with contextlib.suppress(PackageNotFoundError):
                versions[name] = version(name)
        write_json(
            self.path / "environment.json",
            {
                "format_version": FORMAT,
                "python": sys.version.split()[0],
                "platform": platform.platform(),
                "machine": platform.machine(),
                "processors": os.cpu_count(),
                "device": device,
                "threads": threads,
                "processes": processes,
                "versions": versions,
                "command": sys.argv,
            },
        )

    # Preprocessing

    def write_preprocessing(self, state: dict[str, Any]) -> None:
        """Write what the task prepared: plain values as JSON, tensors as safetensors."""
        tensors: dict[str, Tensor] = {}
        packed = pack(state, tensors)
        write_tensors(self.path / "preprocessing" / "task.safetensors", tensors)
        write_json(
            self.path / "preprocessing" / "task.json", {"format_version": FORMAT, "state": packed}
        )

    def preprocessing(self) -> dict[str, Any]:
        packed = read_object(self.path / "preprocessing" / "task.json", ("state",))["state"]
        path = self.path / "preprocessing" / "task.safetensors"
        tensors, _ = read_tensor_file(path)
        try:
            return dict(unpack(packed, tensors))
        except (KeyError, TypeError, ValueError) as error:
            raise FolioError(
                f"{path.with_suffix('.json')} and {path.name} are no pair of one run, or damaged. "
                f"{RESTORE}"
            ) from error

    # Weights and state

    def write_weights(self, name: str, parts: dict[str, dict[str, Tensor]]) -> None:
        """Write ``weights/<name>.safetensors``; a run of one part keeps its names as they are."""
        if list(parts) == ["network"]:
            tensors = parts["network"]
        else:
            tensors = {
                f"{part}.{key}": t for part, each in parts.items() for key, t in each.items()
            }
        header = {"format_version": FORMAT, "parts": list(parts)}
        write_tensors(self.path / "weights" / f"{name}.safetensors", tensors, header)

    def read_weights(self, parts: Parts, name: str | None = None) -> str:
        """Load the best weights (or the named ones) into the parts; return which they were."""
        if name is None:
            name = next((each for each in ("best", "last") if self.has_weights(each)), None)
            if name is None:
                raise FolioError(
                    f"{self.path} has no weights yet. Go on with 'folio resume {self.path}'."
                )
        path = self.path / "weights" / f"{name}.safetensors"
        tensors, _ = read_tensor_file(path)
        for part, module in parts.items():
            prefix = "" if list(parts) == ["network"] else f"{part}."
            own = {key[len(prefix) :]: t for key, t in tensors.items() if key.startswith(prefix)}
            try:
                module.load_state_dict(own)
            except RuntimeError as error:
                raise FolioError(
                    f"{path} does not belong to this run's network: {error}"
                ) from error
        return name

    def has_weights(self, name: str) -> bool:
        return (self.path / "weights" / f"{name}.safetensors").is_file()

    def write_state(self, state: dict[str, Any], update: int) -> None:
        """Write all that exact resume needs as one file; the one before is kept too."""
        tensors: dict[str, Tensor] = {}
        packed = pack(state, tensors)
        write_tensors(self.path / "state" / f"update-{update:09d}.safetensors", tensors, packed)
        for old in self.states()[:-KEPT_STATES]:
            with contextlib.suppress(OSError):  # the next time, then
                old.unlink(missing_ok=True)

    def states(self) -> list[Path]:
        """Return the files of saved states, oldest first."""
        return sorted((self.path / "state").glob("update-*.safetensors"))

    def state(self) -> dict[str, Any] | None:
        """Return the newest whole state, or ``None`` if there is none yet."""
        errors: list[str] = []
        for path in reversed(self.states()):
            try:
                tensors, packed = read_tensors(path)
                state = dict(unpack(packed, tensors))
                for each in errors:
                    self.log(f"{each} Went on from the state before it, {path.name}.")
                return state
            except FolioError as error:
                errors.append(str(error))
            except (KeyError, TypeError, ValueError):
                errors.append(f"{path} holds no state of a training.")
        if errors:
            raise FolioError(
                f"Every saved state of {self.path} is damaged: {' '.join(errors)} The weights in "
                f"{self.path / 'weights'} may be whole: start again with --weights."
            )
        return None

    # Tables and results

    def write_table(self, name: str, rows: list[dict[str, Any]]) -> Path:
        """Write rows as CSV; the columns are those of all rows, in order of appearance."""
        columns = list(dict.fromkeys(chain.from_iterable(rows)))
        cells = ([row.get(column, "") for column in columns] for row in rows)
        return self.write_rows(name, columns, cells)

    def write_predictions(self, name: str, evaluation: Evaluation) -> None:
        """Write the answers of an evaluation: ``<name>.csv``, and beside it arrays and files."""
        self.write_table(f"{name}.csv", evaluation.predictions)
        for file, content in evaluation.files.items():
            write_bytes(self.path / name / file, content)
        if evaluation.arrays:
            tensors = {key: from_numpy(each) for key, each in evaluation.arrays.items()}
            write_tensors(self.path / f"{name}.safetensors", tensors, {"format_version": FORMAT})

    def write_rows(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
        """Write rows of cells as CSV below the names of their columns."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        write_text(self.path / name, text.getvalue())
        return self.path / name

    def read_table(self, name: str) -> list[dict[str, str]]:
        """Return the rows of a CSV file that :meth:`write_rows` wrote, as text."""
        with (self.path / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def history(self) -> list[dict[str, Any]]:
        """Return the rows of ``history.csv``, numbers as numbers."""
        path = self.path / "history.csv"
        if not path.is_file():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            return [
                {key: value if key == "digest" else number(value) for key, value in row.items()}
                for row in csv.DictReader(file)
            ]

    def metrics(self) -> dict[str, Any]:
        """Return the figures that the run ended with; raise where it has not ended."""
        if not (self.path / "metrics.json").is_file():
            raise RequestError(
                f"{self.path} is not finished: it has no metrics.json. 'folio resume {self.path}' "
                "does the rest."
            )
        return read_object(self.path / "metrics.json")

    def write_metrics(self, value: dict[str, Any], folder: Path | None = None) -> None:
        write_json((folder or self.path) / "metrics.json", {"format_version": FORMAT} | value)


def is_unbegun(path: Path) -> bool:
    """Return whether a folder holds nothing, or only what a run holds before its recipe."""
    names = {each.name for each in path.iterdir() if not is_temporary(each.name)}
    return names <= BEFORE


def number(text: str) -> Any:
    """Return a cell of a table as the number it is, or as text."""
    with contextlib.suppress(ValueError, json.JSONDecodeError):
        return json.loads(text)
    with contextlib.suppress(ValueError):
        return float(text)
    return text or None
