"""What weights tell of the network that they were trained in, besides its values.

A run folder tells it, and a file of weights that ``folio export`` made of a run; of other files
nothing is known.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchfolio.checkpoint import FACTS, MAPPING, header_value
from torchfolio.errors import FolioError


@dataclass(frozen=True)
class Origin:
    """The name of a network, the arguments of its page that were set, the side of its pictures.

    ``size`` is in pixels; ``None`` where the network took pictures of any size, or none is known.
    """

    network: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    size: int | None = None


def origin_of(weights: Path) -> Origin:
    """Return what a run folder or a file tells; raise ``FolioError`` where that is damaged."""
    return of_run(weights) if (weights / "recipe.toml").is_file() else of_file(weights)


def of_run(folder: Path) -> Origin:
    """Return what the recipe and the preprocessing of a run tell."""
    file = folder / "recipe.toml"
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8", errors="surrogateescape"))
        network = table["network"]
        name, arguments = network["name"], dict(network.get("set", {}))
        file = folder / "preprocessing" / "task.json"
        state: dict[str, Any] = {}
        if file.is_file():
            state = dict(json.loads(file.read_text(encoding="utf-8"))["state"][MAPPING])
    except OSError as error:
        raise FolioError(f"{file} cannot be read: {error.strerror or error}.") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FolioError(
            f"{file} is damaged: {error}. Copy it again from where the run was made."
        ) from error
    return Origin(name, arguments, state.get("size"))


def of_file(path: Path) -> Origin:
    """Return what ``folio export`` wrote beside weights; of another file, nothing."""
    try:
        with path.open("rb") as file:
            value = header_value(file)
    except (OSError, ValueError, TypeError, AttributeError):  # another format
        return Origin()
    if not isinstance(value, Mapping) or FACTS not in value:
        return Origin()
    facts = value[FACTS]
    try:
        [takes] = facts["inputs"]
        return Origin(facts["network"], dict(facts["settings"]), int(takes["size"]))
    except (KeyError, TypeError, ValueError) as error:
        raise FolioError(f"The facts in {path} are damaged ({error}). Export it again.") from error
