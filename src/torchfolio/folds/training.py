"""``train`` with folds and repeats: which trainings there are, and the folder that holds them."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, overload

from torchfolio import run
from torchfolio.data.dataset import Dataset
from torchfolio.data.records import fingerprint
from torchfolio.data.splits import SplitOptions, Splits, make_splits
from torchfolio.errors import FolioError, RequestError, normalise
from torchfolio.folds.folder import Folds
from torchfolio.folds.plan import Plan, check_request, require_free, write_plan
from torchfolio.options import plain, read_options
from torchfolio.run import Monitor, Run
from torchfolio.tasks.base import Task
from torchfolio.training.folder import RunFolder
from torchfolio.training.numbering import free_folder
from torchfolio.training.processes import Processes, joined
from torchfolio.training.recipes import Recipe
from torchfolio.training.recording import require_tensorboard
from torchfolio.training.start import Start, make_loop, prepare


@overload
def train(
    network: str,
    data: str | Path | Dataset,
    *,
    folds: None = None,
    repeats: None = None,
    out: str | Path | None = None,
    recipe: str | Path | None = None,
    task: str | None = None,
    report: bool = True,
    watcher: Monitor | None = None,
    **settings: Any,
) -> Run: ...


@overload
def train(
    network: str,
    data: str | Path | Dataset,
    *,
    folds: int,
    repeats: int | None = None,
    out: str | Path | None = None,
    recipe: str | Path | None = None,
    task: str | None = None,
    report: bool = True,
    watcher: Monitor | None = None,
    **settings: Any,
) -> Folds: ...


@overload
def train(
    network: str,
    data: str | Path | Dataset,
    *,
    folds: None = None,
    repeats: int,
    out: str | Path | None = None,
    recipe: str | Path | None = None,
    task: str | None = None,
    report: bool = True,
    watcher: Monitor | None = None,
    **settings: Any,
) -> Folds: ...


def train(
    network: str,
    data: str | Path | Dataset,
    *,
    folds: int | None = None,
    repeats: int | None = None,
    out: str | Path | None = None,
    recipe: str | Path | None = None,
    task: str | None = None,
    report: bool = True,
    watcher: Monitor | None = None,
    **settings: Any,
) -> Run | Folds:
    """Train a network on data, evaluate it on what was held out, and return the run.

    ``out`` is the run folder itself (``runs/<network>-<data>-<n>`` unless given); ``recipe`` is
    "paper", "modern" or a file; ``watcher`` is told how it goes; ``settings`` are the flags of
    ``folio train`` with underscores (``epochs=3, lr=0.1, image_size=64, monitor="macro_f1",
    set={"widths": [512]}``).

    With ``folds`` (2 or more) each example is tested once, by a network trained on the other folds;
    ``repeats`` makes the folds so many times, from other seeds. ``repeats`` alone trains on one
    split, from so many seeds. Both return a folder of runs, :class:`Folds`. Every run has the
    recipe that the first one has, its seed aside; ``minutes`` is the budget of each.
    """
    common: dict[str, Any] = {
        "out": out,
        "recipe": recipe,
        "task": task,
        "report": report,
        "watcher": watcher,
    }
    if folds is None and repeats is None:
        return run.train(network, data, **common, **settings)
    return cross_validate(network, data, folds, repeats, **common, settings=settings)


def cross_validate(
    network: str,
    data: str | Path | Dataset,
    folds: int | None,
    repeats: int | None,
    *,
    out: str | Path | None,
    recipe: str | Path | None,
    task: str | None,
    report: bool,
    watcher: Monitor | None,
    settings: Mapping[str, Any],
) -> Folds:
    """Make the folder of runs, train all of them, and measure them together."""
    check_request(folds, repeats, settings)
    with joined() as world:
        watcher = (watcher if world.main else None) or Monitor()
        if out and world.main:
            require_free(Path(out))
        with world.in_turn():
            start, plan, division = prepare_all(
                network, data, folds, repeats, settings, recipe, task, watcher.reading, world
            )
        world.require_same("folds", division)
        world.require_same("batch size (--batch-size)", start.recipe.training.batch_size)
        shared = shared_recipe(start.recipe, plan)
        if shared.training.tensorboard:
            require_tensorboard()
        make_loop(start, world=world)  # refuses what cannot be trained, before anything is made
        path = Path()
        if world.main:
            path = made(Path(out) if out else free_folder(start))
            write_plan(path, plan, describe(start, settings, division, world))
            RunFolder(path).write_recipe(shared)
        agreed = world.first(str(path.absolute()))
        path = path if world.main else Path(agreed)
    watcher.say(f"{plan}: {start.card.name} on {start.dataset.name}, in {path}")
    for note in shared.notes:
        watcher.say(f"- {note}")
    found = Folds(path)
    found.train(start.dataset, plan.trainings, watcher, report)
    return found


def prepare_all(
    network: str,
    data: str | Path | Dataset,
    folds: int | None,
    repeats: int | None,
    settings: Mapping[str, Any],
    recipe: str | Path | None = None,
    task: str | None = None,
    progress: Any = None,
    world: Processes | None = None,
) -> tuple[Start, Plan, str]:
    """Prepare the first training of several, and make the splits of all.

    Returns also which trainings there are, and a digest of the data and of what each is tested on.
    """
    check_request(folds, repeats, settings)
    own = {} if folds is None else {"fold": f"1/{folds}"}
    start = prepare(
        network,
        data,
        dict(settings) | own,
        which=str(recipe) if recipe else None,
        wanted_task=task,
        progress=progress,
        world=world,
    )
    if type(start.task).pool is Task.pool:
        raise RequestError(
            f"{start.task.name} cannot measure several runs together, so it takes neither --folds "
            "nor --repeats. Train without them: of other seeds or splits, run by run (--seed, "
            "--split-seed, --fold)."
        )
    seed = start.recipe.training.seed
    split_seed = start.recipe.data.get("split_seed", seed)
    plan = Plan(folds, repeats or 1, seed, split_seed)
    tested = [each.indices["test"] for each in all_splits(start, plan)]
    if not all(map(len, tested)):
        raise RequestError(
            "No examples are held out, so repeats could not be measured. Give --test-split, or "
            "--folds."
        )
    return start, plan, fingerprint(start.dataset.fingerprint, *tested)


def all_splits(start: Start, plan: Plan) -> Iterator[Splits]:
    """Give the splits of every training; raise where there is too little for one."""
    names = {each.name for each in fields(SplitOptions)} & start.recipe.data.keys()
    given = {name: start.recipe.data[name] for name in names}
    for each in plan.trainings:
        own = {name: value for name, value in each.settings.items() if name != "seed"}
        options = read_options(SplitOptions, given | own, "the settings")
        yield make_splits(start.dataset, options, plan.seed)


def made(path: Path) -> Path:
    """Make a folder, unless it is there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolioError(
            f"{path} cannot be made: {error.strerror}. Choose another --out."
        ) from error
    return path


def describe(
    start: Start, settings: Mapping[str, Any], division: str, world: Processes
) -> dict[str, Any]:
    """Return what a folder of runs has to know beside its plan and recipe."""
    dataset, where = start.dataset, Path(start.dataset.path)
    given = {normalise(name) for name, value in settings.items() if value is not None}
    options = plain(start.task.options)
    return {
        "network": start.card.name,
        "task": start.task.name,
        "data": {
            "path": str(where.absolute()) if where.exists() else dataset.path,
            "name": dataset.name,
            "reader": dataset.reader,
            "fingerprint": dataset.fingerprint,
            "examples": len(dataset),
            "classes": len(dataset.classes),
        },
        # what the person said of the task: given weights do not overrule that
        "asked": {name: value for name, value in options.items() if name in given},
        "division": division,
        "processes": world.size,
    }


def shared_recipe(recipe: Recipe, plan: Plan) -> Recipe:
    """Return the recipe of all trainings, from that of the first."""
    data = dict(recipe.data)
    if plan.folds is not None:
        data.pop("fold")
    network = dict(recipe.network)
    weights = network.get("weights")
    if weights and Path(weights).exists():
        network["weights"] = str(Path(weights).absolute())  # from wherever it is gone on with
    return replace(recipe, data=data, network=network)
