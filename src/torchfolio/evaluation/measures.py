"""What a probability and a label say about one example, and the quick figures of validation.

numpy alone: a training asks for these after every epoch.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchfolio.errors import FolioError
from torchfolio.evaluation.counts import class_scores
from torchfolio.evaluation.intervals import Floats

COMPARED = 2**20  # probabilities that are compared at once
SUM_TOLERANCE = 1e-2  # softmax in half precision comes within 5e-3 of one


def checked(
    probabilities: NDArray[Any], labels: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return probabilities as float32 or float64 and labels as int64, or say what is wrong.

    The probabilities are those given, and no copy, where nothing has to be changed: of very many
    classes they are most of the memory.
    """
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise FolioError(
            f"Probabilities of shape {probabilities.shape} and labels of shape {labels.shape} do "
            "not belong together: expected (examples, classes) and (examples,)."
        )
    if 0 in probabilities.shape:
        raise FolioError("There is no example to evaluate. Name data that hold at least one.")
    if probabilities.dtype not in (np.float32, np.float64):
        probabilities = probabilities.astype(np.float32)
    classes = probabilities.shape[1]
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
        raise FolioError(
            f"Labels of type {labels.dtype} between {labels.min()} and {labels.max()} were found: "
            f"expected whole numbers from 0 to {classes - 1}."
        )
    sums = probabilities.sum(1, dtype=np.float64)
    bad = ~((np.abs(sums - 1) <= SUM_TOLERANCE) & (probabilities.min(1) >= 0))
    if bad.any():
        first = int(np.argmax(bad))
        raise FolioError(
            f"The probabilities of {int(bad.sum())} of {len(bad)} examples (the first is number "
            f"{first}, they sum to {sums[first]:.4g}) are not probabilities: expected numbers from "
            "0 to 1 that sum to 1. If they are not-a-number, the network's weights have diverged."
        )
    if probabilities.max() > 1:
        probabilities = np.minimum(probabilities, 1)
    return probabilities, labels.astype(np.int64)


def losses(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> Floats:
    """Return the negative log-likelihood of each example in nats (examples,).

    A probability is held between the machine precision of its type and one less that, as
    scikit-learn's ``log_loss`` does.
    """
    tiny = np.finfo(probabilities.dtype).eps
    likelihood = probabilities[np.arange(len(labels)), labels].clip(tiny, 1 - tiny)
    return -np.log(likelihood.astype(np.float64))


def in_top(probabilities: NDArray[Any], labels: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Return whether the true class is among the k most probable (examples,).

    Of equally probable classes the later ones count as more probable, as in scikit-learn's
    ``top_k_accuracy_score``.
    """
    classes = np.arange(probabilities.shape[1])
    found = np.empty(len(labels), np.bool_)
    rows = max(1, COMPARED // len(classes))
    for start in range(0, len(labels), rows):
        some, true = probabilities[start : start + rows], labels[start : start + rows, None]
        own = np.take_along_axis(some, true, 1)
        ahead = (some > own) | ((some == own) & (classes > true))
        found[start : start + rows] = ahead.sum(1) < k
    return found


def per_example(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> dict[str, Floats]:
    """Return, under the name of each metric that is a mean over examples, its terms (examples,)."""
    terms = {"accuracy": (probabilities.argmax(1) == labels).astype(np.float64)}
    if probabilities.shape[1] > 5:
        terms["top5_accuracy"] = in_top(probabilities, labels, 5).astype(np.float64)
    return terms | {"log_loss": losses(probabilities, labels)}


def per_example_of_majority(
    training_counts: ArrayLike, labels: NDArray[np.int64], classes: int
) -> tuple[int, dict[str, Floats]]:
    """Return the commonest class in training, and the terms of always answering with it.

    Its probabilities are the frequencies of training.
    """
    counts = np.asarray(training_counts, np.float64)
    if counts.shape != (classes,) or not counts.sum() > 0 or (counts < 0).any():
        raise FolioError(
            f"The training counts {counts.tolist()[:20]} do not fit {classes} classes: expected "
            "one count a class, not all of them zero."
        )
    majority = int(counts.argmax())
    likelihoods = losses((counts / counts.sum())[None].repeat(classes, 0), np.arange(classes))
    return majority, {
        "accuracy": (labels == majority).astype(np.float64),
        "log_loss": likelihoods[labels],
    }


def majority_f1(true: NDArray[Any], majority: int) -> Floats:
    """Return macro F1 (...,) of always answering with one class, from the counts (..., classes)."""
    true = np.asarray(true, np.float64)
    own = true[..., majority]
    return 2 * own / (own + true.sum(-1)) / (true > 0).sum(-1)


def quick_metrics(probabilities: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Return accuracy, top5_accuracy (of more than five classes), macro_f1 and log_loss.

    The values are those of :func:`torchfolio.evaluation.classification.evaluate`.
    """
    probabilities, labels = checked(probabilities, labels)
    predicted, classes = probabilities.argmax(1), probabilities.shape[1]
    hits = labels[labels == predicted]
    counted = (np.bincount(each, minlength=classes) for each in (hits, labels, predicted))
    scores = class_scores(*counted)
    means = {name: float(each.mean()) for name, each in per_example(probabilities, labels).items()}
    return {**means, "macro_f1": float(scores["macro_f1"])}
