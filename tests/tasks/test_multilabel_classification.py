"""Several labels a picture: the loss by hand, thresholds, answers, and which networks can."""

from typing import Any

import numpy as np
import pytest
import torch
from drawn import Scores
from drawn_labels import LABELS, Fixed, labelled, prepared
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from torchfolio.errors import RequestError
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import cards, find_card
from torchfolio.options import plain
from torchfolio.tasks.base import Context, Parts
from torchfolio.tasks.image_classification import ImageOptions
from torchfolio.tasks.multilabel_classification import MultilabelClassification, MultilabelOptions
from torchfolio.tasks.multilabel_report import in_turn, prediction_rows
from torchfolio.tasks.registry import find_task, task_for
from torchfolio.training.recipes import borrowed


def scores(count: int = 12) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(3)) * 2


def sigmoid(values: Any) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.asarray(values, np.float64)))


def cross_entropy(values: Any, targets: Any, yes: Any = 1.0, no: Any = 1.0) -> float:
    """Return the mean over pictures of their labels' cross-entropies, weighed as given."""
    likely = sigmoid(values)
    terms = yes * targets * np.log(likely) + no * (1 - targets) * np.log(1 - likely)
    return float(-terms.sum(1).mean())


# The loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighing", ["none", "balanced"])
def test_binary_cross_entropy_with_smoothing_and_weights(smoothing: float, weighing: str) -> None:
    data = labelled()
    assert data.targets is not None
    task = prepared(data, label_smoothing=smoothing, class_weights=weighing)
    batch = task.load(data, np.arange(12), 0, 0)
    step = next(task.steps(Parts(network=Scores(scores())), batch))
    # Szegedy et al., 2016, Section 7, of two classes: 1 - e of the truth, and e spread over both
    targets = (1 - smoothing) * data.targets[:12] + smoothing / 2
    yes, no = np.ones(3), np.ones(3)
    if weighing == "balanced":
        pairs = [
            compute_class_weight("balanced", classes=np.arange(2), y=data.targets[:, label])
            for label in range(3)
        ]
        no, yes = np.array(pairs).T
    wanted = cross_entropy(scores().numpy(), targets, yes, no)
    assert step.closure().item() == pytest.approx(wanted, rel=1e-5)
    wrong = (scores().numpy() >= 0) != data.targets[:12]
    assert step.logs["hamming_loss"].item() == pytest.approx(wrong.mean())


def test_labels_that_all_or_none_have_do_not_disturb_the_weights() -> None:
    targets = np.zeros((60, 3))
    targets[:, 0] = 1
    targets[:20, 1] = 1
    data = labelled(targets=targets)
    task = prepared(data, class_weights="balanced")
    step = next(task.steps(Parts(network=Scores(scores())), task.load(data, np.arange(12), 0, 0)))
    assert torch.isfinite(step.closure())


def test_mixed_pictures_have_the_labels_of_both_in_their_shares() -> None:
    data = labelled(12)
    task = prepared(data, mixup=0.4, cutmix=1.0, normalize="none")
    batch = task.load(data, np.arange(12), 0, 0)
    assert batch.share is not None
    assert batch.partner_labels is not None
    share = batch.share.numpy()[:, None]
    targets = share * batch.labels.numpy() + (1 - share) * batch.partner_labels.numpy()
    step = next(task.steps(Parts(network=Scores(scores())), batch))
    assert step.closure().item() == pytest.approx(
        cross_entropy(scores().numpy(), targets), rel=1e-5
    )
    assert not step.logs


def test_the_pieces_of_a_batch_make_up_its_loss() -> None:
    data = labelled()
    task = prepared(data, class_weights="balanced")
    losses = []
    for places in (np.arange(12), np.arange(4), np.arange(4, 12)):
        network = Scores(scores()[places])
        step = next(task.steps(Parts(network=network), task.load(data, places, 0, 0)))
        losses.append(step.closure().item() * len(places))
    assert losses[0] == pytest.approx(losses[1] + losses[2], rel=1e-6)


def test_the_slope_of_the_loss_is_that_of_cross_entropy() -> None:
    data = labelled()
    assert data.targets is not None
    task, values = prepared(data), scores().requires_grad_()
    task.cross_entropy(values, torch.from_numpy(data.targets[:12]).float()).backward()
    assert values.grad is not None
    wanted = (sigmoid(values.detach().numpy()) - data.targets[:12]) / 12
    assert values.grad.numpy() == pytest.approx(wanted, abs=1e-6)


# Networks


def test_every_network_of_pictures_can_but_those_of_one_class() -> None:
    without = {
        name
        for name, card in cards().items()
        if "image-classification" in card.tasks and MultilabelClassification.name not in card.tasks
    }
    assert without == {"lenet5_original"}
    assert find_card("resnet18").tasks == ("image-classification", "multilabel-classification")
    assert find_task("multilabel_classification") is MultilabelClassification
    assert task_for(find_card("lenet5"), "multilabel-classification") is MultilabelClassification
    with pytest.raises(RequestError, match="lenet5_original does image-classification; the data "):
        task_for(find_card("lenet5_original"), "multilabel-classification")


def test_a_page_with_a_loss_of_one_class_is_refused() -> None:
    task = prepared(labelled(channels=1), network="lenet5_original")
    with pytest.raises(RequestError, match="takes exactly one class a picture"):
        task.parts(find_card("lenet5_original"))


@pytest.mark.parametrize("name", ["lenet5", "googlenet_aux", "capsnet", "vit_ti_16", "maxout_mlp"])
def test_networks_of_every_kind_of_loss_learn_labels(name: str) -> None:
    grey = find_card(name).input[0] == 1
    data = labelled(4, channels=1 if grey else 3)
    task = prepared(data, network=name, image_size=28 if name == "capsnet" else 32)
    arguments = {"patch": 8} if name == "vit_ti_16" else {}
    torch.manual_seed(0)
    parts = task.parts(find_card(name), **arguments)
    parts.network.train()
    batch = task.load(data, np.arange(4), 0, 0)
    step = next(task.steps(parts, batch))
    loss = step.closure()
    loss.backward()
    assert torch.isfinite(loss)
    assert any(each.grad is not None and each.grad.any() for each in parts.network.parameters())
    parts.network.eval()
    probabilities, loss = task.predict(parts, task.load(data, np.arange(4), None, 0))
    assert probabilities.shape == (4, 3)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert not torch.allclose(probabilities.sum(1), torch.ones(4))
    assert torch.isfinite(loss)


def test_auxiliary_heads_count_three_tenths_of_their_cross_entropy() -> None:
    data = labelled(12)
    task = prepared(data, network="googlenet_aux")
    assert data.targets is not None
    heads = [scores(), scores() * 0.5, -scores()]
    found = build("googlenet_aux", num_classes=3).loss(
        tuple(heads), torch.from_numpy(data.targets).float(), task.cross_entropy
    )
    one, two, three = (cross_entropy(each.numpy(), data.targets) for each in heads)
    assert float(found) == pytest.approx(one + 0.3 * (two + three), rel=1e-5)


def test_the_loss_of_a_page_takes_no_mixing() -> None:
    data = labelled(channels=1)
    for settings in ({"mixup": 0.2}, {"label_smoothing": 0.1}, {"class_weights": "balanced"}):
        task = prepared(data, network="capsnet", **settings)
        with pytest.raises(RequestError, match="capsnet has the loss of its paper"):
            task.parts(find_card("capsnet"))


def test_recipes_for_one_class_are_for_labels_too() -> None:
    recipe = {"augment": "photo", "mixup": 0.2, "label_smoothing": 0.1, "sampler": "balanced"}
    found = borrowed(recipe, "image-classification", MultilabelOptions)
    assert found == {"augment": "photo", "mixup": 0.2, "label_smoothing": 0.1}
    # a misspelt setting is not taken for one of the other task
    assert "mixupp" in borrowed({"mixupp": 1}, "image-classification", MultilabelOptions)
    assert borrowed(recipe, "multilabel-classification", ImageOptions) == {}
    assert "recipe_of" not in plain(MultilabelOptions())


# Measuring


def test_the_meter_agrees_with_scikit_learn_whatever_the_batches() -> None:
    data = labelled(60)
    task, values = prepared(data), scores(60)
    meters = [task.meter(), task.meter()]
    for meter, part in zip(meters, (np.arange(20), np.arange(20, 60)), strict=True):
        batch = task.load(data, part, None, 0)
        meter.update(task.predict(Parts(network=Scores(values[part])), batch), batch)
    meters[0].merge(meters[1])
    found = meters[0].compute()
    assert data.targets is not None
    likely = sigmoid(values.numpy())
    wanted = log_loss(data.targets.ravel(), likely.ravel())
    assert found["loss"] == pytest.approx(3 * wanted, rel=1e-5)  # of three labels
    assert found["log_loss"] == pytest.approx(wanted, rel=1e-5)
    assert found["mean_average_precision"] == pytest.approx(
        average_precision_score(data.targets, likely), rel=1e-6
    )
    assert set(found) == set(task.higher_is_better)


def context() -> Context:
    return Context(torch.device("cpu"), workers=0, report=False)


def test_thresholds_are_chosen_on_the_examples_given_and_used_for_all() -> None:
    data = labelled(
        60, targets=np.stack([np.arange(60) % 2, np.arange(60) % 4 == 0, np.arange(60) < 3], 1)
    )
    assert data.targets is not None
    table = np.where(data.targets, -1.0, -3.0) + np.arange(60)[:, None] / 100
    task = prepared(data, normalize="none")
    parts = Parts(network=Fixed(table).eval())
    assert task.thresholds.tolist() == [0.5] * 3
    lines = task.conclude(parts, data, np.arange(40), context())
    first, second, third = task.thresholds
    assert sigmoid(-2.6) < first < sigmoid(-1.0)
    assert sigmoid(-2.6) < second < sigmoid(-1.0)
    assert third == 0.5  # three positives are too few
    assert lines[0] == "thresholds chosen on 40 validation pictures, for the best F1"
    assert lines[1] == "threshold 0.5 for 'people': fewer than 5 validation pictures have it"
    assert len(lines) == 2
    found = task.evaluate(parts, data, np.arange(40, 60), context())
    assert found.metrics["macro_f1"]["value"] == 1
    assert [row["threshold"] for row in found.details["per_label"]] == task.thresholds.tolist()
    assert not any("chosen on these very" in each for each in found.details["notes"])
    same = task.evaluate(parts, data, np.arange(40), context())
    assert any("chosen on these very examples" in each for each in same.details["notes"])
    fresh = prepared(data, normalize="none")
    bare = fresh.evaluate(parts, data, np.arange(40, 60), context())
    assert any("every one is 0.5" in each for each in bare.details["notes"])
    assert bare.metrics["macro_f1"]["value"] == 0  # nothing reaches 0.5


def test_a_network_that_cannot_tell_a_label_is_told() -> None:
    targets = np.stack([np.arange(60) % 2, np.arange(60) % 2, np.arange(60) % 3 == 0], 1)
    data = labelled(60, targets=targets)
    table = np.where(targets, 1.0, -1.0)
    table[:, 1] = 0.3
    task = prepared(data, normalize="none")
    lines = task.conclude(Parts(network=Fixed(table).eval()), data, np.arange(60), context())
    assert lines[1].startswith("F1 is best where every validation picture has 'sunset'")


# Use


def answered(task: MultilabelClassification, values: Any, top: int = 3) -> dict[str, Any]:
    return {"input": "a.png", "error": None} | task.said(np.array(values, np.float32), top)


def test_an_answer_is_the_labels_from_their_thresholds_on() -> None:
    task = prepared(labelled())
    task.state["thresholds"] = [0.5, 0.25, 0.75]
    row = answered(task, [0.6, 0.25, 0.7], top=2)
    assert row["prediction"] == ["beach", "sunset"]
    assert row["probability"] == pytest.approx({"beach": 0.6, "sunset": 0.25, "people": 0.7})
    assert [(each["label"], each["given"]) for each in row["top"]] == [
        ("people", False),
        ("beach", True),
    ]
    assert task.line(row) == "beach, sunset (people 70.0%, beach 60.0%)"
    assert task.cells(row) == {
        "input": "a.png",
        "prediction": "beach|sunset",
        "p(beach)": pytest.approx(0.6),
        "p(sunset)": 0.25,
        "p(people)": pytest.approx(0.7),
    }
    none = answered(task, [0.1, 0.2, 0.3])
    assert none["prediction"] == []
    assert task.line(none) == "no label (people 30.0%, sunset 20.0%, beach 10.0%)"
    assert task.cells(none)["prediction"] == ""


def test_of_very_many_labels_a_table_has_the_highest() -> None:
    task = prepared(labelled())
    task.state["classes"] = [f"l{number}" for number in range(101)]
    row = answered(task, np.linspace(0, 1, 101), top=2)
    assert list(task.cells(row)) == ["input", "prediction", "p(l100)", "p(l99)"]


def test_predictions_have_truth_and_answers_that_read_as_lists_again() -> None:
    data = labelled(2, targets=[[1, 1, 0], [0, 0, 0]])
    task = prepared(data)
    probabilities = np.array([[0.9, 0.8, 0.1], [0.2, 0.1, 0.6]], np.float32)
    first, second = prediction_rows(task, data, np.arange(2), probabilities)
    assert first == {
        "input": "a[0]", "labels": "beach|sunset", "prediction": "beach|sunset", "correct": 1,
        "p(beach)": 0.9, "p(sunset)": 0.8, "p(people)": 0.1,
    }  # fmt: skip
    assert (second["labels"], second["prediction"], second["correct"]) == ("", "people", 0)


def test_other_data_take_the_labels_of_the_run() -> None:
    task = prepared(labelled(6))
    other = labelled(2)
    other.classes, other.targets = ("people", "beach"), np.array([[1, 0], [1, 1]], np.uint8)
    adapted = task.adapt(other)
    assert adapted.classes == LABELS
    assert adapted.targets is not None
    assert adapted.targets.tolist() == [[0, 0, 1], [1, 0, 1]]
    other.reader_options = {"label_columns": "people,beach"}
    with pytest.raises(RequestError, match="says nothing of 'sunset'"):
        task.adapt(other)
    other.classes = ("peple", "beach")
    with pytest.raises(RequestError, match=r"no label of this run named 'peple'.*people"):
        task.adapt(other)


def test_labels_that_change_are_told_with_their_distance_from_the_threshold() -> None:
    task = prepared(labelled(6))
    task.state["thresholds"] = [0.5, 0.25, 0.5]
    ours = np.array([[0.75, 0.25, 0.5], [0.75, 0.5, 0.25], [0.0, 0.0, 0.625]], np.float32)
    theirs = np.array([[0.75, 0.125, 0.5], [0.5, 0.25, 0.0], [0.9, 0.0, 0.4]], np.float32)
    changed, margins = task.changed(ours, theirs)
    assert changed.tolist() == [True, False, True]
    assert margins.tolist() == [0, 0, 0.5]  # at its threshold; none; two labels, 0.5 and 0.125


def test_pairs_come_label_by_label_in_turn() -> None:
    order = np.array([[0.1, 0.9], [0.2, 0.3], [0.3, 0.2], [0.4, 0.35]])
    every = np.ones((4, 2), bool)
    # of the first label 0, 1, 2, 3; of the second 2, 1, 3, 0; each example once
    assert in_turn(order, every, 4) == [(0, 0), (2, 1), (1, 0), (3, 1)]
    assert in_turn(order, every, 2) == [(0, 0), (2, 1)]
    order = order[:3]
    assert in_turn(order, np.array([[1, 0], [0, 0], [1, 0]], bool), 4) == [(0, 0), (2, 0)]
    assert in_turn(order, np.zeros((3, 2), bool), 4) == []
