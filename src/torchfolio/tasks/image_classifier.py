"""What classifiers of pictures have in common once they answer: one network, or several as one."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.errors import unknown
from torchfolio.evaluation.answers import OneClass
from torchfolio.tasks.base import Context, Evaluation, Parts
from torchfolio.tasks.image_answers import ClassRows, ImageAnswerOptions
from torchfolio.tasks.image_batches import ClassMeter
from torchfolio.tasks.picture_task import PictureTask


class ImageClassifier(ClassRows, PictureTask):
    """One class a picture, by any number of networks.

    ``state`` holds at least "classes", the names of the classes in order, and "train_counts", how
    many pictures of each were trained on.
    """

    kinds = ("image-classification",)
    AnswerOptions = ImageAnswerOptions
    headline = ("accuracy", "macro_f1", "log_loss")
    Compared = OneClass

    @property
    def classes(self) -> list[str]:
        return list(self.state["classes"])

    def meter(self) -> ClassMeter:
        return ClassMeter()

    def evaluate(
        self, parts: Parts, dataset: Dataset, split: Indices, train: Indices, context: Context
    ) -> Evaluation:
        from torchfolio.tasks.image_classification_report import evaluate

        return evaluate(self, parts, dataset, split, context)

    def checked(
        self, outputs: NDArray[Any], dataset: Dataset, indices: Indices
    ) -> tuple[str, float]:
        return "accuracy", share_right(outputs, dataset, indices)

    def adapt(self, dataset: Dataset) -> Dataset:
        assert dataset.labels is not None
        classes = self.state["classes"]
        places = {name: place for place, name in enumerate(classes)}
        for name in dataset.classes:
            if name not in places:
                raise unknown("class of this run", name, classes)
        table = np.array([places[name] for name in dataset.classes], np.int64)
        labels = np.where(dataset.labels < 0, -1, table[dataset.labels])  # -1: not known
        return replace(dataset, classes=tuple(classes), labels=labels)


def share_right(probabilities: NDArray[Any], dataset: Dataset, indices: Indices) -> float:
    """Return the accuracy on the examples whose class is known; 0 where none is."""
    assert dataset.labels is not None
    labels = dataset.labels[indices]
    known = labels >= 0
    return float((probabilities.argmax(1) == labels)[known].mean()) if known.any() else 0.0
