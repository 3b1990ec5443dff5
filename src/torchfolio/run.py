"""``train``, and ``Run``: what was trained."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from torchfolio.checkpoint import free_name
from torchfolio.data.dataset import Dataset
from torchfolio.errors import FolioError, PeerError, RequestError, unknown
from torchfolio.options import read_options
from torchfolio.tasks.base import Context, Parts
from torchfolio.tasks.drawing import drawn, require_pictures
from torchfolio.tasks.registry import find_task
from torchfolio.training.damage import load_state
from torchfolio.training.device import again
from torchfolio.training.failures import explained
from torchfolio.training.folder import RunFolder
from torchfolio.training.loop import Loop
from torchfolio.training.numbering import new_run
from torchfolio.training.opened import OpenedRun
from torchfolio.training.processes import Processes, joined
from torchfolio.training.recording import Monitor, Recorder, require_tensorboard
from torchfolio.training.start import Start, data_of, make_loop, prepare, reopen

if TYPE_CHECKING:
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


class Run(OpenedRun):
    """A trained run folder: the only thing that evaluating and predicting need."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._answering: tuple[Context, Parts] | None = None

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
            parts,
            lambda: task.rebuilt(self.recipe.network),
            facts_of(task, parts, network, settings, self.name),
            self.held(task, check),
            replace(self.context("cpu"), bf16=False),
            format,
            path,
            say,
        )
        return {"file": str(path), "format": format} | found.as_json()


__all__ = ["Monitor", "Run", "train"]
