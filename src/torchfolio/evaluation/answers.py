"""What runs said of the same examples, and how far each is ahead of another.

Every difference has a paired percentile bootstrap interval: all are measured on the same resamples.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from torchfolio.evaluation import ranking
from torchfolio.evaluation.counts import macro
from torchfolio.evaluation.intervals import RESAMPLES, Floats
from torchfolio.evaluation.paired import Gap, Pair, compare, gap_of

RESAMPLES_A_PAIR = 100  # at least: of all pairs' smallest p, Holm's adjustment leaves 0.02 or less


@dataclass(frozen=True)
class Answers(ABC):
    """What a run said of examples, read from what its evaluation wrote.

    ``names`` says which examples they are; ``truth`` and ``given`` (examples,) are the right answer
    and the run's own as text, equal if they are the same; ``groups`` names what hangs together
    (examples,); ``arrays`` has a row for each example, too.
    """

    column: ClassVar[str]  # of the right answer, in the table of predictions
    needs: ClassVar[tuple[str, ...]] = ()  # the arrays that it reads

    names: list[str]
    truth: NDArray[np.str_]
    given: NDArray[np.str_]
    groups: NDArray[np.str_] | None
    arrays: Mapping[str, NDArray[Any]]

    @classmethod
    @abstractmethod
    def gaps(cls, runs: Sequence[Self], seed: int) -> Mapping[str, Sequence[Gap]]:
        """Return how far each run is ahead of each later one, in the order of ``combinations``.

        Under the name of each metric that is compared, the one that counts most first.
        """


class OneClass(Answers):
    """One class an example: accuracy."""

    column = "label"

    @classmethod
    def gaps(cls, runs: Sequence[Self], seed: int) -> dict[str, Sequence[Gap]]:
        return {"accuracy": right_answers(runs, seed)}


class SeveralLabels(Answers):
    """Several labels an example: mean average precision, and how often all labels are right.

    ``arrays`` holds "probabilities" and "targets", ones and zeros (both examples, labels).
    """

    column = "labels"
    needs = ("probabilities", "targets")

    @classmethod
    def gaps(cls, runs: Sequence[Self], seed: int) -> dict[str, Sequence[Gap]]:
        pairs = list(combinations(range(len(runs)), 2))
        resamples = max(RESAMPLES, RESAMPLES_A_PAIR * len(pairs))
        values = [run.precision() for run in runs]
        samples = [run.resampled_precision(resamples, seed) for run in runs]
        ahead = [
            gap_of(values[one] - values[other], samples[one] - samples[other])
            for one, other in pairs
        ]
        return {
            "mean_average_precision": ahead,
            "subset_accuracy": right_answers(runs, seed),
        }

    def precision(self) -> float:
        """Return the mean average precision."""
        columns = zip(self.arrays["probabilities"].T, self.arrays["targets"].T, strict=True)
        return float(macro(np.array([ranking.pooled(*column) for column in columns])))

    def resampled_precision(self, resamples: int, seed: int) -> Floats:
        """Return the mean average precision of resampled examples (resamples,)."""
        found = ranking.resampled(
            self.arrays["probabilities"],
            self.arrays["targets"],
            groups=self.groups,
            resamples=resamples,
            seed=seed,
        )
        return macro(found["average_precision"])


def right_answers(runs: Sequence[Answers], seed: int) -> list[Pair]:
    """Return how far each run is ahead of each later one by the share of its right answers."""
    return [
        compare(one.given, other.given, one.truth, groups=one.groups, seed=seed)
        for one, other in combinations(runs, 2)
    ]
