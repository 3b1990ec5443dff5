"""Whether an exported network answers as the run does, on the run's own held-out data."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.folders import counted
from torchfolio.errors import FolioError
from torchfolio.export.exported import Exported
from torchfolio.tasks.base import Context, Parts, Task, in_batches
from torchfolio.tasks.outputs import outputs

# Of a probability. Other libraries add a network's products in another order, which moves float32
# by some 1e-6; what moves it further is no rounding.
TOLERANCE = 1e-4
# Of the margin by which the run gives an answer: ten times as much as rounding moves it.
EDGE = 1e-5
MOST = 2**27  # values of all examples together
ONE_BY_ONE = 32  # examples that are also asked one by one, at most
LEAST = 8  # examples that are compared, however much is said of each

# Of some examples, in batches of so many at most: (examples, outputs), or a list of arrays where
# what is said of examples has several shapes.
Ask = Callable[[Indices, int], Any]


def sample(run: Ask, held: "Held") -> "Held":
    """Return the examples that are compared: all, or as many as fit the memory, evenly chosen.

    A detector says of one picture as much as a classifier of thousands.
    """
    most = max(LEAST, MOST // run(held.indices[:1], 1)[0].size)
    if len(held.indices) <= most:
        return held
    rows = np.unique(np.linspace(0, len(held.indices) - 1, most).astype(np.int64))
    return replace(held, indices=held.indices[rows])


class Judge(Protocol):
    """What a check asks of a task: its figure, and which answers differ (``tasks.base.Task``)."""

    def checked(self, outputs: Any, dataset: Dataset, indices: Indices) -> tuple[str, float]: ...

    def changed(self, outputs: Any, others: Any) -> tuple[NDArray[np.bool_], NDArray[Any]]: ...


@dataclass(frozen=True)
class Held:
    """The examples to check on: those of one split of a dataset."""

    dataset: Dataset
    indices: Indices
    split: str


@dataclass(frozen=True)
class Checked:
    """What a check found: the metric by the run and by the file, and how far they differ.

    ``difference`` is the largest between two probabilities; ``rounded`` counts the answers that are
    others by rounding alone.
    """

    metric: str
    torch: float
    exported: float
    difference: float
    rounded: int
    split: str
    examples: int

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dict(vars(self))


def check(run: Ask, file: Ask, held: Held, at_once: int, name: str, task: Judge) -> Checked:
    """Compare the run with a file: all examples in batches, and a few of them one by one.

    Raises ``FolioError``, which names the figures, where the figure of the task differs, or a
    probability by more than ``TOLERANCE``. One thing may move the figure: an answer that the run
    gives by a margin of at most ``EDGE``. Its two probabilities are then one number but for
    rounding, a sum in another order decides for the other, and the run itself may on another
    machine; no file can be held to it. Such answers count as the run gives them, and are counted.
    ``EDGE`` lies well below ``TOLERANCE``: were they the same, no file with probabilities near
    enough could move the figure, which would check nothing more.
    """
    expected, found = run(held.indices, at_once), file(held.indices, at_once)
    if not all(np.isfinite(each).all() for each in expected):
        raise FolioError(
            "The run itself answers with probabilities that are no numbers: its training diverged. "
            "Nothing was written."
        )
    count = len(held.indices)
    few = np.unique(np.linspace(0, count - 1, min(count, ONE_BY_ONE)).astype(np.int64))
    alone = file(held.indices[few], 1)
    differences = [
        np.abs(one - other).max()
        for ours, theirs in ((expected, found), ([expected[row] for row in few], alone))
        for one, other in zip(ours, theirs, strict=True)
    ]
    changed, margins = task.changed(expected, found)
    rounded = changed & (margins <= EDGE)
    pairs = zip(rounded, expected, found, strict=True)
    decided = together([ours if same else theirs for same, ours, theirs in pairs])
    metric, by_run = task.checked(expected, held.dataset, held.indices)
    _, by_file = task.checked(found, held.dataset, held.indices)
    _, apart = task.checked(decided, held.dataset, held.indices)  # from rounding
    result = Checked(
        metric=metric,
        torch=by_run,
        exported=by_file,
        difference=float(np.max(differences)),  # not a number where one of them is none
        rounded=int(rounded.sum()),
        split=held.split,
        examples=count,
    )
    if by_run != apart or not result.difference <= TOLERANCE:
        flips = ""
        if changed.any():
            flips = (
                f"{counted(int(changed.sum()), 'other answer')}, where the run's is ahead by up to "
                f"{margins[changed].max():.2g} ({EDGE:g} would be rounding); "
            )
        raise FolioError(
            f"The exported file does not answer as the run does, on {count:,} {held.split} "
            f"examples: {result.metric} {result.torch:.6f} by the run, {result.exported:.6f} by "
            f"the file; {flips}probabilities differ by up to {result.difference:.2g} "
            f"({TOLERANCE:g} would be rounding). {name} was not written. Another --format may do; "
            "this is a fault of ours or of torch's exporter."
        )
    return result


def by_task(task: Task, parts: Parts, dataset: Dataset, context: Context) -> Ask:
    """Return what asks the networks of a run, by the way that ``folio evaluate`` goes."""
    answering = task.answering(parts, context)

    def ask(indices: Indices, at_once: int) -> Any:
        found = outputs(
            lambda part: task.load(dataset, part, None, 0),
            lambda batch: task.outputs_of(answering, batch),
            in_batches(indices, at_once),
            context,
        )
        return together([each for batch in found for each in batch])

    return ask


def by_file(file: Exported, dataset: Dataset) -> Ask:
    """Return what asks an exported file, by the way that ``folio predict`` goes."""

    def ask(indices: Indices, at_once: int) -> Any:
        def read(index: int) -> Any:
            return file.answers.record(dataset.records, index)

        found = [each for _, _, each in file.outputs(read, indices.tolist(), at_once)]
        return together([each for each in found if not isinstance(each, str)])

    return ask


def together(outputs: list[NDArray[Any]]) -> Any:
    """Return arrays as one where they have one shape."""
    return np.stack(outputs) if len({each.shape for each in outputs}) == 1 else outputs
