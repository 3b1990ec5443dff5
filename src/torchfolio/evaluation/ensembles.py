"""An ensemble beside its members: what it gains, and how often the members disagree.

An ensemble can only gain where members err on different examples. How often they do is counted for
each pair (the fields of Kuncheva and Whitaker, "Measures of diversity in classifier ensembles",
2003, Section 2). Their *oracle*, right wherever any member is, is what no choice among the members'
answers can surpass.
"""

from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from numpy.typing import ArrayLike, NDArray

from torchfolio.evaluation.intervals import Interval, mean_interval
from torchfolio.evaluation.measures import checked, losses
from torchfolio.evaluation.paired import Overlap, Pair, compare, holm, overlap, verdict


@dataclass(frozen=True)
class Standing:
    """How one classifier, a member or the ensemble, does on the examples."""

    accuracy: Interval
    log_loss: Interval


@dataclass(frozen=True)
class EnsembleResult:
    """The figures of an ensemble and its members on the same examples.

    ``members`` are in order. ``pairs`` hold the ensemble (first) beside each member, ``p`` the
    p-values adjusted for their number (Holm); ``overlaps`` two members each, by their places.
    ``unanimous`` counts the examples on which all members give the same answer, ``all_right``
    those on which it is the right one; ``oracle`` is the share on which at least one is right.
    """

    ensemble: Standing
    members: list[Standing]
    pairs: list[Pair]
    p: list[float]
    overlaps: list[tuple[int, int, Overlap]]
    examples: int
    unanimous: int
    all_right: int
    oracle: Interval

    def verdicts(self, names: list[str]) -> list[str]:
        """Say in words what the ensemble gains over each member."""
        pairs = zip(names, self.pairs, self.p, strict=True)
        return [verdict(pair, p, "the ensemble", name) for name, pair, p in pairs]

    def as_json(self, names: list[str]) -> dict[str, Any]:
        """Return it as plain values."""
        pairs = zip(names, self.pairs, self.p, self.verdicts(names), strict=True)
        return {
            "members": [
                {
                    "name": name,
                    "accuracy": member.accuracy.as_json(),
                    "log_loss": member.log_loss.as_json(),
                }
                for name, member in zip(names, self.members, strict=True)
            ],
            "pairs": [
                {
                    "first": "ensemble",
                    "second": name,
                    **pair.as_json(),
                    "p_adjusted": p,
                    "verdict": words,
                }
                for name, pair, p, words in pairs
            ],
            "disagreement": [
                {"first": names[one], "second": names[other], **asdict(counts)}
                for one, other, counts in self.overlaps
            ],
            "unanimous": self.unanimous,
            "all_right": self.all_right,
            "oracle": self.oracle.as_json(),
        }


def evaluate(
    members: NDArray[Any],
    ensemble: NDArray[Any],
    labels: NDArray[Any],
    *,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> EnsembleResult:
    """Measure probabilities of members (members, examples, classes) and ensemble.

    ``ensemble`` is (examples, classes), ``labels`` (examples,); ``groups`` names what hangs
    together (examples,). Intervals are from the same resamples as those of
    :func:`torchfolio.evaluation.classification.evaluate`.
    """

    def standing(probabilities: NDArray[Any]) -> Standing:
        found, right = checked(probabilities, labels)
        values = (found.argmax(1) == right, losses(found, right))
        return Standing(*(mean_interval(each, groups=groups, seed=seed) for each in values))

    answers = members.argmax(2)
    together = ensemble.argmax(1)
    pairs = [compare(together, each, labels, groups=groups, seed=seed) for each in answers]
    hits = answers == labels
    return EnsembleResult(
        ensemble=standing(ensemble),
        members=[standing(each) for each in members],
        pairs=pairs,
        p=holm([pair.p for pair in pairs]),
        overlaps=[
            (one, other, overlap(answers[one], answers[other], labels))
            for one, other in combinations(range(len(members)), 2)
        ],
        examples=len(labels),
        unanimous=int((answers == answers[0]).all(0).sum()),
        all_right=int(hits.all(0).sum()),
        oracle=mean_interval(hits.any(0), groups=groups, seed=seed),
    )
