"""The names of classes: in a file beside the data, or as the person gives them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchfolio.data.mask_rules import read_values
from torchfolio.data.masks import COLOUR
from torchfolio.errors import RequestError

# Files beside the folders that name the classes in the order of their indices, a line each.
NAMES = ("classes.txt", "labels.txt", "class_names.txt", "labelmap.txt", "label_colors.txt")
COMMENT = re.compile(r"#(?![0-9a-fA-F]{6}\b)")
THREE = re.compile(r"(?<![\w.])(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})(?![\s,;]+\d|[\w.])")
BEFORE = re.compile(r"(\d+)[\W_]+(?=.*[^\W\d])")
BEHIND = re.compile(r"(?<=[^\W\d])[\W_]+(\d+)$")


def told_classes(
    root: Path, options: Any, names: Sequence[str] = ()
) -> tuple[Sequence[str], dict[int, str] | None]:
    """Return the classes in the order of their indices, and those of values, as far as told.

    By the person (``class_names`` and ``mask_values`` of ``options``), else by ``names`` that the
    data themselves give, else by a file beside the folders. Raises ``RequestError``.
    """
    found, table = named_classes(root)
    if options.mask_values is not None:
        table = read_values(options.mask_values)
    if options.class_names is not None:
        return given_classes(options.class_names), table
    return names or found, table


def named_classes(root: Path) -> tuple[list[str], dict[int, str] | None]:
    """Return the classes that a file beside the folders names, and their colours if it has them.

    A line is a name, with a colour (three numbers) before or behind it, or a number of its own.
    """
    file = next((root / name for name in NAMES if (root / name).is_file()), None)
    if file is None:
        return [], None
    names: list[str] = []
    colours: list[int] = []
    for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        if COMMENT.match(line):
            continue
        three = THREE.search(line)
        coloured = three is not None and max(map(int, three.groups())) < 256
        rest = f"{line[: three.start()]} {line[three.end() :]}" if three and coloured else line
        name = " ".join(re.sub(r"[,:;#\t]", " ", rest).split())
        if not re.search(r"[^\W\d]", name):
            continue
        names.append(name)
        if three and coloured:
            red, green, blue = map(int, three.groups())
            colours.append(COLOUR + (red << 16) + (green << 8) + blue)
    names = without_numbers(names)
    together = len(names) == len(colours) == len(set(colours))
    return names, dict(zip(colours, names, strict=True)) if together else None


def without_numbers(names: Sequence[str]) -> list[str]:
    """Return names without the numbers of their lines, before all of them or behind all.

    Where names would be alike then, the numbers are part of them: grade 2, grade 3.
    """
    for number in (BEFORE, BEHIND):
        found = [number.sub("", name, count=1) for name in names]
        numbered = all(map(number.match if number is BEFORE else number.search, names))
        if numbered and len(set(found)) == len(set(names)):
            return found
    return list(names)


def given_classes(text: str) -> list[str]:
    """Read --class-names; raise ``RequestError`` for names that are empty or there twice."""
    names = [each.strip() for each in text.split(",")]
    for place, name in enumerate(names):
        if not name or name in names[:place]:
            what = f"{name!r} twice" if name else "an empty name"
            raise RequestError(
                f"class-names is {text!r}, which has {what}. Each class needs a name of its own, "
                "with commas between."
            )
    return names
