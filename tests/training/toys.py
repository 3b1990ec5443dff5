"""Small data, tasks and listeners that the tests of the training room share."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchfolio.checkpoint import pack, read_tensors, unpack, write_tensors
from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.records import ImageArray, size_facts
from torchfolio.networks.catalogue import find_card
from torchfolio.tasks.base import Batch, Meter, Parts, Step, Task
from torchfolio.tasks.image_classification import ImageClassification, ImageOptions
from torchfolio.tasks.multilabel_classification import MultilabelClassification, MultilabelOptions
from torchfolio.training.device import resolve_device, seed_for
from torchfolio.training.loop import Loop
from torchfolio.training.optimizers import make_optimizer
from torchfolio.training.options import TrainingOptions
from torchfolio.training.processes import Processes

Splits = dict[str, Indices]
SGD = {"name": "sgd", "lr": 0.05, "momentum": 0.9}
TIMES = ("seconds", "data_wait", "examples_per_second")  # columns that no two trainings share


def options(**settings: Any) -> TrainingOptions:
    """Options of a quick training on the CPU, in the test's own thread."""
    settings = {
        "device": "cpu",
        "precision": "fp32",
        "workers": 0,
        "threads": 1,
        "epochs": 2,
        "batch_size": 8,
    } | settings
    return resolve_device(TrainingOptions(**settings))


def splits_of(count: int, val: int) -> Splits:
    """The first records to train on, the last ``val`` to validate on, none to test on."""
    order = np.arange(count)
    return {"train": order[: count - val], "val": order[count - val :], "test": order[:0]}


class Listener:
    """Notes what the loop reports, and stops it after an update if told to."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.updates: list[int] = []
        self.losses: list[float | None] = []
        self.rates: list[float] = []
        self.weights: list[dict[str, Tensor]] = []  # after each update
        self.best: dict[str, dict[str, Tensor]] | None = None

    def started(self, loop: Loop) -> None:
        pass

    def updated(self, loop: Loop, loss: float | None) -> None:
        self.updates.append(loop.progress.update)
        self.losses.append(loss)
        self.rates.append(next(iter(loop.optimizers.values())).rate)
        self.weights.append(weights(loop))

    def epoch_ended(self, loop: Loop, row: dict[str, Any]) -> None:
        pass

    def should_stop(self) -> bool:
        return self.stop_after is not None and self.updates[-1:] == [self.stop_after]

    def save(self, loop: Loop, *, final: bool) -> None:
        self.best = loop.best if loop.best is not None else self.best


def weights(loop: Loop) -> dict[str, Tensor]:
    """Every parameter and buffer as it is now."""
    return {name: tensor.clone() for name, tensor in Loop.tensors(loop.parts).items()}


def through_a_file(state: Any, path: Path) -> Any:
    """The state as another process would find it."""
    tensors: dict[str, Tensor] = {}
    packed = pack(state, tensors)
    write_tensors(path, tensors, packed)
    read, header = read_tensors(path)
    return unpack(header, read)


def assert_same(first: Any, second: Any, where: str = "") -> None:
    """Compare nested values bit for bit, times aside."""
    assert type(first) is type(second), where
    if isinstance(first, Tensor):
        assert first.dtype == second.dtype, where
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert set(first) == set(second), where
        for key in first:
            if key not in (*TIMES, "waited", "epoch_seconds"):
                assert_same(first[key], second[key], f"{where}/{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_same(one, other, f"{where}/{number}")
    else:
        assert first == second or (first != first and second != second), where


# Rows of numbers


class Rows:
    """Rows of numbers in memory."""

    in_memory = True

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"row {index}"

    def digests(self) -> NDArray[np.uint64]:
        return np.arange(self.count, dtype=np.uint64)


def row_data(count: int) -> Dataset:
    everything = np.arange(count)
    return Dataset("rows", "rows", "rows", "rows", Rows(count), {"train": everything}, "rows")


@dataclass
class RowBatch(Batch):
    """Inputs (batch, columns), targets (batch, 1) and the numbers of the rows (batch,)."""

    inputs: Tensor
    targets: Tensor
    rows: Indices

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> "RowBatch":
        return self


class MeanLoss(Meter):
    """The mean of the losses that ``predict`` returned."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def update(self, outputs: Tensor, batch: RowBatch) -> None:
        self.total += float(outputs) * len(batch)
        self.count += len(batch)

    def merge(self, other: "MeanLoss") -> None:
        self.total += other.total
        self.count += other.count

    def compute(self) -> dict[str, float]:
        return {"loss": self.total / self.count}


def small_network(dropout: float = 0.0) -> nn.Module:
    layers = [nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1)]
    if dropout:
        layers.insert(2, nn.Dropout(dropout))
    return nn.Sequential(*layers)


class Regression(Task):
    """Rows of four numbers; the target is a fixed function of them; squared error."""

    name = "regression"
    kinds = ("rows",)
    monitor: ClassVar[str | None] = "loss"
    higher_is_better: ClassVar[dict[str, bool]] = {"loss": False}

    def __init__(self, make: Callable[[], nn.Module] = small_network) -> None:
        super().__init__(None)
        self.make = make

    def prepare(self, *_: Any) -> list[str]:
        return []

    def parts(self, *_: Any, **__: Any) -> Parts:
        seed_for("initial weights", 0)
        return Parts(network=self.make())

    def load(self, dataset: Dataset, indices: Indices, epoch: int | None, seed: int) -> RowBatch:
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(len(dataset), 4, generator=generator)[torch.from_numpy(indices)]
        return RowBatch(inputs, (inputs[:, :1] * inputs[:, 1:2] + inputs[:, 2:3]), indices)

    def error(self, parts: Parts, batch: RowBatch) -> Tensor:
        return (parts.network(batch.inputs) - batch.targets).square().mean()

    def steps(self, parts: Parts, batch: RowBatch) -> Iterator[Step]:
        yield Step(lambda: self.error(parts, batch))

    def predict(self, parts: Parts, batch: RowBatch) -> Tensor:
        return self.error(parts, batch)

    def meter(self) -> Meter:
        return MeanLoss()

    def evaluate(self, *_: Any) -> Any:
        raise NotImplementedError

    def answer(self, *_: Any) -> Any:
        raise NotImplementedError


def row_loop(
    task: Task | None = None,
    optimizers: dict[str, dict[str, Any]] | None = None,
    *,
    count: int = 48,
    val: int = 8,
    world: Processes | None = None,
    **settings: Any,
) -> Loop:
    """A loop over rows, from its beginning."""
    task = task or Regression()
    parts = task.parts(None)  # type: ignore[arg-type]
    sections = optimizers or dict.fromkeys(parts, SGD)
    by_layer = "unfreeze" in settings
    made = {
        name: make_optimizer(name, part, sections[name], by_layer=by_layer)
        for name, part in parts.items()
    }
    splits = splits_of(count, val)
    return Loop(task, parts, made, row_data(count), splits, options(**settings), world)


# Pictures


def digit_data(count: int, side: int = 32) -> Dataset:
    """The first of scikit-learn's 8x8 digits, each pixel enlarged to a block."""
    from sklearn.datasets import load_digits  # whose import takes longer than most tests

    found = load_digits()
    block = np.ones((side // 8, side // 8))
    pictures = np.kron(found.images[:count] * 255 / 16, block).astype(np.uint8)[..., None]
    return Dataset(
        "image-classification",
        "digits",
        "digits",
        "digits",
        ImageArray(pictures, [("digits", count)]),
        {"train": np.arange(count)},
        "digits",
        tuple("0123456789"),
        found.target[:count].astype(np.int64),
        facts=size_facts(np.full((count, 2), side), 1, 8),
    )


def digit_loop(
    network: str = "lenet5",
    optimizer: dict[str, Any] | None = None,
    task_options: dict[str, Any] | None = None,
    *,
    count: int = 96,
    val: int = 24,
    side: int = 32,
    task_kind: type[ImageClassification] = ImageClassification,
    prepare: Callable[[nn.Module], Any] | None = None,
    world: Processes | None = None,
    **settings: Any,
) -> Loop:
    """A loop of a network of the catalogue over digits; ``prepare`` sees it before training."""
    data, splits, card = digit_data(count, side), splits_of(count, val), find_card(network)
    task = task_kind(ImageOptions(**(task_options or {})))
    task.prepare(card, data, splits["train"])
    seed_for("initial weights", 0)
    parts = task.parts(card)
    if prepare is not None:
        prepare(parts.network)
    by_layer = "unfreeze" in settings
    section = optimizer or SGD
    made = {"network": make_optimizer("network", parts.network, section, by_layer=by_layer)}
    return Loop(task, parts, made, data, splits, options(**settings), world)


# Several labels


def label_data(count: int) -> Dataset:
    """Digits with three labels each: even, below five, and round (with a closed loop)."""
    data = digit_data(count)
    digits, data.labels = data.labels, None
    assert digits is not None
    told = [digits % 2 == 0, digits < 5, np.isin(digits, (0, 6, 8, 9))]
    data.targets = np.stack(told, 1).astype(np.uint8)
    data.kind, data.classes = "multilabel-classification", ("even", "below five", "round")
    return data


def label_loop(
    network: str = "lenet5",
    task_options: dict[str, Any] | None = None,
    *,
    count: int = 96,
    val: int = 24,
    prepare: Callable[[nn.Module], Any] | None = None,
    world: Processes | None = None,
    **settings: Any,
) -> Loop:
    """A loop of several labels a picture; ``prepare`` sees the network before training."""
    data, splits, card = label_data(count), splits_of(count, val), find_card(network)
    task = MultilabelClassification(MultilabelOptions(**(task_options or {})))
    task.prepare(card, data, splits["train"])
    seed_for("initial weights", 0)
    parts = task.parts(card)
    if prepare is not None:
        prepare(parts.network)
    made = {"network": make_optimizer("network", parts.network, SGD)}
    return Loop(task, parts, made, data, splits, options(**settings), world)


def copied(value: Any) -> Any:
    """A deep copy, for states that live on."""
    return copy.deepcopy(value)
