"""Measuring several image classifiers together, each on what it was tested on."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from torchfolio.data.dataset import Dataset
from torchfolio.evaluation import classification
from torchfolio.evaluation.classification_report import class_section, curves, measures, opening
from torchfolio.evaluation.report import Section
from torchfolio.tasks.base import Context, Evaluation, HeldOut
from torchfolio.tasks.image_classification import ImageClassification
from torchfolio.tasks.image_classification_report import (
    class_probabilities,
    evaluation_of,
    prediction_rows,
)


def pool(held_out: Iterable[HeldOut], dataset: Dataset, context: Context) -> Evaluation:
    """Measure the answers of all: of an example that several were tested on, one unit.

    The baseline answers with the class that is commonest in all trainings together.
    """
    assert dataset.labels is not None
    indices, probabilities, counts = [], [], []
    rows: list[dict[str, Any]] = []
    classes: list[str] = []
    for each in held_out:
        task = each.task
        assert isinstance(task, ImageClassification)
        classes = task.state["classes"]
        answering = task.answering(each.parts, context)
        found = class_probabilities(task, answering, dataset, each.indices, context)
        answers = prediction_rows(dataset, each.indices, found, classes)
        rows += [each.place | row for row in answers]
        indices.append(each.indices)
        probabilities.append(found)
        counts.append(task.state["train_counts"])
    every = np.concatenate(indices)
    result = classification.evaluate(
        np.concatenate(probabilities),
        dataset.labels[every],
        training_counts=np.sum(counts, axis=0),
        groups=every if dataset.groups is None else dataset.groups[every],
        seed=context.seed,
    )
    sections: list[Section] = []
    if context.report:
        sections = [
            opening(result),
            class_section(result, classes),
            measures(result),
            curves(result, classes),
        ]
    return evaluation_of(result, rows, sections, {"classes": classes})
