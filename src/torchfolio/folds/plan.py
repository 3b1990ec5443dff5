"""Which trainings belong to a folder of runs, and the file in it that says so."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torchfolio.checkpoint import is_temporary, write_json
from torchfolio.errors import FolioError, RequestError, normalise
from torchfolio.training.damage import FORMAT, RESTORE, read_object
from torchfolio.training.folder import FOLDS, RunFolder

DESCRIBED = ("network", "task", "data", "asked", "plan", "division", "processes")


@dataclass(frozen=True)
class Planned:
    """One training: its folder's name, which it is (both from 1), and what its recipe differs by.

    ``fold`` is None where one split is trained on again and again.
    """

    name: str
    repeat: int
    fold: int | None
    settings: dict[str, Any]

    @property
    def place(self) -> dict[str, Any]:
        """Which it is, as columns of ``predictions/``."""
        return {"repeat": self.repeat} | ({} if self.fold is None else {"fold": self.fold})


@dataclass(frozen=True)
class Plan:
    """How many folds and repeats there are, and the seeds they begin with.

    Every training has a seed of its own, so that their spread is that of the seed too:
    ``seed``, ``seed + 1`` ... The folds are made by ``split_seed``, those of the second repeat by
    ``split_seed + 1`` ...; repeats without folds share the split of ``split_seed``.
    """

    folds: int | None
    repeats: int
    seed: int
    split_seed: int

    @property
    def trainings(self) -> list[Planned]:
        """Return the trainings in their order."""
        places = [
            (repeat, fold)
            for repeat in range(1, self.repeats + 1)
            for fold in ([None] if self.folds is None else range(1, self.folds + 1))
        ]
        return [
            Planned(self.name(*place), *place, self.settings(*place, number))
            for number, place in enumerate(places)
        ]

    def name(self, repeat: int, fold: int | None) -> str:
        """Return the name of a training's folder: "fold-3", "repeat-2", "repeat-2-fold-3"."""
        parts = [f"repeat-{repeat}"] if self.repeats > 1 else []
        return "-".join([*parts, *([] if fold is None else [f"fold-{fold}"])])

    def settings(self, repeat: int, fold: int | None, number: int) -> dict[str, Any]:
        """Return what is a training's own in its recipe, of the training with a number from 0."""
        seeds: dict[str, Any] = {"seed": self.seed + number, "split_seed": self.split_seed}
        if fold is None:
            return seeds
        seeds["split_seed"] += repeat - 1
        return seeds | {"fold": f"{fold}/{self.folds}"}

    def words(self, planned: Planned) -> str:
        """Return which training it is: "fold 3 of 5", "repeat 2 of 3, fold 3 of 5"."""
        parts = [f"repeat {planned.repeat} of {self.repeats}"] if self.repeats > 1 else []
        if planned.fold is not None:
            parts.append(f"fold {planned.fold} of {self.folds}")
        return ", ".join(parts)

    def __str__(self) -> str:
        """Return all of it in words: "5 folds", "3 repeats of 5 folds"."""
        folds = "" if self.folds is None else f"{self.folds} folds"
        if self.repeats == 1:
            return folds
        return f"{self.repeats} repeats" + (f" of {folds}" if folds else "")


def check_request(folds: int | None, repeats: int | None, settings: Mapping[str, Any]) -> None:
    """Raise unless so many folds and repeats can be made, and nothing given contradicts them."""
    for name, value, low in (("folds", folds, 2), ("repeats", repeats, 1)):
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not (whole and value >= low):
            raise RequestError(f"{name} is {value!r}; it is a whole number, {low} or more.")
    if folds is None and repeats == 1:
        raise RequestError(
            "repeats is 1, and there are no folds: that is one training, which 'folio train' does "
            "without --repeats. Give --folds, or more repeats."
        )
    fold = next((value for key, value in settings.items() if normalise(key) == "fold"), None)
    if fold is not None and folds is not None:
        raise RequestError(
            f"--fold {fold} is one training, --folds {folds} is all of them. Leave one out."
        )


def require_free(path: Path) -> None:
    """Raise where a new folder of runs cannot go.

    One that was made by a process that died before the first training may be used again.
    """
    unbegun = is_folds(path) and all(
        each.name == FOLDS or is_temporary(each.name) for each in path.iterdir()
    )
    if not unbegun:
        RunFolder.require_free(path)


def is_folds(path: str | Path) -> bool:
    """Return whether a path is a folder of runs."""
    return (Path(path) / FOLDS).is_file()


def write_plan(path: Path, plan: Plan, described: dict[str, Any]) -> None:
    """Write which trainings belong to a folder, and on what."""
    write_json(path / FOLDS, {"format_version": FORMAT, "plan": asdict(plan)} | described)


def read_plan(path: Path) -> tuple[Plan, dict[str, Any]]:
    """Return the plan of a folder of runs, and what else its file says."""
    if not is_folds(path):
        raise RequestError(
            f"{path} is no folder of runs: it has no {FOLDS}. 'folio train' makes one with --folds "
            "or --repeats."
        )
    described = read_object(path / FOLDS, DESCRIBED)
    try:
        return Plan(**described["plan"]), described
    except TypeError as error:
        raise FolioError(f"{path / FOLDS} is damaged: its plan is not whole. {RESTORE}") from error
