"""Measuring networks of several labels a picture together, each on what it was tested on."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset
from torchfolio.evaluation import multilabel
from torchfolio.evaluation.label_measures import Training
from torchfolio.evaluation.multilabel_report import curves, label_section, measures, opening
from torchfolio.evaluation.report import Section
from torchfolio.tasks.base import Context, Evaluation, HeldOut
from torchfolio.tasks.image_classification_report import class_probabilities
from torchfolio.tasks.multilabel_classification import MultilabelClassification
from torchfolio.tasks.multilabel_report import UNCHOSEN, evaluation_of, prediction_rows


def pool(held_out: Iterable[HeldOut], dataset: Dataset, context: Context) -> Evaluation:
    """Measure the answers of all, each by the thresholds of its own network.

    An example that several were tested on is one unit.
    """
    assert dataset.targets is not None
    indices, probabilities, thresholds, states = [], [], [], []
    rows: list[dict[str, Any]] = []
    for each in held_out:
        task = each.task
        assert isinstance(task, MultilabelClassification)
        answering = task.answering(each.parts, context)
        found = class_probabilities(task, answering, dataset, each.indices, context)
        answers = prediction_rows(task, dataset, each.indices, found)
        rows += [each.place | row for row in answers]
        indices.append(each.indices)
        probabilities.append(found)
        thresholds.append(np.broadcast_to(task.thresholds, found.shape))
        states.append(task.state)
    every, likely = np.concatenate(indices), np.concatenate(probabilities)
    labels, targets = states[0]["classes"], dataset.targets[every]
    result = multilabel.evaluate(
        likely,
        targets,
        np.concatenate(thresholds),
        names=labels,
        training=training_of(states),
        groups=every if dataset.groups is None else dataset.groups[every],
        seed=context.seed,
    )
    if not any("thresholds" in state for state in states):
        result.notes.append(UNCHOSEN)
    sections: list[Section] = []
    if context.report:
        sections = [
            opening(result),
            label_section(result, labels),
            measures(result),
            curves(result, labels),
        ]
    arrays: dict[str, NDArray[Any]] = {"probabilities": likely, "targets": targets}
    return evaluation_of(result, rows, sections, {"labels": labels}, arrays)


def training_of(states: Sequence[dict[str, Any]]) -> Training:
    """Return what the baseline knows of all trainings together.

    Its set of labels is the one that is the commonest in most of them.
    """
    sets = Counter(tuple(state["train_set"]) for state in states)
    return Training(
        np.sum([state["train_counts"] for state in states], axis=0),
        sum(state["train_examples"] for state in states),
        np.array(sets.most_common(1)[0][0]),
    )
