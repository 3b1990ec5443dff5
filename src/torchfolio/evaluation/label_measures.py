"""What probabilities and targets say of several labels an example: terms, counts, baselines.

numpy alone: a training asks for :func:`quick_metrics` after every epoch.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.errors import FolioError
from torchfolio.evaluation import calibration, ranking
from torchfolio.evaluation.counts import class_scores, macro
from torchfolio.evaluation.intervals import Floats
from torchfolio.evaluation.thresholds import choose_thresholds


@dataclass(frozen=True)
class Training:
    """What the trivial answers know: of the training examples, how many have each label (labels,).

    ``commonest`` is the commonest set of labels as ones and zeros (labels,).
    """

    counts: NDArray[Any]
    examples: int
    commonest: NDArray[Any]


def quick_metrics(probabilities: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """Return the figures of validation: log_loss, mean_average_precision, macro_f1, micro_f1.

    F1 is at the thresholds that these very examples choose. The values are those of
    :func:`evaluate` with them.
    """
    probabilities, targets = checked(probabilities, targets)
    truth = targets.astype(bool)
    answers = probabilities >= choose_thresholds(probabilities, targets).values
    found = scores((truth & answers).sum(0), truth.sum(0), answers.sum(0))
    columns = zip(probabilities.T, truth.T, strict=True)
    areas = np.array([ranking.pooled(*column) for column in columns])
    return {
        "log_loss": float(per_example(probabilities, truth, answers)["log_loss"].mean()),
        "mean_average_precision": float(macro(areas)),
        "macro_f1": float(found["macro_f1"]),
        "micro_f1": float(found["micro_f1"]),
    }


def checked(
    probabilities: NDArray[Any], targets: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return probabilities as float32 or float64 and targets as uint8, or say what is wrong."""
    probabilities, targets = np.asarray(probabilities), np.asarray(targets)
    if probabilities.ndim != 2 or targets.shape != probabilities.shape:
        raise FolioError(
            f"Probabilities of shape {probabilities.shape} and targets of shape {targets.shape} do "
            "not belong together: expected (examples, labels) of both."
        )
    if 0 in probabilities.shape:
        raise FolioError("There is no example to evaluate. Name data that hold at least one.")
    if probabilities.dtype not in (np.float32, np.float64):
        probabilities = probabilities.astype(np.float32)
    if not np.isin(targets, (0, 1)).all():
        raise FolioError("Targets other than 0 and 1 were found: a label is there, or it is not.")
    bad = np.flatnonzero(((probabilities < 0) | ~(probabilities <= 1)).any(1))
    if bad.size:
        raise FolioError(
            f"The probabilities of {bad.size} of {len(targets)} examples (the first is number "
            f"{bad[0]}) are not numbers from 0 to 1. If they are not-a-number, the network's "
            "weights have diverged."
        )
    return probabilities, targets.astype(np.uint8)


def per_example(
    probabilities: NDArray[Any], truth: NDArray[np.bool_], answers: NDArray[np.bool_]
) -> dict[str, Floats]:
    """Return, under the name of each metric that is a mean over examples, its terms (examples,)."""
    return {
        "subset_accuracy": (truth == answers).all(1).astype(np.float64),
        "hamming_loss": (truth != answers).mean(1),
        "log_loss": losses(probabilities, truth).mean(1),
    }


def losses(probabilities: NDArray[Any], truth: NDArray[np.bool_]) -> Floats:
    """Return the negative log-likelihood of each pair in nats (examples, labels)."""
    tiny = np.finfo(probabilities.dtype).eps
    likelihood = np.where(truth, probabilities, 1 - probabilities).clip(tiny, 1 - tiny)
    return -np.log(likelihood.astype(np.float64))


def gaps(probabilities: NDArray[Any], truth: NDArray[np.bool_]) -> Floats:
    """Return probability less truth in the column of its bin, as a mean over labels (examples, 15).

    The calibration error under weights is the sum of the absolute weighted means.
    """
    total = np.zeros((len(truth), calibration.BINS))
    for label in range(truth.shape[1]):
        column = probabilities[:, label].astype(np.float64)
        total += calibration.gaps(column, truth[:, label])
    return total / truth.shape[1]


def scores(hits: NDArray[Any], true: NDArray[Any], answered: NDArray[Any]) -> dict[str, Floats]:
    """Return precision, recall and F1 of each label, macro and micro, from counts (..., labels).

    As in scikit-learn, what is never answered has precision 0.
    """
    found = class_scores(hits, true, answered)
    del found["weighted_f1"]
    right, there, said = (np.asarray(each, np.float64).sum(-1) for each in (hits, true, answered))
    with np.errstate(invalid="ignore", divide="ignore"):
        return found | {
            "micro_precision": right / np.maximum(said, 1),
            "micro_recall": right / there,
            "micro_f1": 2 * right / (there + said),
        }


def baseline_terms(training: Training, truth: NDArray[np.bool_]) -> dict[str, Floats]:
    """Return what the trivial answers reach, of metrics that are means over examples."""
    share = (np.asarray(training.counts, np.float64) / max(1, training.examples)).astype(np.float32)
    answers = np.broadcast_to(np.asarray(training.commonest, bool), truth.shape)
    return per_example(np.broadcast_to(share, truth.shape), truth, answers)


def baseline_scores(
    training: Training, true: NDArray[Any], examples: NDArray[Any]
) -> dict[str, Floats]:
    """Return what the trivial answers reach, of metrics of counts.

    ``true`` (..., labels) are the examples with each label, of ``examples`` (...). A probability
    that is the same for all examples has the share of positives as its average precision.
    """
    true = np.asarray(true, np.float64)
    every = np.asarray(examples, np.float64)[..., None]
    common = np.asarray(training.commonest, np.float64)
    found = scores(true * common, true, every * common)
    keep = [
        f"{kind}_{name}" for kind in ("macro", "micro") for name in ("precision", "recall", "f1")
    ]
    shares = np.where(true > 0, true / every, np.nan)
    result = {name: found[name] for name in keep}
    result["mean_average_precision"] = macro(shares)
    result["micro_average_precision"] = pooled_shares(np.asarray(training.counts), true, every)
    return result


def pooled_shares(counts: NDArray[Any], true: Floats, every: Floats) -> Floats:
    """Return the micro average precision (...,) where all pairs of a label have its share.

    Pairs are then ranked by how common their label was in training, those of equal labels together.
    """
    order = np.argsort(-counts, kind="stable")
    ends = np.append(np.diff(counts[order]) != 0, True)
    hits = true[..., order].cumsum(-1)[..., ends]
    seen = every * (np.flatnonzero(ends) + 1)
    gained = np.diff(hits, axis=-1, prepend=0)
    with np.errstate(invalid="ignore"):
        return (gained * hits / seen).sum(-1) / hits[..., -1]
