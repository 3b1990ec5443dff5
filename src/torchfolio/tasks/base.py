"""What a task is: the one interface that the loop, the run and the command know.

A task turns records into batches, batches into steps, and outputs into predictions, metrics
and pictures. The loop names no task, and no task has a loop of its own.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchfolio.data.dataset import Dataset, Indices, NoOptions
from torchfolio.data.draws import uniforms
from torchfolio.errors import RequestError
from torchfolio.networks.catalogue import Card, find_card
from torchfolio.tasks.rows import plain_values

if TYPE_CHECKING:
    from torchfolio.evaluation.answers import Answers
    from torchfolio.evaluation.report import Section
    from torchfolio.tasks.image_features import Vectors


class Parts(dict[str, nn.Module]):
    """The modules that are trained, each under its name: ``parts.network``."""

    def __getattr__(self, name: str) -> nn.Module:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no part {name!r}; there are {list(self)}") from None


@dataclass
class Step:
    """One loss, and the names of the parts that it trains.

    ``closure`` computes the loss (a mean over the batch's ``weight``) and may be called again; it
    may leave further figures in ``logs`` (means of the same kind, detached).
    """

    closure: Callable[[], Tensor]
    trains: tuple[str, ...] = ("network",)
    name: str = "loss"
    logs: dict[str, Tensor] = field(default_factory=dict)


class Batch(ABC):
    """What a task's ``load`` returns: tensors that can move to a device, and a length."""

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    def weight(self) -> float:
        """What the batch's losses are means over: its examples, or its tokens where a task says."""
        return len(self)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors among the attributes, by name."""
        return {name: each for name, each in vars(self).items() if isinstance(each, Tensor)}

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Return the batch with a function applied to each of its tensors."""
        found = copy.copy(self)
        for name, tensor in self.tensors().items():
            setattr(found, name, function(tensor))
        return found

    def to(self, device: torch.device) -> Self:
        """Return the batch on a device."""
        if device.type == "cpu":
            return self
        return self.mapped(lambda tensor: tensor.to(device, non_blocking=True))


class Meter(ABC):
    """Gathers outputs batch by batch and turns them into metrics."""

    @abstractmethod
    def update(self, outputs: Any, batch: Any) -> None:
        """Take the outputs of one batch."""

    @abstractmethod
    def merge(self, other: Any) -> None:
        """Take all that another meter of this kind, of other examples, has gathered."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Return the metrics of all batches so far."""


@dataclass
class Evaluation:
    """The full measurement of one split: what ``metrics.json`` and the report hold.

    ``metrics`` maps names to ``{"value", "low", "high"}``; ``baseline`` likewise, of the trivial
    answer; ``predictions`` are rows for ``predictions/``; ``sections`` are for the report, where
    one is wanted. ``arrays`` are written beside the rows as they are, with a row for each of them.
    The lines of ``details["notes"]`` are printed below the figures.
    """

    metrics: dict[str, dict[str, float | None]]
    baseline: dict[str, dict[str, float | None]]
    predictions: list[dict[str, Any]]
    sections: "list[Section]"
    details: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class HeldOut:
    """One of several trainings: its task and parts, and the examples that it was tested on.

    ``place`` says which one it is, in the columns of ``predictions/``.
    """

    task: "Task"
    parts: Parts
    indices: Indices
    place: dict[str, Any]


class Task(ABC):
    """One kind of problem.

    ``Options`` is a dataclass of the task's own flags, ``AnswerOptions`` one of the flags of its
    answers (``folio predict``). What ``prepare`` decides and fits on the training split (sizes,
    means, vocabularies) lies in ``self.state``: plain values and tensors, which the run keeps
    under ``preprocessing/`` and every later use reads back.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]  # the kinds of dataset that it takes
    Options: ClassVar[type] = NoOptions
    AnswerOptions: ClassVar[type] = NoOptions
    part_names: ClassVar[tuple[str, ...]] = ("network",)  # each has its section [optimizer.NAME]
    # Whether it has a training; an ensemble's members had theirs, of ``state["seconds"]`` together.
    trained: ClassVar[bool] = True
    # Whether a batch is one step, computed from the batch's tensors alone (a CUDA graph can be).
    one_step: ClassVar[bool] = False
    # The metric that chooses the best weights, unless another is named; None: the last are used.
    monitor: ClassVar[str | None] = None
    # The figures that are laid side by side where several runs are shown, the first for all.
    headline: ClassVar[tuple[str, ...]] = ()
    # How answers are laid beside another run's (torchfolio.comparison); None: they are not.
    Compared: "ClassVar[type[Answers] | None]" = None

    def __init__(self, options: Any, state: dict[str, Any] | None = None) -> None:
        self.options = options
        self.state: dict[str, Any] = state or {}

    @property
    def higher_is_better(self) -> Mapping[str, bool]:
        """Return for every metric of the meter, by its name, whether more is better."""
        return {}

    # Before training

    @abstractmethod
    def prepare(self, card: Card, dataset: Dataset, train: Indices) -> list[str]:
        """Decide sizes and fit the preprocessing on the training split, into ``self.state``.

        Returns what was decided and why, one line each, to be printed.
        """

    def inherit(self, state: dict[str, Any], asked: frozenset[str]) -> list[str]:
        """Take over preprocessing from the run that given weights come from (its ``state``).

        ``asked`` are the options that the person set: those stay. Returns lines, as ``prepare``.
        """
        return []

    @abstractmethod
    def parts(self, card: Card, **arguments: Any) -> Parts:
        """Build the modules for the prepared data; ``arguments`` are those of ``--set``."""

    def bytes_of_example(self, card: Card, enough: int, **arguments: Any) -> int:
        """Return how many bytes one example takes in an update, about or at most; 0 if unknown.

        Where it is no more than ``enough``, it need not be known better. The proposed batch is
        halved until it fits the memory. ``arguments`` are those of ``--set``.
        """
        return 0

    def rebuilt(self, network: Mapping[str, Any]) -> Parts:
        """Build the modules of a run anew; ``network`` is the section [network] of its recipe."""
        return self.parts(find_card(network["name"]), **network.get("set", {}))

    # Training

    def batches(
        self, dataset: Dataset, split: Indices, size: int, seed: int, epoch: int
    ) -> list[Indices]:
        """Return the batches of one epoch as arrays of record indices: a random permutation.

        The order is drawn per example, so it does not depend on anything but seed and epoch.
        A last batch of one example joins the one before: batch norm cannot train on it.
        """
        order = np.argsort(uniforms("order", seed, epoch, split, 1)[:, 0], kind="stable")
        return in_batches(split[order], size)

    def read_ahead(self, dataset: Dataset, split: Indices) -> None:  # noqa: B027  (most need none)
        """Read what training will need, before the first update, where that is quicker."""

    @abstractmethod
    def load(self, dataset: Dataset, indices: Indices, epoch: int | None, seed: int) -> Any:
        """Read records as one batch; ``epoch`` is None where nothing is random (evaluation).

        Called from several threads at once.
        """

    @abstractmethod
    def steps(self, parts: Parts, batch: Any) -> Iterator[Step]:
        """Yield the steps of one batch, one after another; the loop takes each before the next."""

    def what_is_random(self) -> str:
        """Say what of an example is random in training, and what leaves it out; "" if nothing is.

        Where nothing is, what a frozen network makes of an example can be computed once.
        """
        return f"examples of {self.name} may differ from epoch to epoch"

    def reading(self, features: Callable[[Indices], Tensor]) -> Self:
        """Return this task with batches of what the head of its only part reads.

        ``features`` gives that for records by their indices, a row each. A task in which nothing
        is random has this.
        """
        raise NotImplementedError

    # Measuring

    @abstractmethod
    def predict(self, parts: Parts, batch: Any) -> Any:
        """Return the outputs for a batch that was loaded without randomness."""

    @abstractmethod
    def meter(self) -> Meter:
        """Return an empty meter for the figures of each epoch; it includes ``loss``."""

    def conclude(
        self, parts: Parts, dataset: Dataset, validation: Indices, context: "Context"
    ) -> list[str]:
        """Decide what needs the trained parts, on validation data, into ``self.state``.

        It is asked at the end of a training with validation data, before anything is evaluated.
        Returns what was decided and why, one line each; without a line nothing was.
        """
        return []

    def own_split(self, splits: Mapping[str, Indices]) -> str:
        """Return the split that a run's own figures are of: "test", or "val" where it is empty."""
        return "test" if len(splits["test"]) else "val"

    @abstractmethod
    def evaluate(
        self, parts: Parts, dataset: Dataset, split: Indices, context: "Context"
    ) -> Evaluation:
        """Measure one split fully: metrics with intervals, baseline, predictions, pictures."""

    def pool(self, held_out: Iterable[HeldOut], dataset: Dataset, context: "Context") -> Evaluation:
        """Measure together what several trainings of this task were each tested on.

        Intervals are over independent examples: those that several were tested on are one unit.
        A task that has this can be cross-validated (:mod:`torchfolio.folds`).
        """
        raise NotImplementedError

    # Use

    def answering(self, parts: Parts, context: "Context") -> Parts:
        """Return the parts as they answer soonest: with the same outputs, but for rounding.

        They are in evaluation mode and on the context's device.
        """
        return parts

    def adapt(self, dataset: Dataset) -> Dataset:
        """Return other data of the same kind with this run's classes or columns, or say why not."""
        return dataset

    @abstractmethod
    def answer(
        self, parts: Parts, inputs: Sequence[Any], context: "Context", options: Any
    ) -> Iterator[dict[str, Any]]:
        """Answer inputs as people give them (paths), one row each, errors included.

        ``parts`` are those that :meth:`answering` returned.

        A row holds "input", "prediction", "error" (``None``, or what is wrong with the input, with
        ``None`` as prediction) and more by task, all as JSON knows it. ``options`` are the
        task's ``AnswerOptions``.
        """

    def vectors(
        self, parts: Parts, inputs: Sequence[Any], context: "Context", layer: str | None
    ) -> "Vectors":
        """Return what a layer of the network finds in inputs, as a vector each, errors included.

        ``parts`` are as they were trained; without a ``layer`` it is what the head reads.
        """
        raise RequestError(
            f"{self.name} has no features; image-classification and multilabel-classification have."
        )

    def line(self, row: dict[str, Any]) -> str:
        """Return an answer, a row without error, as the text that a person reads."""
        return str(row["prediction"])

    def briefly(self, row: dict[str, Any]) -> str:
        """Return the answer alone, of a row without error, as text: without what comes second."""
        return str(row["prediction"])

    def cells(self, row: dict[str, Any]) -> dict[str, Any] | list[dict[str, Any]]:
        """Return an answer, a row without error, as columns of a table: plain values in order.

        An answer that says several things is as many rows.
        """
        return plain_values(row)

    def picture(self, row: dict[str, Any], target: Path) -> Path | None:
        """Write an answer as a picture where the task has one; return its path."""
        return None

    def explain(
        self,
        parts: Parts,
        inputs: Sequence[Any],
        context: "Context",
        folder: Path,
        *,
        method: str | None,
        label: str | None,
        layer: str | None,
    ) -> Iterator[dict[str, Any]]:
        """Draw what answers rest on: a picture an input in the folder, one row each.

        A row is that of an answer, with "method", "layer" and "picture". What a task does not have
        is a ``RequestError``, raised before the first row. ``method`` is by default the network's
        own, ``label`` (the class or label explained) the answer, and ``layer`` the last that will
        do.
        """
        raise RequestError(
            f"The answers of {self.name} cannot be explained; those of image-classification and "
            "multilabel-classification can."
        )

    # Export

    def not_exported(self) -> RequestError:
        """Return the error for a task whose runs cannot be exported."""
        return RequestError(
            f"Runs of the task {self.name} cannot be exported. 'folio predict' answers with the "
            "run folder itself, which holds all that it needs."
        )

    def export_inputs(self, parts: Parts) -> list[dict[str, Any]]:
        """Return what each input of the exported network takes, as plain values.

        "name" and "dtype" ("uint8" or "float32"), "channels" and "size" give the type and shape of
        a batch, (batch, channels, size, size); the rest is what the task's answers read, so that a
        person's input is prepared as the run prepares it: of pictures "depth", "resize" and "fill".
        Where pictures keep their sizes, "sides" says which a batch may have: a step, what is left
        over it, and the least; "size" is then what is usual.
        Raises ``RequestError`` for a task whose runs cannot be exported.
        """
        raise self.not_exported()

    def exported(self, parts: Parts) -> nn.Module:
        """Return what is exported: from a batch for each input to the task's outputs.

        It takes batches as :meth:`export_inputs` says, one argument each, prepares them further
        itself (normalisation), and returns float32, (batch, outputs), as :meth:`predict` does.
        The parts are in evaluation mode and on the CPU.
        """
        raise self.not_exported()

    def export_facts(self, parts: Parts) -> dict[str, Any]:
        """Return what the answers of an exported file read besides, as plain values."""
        return {
            key: list(self.state[key]) for key in ("classes", "thresholds") if key in self.state
        }

    def outputs_of(self, parts: Parts, batch: Any) -> Any:
        """Return what an exported file says of each example of a batch, by the run itself.

        It is what :meth:`exported` returns, float32, or what the file's answers make of that.
        """
        return self.predict(parts, batch)[0].numpy()

    def checked(self, outputs: Any, dataset: Dataset, indices: Indices) -> tuple[str, float]:
        """Return the figure that an exported file must share with the run: its name and value.

        ``outputs`` are those of :meth:`outputs_of` for some examples: an array (examples, outputs),
        or a list of arrays where they are of several shapes.
        """
        raise self.not_exported()

    def changed(self, outputs: Any, others: Any) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        """Return which answers are others by other outputs, and how clearly ours were given.

        Both (examples,). The second is how far apart ``outputs`` put what decides between the two
        answers: two probabilities, or one and its threshold; 0 where the answers are the same.
        """
        raise self.not_exported()

    def state_dict(self) -> dict[str, Any]:
        """Return what the task remembers between batches (an image pool); most remember nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027  (most need none)
        """Take back what :meth:`state_dict` returned."""


def in_batches(order: Indices, size: int) -> list[Indices]:
    """Cut an order into batches; a last batch of one example joins the one before.

    Of no examples there are no batches.
    """
    if not len(order):
        return []
    cuts = list(range(size, len(order), size))
    if len(cuts) > 0 and size > 1 and len(order) - cuts[-1] == 1:
        cuts.pop()
    return np.split(order, cuts)


@dataclass(frozen=True)
class Context:
    """Where and how measuring runs: the device, the batch size, the seed of resampling.

    ``report`` says whether the sections of a report are wanted, ``bf16`` whether the network may
    answer in bf16.
    """

    device: torch.device
    batch_size: int = 64
    workers: int = 1
    seed: int = 0
    say: Callable[[str], None] = print
    report: bool = True
    bf16: bool = False
