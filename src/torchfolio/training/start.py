"""From settings to a training that is ready to run: data, task, recipe, parts, optimizers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchfolio.data.dataset import Dataset, NoOptions, Progress, Reader
from torchfolio.data.readers import READERS, find_reader, open_dataset
from torchfolio.data.records import fingerprint
from torchfolio.data.splits import NAMES, SplitOptions, Splits, make_splits
from torchfolio.errors import FolioError, RequestError
from torchfolio.networks.catalogue import Card, find_card
from torchfolio.networks.weights import LoadReport, load_weights
from torchfolio.options import plain, read_options
from torchfolio.tasks.base import Parts, Task
from torchfolio.tasks.registry import find_task, task_for
from torchfolio.training.convolution import resolve_weight_gradients
from torchfolio.training.damage import RESTORE
from torchfolio.training.device import (
    again,
    computes_bf16,
    configure,
    half_of_memory,
    place,
    resolve_arithmetic,
    resolve_device,
    seed_for,
)
from torchfolio.training.failures import explained
from torchfolio.training.features import resolve_features
from torchfolio.training.folder import RunFolder
from torchfolio.training.given import (
    changed_classes,
    check_unfreezing,
    given_weights,
    new_classes,
    refuse_random,
)
from torchfolio.training.graphs import resolve_graphs
from torchfolio.training.loop import Loop
from torchfolio.training.optimizers import make_optimizer, rate_line, with_kernel
from torchfolio.training.options import TrainingOptions
from torchfolio.training.processes import Processes, check_device
from torchfolio.training.recipes import (
    DataOptions,
    NetworkOptions,
    Recipe,
    fit_batch,
    recipe_table,
    resolve,
    sort_settings,
)
from torchfolio.training.sharding import check_sharded, resolve_norms, shard, synchronise_norms
from torchfolio.training.transfer import freeze

ARITHMETIC = ("precision", "channels_last", "weight_gradients")


@dataclass
class Start:
    """Everything a training needs; ``lines`` say what was decided, and why."""

    card: Card
    dataset: Dataset
    splits: Splits
    task: Task
    recipe: Recipe
    lines: list[str]
    weights: dict[str, Tensor] | None = None  # given ones, until the network has taken them


def open_recipe_data(data: Mapping[str, Any]) -> Dataset:
    """Open the data that a recipe names."""
    return open_dataset(
        data["path"],
        reader=data.get("reader"),
        reader_options=data.get("reader_options"),
        on_error=data.get("on_error", "skip"),
        download=data.get("download", False),
    )


def prepare(
    network: str,
    data: str | Path | Dataset,
    settings: Mapping[str, Any],
    *,
    which: str | None = None,
    wanted_task: str | None = None,
    progress: Progress | None = None,
    world: Processes | None = None,
) -> Start:
    """Read the data, split them, resolve the recipe and fit the preprocessing.

    ``settings`` are flat, as flags or keyword arguments give them; ``which`` is the recipe.
    ``world`` are the processes that share a batch.
    """
    card = find_card(network)
    table, where = recipe_table(card, which)
    task_kind, reader = homes(card, data, settings, wanted_task)
    sections = sort_settings(settings, task_kind.Options, reader.Options if reader else NoOptions)
    add_data_settings(sections, table.get("data", {}))
    data_options = read_options(DataOptions, sections["data"], "the settings")
    read_options(NetworkOptions, sections["network"], "the settings")
    if isinstance(data, Dataset):
        dataset = data
    else:
        dataset = open_dataset(
            data,
            reader=reader.name if reader else None,
            reader_options=sections["reader"],
            on_error=data_options.on_error,
            download=data_options.download,
            progress=progress,
        )
    split_options = read_options(SplitOptions, sections["split"], "the settings")
    read_options(TrainingOptions, sections["training"], "the settings")
    if "format_version" in table:  # of a run
        stored = read_options(TrainingOptions, table.get("training", {}), f"[training] of {where}")
        table = table | {"training": plain(again(stored, sections["training"].get("device")))}
    given = table.get("training", {}) | sections["training"]
    seed = read_options(TrainingOptions, given, f"[training] of {where}").seed
    splits = make_splits(dataset, split_options, seed)
    described = (
        {"path": str(dataset.path), "reader": dataset.reader}
        | ({"reader_options": dataset.reader_options} if dataset.reader_options else {})
        | plain(split_options)
        | {"on_error": data_options.on_error}
    )
    asked = frozenset(sections["task"])
    network_section = table.get("network", {}) | sections["network"]
    settled = "format_version" in table and "weights" not in sections["network"]
    said = network_section.get("set") or {}
    weights, source = given_weights(card, network_section, {} if settled else sections["task"])
    told = {k: v for k, v in (network_section.get("set") or {}).items() if k not in said}
    if told:
        sections["network"]["set"] = network_section["set"]
    recipe = resolve(
        card,
        described,
        task_kind.name,
        task_kind.Options,
        sections,
        len(splits.indices["train"]),
        (table, where),
        task_kind.part_names,
    )
    check_unfreezing(recipe)
    recipe.training = resolve_device(recipe.training, dataset.records.in_memory)
    if sections["training"].get("keep_memory") and not recipe.training.keep_memory:
        raise RequestError("--keep-memory needs the CPU and the C library glibc. Leave it out.")
    configure(recipe.training)
    task = make_task(recipe)
    lines = [*recipe.notes, splits.rule]
    with explained(recipe.training, lambda: 0):
        given_card = replace(card, arguments=card.arguments | recipe.network.get("set", {}))
        lines += task.prepare(given_card, dataset, splits.indices["train"])
    if "batch_size" not in sections["training"] and "format_version" not in table:
        reference = None if "lr" in sections["optimizer"] else given.get("reference_batch")
        lines += fitted_batch(recipe, task, card, reference, world or Processes())
    lines += task.inherit(source, asked)
    if told:
        values = ", ".join(f"{key}={json.dumps(value)}" for key, value in told.items())
        lines.append(f"{values}, as the weights want (--set overrules)")
    chosen = sections["task"].keys() - asked
    if "normalize" in chosen:
        lines.append("pictures are normalised as the weights want them (--normalize overrules)")
    if "image_size" in chosen:
        lines.append(
            "the size is that of the run that the weights come from (--image-size overrules)"
        )
    if weights is not None and changed_classes(source, task):
        lines.append(new_classes(card, recipe, source, task, weights))
    return Start(card, dataset, splits, task, recipe, lines, weights)


def fitted_batch(
    recipe: Recipe, task: Task, card: Card, reference: int | None, world: Processes
) -> list[str]:
    """Let a proposed batch fit the memory, where a task knows what examples take.

    Rates are for a batch of ``reference``, or stay as they are.
    """
    device = torch.device(recipe.training.device)
    room = half_of_memory(device)
    if device.type != "cuda":  # the processes of a machine share its memory
        room //= world.local_size
    pieces = recipe.training.accumulate * world.size
    enough = room // ceil(recipe.training.batch_size / pieces)
    each = task.bytes_of_example(card, enough, **recipe.network.get("set", {}))
    if not each:
        return []
    known = len(recipe.notes)
    line = fit_batch(recipe, each, room, reference, pieces)
    return [line, *recipe.notes[known:]]


def homes(
    card: Card, data: str | Path | Dataset, settings: Mapping[str, Any], wanted: str | None
) -> tuple[Any, type[Reader] | None]:
    """Return the task and the reader that apply, before any data are read."""
    if isinstance(data, Dataset):
        return task_for(card, data.kind, wanted), READERS.get(data.reader)
    download = bool(settings.get("download"))
    kinds = {kind for name in card.tasks for kind in find_task(name).kinds}
    found, place = find_reader(data, settings.get("reader"), download=download, kinds=kinds)
    return task_for(card, found.kind_of(place, settings), wanted), found


def add_data_settings(sections: dict[str, dict[str, Any]], data: Mapping[str, Any]) -> None:
    """Take from a recipe how the data are split and read, where the person did not say it.

    Its path and reader are left out: the person names the data.
    """
    if "test_split" in sections["split"] and "fold" in {*sections["split"], *data}:
        raise RequestError(
            f"--test-split is {sections['split']['test_split']}, and a fold is tested instead. "
            "Leave one of the two out."
        )
    for field in fields(SplitOptions):
        if field.name in data:
            sections["split"].setdefault(field.name, data[field.name])
    if "on_error" in data:
        sections["data"].setdefault("on_error", data["on_error"])


def make_task(recipe: Recipe, state: dict[str, Any] | None = None) -> Task:
    """Make the task of a recipe, with its prepared state if there is one."""
    kind = find_task(recipe.task["name"])
    values = {key: value for key, value in recipe.task.items() if key != "name"}
    return kind(read_options(kind.Options, values, "[task]"), state)


def make_parts(start: Start) -> Parts:
    """Build the parts from the seed, load given weights, and freeze what is not trained."""
    recipe = start.recipe
    seed_for("initial weights", recipe.training.seed)
    parts = start.task.parts(start.card, **recipe.network.get("set", {}))
    report: LoadReport | None = None
    if start.weights is not None:
        start.lines.append(f"weights from {recipe.network['weights']}")
        report = load_weights(parts.network, start.weights)
        start.lines.extend(report.lines())
        start.weights = None
    transfer = recipe.network.get("transfer", "all")
    if recipe.network.get("weights") and transfer != "none":
        trained = freeze(parts.network, transfer)
        if transfer != "all":
            start.lines.append(f"trained: {', '.join(trained)}; everything else is frozen")
        if report is not None:
            refuse_random(parts.network, report, transfer)
    return parts


def make_loop(
    start: Start, state: dict[str, Any] | None = None, world: Processes | None = None
) -> Loop:
    """Make the loop, its parts and their optimizers, at the beginning or at a saved state."""
    world = world or Processes()
    options = resolve_device(start.recipe.training, start.dataset.records.in_memory)
    check_device(world, options)
    options = resolve_norms(options, alone=not world.several)
    start.recipe.training = options
    configure(options)
    parts = make_parts(start)
    if world.several and options.sync_norm:
        synchronise_norms(parts)
    sharded = world.several and options.sharded
    if options.sharded and not sharded:
        start.lines.append("--sharded changes nothing: one process holds the whole network")
    if sharded:
        check_sharded(parts, options, start.recipe.optimizers)
        shard(world, options, parts)
    for name, section in start.recipe.optimizers.items():
        start.recipe.optimizers[name] = with_kernel(section, split=sharded)
    by_layer = options.unfreeze is not None
    optimizers = {
        name: make_optimizer(name, part, start.recipe.optimizers[name], by_layer=by_layer)
        for name, part in parts.items()
    }
    rates = (rate_line(name, part, start.recipe.optimizers[name]) for name, part in parts.items())
    start.lines += filter(None, rates)
    closures = any(each.closure_based for each in optimizers.values())
    asked = options.precision
    options = resolve_arithmetic(
        options, list(parts.values()), cleared=start.card.bf16, closures=closures, sharded=sharded
    )
    options = resolve_weight_gradients(options)
    options = resolve_graphs(options, one_step=start.task.one_step, alone=not world.several)
    chosen = {name: getattr(options, name) for name in ARITHMETIC}
    options = replace(options, **world.first(chosen))  # where processors differ: the first one's
    configure(options)
    start.lines += precision_lines(asked, options, start.card)
    if not sharded:
        for part in parts.values():
            place(part, options)
    options, lines = resolve_features(
        start.task, parts, start.dataset, start.splits.indices, options, alone=not world.several
    )
    start.lines += lines
    start.recipe.training = options
    loop = Loop(start.task, parts, optimizers, start.dataset, start.splits.indices, options, world)
    start.lines += [each.line(options.epochs) for each in loop.unfreezing]
    if state is not None:
        loop.load_state_dict(state)
    return loop


def precision_lines(asked: str, options: TrainingOptions, card: Card) -> list[str]:
    """Return what is to be said of the precision."""
    if options.precision != "bf16":
        return []
    lines = []
    if asked == "auto":
        lines.append(f"bf16: whole trainings cleared it for {card.name} (--precision overrules)")
    device = torch.device(options.device)
    if device.type == "cpu" and not computes_bf16(device):
        lines.append("this processor has no instructions for bf16: fp32 would be quicker")
    return lines


def read_again(recipe: Recipe, described: Mapping[str, Any]) -> Dataset:
    """Return the data of a training, of which "path", "fingerprint" and "examples" were noted."""
    recipe.data["path"] = described["path"]
    dataset = open_recipe_data(recipe.data)
    if dataset.fingerprint != described["fingerprint"]:
        raise FolioError(
            f"The data at {described['path']} have changed since the run began: {len(dataset):,} "
            f"examples now, {described['examples']:,} then, or other contents. Restore them, or "
            "train anew (with --weights to begin where this run stopped)."
        )
    return dataset


def reopen(folder: RunFolder) -> Start:
    """Return the training of a run folder as it was prepared, with its data read again."""
    recipe = folder.recipe()
    dataset, splits = data_of(folder)
    task = make_task(recipe, folder.preprocessing())
    return Start(find_card(recipe.network["name"]), dataset, splits, task, recipe, [])


def data_of(folder: RunFolder) -> tuple[Dataset, Splits]:
    """Return the data of a run folder, read again, and their split as it was made."""
    described = folder.data()
    dataset = read_again(folder.recipe(), described)
    indices, split = folder.splits(), described["split"]
    if fingerprint(*(indices[name] for name in NAMES)) != split["digest"]:
        raise FolioError(
            f"The split of {folder.path} is damaged: split.csv and data.json do not say the same. "
            f"{RESTORE}"
        )
    return dataset, Splits(indices, split["rule"], split["digest"])
