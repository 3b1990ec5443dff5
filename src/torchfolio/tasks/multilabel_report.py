"""Measuring several labels a picture: figures, predictions, and the pictures of the report."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.records import fingerprint
from torchfolio.evaluation import multilabel
from torchfolio.evaluation.classification_report import network_section
from torchfolio.evaluation.explain.heat import overlay
from torchfolio.evaluation.label_measures import Training
from torchfolio.evaluation.multilabel_report import curves, label_section, measures, opening
from torchfolio.evaluation.report import Block, Gallery, Picture, Section, percent
from torchfolio.tasks.base import Context, Evaluation, Parts
from torchfolio.tasks.image_classification_report import (
    SHOWN,
    class_probabilities,
    first_filters,
    probability_cells,
    shown_picture,
    speed_of,
)
from torchfolio.tasks.label_answers import joined_labels

if TYPE_CHECKING:
    from torchfolio.tasks.multilabel_classification import MultilabelClassification

UNCHOSEN = "There were no validation data to choose thresholds on: every one is 0.5."
EXPLAINED = 6  # of each kind, pictures that show where the network looked
Pairs = list[tuple[int, int]]  # places of pictures in the split, each with a label


def evaluate(
    task: "MultilabelClassification",
    parts: Parts,
    dataset: Dataset,
    split: Indices,
    context: Context,
) -> Evaluation:
    """Measure a split fully, with every picture and table of a report that is wanted."""
    assert dataset.targets is not None
    state = task.state
    answering = task.answering(parts, context)
    probabilities = class_probabilities(task, answering, dataset, split, context)
    lowered = {each.dtype for each in answering.network.parameters()} != {torch.float32}
    result = multilabel.evaluate(
        probabilities,
        dataset.targets[split],
        task.thresholds,
        names=state["classes"],
        training=Training(
            np.array(state["train_counts"]), state["train_examples"], np.array(state["train_set"])
        ),
        groups=None if dataset.groups is None else dataset.groups[split],
        seed=context.seed,
    )
    result.notes.extend(threshold_notes(task, dataset, split))
    details: dict[str, Any] = {
        "labels": state["classes"],
        "precision": "bf16" if lowered else "fp32",
        "thresholds": task.thresholds.tolist(),
    }
    sections: list[Section] = []
    if context.report:
        details["speed"] = speed_of(task, parts, answering, context)
        sections = told(
            task, parts, dataset, split, probabilities, result, details["speed"], context
        )
    rows = prediction_rows(task, dataset, split, probabilities)
    arrays: dict[str, NDArray[Any]]
    arrays = {"probabilities": probabilities, "targets": dataset.targets[split]}
    return evaluation_of(result, rows, sections, details, arrays)


def evaluation_of(
    result: multilabel.MultilabelResult,
    rows: list[dict[str, Any]],
    sections: list[Section],
    details: dict[str, Any],
    arrays: dict[str, NDArray[Any]],
) -> Evaluation:
    """Return a result as what the run keeps of it."""
    found = result.as_json()
    metrics, baseline = found.pop("metrics"), found.pop("baseline")
    return Evaluation(metrics, baseline, rows, sections, found | details, arrays)


def threshold_notes(
    task: "MultilabelClassification", dataset: Dataset, split: Indices
) -> list[str]:
    """Say where thresholds come from, if they are not of other data than those measured."""
    if "thresholds" not in task.state:
        return [UNCHOSEN]
    if task.state["chosen_on"] == fingerprint(dataset.fingerprint, split):
        return [
            "The thresholds were chosen on these very examples, which flatters all that depends on "
            "them: precision, recall, F1, subset accuracy and Hamming loss."
        ]
    return []


def told(
    task: "MultilabelClassification",
    parts: Parts,
    dataset: Dataset,
    split: Indices,
    probabilities: NDArray[Any],
    result: multilabel.MultilabelResult,
    speed: dict[str, Any],
    context: Context,
) -> list[Section]:
    """Return the sections of the report."""
    return [
        opening(result, speed),
        pictures_section(task, parts, dataset, split, probabilities, context),
        label_section(result, task.classes),
        measures(result),
        curves(result, task.classes),
        network_section(filters=first_filters(parts.network)),
    ]


def prediction_rows(
    task: "MultilabelClassification",
    dataset: Dataset,
    split: Indices,
    probabilities: NDArray[Any],
) -> list[dict[str, Any]]:
    """Return one row an example for ``predictions/``: its labels, those given, how surely."""
    assert dataset.targets is not None
    names = np.array(task.classes, object)
    truth, answers = dataset.targets[split].astype(bool), task.given(probabilities)
    cells = probability_cells(probabilities, task.classes)
    rows = zip(split.tolist(), truth, answers, cells, strict=True)
    return [
        {
            "input": dataset.records.name(index),
            "labels": joined_labels(names[there]),
            "prediction": joined_labels(names[given]),
            "correct": int((there == given).all()),
            **({} if dataset.groups is None else {"group": str(dataset.groups[index])}),
            **probability,
        }
        for index, there, given, probability in rows
    ]


def pictures_section(
    task: "MultilabelClassification",
    parts: Parts,
    dataset: Dataset,
    split: Indices,
    probabilities: NDArray[Any],
    context: Context,
) -> Section:
    """Return each label's worst misses and false alarms, and what answers rest on."""
    assert dataset.targets is not None
    truth = dataset.targets[split].astype(bool)
    answers = task.given(probabilities)
    missed = in_turn(probabilities, truth & ~answers, SHOWN)
    alarms = in_turn(-probabilities, ~truth & answers, SHOWN)
    blocks: list[Block] = []
    for title, chosen, word, caption in (
        ("Worst misses", missed, "misses", "of the pictures that have it, those least sure of it."),
        ("Worst false alarms", alarms, "wrongly", "of those without it, those surest of it."),
    ):
        if chosen:
            pictures = [
                shown_picture(each)
                for each in task.pictures.fitted(dataset, split[[place for place, _ in chosen]])
            ]
            items = captioned(task, pictures, probabilities, truth, chosen, word, good=False)
            blocks.append(Gallery(title, items, f"Label by label in turn: {caption}"))
    blocks += where_it_looks(task, parts, dataset, split, probabilities, alarms, context)
    return Section("Pictures", blocks)


def where_it_looks(
    task: "MultilabelClassification",
    parts: Parts,
    dataset: Dataset,
    split: Indices,
    probabilities: NDArray[Any],
    alarms: Pairs,
    context: Context,
) -> list[Block]:
    """Return what some right answers and some false alarms rest on, by the network's own method."""
    from torchfolio.tasks.image_explanations import Explainer  # which takes a second to import

    assert dataset.targets is not None
    truth = dataset.targets[split].astype(bool)
    right = in_turn(-probabilities, truth & task.given(probabilities), EXPLAINED)
    explainer = Explainer(task, parts.network, context)
    items: list[Picture] = []
    for chosen, word, good in ((right, "rightly", True), (alarms[:EXPLAINED], "wrongly", False)):
        if not chosen:
            continue
        images = task.pictures.fitted(dataset, split[[place for place, _ in chosen]])
        heats = explainer(images, torch.tensor([label for _, label in chosen]))
        pictures = [
            overlay(shown_picture(image), heat.values)
            for image, heat in zip(images, heats, strict=True)
        ]
        items += captioned(task, pictures, probabilities, truth, chosen, word, good=good)
    if not items:
        return []
    caption = f"{explainer.caption('the label')} The brighter, the more."
    return [Gallery("Where it looks", items, caption)]


def in_turn(order: NDArray[Any], eligible: NDArray[np.bool_], most: int) -> Pairs:
    """Return eligible pairs (examples, labels): of each label its first, then its second, ...

    The first of a label has the lowest ``order``; labels come in the order of their first. An
    example comes once, for the label of which it is the earliest.
    """
    found: list[tuple[int, float, int, int]] = []
    for label in range(eligible.shape[1]):
        places = np.flatnonzero(eligible[:, label])
        ranked = places[np.argsort(order[places, label], kind="stable")][:most]
        found += [
            (rank, float(order[place, label]), place, label)
            for rank, place in enumerate(ranked.tolist())
        ]
    once: dict[int, int] = {}
    for _, _, place, label in sorted(found):
        once.setdefault(place, label)
    return list(once.items())[:most]


def captioned(
    task: "MultilabelClassification",
    pictures: list[NDArray[np.uint8]],
    probabilities: NDArray[Any],
    truth: NDArray[np.bool_],
    chosen: Pairs,
    word: str,
    *,
    good: bool,
) -> list[Picture]:
    """Return pictures, each with the label in question, its labels and those given below."""
    names = np.array(task.classes, object)
    answers = task.given(probabilities)
    return [
        Picture(
            picture,
            f"{word} {names[label]} ({percent(probabilities[place, label], 0)})\n"
            f"is {listed(names[truth[place]])}\nsaid {listed(names[answers[place]])}",
            good,
        )
        for picture, (place, label) in zip(pictures, chosen, strict=True)
    ]


def listed(names: NDArray[Any]) -> str:
    """Return labels as a caption lists them."""
    return ", ".join(names) or "no label"
