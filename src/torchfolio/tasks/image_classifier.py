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
        self, parts: Parts, dataset: Dataset, split: Indices, context: Context
    ) -> Evaluation:
        from torchfolio.tasks.image_classification_report import evaluate

        return evaluate(self, parts, dataset, split, context)

    def checked(
        self, outputs: NDArray[Any], dataset: Dataset, indices: Indices
    ) -> tuple[str, float]:
        assert dataset.labels is not None
        return "accuracy", float((outputs.argmax(1) == dataset.labels[indices]).mean())

    def changed(
        self, outputs: NDArray[Any], others: NDArray[Any]
    ) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        rows, ours, theirs = np.arange(len(outputs)), outputs.argmax(1), others.argmax(1)
        return ours != theirs, outputs[rows, ours] - outputs[rows, theirs]

    def adapt(self, dataset: Dataset) -> Dataset:
        assert dataset.labels is not None
        classes = self.state["classes"]
        places = {name: place for place, name in enumerate(classes)}
        for name in dataset.classes:
            if name not in places:
                raise unknown("class of this run", name, classes)
        table = np.array([places[name] for name in dataset.classes], np.int64)
        return replace(dataset, classes=tuple(classes), labels=table[dataset.labels])
