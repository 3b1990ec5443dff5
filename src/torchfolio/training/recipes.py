"""The recipe: every setting of one training, in sections, and where each value comes from.

A value comes from the person, else from the network's recipe (``[paper]`` or ``[modern]`` of a
file in ``networks/recipes``, or a file of the person's), else from the default of its dataclass.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any, Literal

from torchfolio.data.splits import SplitOptions
from torchfolio.errors import FolioError, RequestError, normalise, unknown
from torchfolio.networks.catalogue import Card, recipe_file
from torchfolio.options import option, plain, read_options
from torchfolio.tasks.registry import find_task
from torchfolio.training.options import TrainingOptions

UPDATES_AN_EPOCH = 50  # small data: the batch is halved until an epoch has as many updates
SMALLEST_BATCH = 16
ADAPTIVE = ("adam", "adamw", "adamax", "nadam", "radam", "rmsprop", "adagrad", "adafactor", "muon")


@dataclass(frozen=True)
class NetworkOptions:
    """Which network, how it is built, and the weights it starts from."""

    set: dict[str, Any] | None = option(  # noqa: RUF009  (a field, not a shared dictionary)
        None, "Arguments of the network's constructor, KEY=VALUE."
    )
    weights: str | None = option(
        None, "A weight file, a run folder, or imagenet (downloaded when asked for)."
    )
    transfer: str = option("all", "What is trained from given weights: all, head, last:N, none.")


@dataclass(frozen=True)
class DataOptions:
    """How the data are read."""

    reader: str | None = option(None, "The reader, where the data could be read in two ways.")
    on_error: Literal["skip", "stop"] = option(
        "skip", "What unreadable examples do: skip (and report) or stop."
    )
    download: bool = option(False, "Download a data set given by name.")


@dataclass(frozen=True)
class OptimizerOptions:
    """The settings of an optimizer that have a flag; a recipe file may hold any of torch's."""

    optimizer: str | None = option(None, "torch's optimizer by its name: sgd, adam, adamw, ...")
    lr: float | None = option(None, "Learning rate.", low=0)
    momentum: float | None = option(None, "Momentum (sgd, rmsprop, muon).", low=0, high=1)
    nesterov: bool | None = option(None, "Nesterov's momentum (sgd).")
    weight_decay: float | None = option(None, "Weight decay.", low=0)
    decay_norms: bool | None = option(None, "Let weight decay reach norms and biases.")
    fused: bool | None = option(
        None, "One kernel for all parameters (sgd, adam, adamw, adagrad); by a rule unless given."
    )
    layer_decay: float | None = option(
        None, "What the rate is multiplied by with each layer away from the head.", low=1e-6, high=1
    )


@dataclass
class Recipe:
    """Every setting of one training. ``notes`` says what was scaled, and why."""

    network: dict[str, Any]
    data: dict[str, Any]
    task: dict[str, Any]
    training: TrainingOptions
    optimizers: dict[str, dict[str, Any]]
    notes: list[str] = field(default_factory=list)

    def as_toml(self) -> dict[str, Any]:
        """Return the recipe as the sections of ``recipe.toml``."""
        return {
            "format_version": 1,
            "notes": self.notes,
            "network": clean(self.network),
            "data": clean(self.data),
            "task": clean(self.task),
            "training": plain(self.training),
            "optimizer": {name: clean(values) for name, values in self.optimizers.items()},
        }

    @classmethod
    def from_toml(cls, table: Mapping[str, Any], where: str) -> "Recipe":
        """Read a whole recipe back."""
        if table.get("format_version") != 1:
            raise RequestError(
                f"{where} has format version {table.get('format_version')}; this release reads 1."
            )
        for section in ("network", "data", "task", "training", "optimizer"):
            if section not in table:
                raise RequestError(f"{where} lacks its section [{section}].")
        return cls(
            network=dict(table["network"]),
            data=dict(table["data"]),
            task=dict(table["task"]),
            training=read_options(TrainingOptions, table["training"], f"[training] of {where}"),
            optimizers={name: dict(values) for name, values in table["optimizer"].items()},
            notes=list(table.get("notes", [])),
        )


def clean(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what TOML cannot hold: None."""
    return {key: value for key, value in values.items() if value is not None}


def sort_settings(
    settings: Mapping[str, Any], task_options: type, reader_options: type
) -> dict[str, dict[str, Any]]:
    """Sort flat settings (flags, keyword arguments) by the dataclass that has them."""
    homes = {
        "network": NetworkOptions,
        "data": DataOptions,
        "split": SplitOptions,
        "reader": reader_options,
        "task": task_options,
        "training": TrainingOptions,
        "optimizer": OptimizerOptions,
    }
    known: dict[str, str] = {}
    for section, kind in homes.items():
        for each in dataclasses.fields(kind):
            if each.name in known:
                raise FolioError(
                    f"{each.name} is a setting of [{known[each.name]}] and of [{section}]. "
                    "Rename one."
                )
            known[each.name] = section
    sections: dict[str, dict[str, Any]] = {section: {} for section in homes}
    for key, value in settings.items():
        name = normalise(key)
        if name not in known:
            raise unknown("setting", key, known)
        if value is not None:
            sections[known[name]][name] = str(value) if isinstance(value, Path) else value
    return sections


def recipe_table(card: Card, which: str | None) -> tuple[dict[str, Any], str]:
    """Return a recipe's sections: of the network's ("paper", "modern"), or of a file."""
    if which is None or normalise(which) in ("paper", "modern"):
        path = recipe_file(card)
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        name = normalise(which or "paper")
        if name not in table:
            raise RequestError(f"{card.name} has no {name} recipe; it has: {', '.join(table)}.")
        return table[name], f"[{name}] of {path.name}"
    path = Path(which)
    if not path.is_file():
        raise RequestError(
            f"recipe is {which!r}; it should be paper, modern or a TOML file that exists."
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} is not TOML: {error}.") from error
    check_sections(table, str(path))
    if table.get("format_version", 1) != 1:
        raise RequestError(
            f"{path} has format version {table['format_version']}; this release reads 1."
        )
    named = table.get("network", {}).get("name", card.name)
    if normalise(named) != normalise(card.name):
        raise RequestError(f"{path} is a recipe of {named}, not of {card.name}. Give another.")
    return table, str(path)


def check_sections(table: Mapping[str, Any], where: str) -> None:
    """Raise unless every section of a recipe is a table, and [network] and [data] are known."""
    sections = {name: table.get(name, {}) for name in ("network", "data", "task", "training")}
    sections |= {"optimizer": table.get("optimizer", {})}
    if isinstance(sections["optimizer"], dict):
        sections |= {f"optimizer.{part}": each for part, each in sections["optimizer"].items()}
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise RequestError(
                f"{name} of {where} is {section!r}; it should be a section [{name}]."
            )
    known = {
        "network": {"name", *(each.name for each in dataclasses.fields(NetworkOptions))},
        "data": {"path", "reader_options"}
        | {each.name for kind in (DataOptions, SplitOptions) for each in dataclasses.fields(kind)},
    }
    for name, keys in known.items():
        for key in sections[name]:
            if key not in keys:
                raise unknown(f"setting in [{name}] of {where}", key, keys)
    check_values(sections, where)


def check_values(sections: Mapping[str, Mapping[str, Any]], where: str) -> None:
    """Raise unless names are texts, arguments a table, and every optimizer is named."""
    expected = {
        ("network", "name"): str,
        ("network", "weights"): str,
        ("network", "transfer"): str,
        ("network", "set"): dict,
        ("task", "name"): str,
    }
    for (home, key), kind in expected.items():
        value = sections[home].get(key)
        if value is not None and not isinstance(value, kind):
            wanted = "a text" if kind is str else "a table"
            raise RequestError(f"{key} in [{home}] of {where} is {value!r}, not {wanted}.")
    for name, section in sections.items():
        if not name.startswith("optimizer."):
            continue
        if not isinstance(section.get("name"), str):
            raise RequestError(
                f'[{name}] of {where} names no optimizer. Add name = "sgd", or another.'
            )
        if not isinstance(section.get("lr", 0.0), int | float):
            raise RequestError(f"lr in [{name}] of {where} is {section['lr']!r}, not a number.")


def resolve(
    card: Card,
    data: Mapping[str, Any],
    task_name: str,
    task_options: type,
    sections: Mapping[str, dict[str, Any]],
    examples: int,
    sheet: tuple[dict[str, Any], str],
    parts: tuple[str, ...] = ("network",),
) -> Recipe:
    """Put a recipe together for a training split of ``examples``; nothing is left open but speed.

    ``sheet`` is what :func:`recipe_table` returned; ``sections`` are the person's settings.
    """
    table, where = sheet
    known = {"source", "note", "notes", "format_version", "network", "data", "task", "training"}
    for key in set(table) - known - {"optimizer"}:
        raise unknown(f"section in {where}", key, known | {"optimizer"})
    for part in table.get("optimizer", {}):
        if part not in parts:
            raise unknown(f"part in [optimizer] of {where}", part, parts)
    for section, kind in (
        ("training", TrainingOptions),
        ("optimizer", OptimizerOptions),
        ("task", task_options),
    ):
        read_options(kind, sections[section], "the settings")
    notes = [str(table["note"])] if "note" in table else []
    if "source" in table:
        notes.insert(0, f"recipe: {where} ({table['source']})")
    given = sections["training"]
    values = dict(table.get("training", {})) | given
    if "minutes" in given and "epochs" not in given:
        values["epochs"] = 1_000_000  # the budget ends it
    training = read_options(TrainingOptions, values, f"[training] of {where}")
    optimizers = {
        part: optimizer_section(
            table.get("optimizer", {}).get(part, {"name": "adam"}), sections["optimizer"]
        )
        for part in parts
    }
    settled = "format_version" in table  # the recipe of a run: nothing is scaled again
    if "batch_size" not in given and not settled:
        training = with_smaller_batch(training, examples, notes)
    if "lr" not in sections["optimizer"] and training.reference_batch is not None:
        for part, optimizer in optimizers.items():
            scale_rate(part, optimizer, training.batch_size / training.reference_batch, notes)
    return Recipe(
        network=network_section(card, table, sections["network"]),
        data=dict(data),
        task=task_section(card, task_name, task_options, table, sections["task"], where),
        training=replace(training, reference_batch=None),
        optimizers=optimizers,
        notes=notes,
    )


def network_section(
    card: Card, table: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the section [network] of a recipe, with the person's settings over the recipe's."""
    recipe = table.get("network", {})
    arguments = dict(recipe.get("set", {})) | (given.get("set") or {})
    return dict(recipe) | dict(given) | {"name": card.name, "set": arguments}


def task_section(
    card: Card,
    name: str,
    kind: type,
    table: Mapping[str, Any],
    given: Mapping[str, Any],
    where: str,
) -> dict[str, Any]:
    """Return the section [task]; a recipe's is for one task: the card's first, unless it says."""
    recipe = dict(table.get("task", {}))
    home = recipe.pop("name", card.tasks[0])
    if home != name:
        recipe = borrowed(recipe, home, kind)
    options: Any = read_options(kind, recipe | dict(given), f"[task] of {where}")
    return {"name": name} | plain(options)


def borrowed(recipe: Mapping[str, Any], home: str, kind: type) -> dict[str, Any]:
    """Return what of a recipe for the task ``home`` is for another one, with options ``kind``.

    That is nothing, unless these name ``home`` as ``recipe_of``; then all but what they lack.
    """
    if getattr(kind, "recipe_of", None) != home:
        return {}
    own, theirs = (
        {each.name for each in dataclasses.fields(options)}
        for options in (kind, find_task(home).Options)
    )
    return {key: value for key, value in recipe.items() if normalise(key) not in theirs - own}


def with_smaller_batch(
    training: TrainingOptions, examples: int, notes: list[str]
) -> TrainingOptions:
    """Halve the batch until small data give enough updates an epoch."""
    size = training.batch_size
    while size > SMALLEST_BATCH and examples / size < UPDATES_AN_EPOCH:
        size = max(SMALLEST_BATCH, size // 2)
    if size == training.batch_size:
        return training
    notes.append(
        f"batch size {training.batch_size} -> {size}: {examples:,} examples give "
        f"{examples // size} updates an epoch"
    )
    return replace(training, batch_size=size)


def fit_batch(recipe: Recipe, each: int, room: int, reference: int | None, pieces: int = 1) -> str:
    """Halve a proposed batch until a piece of it fits; return a line on why.

    ``each`` is how many bytes an example takes in an update, ``room`` how many a process has. Rates
    that are for a batch of ``reference`` are scaled with the batch, none where there is no such.
    """
    asked = size = recipe.training.batch_size
    while size // 2 >= pieces and ceil(size / pieces) * each > room:
        size //= 2
    recipe.training = replace(recipe.training, batch_size=size)
    if reference is not None:
        for part, optimizer in recipe.optimizers.items():
            ratio = min(size, reference) / min(asked, reference)
            scale_rate(part, optimizer, ratio, recipe.notes)
    at_once = f", {ceil(size / pieces)} at a time" if pieces > 1 else ""
    return (
        f"batch size {f'{asked} -> ' * (size < asked)}{size}{at_once}: an example takes up to "
        f"{each / 2**20:,.0f} MiB in training, and half of a process's memory is "
        f"{room / 2**20:,.0f} MiB"
    )


def spelling(name: str) -> str:
    """Return the form under which names of optimizers are compared: "L-BFGS" is "lbfgs"."""
    return normalise(name).replace("_", "")


def optimizer_section(section: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return an optimizer's settings: the recipe's, or torch's defaults for another optimizer."""
    given = dict(given)
    name = given.pop("optimizer", None)
    if name is None or spelling(name) == spelling(str(section.get("name"))):
        return dict(section) | given
    return {"name": normalise(name)} | given


def scale_rate(part: str, section: dict[str, Any], ratio: float, notes: list[str]) -> None:
    """Scale a rate with the batch: linearly (Goyal et al., 2017), by the root for Adam's kind."""
    if "lr" not in section or ratio >= 1:
        return
    adaptive = spelling(section["name"]) in ADAPTIVE
    rate = section["lr"] * (ratio**0.5 if adaptive else ratio)
    how = "by the root of the batch" if adaptive else "linearly with the batch"
    notes.append(f"learning rate of {part} {section['lr']:g} -> {rate:g}: scaled {how}")
    section["lr"] = rate
