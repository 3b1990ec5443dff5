"""Several labels a picture: a yes or no of each, whatever the others."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.folders import listing
from torchfolio.data.records import fingerprint
from torchfolio.errors import RequestError, unknown
from torchfolio.evaluation.answers import SeveralLabels
from torchfolio.evaluation.thresholds import FEW, MIDDLE, choose_thresholds
from torchfolio.networks.catalogue import Card
from torchfolio.options import option
from torchfolio.tasks.base import Context, Evaluation, HeldOut, Parts
from torchfolio.tasks.class_scores import page_loss, presences
from torchfolio.tasks.image_batches import ImageBatch, LabelMeter
from torchfolio.tasks.image_preparation import plan_pictures
from torchfolio.tasks.label_answers import LabelRows, MultilabelAnswerOptions
from torchfolio.tasks.picture_training import (
    MixingOptions,
    PictureTraining,
    has_own_loss,
    shared,
)


@dataclass(frozen=True)
class MultilabelOptions(MixingOptions):
    """Settings of several labels a picture."""

    recipe_of: ClassVar[str] = "image-classification"  # whose recipes are for this task, too

    label_smoothing: float = option(
        0.0, "Share of each yes and no that is spread over both.", low=0, high=1
    )
    class_weights: Literal["none", "balanced"] = option(
        "none", "Weigh yes and no of each label in the loss: N / (2 * count)."
    )


class MultilabelClassification(LabelRows, PictureTraining):
    """Several labels a picture: a sigmoid and binary cross-entropy for each, added up.

    ``state`` has the labels as ``classes``, what the baseline knows of the training split, and from
    the end of the training ``thresholds``: the probability from which on a picture has the label.
    """

    name = "multilabel-classification"
    kinds = ("multilabel-classification",)
    Options = MultilabelOptions
    AnswerOptions = MultilabelAnswerOptions
    monitor = "mean_average_precision"
    headline = ("mean_average_precision", "macro_f1", "micro_f1", "subset_accuracy")
    Compared = SeveralLabels
    relative = False
    higher_is_better: ClassVar[dict[str, bool]] = {
        "loss": False,
        "log_loss": False,
        "mean_average_precision": True,
        "macro_f1": True,
        "micro_f1": True,
    }
    options: MultilabelOptions

    def __init__(self, options: Any, state: dict[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self._weights: dict[torch.device, tuple[Tensor, Tensor]] = {}

    # Before training

    def prepare(self, card: Card, dataset: Dataset, train: Indices) -> list[str]:
        assert dataset.targets is not None
        self.pictures, lines = plan_pictures(card, dataset, train, self.options)
        self.state = self.pictures.state
        targets = dataset.targets[train]
        sets, times = np.unique(targets, axis=0, return_counts=True)
        self.state |= {
            "classes": list(dataset.classes),
            "train_counts": targets.sum(0, dtype=np.int64).tolist(),
            "train_examples": len(train),
            "train_set": sets[times.argmax()].tolist(),  # the commonest set of labels
        }
        return lines

    def parts(self, card: Card, **arguments: Any) -> Parts:
        network = self.build(card, arguments)
        if has_own_loss(network) and not hasattr(network, "presences"):
            raise RequestError(
                f"{card.name} has the loss of its paper, which takes exactly one class a picture. "
                f"'folio list --task {self.name}' shows networks that give several labels."
            )
        self.refuse_settings(card, network)
        return Parts(network=network)

    # Training

    def truth(self, dataset: Dataset, indices: Indices) -> Tensor:
        assert dataset.targets is not None
        return torch.from_numpy(dataset.targets[indices])

    def loss(self, parts: Parts, batch: ImageBatch, logs: dict[str, Tensor]) -> Tensor:
        """Return the mean loss of a training batch; the Hamming loss goes to ``logs``."""
        outputs = self.outputs(parts, batch)
        labels = batch.labels.float()
        if batch.share is not None:
            assert batch.partner_labels is not None
            labels = shared(batch, labels, batch.partner_labels)
        else:
            scores = outputs if isinstance(outputs, Tensor) else outputs[0]
            answers = self.probabilities(parts, scores.detach().float()) >= MIDDLE
            logs["hamming_loss"] = (answers != batch.labels.bool()).float().mean()
        return page_loss(parts, outputs, labels, self.cross_entropy)

    def cross_entropy(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over pictures of their labels' negative log-likelihood (batch, labels).

        That is the sum of the binary cross-entropies of a picture's labels. Its slope by a score is
        probability less truth, as that of cross-entropy under a softmax, so that the rates of the
        recipes fit; those of a mean over labels would be too low by as many times as there are
        labels. Smoothing is that of Szegedy et al., 2016, Section 7, for the two classes yes and
        no.
        """
        smoothing = self.options.label_smoothing
        targets = targets * (1 - smoothing) + smoothing / 2
        scores = scores.float()
        weight, ratio = None, None
        if self.options.class_weights == "balanced":
            weight, ratio = self.label_weights(scores.device)
        total = F.binary_cross_entropy_with_logits(
            scores, targets, weight=weight, pos_weight=ratio, reduction="sum"
        )
        return total / len(scores)

    def label_weights(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return what a no of each label weighs, and how many times as much a yes.

        Kept on the device: a copy would wait for it.
        """
        if device not in self._weights:
            yes = torch.tensor(self.state["train_counts"], dtype=torch.float32)
            no = self.state["train_examples"] - yes
            yes, no = (self.state["train_examples"] / (2 * each.clamp_min(1)) for each in (yes, no))
            self._weights[device] = (no.to(device), (yes / no).to(device))
        return self._weights[device]

    # Measuring

    @property
    def classes(self) -> list[str]:
        return list(self.state["classes"])

    def predict(self, parts: Parts, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Return the probability of each label (batch, labels), and the mean loss."""
        scores = parts.network(self.pictures.normalised(batch.images)).float()
        loss = page_loss(parts, scores, batch.labels.float(), negative_log_likelihood)
        return self.probabilities(parts, scores), loss

    def probabilities(self, parts: Parts, scores: Tensor) -> Tensor:
        return presences(parts, scores)

    def meter(self) -> LabelMeter:
        return LabelMeter()

    def conclude(
        self, parts: Parts, dataset: Dataset, validation: Indices, context: Context
    ) -> list[str]:
        """Choose each label's threshold on the validation split."""
        from torchfolio.tasks.image_classification_report import class_probabilities

        assert dataset.targets is not None
        answering = self.answering(parts, context)
        probabilities = class_probabilities(self, answering, dataset, validation, context)
        chosen = choose_thresholds(probabilities, dataset.targets[validation])
        self.state |= {
            "thresholds": chosen.values.tolist(),
            "chosen_on": fingerprint(dataset.fingerprint, validation),
        }
        names = self.state["classes"]
        rare, blind = ([names[each] for each in some] for some in (chosen.rare, chosen.blind))
        lines = [f"thresholds chosen on {len(validation):,} validation pictures, for the best F1"]
        if rare:
            lines.append(
                f"threshold {MIDDLE} for {told(rare)}: fewer than {FEW} validation pictures have it"
            )
        if blind:
            lines.append(
                f"F1 is best where every validation picture has {told(blind)}: the "
                "network cannot tell (Lipton et al. 2014)"
            )
        return lines

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """The probability of each label from which on a picture has it (labels,)."""
        return np.array(self.state.get("thresholds", [MIDDLE] * len(self.state["classes"])))

    def evaluate(
        self, parts: Parts, dataset: Dataset, split: Indices, context: Context
    ) -> Evaluation:
        from torchfolio.tasks.multilabel_report import evaluate

        return evaluate(self, parts, dataset, split, context)

    def pool(self, held_out: Iterable[HeldOut], dataset: Dataset, context: Context) -> Evaluation:
        from torchfolio.tasks.multilabel_pool import pool

        return pool(held_out, dataset, context)

    # Use

    def checked(
        self, outputs: NDArray[Any], dataset: Dataset, indices: Indices
    ) -> tuple[str, float]:
        assert dataset.targets is not None
        given = self.given(outputs)
        return "subset_accuracy", float((given == dataset.targets[indices]).all(1).mean())

    def changed(
        self, outputs: NDArray[Any], others: NDArray[Any]
    ) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        distance = np.abs(outputs - self.thresholds)
        other = (outputs >= self.thresholds) != (others >= self.thresholds)
        return other.any(1), np.where(other, distance, 0).max(1)

    def adapt(self, dataset: Dataset) -> Dataset:
        assert dataset.targets is not None
        classes = self.state["classes"]
        for name in dataset.classes:
            if name not in classes:
                raise unknown("label of this run", name, classes)
        missing = [name for name in classes if name not in dataset.classes]
        if missing and "label_columns" in dataset.reader_options:
            raise RequestError(
                f"{dataset.path} says nothing of {told(missing)}. Give it a column for each label "
                "of the run, with yes or no."
            )
        targets = np.zeros((len(dataset), len(classes)), np.uint8)
        targets[:, [classes.index(name) for name in dataset.classes]] = dataset.targets
        return replace(dataset, classes=tuple(classes), targets=targets)


def negative_log_likelihood(scores: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of a picture's binary cross-entropies (batch, labels), mean over pictures."""
    total = F.binary_cross_entropy_with_logits(scores, targets, reduction="sum")
    return total / len(scores)


def told(names: Sequence[str]) -> str:
    """Return a few labels in quotes, and how many more there are."""
    return listing([repr(name) for name in names])
