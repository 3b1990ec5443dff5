"""``train``, and ``Run``: what was trained."""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from torchfolio.checkpoint import digest
from torchfolio.data.cache import keep_matplotlib_inside
from torchfolio.data.dataset import Dataset, Indices, Progress, Reader
from torchfolio.data.readers import find_reader, open_data
from torchfolio.data.records import contents_digest
from torchfolio.errors import FolioError, PeerError, RequestError, unknown
from torchfolio.options import read_options
from torchfolio.tasks.base import Context, Evaluation, Parts, Task
from torchfolio.tasks.drawing import drawn, require_pictures
from torchfolio.tasks.registry import find_task
from torchfolio.training.damage import load_state
from torchfolio.training.device import again, computes_bf16, configure, moved, resolve_device
from torchfolio.training.failures import explained
from torchfolio.training.folder import RunFolder
from torchfolio.training.loop import Loop
from torchfolio.training.measure import measuring_batch
from torchfolio.training.numbering import new_run
from torchfolio.training.processes import Processes, joined
from torchfolio.training.recording import Monitor, Recorder, require_tensorboard
from torchfolio.training.start import Start, data_of, make_loop, make_task, prepare, reopen

if TYPE_CHECKING:
    from torchfolio.export.check import Held
    from torchfolio.tasks.image_features import Vectors


def train(
    network: str,
    data: str | Path | Dataset,
    *,
    out: str | Path | None = None,
    recipe: str | Path | None = None,
    task: str | None = None,
    report: bool = True,
    watcher: Monitor | None = None,
    **settings: Any,
) -> "Run":
    """Train a network on data, evaluate it on the test split, and return the run.

    ``out`` is the run folder itself (``runs/<network>-<data>-<n>`` unless given); ``recipe`` is
    "paper", "modern" or a file; ``watcher`` is told how it goes; ``settings`` are the flags of
    ``folio train`` with underscores (``epochs=3, lr=0.1, image_size=64, monitor="macro_f1",
    set={"widths": [512]}``).
    """
    with joined() as world:
        if out and world.main:
            RunFolder.require_free(Path(out))
        watcher = (watcher if world.main else None) or Monitor()
        with world.in_turn():
            start = prepare(
                network,
                data,
                settings,
                which=str(recipe) if recipe else None,
                wanted_task=task,
                progress=watcher.reading,
                world=world,
            )
        world.require_same("data", [start.dataset.fingerprint, start.splits.digest])
        world.require_same("batch size (--batch-size)", start.recipe.training.batch_size)
        if start.recipe.training.tensorboard:
            require_tensorboard()
        loop = make_loop(start, world=world)
        if not world.main:
            folder = RunFolder(Path(world.first("")))
            world.wait()  # for the recipe
            return fit(folder, start, loop, watcher, report)
        folder = RunFolder.create(Path(out)) if out else new_run(start)
        with folder.locked() as lines:
            start.lines += lines
            RunFolder.require_free(folder.path)  # still: another may have trained meanwhile
            world.first(str(folder.path.absolute()))
            folder.write_preprocessing(start.task.state)
            folder.write_data(
                start.dataset, start.splits.indices, start.splits.rule, start.splits.digest
            )
            training = start.recipe.training
            folder.write_environment(training.device, training.threads or 0, world.size)
            folder.write_recipe(start.recipe)
            world.wait()
            watcher.prepared(start, folder.path)
            return fit(folder, start, loop, watcher, report)


def fit(folder: RunFolder, start: Start, loop: Loop, monitor: Monitor, report: bool) -> "Run":
    """Run the loop to its end, then evaluate and report; a stopped one is left to be resumed.

    Of several processes the first writes and evaluates, and the others wait for it.
    """
    world = loop.world
    if not world.main:
        RunFolder.open(folder.path)  # which every host has to see
    recorder = Recorder(folder, start, monitor, world)
    with recorder:
        try:
            reason = loop.run(recorder)
        except FolioError as error:
            if world.main:
                folder.log(str(error))
                recorder.keep_best(loop)
            raise
    if reason == "stopped":
        raise (FolioError if world.main else PeerError)(
            f"Stopped by {recorder.asked_by} after {loop.progress.update:,} updates; everything is "
            f"saved. Go on with 'folio resume {folder.path}'."
        )
    last = loop.digest()
    run = Run(folder.path)
    if not world.main:
        world.wait()
        return run
    folder.log(f"ended: {reason}")
    try:
        run.finish(start, loop, reason, report, monitor.say, last)
    except KeyboardInterrupt:
        raise FolioError(
            f"Stopped by Ctrl-C while measuring; the training is complete and saved. "
            f"'folio resume {folder.path}' measures it."
        ) from None
    world.wait()
    return run


def locked(folder: RunFolder, world: Processes) -> AbstractContextManager[list[str]]:
    """Hold a run by the first process, which has to say what :meth:`RunFolder.locked` gives."""
    return folder.locked() if world.main else nullcontext([])


class Run:
    """A trained run folder: the only thing that evaluating and predicting need."""

    def __init__(self, path: str | Path) -> None:
        self.folder = RunFolder.open(path)
        self.path = self.folder.path
        self.recipe = self.folder.recipe()
        self._loaded: tuple[Task, Parts] | None = None
        self._answering: tuple[Context, Parts] | None = None

    @property
    def name(self) -> str:
        """The run's name: that of its folder."""
        return self.path.absolute().name

    @property
    def network(self) -> nn.Module:
        """The trained network with its best weights, in evaluation mode.

        An ensemble has several: a ``RequestError``.
        """
        _, parts = self.load()
        if "network" not in parts:
            raise RequestError(
                f"{self.path} has no single network but {', '.join(parts)}, as load()[1] returns "
                "them. The run of a member has one."
            )
        return parts.network

    @property
    def metrics(self) -> dict[str, Any]:
        """What ``metrics.json`` holds: the figures of the test split."""
        return self.folder.metrics()

    @property
    def history(self) -> list[dict[str, Any]]:
        """One row an epoch."""
        return self.folder.history()

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

    def resume(
        self, *, watcher: Monitor | None = None, report: bool = True, device: str | None = None
    ) -> "Run":
        """Go on where the training stopped; a finished one is only evaluated again.

        ``device`` goes on elsewhere than the training began; on another kind of device the
        weights at its end are no longer those of a training left alone. So it is with another
        number of processes. An ensemble has no training, and is only evaluated again.
        """
        with joined() as world, locked(self.folder, world) as lines:
            watcher = (watcher if world.main else None) or Monitor()
            world.wait()  # until the run is locked
            for line in lines:
                watcher.say(line)
            if not find_task(self.recipe.task["name"]).trained:
                if world.main:
                    dataset, splits = data_of(self.folder)
                    place = device or self.recipe.training.device
                    self.measure(dataset, splits.indices, place, say=watcher.say, report=report)
                world.wait()
                return self
            with world.in_turn():
                start = reopen(self.folder)
            training = again(start.recipe.training, device)
            began = self.folder.processes()
            if began is None:
                start.lines.append(
                    "environment.json is missing or damaged: it is taken that as many processes "
                    "began this training as go on with it"
                )
            elif world.size != began:  # each has another share of the cores
                training = replace(training, threads=None, graphs=None)
            start.recipe.training = training
            loop = make_loop(start, world=world)
            load_state(loop, self.folder.state(), self.path / "state")
            world.require_same("data or states", [start.dataset.fingerprint, loop.progress.update])
            watcher.prepared(start, self.path)
            if world.main:
                self.folder.log(f"resumed at update {loop.progress.update}")
            return fit(self.folder, start, loop, watcher, report)

    def finish(
        self,
        start: Start,
        loop: Loop,
        reason: str,
        report: bool,
        say: Callable[[str], None],
        last: str,
    ) -> None:
        """Evaluate the test split with the best weights; write metrics, predictions and report.

        ``last`` is the digest of the last weights.
        """
        splits = start.splits.indices
        with explained(loop.options, lambda: loop.progress.update):
            self.complete(start.dataset, splits["val"], loop.options.device, say)
        monitor, best_value = loop.chosen_by()
        training = {
            "reason": reason,
            "epochs": loop.progress.epoch,
            "updates": loop.progress.update,
            "seconds": round(loop.progress.seconds, 3),
            "best_epoch": loop.progress.best_epoch,
            "monitor": monitor,
            "best_value": best_value,
        }
        split = start.task.own_split(splits)
        facts = {"digest": last, "training": training}
        with explained(loop.options, lambda: loop.progress.update):
            self.conclude(
                start.dataset, splits, split, facts, loop.options.device, say=say, report=report
            )

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

    def evaluate(
        self,
        data: str | Path | Dataset | None = None,
        *,
        split: str | None = None,
        device: str = "auto",
        report: bool = True,
        say: Callable[[str], None] = lambda _: None,
        **reading: Any,
    ) -> dict[str, Any]:
        """Measure the run on its held-out split, or on other data; return the figures.

        They go to ``evaluations/`` of the run. ``split`` is "test" (unless given), "val" or
        "train" of the run's own data; of other data it is a split that they bring, by default
        their test split, or everything where they bring none. ``reading`` are arguments of
        :func:`open_data`; those left out are as in the run, where the same reader reads both and
        ``reader`` is not given.
        """
        if reading and (data is None or isinstance(data, Dataset)):
            raise RequestError(
                f"{', '.join(reading)}: these say how other data are read, and none are named. "
                "Name data, or leave them out."
            )
        task, parts, context = self.ready(device, say, report)
        if data is None:
            dataset, splits = data_of(self.folder)
            given, split = splits.indices, split or "test"
            name = f"split-{split}"
        else:
            dataset = self.other(task, data, **reading)
            given = dataset.given
            name = free_name(self.path / "evaluations", dataset.name)
            if split is None and len(given.get("test", ())):
                split = "test"
        if split is not None and split not in given:
            raise unknown("split", split, given)
        indices = np.arange(len(dataset)) if split is None else given[split]
        if not len(indices):
            raise RequestError(f"The {split} split of {dataset.path} holds no examples.")
        say(f"measuring {len(indices):,} examples: {split or 'all'} of {dataset.path}")
        target = self.path / "evaluations" / name
        evaluation = task.evaluate(parts, dataset, indices, context)
        old = self.folder.metrics() if (self.path / "metrics.json").is_file() else {}
        result = self.result(evaluation, dataset, split or "all", len(indices))
        result |= {"digest": old.get("digest"), "training": old.get("training", {})}
        if data is not None:
            result["copies_of_training"] = copies = self.copies(dataset, indices)
            if copies is None:
                say("the data of the training cannot be read, so copies of them were not sought")
            elif copies:
                from torchfolio.training.report import told_copies

                say(f"{told_copies(copies, len(indices))}: they were seen in training")
        target.mkdir(parents=True, exist_ok=True)
        relative = target.relative_to(self.path)
        self.folder.write_predictions(str(relative / "predictions"), evaluation)
        self.folder.write_metrics(result, target)
        if report:
            from torchfolio.training.report import write_run_report

            write_run_report(target / "report.html", self.folder, evaluation, result)
        return result | {"folder": str(target)}

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

    def predict(
        self,
        inputs: Iterable[Any],
        *,
        device: str = "auto",
        pictures: str | Path | None = None,
        **settings: Any,
    ) -> Iterator[dict[str, Any]]:
        """Answer inputs (paths of files for image tasks), one row each, errors included.

        A row holds "input", "prediction", "error" and more by task ("probability" and "top" of
        image classification). With ``pictures`` an annotated picture of each answer is written
        into that folder. ``settings`` are the flags of the task's answers (``top=5``).
        """
        task, parts, context = self.ready(device)
        if self._answering is None or self._answering[0].device != context.device:
            self._answering = (context, task.answering(parts, context))
        parts = self._answering[1]
        options: Any = read_options(task.AnswerOptions, settings, "the settings")
        require_pictures(options, pictures)
        rows = task.answer(parts, list(inputs), context, options)
        return rows if pictures is None else drawn(task, rows, Path(pictures))

    def features(
        self, inputs: Iterable[Any], *, layer: str | None = None, device: str = "auto"
    ) -> "Vectors":
        """Return what a layer of the network finds in inputs, as a vector each, errors included.

        A row holds "input", "vector" (NumPy, float32) and "error". ``layer`` is a name of
        ``network.named_modules()``; without it, what the head reads. Maps are averaged over height
        and width. The network computes in float32.
        """
        task, parts, context = self.ready(device, report=False)
        return task.vectors(parts, list(inputs), context, layer)

    def explain(
        self,
        inputs: Iterable[Any],
        out: str | Path,
        *,
        method: str | None = None,
        label: str | None = None,
        layer: str | None = None,
        device: str = "auto",
    ) -> Iterator[dict[str, Any]]:
        """Draw what the answers to pictures rest on, one row each, errors included.

        The pictures go into the folder ``out``. A row holds "input", "prediction", "probability",
        "method", "layer", "class" (the class or label explained), "picture" and "error".
        ``method`` is "grad-cam", "rollout" or "occlusion", the network's own unless given;
        ``label`` a class other than the answer, or a label other than the likeliest of the answer;
        ``layer`` a layer for Grad-CAM other than the last convolutional stage. Raises
        ``RequestError`` for what the run does not have.
        """
        task, parts, context = self.ready(device)
        given: dict[str, Any] = {"method": method, "label": label, "layer": layer}
        return task.explain(parts, list(inputs), context, Path(out), **given)

    def export(
        self,
        format: str = "onnx",  # noqa: A002
        file: str | Path | None = None,
        *,
        check: str | Path | Dataset | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Write the network with its best weights in another format; return what its check found.

        ``format`` is "onnx", "torch" (a program of ``torch.export``, .pt2) or "safetensors" (the
        weights alone). ``file`` is ``exports/<name of the run>`` in the run, with the format's
        suffix, unless given. It is checked on the run's own validation split (its test split where
        there is none, else its training split), or on other data with the same classes, ``check``;
        where the file answers otherwise than the run, that is a ``FolioError`` and there is no
        file. Keys: "file", "format", "metric", "torch", "exported", "difference" (the largest of
        two probabilities), "rounded" (answers that are others by rounding alone), "split",
        "examples". Computed in float32, on the CPU.
        """
        from torchfolio.export.exporting import export, facts_of, target_of

        path = target_of(format, file, self.path / "exports" / self.name)
        task, parts = self.load()
        network, settings = self.recipe.network["name"], self.recipe.network.get("set", {})
        found = export(
            task,
            Parts({name: on_cpu(part) for name, part in parts.items()}),
            lambda: task.rebuilt(self.recipe.network),
            facts_of(task, parts, network, settings, self.name),
            self.held(task, check),
            replace(self.context("cpu"), bf16=False),
            format,
            path,
            say,
        )
        return {"file": str(path), "format": format} | found.as_json()

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


def on_cpu(part: nn.Module) -> nn.Module:
    """Return a module on the CPU: itself, or a copy where it lies elsewhere."""
    if all(each.device.type == "cpu" for each in part.parameters()):
        return part
    return copy.deepcopy(part).cpu()


def free_name(folder: Path, name: str) -> str:
    """Return the first of ``name``, ``name-2``, ``name-3`` ... that the folder does not hold."""
    candidates = [name, *(f"{name}-{number}" for number in range(2, 10_000))]
    return next(each for each in candidates if not (folder / each).exists())


__all__ = ["Monitor", "Run", "train"]
