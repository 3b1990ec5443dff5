"""Ensembles: several runs on the same data become one, which answers as any run does."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from torch import nn

from torchfolio.checkpoint import write_text
from torchfolio.comparison.runs import distinct
from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.records import fingerprint
from torchfolio.ensembles.fitting import fit, require_small
from torchfolio.errors import RequestError
from torchfolio.options import read_options
from torchfolio.run import Run
from torchfolio.tasks.combination import FITTED, combination
from torchfolio.tasks.image_classification_report import class_probabilities
from torchfolio.tasks.image_classifier import ImageClassifier
from torchfolio.tasks.image_ensemble import EnsembleOptions, ImageEnsemble, part_name
from torchfolio.training.device import resolve_device
from torchfolio.training.folder import RunFolder
from torchfolio.training.numbering import numbered_folder
from torchfolio.training.options import TrainingOptions
from torchfolio.training.recipes import Recipe
from torchfolio.training.start import data_of

TOLD = ("seed", "batch_size", "precision")  # the settings of a training that answering reads


def ensemble(
    runs: Sequence[str | Path | Run],
    *,
    method: str = "mean",
    out: str | Path | None = None,
    device: str = "auto",
    report: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Run:
    """Make one run of several, measure it on their test split, and return it.

    ``runs`` are two or more trained runs of image classification on the same data with the same
    split; they are read, never changed, and copied into the new run, which needs them no more.
    ``method`` is "mean", "weighted", "vote" or "stack"; what it has to fit is fitted on the
    validation split alone. ``out`` is the folder of the new run (``runs/ensemble-<data>-<n>``
    unless given).

    Raises ``RequestError`` for runs that cannot go together, for a stack of too many classes, and
    where there are no validation data to fit on; ``FolioError`` where the data cannot be read any
    more.
    """
    options = read_options(EnsembleOptions, {"method": method}, "the settings")
    place = resolve_device(TrainingOptions(device=device))
    if out:
        RunFolder.require_free(Path(out))
    members = opened(runs)
    names = distinct([run.name for run in members])
    require_alike(names, members)
    require_small(options.method, len(members), len(members[0].folder.data()["classes"]))
    dataset, splits = data_of(members[0].folder)
    joint = combination(options.method, len(members), len(dataset.classes))
    fitted_on: dict[str, str] = {}
    if options.method in FITTED:
        say(f"fitting {options.method} on {len(splits.indices['val']):,} validation examples")
        fit_on_validation(joint, members, dataset, splits.indices["val"], place.device)
        fitted_on = {"fitted_on": fingerprint(dataset.fingerprint, splits.indices["val"])}
    weights = {part_name(n): run.network.state_dict() for n, run in enumerate(members)}
    weights["combination"] = joint.state_dict()
    path = Path(out) if out else numbered_folder(f"ensemble-{dataset.name}")
    folder = RunFolder.create(path)
    with folder.locked() as lines:
        RunFolder.require_free(folder.path)  # still: another may have come meanwhile
        for line in lines:
            say(line)
        folder.write_preprocessing(state_of(names, members) | fitted_on)
        folder.write_data(dataset, splits.indices, splits.rule, splits.digest)
        folder.write_environment(place.device, place.threads or 0)
        folder.write_weights("best", weights)
        write_recipe(folder, members, options)  # from now on it is a run
        say(f"run: {folder.path}")
        run = Run(folder.path)
        run.measure(dataset, splits.indices, place.device, say=say, report=report)
    return run


def opened(runs: Sequence[str | Path | Run]) -> list[Run]:
    """Open the runs, or say which of them cannot be members."""
    if isinstance(runs, str | Path | Run) or len(runs) < 2:
        raise RequestError("Give two runs or more: folio ensemble runs/one runs/other")
    found = [run if isinstance(run, Run) else Run(run) for run in runs]
    places = Counter(run.path.resolve() for run in found)
    for run in found:
        if places[run.path.resolve()] > 1:
            raise RequestError(f"{run.path} is named twice. Name each member once.")
        task = run.recipe.task["name"]
        if task == ImageEnsemble.name:
            raise RequestError(
                f"{run.path} is an ensemble itself. Name the runs that it was made of instead."
            )
        if task != "image-classification":
            raise RequestError(f"{run.path} is a run of {task}; ensembles are of classifiers.")
        run.folder.metrics()  # raises where the run has not ended
    return found


def require_alike(names: list[str], runs: list[Run]) -> None:
    """Raise unless all runs have the same data, classes and split as the first."""
    first, *others = [run.folder.data() for run in runs]
    for name, other in zip(names[1:], others, strict=True):
        both = f"{names[0]} and {name}"
        if other["fingerprint"] != first["fingerprint"]:
            raise RequestError(
                f"{both} were trained on different data: {first['path']} ({first['examples']:,} "
                f"examples) and {other['path']} ({other['examples']:,}), or other contents. "
                "Train all members on the same data."
            )
        if other["classes"] != first["classes"]:
            raise RequestError(
                f"{both} have different classes: {', '.join(first['classes'])}, and "
                f"{', '.join(other['classes'])}. Train all members on the same data."
            )
        if other["split"]["digest"] != first["split"]["digest"]:
            raise RequestError(
                f"{both} divide the data differently, so that one was trained on what the other is "
                f"tested on. {names[0]}: {first['split']['rule']} {name}: {other['split']['rule']} "
                "Train all members with the same --split-seed (which is --seed unless given), "
                "--val-split, --test-split, --fold and --duplicates."
            )


def fit_on_validation(
    joint: nn.Module, members: list[Run], dataset: Dataset, val: Indices, device: str
) -> None:
    """Fit a combination to what the members say of the validation split."""
    if not len(val):
        raise RequestError(
            "This method is fitted on validation data, and the runs have none. Take --method mean "
            "or vote, or train with --val-split."
        )
    found = []
    for run in members:
        task, parts, context = run.ready(device, report=False)
        assert isinstance(task, ImageClassifier)
        answering = task.answering(parts, context)
        found.append(class_probabilities(task, answering, dataset, val, context))
    assert dataset.labels is not None
    fit(joint, np.stack(found), dataset.labels[val])


def state_of(names: list[str], members: list[Run]) -> dict[str, Any]:
    """Return the state of the ensemble's task (:class:`ImageEnsemble`)."""
    tasks = [run.load()[0] for run in members]
    told = zip(names, members, tasks, strict=True)
    return {
        "classes": tasks[0].state["classes"],
        "train_counts": tasks[0].state["train_counts"],
        "members": [
            {"name": name, "recipe": run.recipe.as_toml(), "state": task.state}
            for name, run, task in told
        ],
        "seconds": round(sum(run.metrics["training"]["seconds"] for run in members), 3),
    }


def write_recipe(folder: RunFolder, members: list[Run], options: EnsembleOptions) -> None:
    """Write the recipe of an ensemble: of a training it has only how it answers."""
    trainings = [run.recipe.training for run in members]
    lowered = any(each.precision == "bf16" for each in trainings)
    recipe = Recipe(
        network={"name": together([run.recipe.network["name"] for run in members])},
        data=members[0].recipe.data,
        task={"name": ImageEnsemble.name, "method": options.method},
        training=TrainingOptions(
            seed=trainings[0].seed,
            batch_size=min(-(-each.batch_size // each.accumulate) for each in trainings),
            precision="bf16" if lowered else "fp32",
        ),
        optimizers={},
        notes=[f"an ensemble of {', '.join(str(run.path) for run in members)}"],
    )
    table = recipe.as_toml()
    table["training"] = {name: table["training"][name] for name in TOLD}
    text = tomli_w.dumps(table)
    write_text(folder.path / "recipe.toml", text, errors="surrogateescape")


def together(networks: Sequence[str]) -> str:
    """Return the names of networks as one: "vgg11 + resnet18", "3 resnet20"."""
    counts = Counter(networks)
    return " + ".join(name if count == 1 else f"{count} {name}" for name, count in counts.items())
