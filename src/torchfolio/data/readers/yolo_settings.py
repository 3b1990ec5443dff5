"""What settings files of YOLO (data.yaml) say: where the data lie, what classes are called."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from torchfolio.data.dataset import Problem
from torchfolio.data.folders import counted, descend, entries, listing
from torchfolio.data.readers.yolo_splits import shown
from torchfolio.errors import DataError

NAMES = ("classes.txt", "obj.names", "names.txt", "_darknet.labels")  # the classes, a line each
SETTINGS = ("data.yaml", "data.yml", "dataset.yaml")
MOST_CLASSES = 10_000  # a number beyond is a mistake


def is_settings(path: Path) -> bool:
    """Return whether a path is that of a settings file (data.yaml)."""
    return path.is_file() and path.suffix.lower() in (".yaml", ".yml")


def root_of(path: Path) -> Path:
    """Return the folder of the data: what a settings file calls its path, or where it lies."""
    if not path.is_file():
        return descend(path)
    told = settings_of(path, path.parent, [])[1].get("path")
    if isinstance(told, str) and (path.parent / told).is_dir():
        return (path.parent / told).resolve()
    return path.parent


def settings_of(
    path: Path, root: Path, problems: list[Problem]
) -> tuple[Path | None, dict[str, Any]]:
    """Return the settings file, that of a path or one in the root, and what it says."""
    file: Path | None = path
    if not path.is_file():
        folders = [root, *(root / each for each in entries(root)[0])]
        files = [folder / name for folder in folders for name in entries(folder)[1]]
        file = next((each for each in files if each.name.lower() in SETTINGS), None)
    if file is None:
        return None, {}
    try:
        return file, read_settings(file.read_text(encoding="utf-8-sig"))
    except (DataError, OSError, UnicodeDecodeError) as error:
        text = f"neither classes nor splits can be read: {error}"
        problems.append(Problem(shown(file, root), text))
        return file, {}


def keypoints_of(settings: Mapping[str, Any]) -> int:
    """Return how many numbers follow each box: kpt_shape says keypoints, and numbers of each."""
    try:
        points, each = map(int, settings.get("kpt_shape", (0, 0)))
    except (TypeError, ValueError):
        return 0
    return points * each


def class_names(
    root: Path, file: Path | None, settings: dict[str, Any], problems: list[Problem]
) -> list[str]:
    """Return the classes in the order of their numbers; none where nobody names them."""
    if file is not None and settings:
        try:
            found = alone(names_of(settings))
        except DataError as error:
            text = f"the names of the classes cannot be read: {error}"
            problems.append(Problem(shown(file, root), text))
        else:
            number = str(settings.get("nc", len(found)))
            if number != str(len(found)):
                text = f"nc is {number}, and {counted(len(found), 'name')} of classes are there"
                problems.append(Problem(shown(file, root), text))
            return found
    folders = ["", *(f"{each}/" for each in entries(root)[0])]
    for name in (f"{folder}{name}" for folder in folders for name in entries(root / folder)[1]):
        if PurePosixPath(name).name.lower() in NAMES:
            text = (root / name).read_text(encoding="utf-8-sig", errors="replace")
            try:
                return alone([line.strip() for line in text.splitlines() if line.strip()])
            except DataError as error:
                problems.append(Problem(name, f"the names of the classes cannot be used: {error}"))
    return []


def alone(names: list[str]) -> list[str]:
    """Return names of classes; raise ``DataError`` where two are the same."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{listing(twice)} is there twice")
    return names


def names_of(settings: dict[str, Any]) -> list[str]:
    """Return the classes that ``data.yaml`` names, as a list or by number."""
    names = settings.get("names")
    if isinstance(names, dict):
        try:
            numbers = {int(key): str(value) for key, value in names.items()}
        except (TypeError, ValueError):
            raise DataError("names has keys that are no numbers") from None
        if not all(0 <= each < MOST_CLASSES for each in numbers):
            raise DataError(f"names has numbers that are not from 0 to {MOST_CLASSES - 1:,}")
        return [numbers.get(each, f"class {each}") for each in range(max(numbers, default=-1) + 1)]
    if isinstance(names, list):
        return [str(each) for each in names]
    raise DataError("there is no list of names")


def read_settings(text: str) -> dict[str, Any]:
    """Read a settings file in YAML, values as text; raise ``DataError`` where it is none.

    A class may be called no, which YAML would take for a value.
    """
    import yaml

    try:
        found = yaml.load(text, yaml.BaseLoader)  # text, lists and tables alone
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "no place given"
        raise DataError(f"damaged YAML ({where})") from error
    if not isinstance(found, dict):
        raise DataError("it holds no settings")
    return found
