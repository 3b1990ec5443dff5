from typing import Any

import numpy as np
import pytest
import torch
from drawn import CLASSES, Scores, pictures, prepared
from sklearn.metrics import f1_score, log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.errors import RequestError
from torchfolio.networks.catalogue import find_card
from torchfolio.tasks.base import Parts, in_batches
from torchfolio.tasks.image_classification import ImageClassification
from torchfolio.tasks.image_classification_report import prediction_rows
from torchfolio.tasks.registry import find_task, task_for


def test_each_epoch_has_every_example_once_in_its_own_order() -> None:
    data = pictures(60)
    task = prepared(data)
    split = np.arange(5, 60)
    orders = [np.concatenate(task.batches(data, split, 8, 0, epoch)) for epoch in (0, 1)]
    assert all(np.array_equal(np.sort(order), split) for order in orders)
    assert not np.array_equal(*orders)
    assert not np.array_equal(orders[0], np.concatenate(task.batches(data, split, 8, 1, 0)))
    # the order is drawn for each example: without some, the others keep theirs
    fewer = np.concatenate(task.batches(data, split[10:], 8, 0, 0))
    assert np.array_equal(fewer, orders[0][orders[0] >= 15])


def test_the_balanced_sampler_draws_every_class_equally_often() -> None:
    labels = np.repeat([0, 1, 2], [1000, 100, 10])
    data = pictures(len(labels), side=8, labels=labels)
    task = prepared(data, sampler="balanced", network="lenet5")
    drawn = np.concatenate(
        [np.concatenate(task.batches(data, np.arange(1110), 64, 0, epoch)) for epoch in range(6)]
    )
    counts = np.bincount(labels[drawn])
    assert len(drawn) == 6 * 1110
    # 2220 each; the standard deviation is sqrt(6660 * 1/3 * 2/3) = 38.5
    assert np.abs(counts - 2220).max() < 4 * 38.5
    within = np.bincount(drawn, minlength=1110)[1100:]
    assert np.abs(within - 222).max() < 5 * np.sqrt(222)


def scores_and_labels(count: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(count, 3, generator=generator) * 2, torch.arange(count) % 3


def log_probabilities(scores: Tensor) -> Any:
    values = scores.double().numpy()
    return values - np.log(np.exp(values).sum(1, keepdims=True))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighing", ["none", "balanced"])
def test_cross_entropy_with_smoothing_and_class_weights(smoothing: float, weighing: str) -> None:
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    data = pictures(60, labels=labels)
    task = prepared(data, label_smoothing=smoothing, class_weights=weighing)
    scores, targets = scores_and_labels()
    found = task.criterion(Parts(network=nn.Identity()), scores, targets)
    # Szegedy et al., 2016, Section 7: (1 - e) of the target's class and e spread over all
    spread = (1 - smoothing) * np.eye(3)[targets.numpy()] + smoothing / 3
    weight = np.ones(3)
    if weighing == "balanced":
        weight = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    expected = -(spread * weight * log_probabilities(scores)).sum(1).mean()
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_class_without_training_pictures_does_not_disturb_the_weights() -> None:
    data = pictures(60, labels=np.repeat([0, 1], [40, 20]))
    task = prepared(data, class_weights="balanced")
    found = task.criterion(Parts(network=nn.Identity()), *scores_and_labels())
    assert torch.isfinite(found)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_mixed_pictures_has_both_classes_in_their_shares(smoothing: float) -> None:
    data = pictures(12)
    task = prepared(data, mixup=0.4, cutmix=1.0, label_smoothing=smoothing, normalize="none")
    batch = task.load(data, np.arange(12), 0, 0)
    assert batch.share is not None
    assert batch.partner_labels is not None
    scores, _ = scores_and_labels()
    network = Scores(scores)
    step = next(task.steps(Parts(network=network), batch))
    logs = log_probabilities(scores)
    total = 0.0
    for place in range(12):
        share = float(batch.share[place])
        target = np.zeros(3)
        target[batch.labels[place]] += share
        target[batch.partner_labels[place]] += 1 - share
        target = (1 - smoothing) * target + smoothing / 3
        total -= float(target @ logs[place]) / 12
    assert step.closure().item() == pytest.approx(total, rel=1e-5)


def test_accuracy_is_logged() -> None:
    data = pictures(12)
    task = prepared(data)
    scores, labels = scores_and_labels()
    step = next(task.steps(Parts(network=Scores(scores)), task.load(data, np.arange(12), 0, 0)))
    step.closure()
    expected = (scores.argmax(1) == labels).double().mean()
    assert step.logs["accuracy"].item() == pytest.approx(expected.item())


def test_the_loss_of_the_page_is_used_and_takes_no_mixing() -> None:
    class Page(nn.Module):
        def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
            return scores[labels == 0].sum()

    data = pictures(12)
    scores, labels = scores_and_labels()
    found = prepared(data).criterion(Parts(network=Page()), scores, labels)
    assert torch.equal(found, scores[labels == 0].sum())
    grey = pictures(12, channels=1)
    for settings in ({"mixup": 0.2}, {"label_smoothing": 0.1}, {"class_weights": "balanced"}):
        task = prepared(grey, network="lenet5_original", **settings)
        with pytest.raises(RequestError, match="lenet5_original has the loss of its paper"):
            task.parts(find_card("lenet5_original"))


def test_the_meter_agrees_with_scikit_learn() -> None:
    data = pictures(30)
    task = prepared(data)
    scores, labels = scores_and_labels(30)
    meter = task.meter()
    for part in (np.arange(0, 20), np.arange(20, 30)):
        batch = task.load(data, part, None, 0)
        meter.update(task.predict(Parts(network=Scores(scores[part])), batch), batch)
    found = meter.compute()
    probabilities = F.softmax(scores.double(), 1).numpy()
    answers = probabilities.argmax(1)
    assert found["accuracy"] == pytest.approx((answers == labels.numpy()).mean())
    assert found["macro_f1"] == pytest.approx(f1_score(labels, answers, average="macro"), rel=1e-6)
    assert found["loss"] == pytest.approx(log_loss(labels, probabilities), rel=1e-5)
    assert set(found) <= set(task.higher_is_better)


def test_other_data_take_the_classes_of_the_run() -> None:
    task = prepared(pictures(6))
    other = pictures(4, labels=[0, 1, 1, 0])
    other.classes = ("owl", "dog")
    adapted = task.adapt(other)
    assert adapted.classes == CLASSES
    assert adapted.labels is not None
    assert adapted.labels.tolist() == [2, 1, 1, 2]
    other.classes = ("owl", "dgo")
    with pytest.raises(RequestError, match=r"no class of this run named 'dgo'.*dog"):
        task.adapt(other)


def test_tasks_are_found_by_name_and_by_what_the_data_are() -> None:
    assert find_task("Image_Classification") is ImageClassification
    assert task_for(find_card("lenet5"), "image-classification") is ImageClassification
    with pytest.raises(RequestError, match=r"no task named 'image-clasification'"):
        find_task("image-clasification")
    with pytest.raises(
        RequestError, match=r"lenet5 does image-classification.*; the data are for text"
    ):
        task_for(find_card("lenet5"), "text")
    with pytest.raises(RequestError, match="takes image-classification; these are text"):
        task_for(find_card("lenet5"), "text", "image-classification")


def test_batches_of_nothing_are_none() -> None:
    assert in_batches(np.arange(0), 4) == []
    assert [part.tolist() for part in in_batches(np.arange(5), 2)] == [[0, 1], [2, 3, 4]]
    assert [part.tolist() for part in in_batches(np.arange(3), 1)] == [[0], [1], [2]]


def test_predictions_of_very_many_classes_name_the_five_highest() -> None:
    data = pictures(2, labels=[0, 1])
    probabilities = np.zeros((2, 101), np.float32)
    probabilities[0, [100, 3, 5, 7, 50, 60]] = 0.4, 0.3, 0.15, 0.1, 0.04, 0.01
    probabilities[1, :5] = 0.2
    classes = [f"c{number}" for number in range(101)]
    first, second = prediction_rows(data, np.arange(2), probabilities, classes)
    assert len(first) == 5 + 2 * 5
    assert (first["label"], first["prediction"], first["probability"]) == ("c0", "c100", 0.4)
    assert [first[f"class_{place}"] for place in range(1, 6)] == ["c100", "c3", "c5", "c7", "c50"]
    assert [first[f"probability_{place}"] for place in range(1, 6)] == [0.4, 0.3, 0.15, 0.1, 0.04]
    assert {second[f"class_{place}"] for place in range(1, 6)} == {"c0", "c1", "c2", "c3", "c4"}
    few = prediction_rows(data, np.arange(2), probabilities[:, :100], classes[:100])
    assert few[0]["p(c3)"] == 0.3
    assert len(few[0]) == 105
