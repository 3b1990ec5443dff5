"""A folder of runs: trained one after another, each whole, and measured together."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from torchfolio.data.dataset import Dataset
from torchfolio.errors import FolioError, RequestError
from torchfolio.folds.plan import Planned, read_plan
from torchfolio.folds.summary import summarise
from torchfolio.run import Monitor, Run, train
from torchfolio.training.damage import read_object
from torchfolio.training.folder import RunFolder
from torchfolio.training.processes import is_main, joined
from torchfolio.training.start import read_again


class Folds:
    """A folder of runs, one for each fold and repeat, with the figures of all together."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.plan, self.described = read_plan(self.path)
        if not (self.path / "recipe.toml").is_file():
            raise RequestError(
                f"{self.path} is of trainings that were ended before the first began. Give the "
                f"same 'folio train' command again, with --out {self.path}."
            )

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.path.absolute().name

    @property
    def runs(self) -> list[Run]:
        """The runs that have begun, in their order."""
        return [Run(self.path / each.name) for each in self.plan.trainings if self.begun(each)]

    @property
    def metrics(self) -> dict[str, Any]:
        """What ``metrics.json`` holds: the figures of all runs together, and of each."""
        if not (self.path / "metrics.json").is_file():
            done = sum(self.is_done(each, report=False) for each in self.plan.trainings)
            raise RequestError(
                f"{self.path} is not finished: {done} of its {len(self.plan.trainings)} runs are. "
                f"'folio resume {self.path}' does the rest."
            )
        return read_object(self.path / "metrics.json", ("metrics", "folds"))

    def begun(self, planned: Planned) -> bool:
        """Return whether a training has begun."""
        return (self.path / planned.name / "recipe.toml").is_file()

    def is_done(self, planned: Planned, *, report: bool) -> bool:
        """Return whether a training has ended, and was measured (and reported, if it is to be)."""
        files = ["metrics.json", *(["report.html"] if report else [])]
        return all((self.path / planned.name / name).is_file() for name in files)

    def resume(
        self, *, watcher: Monitor | None = None, report: bool = True, device: str | None = None
    ) -> "Folds":
        """Go on where it stopped, train what is left, and measure all runs together.

        What is finished is not trained again. ``device`` goes on elsewhere than it began.
        """
        with joined() as world:
            watcher = (watcher if world.main else None) or Monitor()
            with world.in_turn():
                dataset = read_again(RunFolder(self.path).recipe(), self.described["data"])
            left = [each for each in self.plan.trainings if not self.is_done(each, report=report)]
            left = world.first(left)
            more: dict[str, Any] = {} if device is None else {"device": device}
            if world.size != self.described["processes"]:  # each has another share of the cores
                more["threads"] = torch.get_num_threads()
        self.train(dataset, left, watcher, report, **more)
        return self

    def train(
        self, dataset: Dataset, left: list[Planned], watcher: Monitor, report: bool, **more: Any
    ) -> None:
        """Train what is left, or go on with it; ``more`` are settings of those not begun."""
        total, device = self.plan.trainings, more.get("device")
        begun = [self.begun(each) for each in left]  # before any process begins another
        for planned, goes_on in zip(left, begun, strict=True):
            words, path = self.plan.words(planned), self.path / planned.name
            watcher.begins(total.index(planned) + 1, len(total), words)
            with placed(words, path, self.path):
                if goes_on:
                    done = Run(path).resume(watcher=watcher, report=report, device=device)
                else:
                    settings = self.described["asked"] | planned.settings | more
                    done = train(
                        self.described["network"],
                        dataset,
                        out=path,
                        recipe=self.path / "recipe.toml",
                        task=self.described["task"],
                        report=report,
                        watcher=watcher,
                        **settings,
                    )
            if is_main():
                watcher.say(f"{words}: {first_figure(done.metrics)}")
        with joined() as world, placed("measuring all runs together", self.path, self.path):
            if world.main:
                summarise(
                    self.path, self.plan, self.described, dataset, watcher.say, report, device
                )
            world.wait()


def first_figure(result: Mapping[str, Any]) -> str:
    """Return the first figure of a run in words; some have none, of the examples at hand."""
    values = ((name, figure["value"]) for name, figure in result["metrics"].items())
    name, value = next((name, value) for name, value in values if value is not None)
    return f"{name} {value:.4f} on {result['examples']:,} examples"


@contextmanager
def placed(words: str, path: Path, whole: Path) -> Iterator[None]:
    """Say of an error in which training it happened, and how to go on with all of them."""
    try:
        yield
    except KeyboardInterrupt:
        raise FolioError(
            f"Stopped by Ctrl-C in {words}; what is finished is saved. Go on with "
            f"'folio resume {whole}'."
        ) from None
    except FolioError as error:
        told = str(error).replace(f"'folio resume {path}'", f"'folio resume {whole}'")
        raise type(error)(f"In {words}: {told}") from error
