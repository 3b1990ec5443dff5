"""A run folder that is opened to measure: its task, its weights, its own data and other data."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from torchfolio.checkpoint import digest
from torchfolio.data.cache import keep_matplotlib_inside
from torchfolio.data.dataset import Dataset, Indices, Progress, Reader
from torchfolio.data.readers import find_reader, open_data
from torchfolio.data.records import contents_digest
from torchfolio.errors import FolioError, RequestError
from torchfolio.tasks.base import Context, Evaluation, Parts, Task
from torchfolio.tasks.registry import find_task
from torchfolio.training.device import computes_bf16, configure, moved, resolve_device
from torchfolio.training.folder import RunFolder
from torchfolio.training.loop import Loop
from torchfolio.training.measure import measuring_batch
from torchfolio.training.start import data_of, make_task

if TYPE_CHECKING:
    from torchfolio.export.check import Held


class OpenedRun:
    """A run folder with its recipe; task and weights are loaded once, when they are wanted."""

    def __init__(self, path: str | Path) -> None:
        self.folder = RunFolder.open(path)
        self.path = self.folder.path
        self.recipe = self.folder.recipe()
        self._loaded: tuple[Task, Parts] | None = None

    @property
    def name(self) -> str:
        """The run's name: that of its folder."""
        return self.path.absolute().name

    def load(self) -> tuple[Task, Parts]:
        """Return the task and its parts with the best weights, in evaluation mode."""
        if self._loaded is None:
            task = make_task(self.recipe, self.folder.preprocessing())
            parts = task.rebuilt(self.recipe.network)
            self.folder.read_weights(parts)
            self._loaded = (task, Parts({name: part.eval() for name, part in parts.items()}))
        return self._loaded

    def context(
        self,
        device: str = "auto",
        say: Callable[[str], None] = lambda _: None,
        report: bool = True,
    ) -> Context:
        """Return where measuring runs: in bf16 where the training did and the device has it."""
        trained = self.recipe.training
        options = moved(trained, device)
        keep = None if options.keep_memory else options.keep_memory  # a yes may be the rule's own
        options = replace(options, precision="auto", workers=None, keep_memory=keep)
        options = resolve_device(options)
        found = configure(options)
        return Context(
            device=found,
            batch_size=measuring_batch(options),
            workers=options.workers or 0,
            seed=options.seed,
            say=say,
            report=report,
            bf16=trained.precision == "bf16" and computes_bf16(found),
        )

    def ready(
        self,
        device: str = "auto",
        say: Callable[[str], None] = lambda _: None,
        report: bool = True,
    ) -> tuple[Task, Parts, Context]:
        """Return the task, its parts on the device, and where measuring runs."""
        keep_matplotlib_inside()
        task, parts = self.load()
        context = self.context(device, say, report)
        for part in parts.values():
            if any(each.device != context.device for each in part.parameters()):
                part.to(context.device)
        return task, parts, context

    def complete(
        self, dataset: Dataset, validation: Indices, device: str, say: Callable[[str], None]
    ) -> None:
        """Let the task decide with the best weights what it decides on validation data."""
        if not len(validation):
            return
        task, parts, context = self.ready(device, say)
        lines = task.conclude(parts, dataset, validation, context)
        if lines:
            self.folder.write_preprocessing(task.state)
        for line in lines:
            say(line)
            self.folder.log(line)

    def conclude(
        self,
        dataset: Dataset,
        splits: dict[str, Indices],
        split: str,
        facts: dict[str, Any],
        device: str,
        *,
        say: Callable[[str], None],
        report: bool,
    ) -> None:
        """Measure a split and write what the run ends with: metrics, predictions and report.

        ``facts`` ("digest", "training") go into ``metrics.json`` as they are; with them a digest of
        what the examples tested hold ("tested").
        """
        task, parts, context = self.ready(device, say, report)
        if len(splits[split]):
            say(f"evaluating {len(splits[split]):,} {split} examples")
            evaluation = task.evaluate(parts, dataset, splits[split], context)
        else:
            say("no examples are held out, so nothing is measured")
            evaluation = Evaluation({}, {}, [], [])
        told = facts | {"tested": contents_digest(dataset.records, splits[split])}
        result = self.result(evaluation, dataset, split, len(splits[split])) | told
        if evaluation.predictions:
            self.folder.write_predictions(f"predictions/{split}", evaluation)
        self.folder.write_metrics(result)
        if report and evaluation.sections:
            from torchfolio.training.report import write_run_report

            write_run_report(self.path / "report.html", self.folder, evaluation, result)

    def result(
        self, evaluation: Evaluation, dataset: Dataset, split: str, examples: int
    ) -> dict[str, Any]:
        """Return the figures of one evaluation as ``metrics.json`` holds them."""
        return {
            "run": self.name,
            "task": self.recipe.task["name"],
            "data": str(dataset.path),
            "split": split,
            "examples": examples,
            "metrics": evaluation.metrics,
            "baseline": evaluation.baseline,
            "details": evaluation.details,
        }

    def measure(
        self,
        dataset: Dataset,
        splits: dict[str, Indices],
        device: str,
        *,
        say: Callable[[str], None],
        report: bool,
    ) -> None:
        """Measure what has no training of its own, an ensemble; write what its run ends with."""
        task, parts = self.load()
        training = {"seconds": task.state["seconds"]}
        facts = {"digest": digest(Loop.tensors(parts)), "training": training}
        try:
            split = task.own_split(splits)
            self.conclude(dataset, splits, split, facts, device, say=say, report=report)
        except KeyboardInterrupt:
            raise FolioError(
                "Stopped by Ctrl-C while measuring; the ensemble is whole and saved. "
                f"'folio resume {self.path}' measures it."
            ) from None

    def copies(self, dataset: Dataset, indices: Indices) -> int | None:
        """Return how many examples are exact copies of training examples.

        ``None`` where the data of the training cannot be read any more.
        """
        try:
            known, splits = data_of(self.folder)
        except FolioError:
            return None
        trained = known.records.digests()[splits.indices["train"]]
        return int(np.isin(dataset.records.digests()[indices], trained).sum())

    def other(self, task: Task, data: str | Path | Dataset, **reading: Any) -> Dataset:
        """Return other data with this run's classes; raise where they are of another kind."""
        dataset = data if isinstance(data, Dataset) else self.open_other(data, **reading)
        if dataset.kind not in task.kinds:
            raise RequestError(
                f"This run does {task.name}; {dataset.path} holds data for {dataset.kind}."
            )
        return task.adapt(dataset)

    def find_reader(
        self,
        data: str | Path,
        reader: str | None = None,
        *,
        download: bool = False,
        progress: Progress | None = None,
    ) -> tuple[type[Reader], Path]:
        """Return what reads other data, and what it reads: the run's own reader where that can.

        Else it is one of data for the run's task, where there is one.
        """
        kinds = find_task(self.recipe.task["name"]).kinds
        own = self.recipe.data.get("reader", "")
        return find_reader(
            data, reader, download=download, progress=progress, kinds=kinds, first=own
        )

    def open_other(
        self, data: str | Path, *, reader: str | None = None, download: bool = False, **reading: Any
    ) -> Dataset:
        """Open other data, as the run's own were read where the same reader reads them."""
        found, _ = self.find_reader(data, reader, download=download)
        if reader is None and found.name == self.recipe.data.get("reader"):
            reading = self.recipe.data.get("reader_options", {}) | reading
        return open_data(data, reader=found.name, download=download, **reading)

    def held(self, task: Task, data: str | Path | Dataset | None) -> "Held":
        """Return the examples that an export is checked on: the run's own, or other data."""
        from torchfolio.export.check import Held

        if data is not None:
            dataset = self.other(task, data)
            return Held(dataset, np.arange(len(dataset)), "given")
        try:
            dataset, splits = data_of(self.folder)
        except FolioError as error:
            raise FolioError(
                f"{error} An export is checked on the data of the run; where they are gone, name "
                "other data with the same classes: --check DATA."
            ) from error
        indices = splits.indices
        split = next(name for name in ("val", "test", "train") if len(indices[name]))
        return Held(dataset, indices[split], split)
