"""Measuring an image classifier: its figures, its predictions, and the pictures of its report."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.evaluation import classification, counts
from torchfolio.evaluation.classification_report import (
    class_section,
    curves,
    measures,
    network_section,
    opening,
)
from torchfolio.evaluation.explain.heat import overlay
from torchfolio.evaluation.report import Block, Gallery, Picture, Section, percent
from torchfolio.evaluation.speed import in_turn, measure_speed, size_of
from torchfolio.tasks.base import Context, Evaluation, Parts, in_batches
from torchfolio.tasks.image_asking import ask
from torchfolio.tasks.image_classifier import ImageClassifier
from torchfolio.tasks.outputs import batch_size, outputs
from torchfolio.tasks.picture_task import PictureTask

SHOWN = 24  # pictures of a gallery
COLUMNS = 100  # classes whose probabilities are all written; of more, the TOP highest are
TOP = 5


def class_probabilities(
    task: PictureTask,
    parts: Parts,
    dataset: Dataset,
    indices: Indices,
    context: Context,
) -> NDArray[np.float32]:
    """Return the probability of each class (examples, classes), in the order of ``indices``.

    ``parts`` are those that answer.
    """
    found = asked(task, dataset, indices, context, lambda images: ask(task, parts, images, context))
    return np.concatenate(list(found))


def asked(
    task: PictureTask,
    dataset: Dataset,
    indices: Indices,
    context: Context,
    compute: Callable[[list[Tensor]], NDArray[np.float32]],
) -> Iterator[NDArray[np.float32]]:
    """Yield what is computed of the pictures, from a batch for each of the task's inputs."""
    return outputs(
        lambda part: [each.fitted(dataset, part) for each in task.inputs],
        compute,
        in_batches(indices, batch_size(context, task.values)),
        context,
    )


def evaluate(
    task: ImageClassifier,
    parts: Parts,
    dataset: Dataset,
    split: Indices,
    context: Context,
) -> Evaluation:
    """Measure a split fully, with every picture and table of a report that is wanted."""
    answering = task.answering(parts, context)
    probabilities = class_probabilities(task, answering, dataset, split, context)
    return measured(task, parts, answering, dataset, split, probabilities, context)


def measured(
    task: ImageClassifier,
    parts: Parts,
    answering: Parts,
    dataset: Dataset,
    split: Indices,
    probabilities: NDArray[np.float32],
    context: Context,
    notes: Sequence[str] = (),
) -> Evaluation:
    """Measure the probabilities (examples, classes) that the ``answering`` parts gave.

    ``notes`` are told beside the figures.
    """
    assert dataset.labels is not None
    kinds = {each.dtype for part in answering.values() for each in part.parameters()}
    precision = "fp32" if kinds <= {torch.float32} else "bf16"
    result = classification.evaluate(
        probabilities,
        dataset.labels[split],
        training_counts=task.state["train_counts"],
        groups=None if dataset.groups is None else dataset.groups[split],
        seed=context.seed,
    )
    result.notes.extend(notes)
    rows = prediction_rows(dataset, split, probabilities, task.state["classes"])
    details: dict[str, Any] = {"classes": task.state["classes"], "precision": precision}
    sections: list[Section] = []
    if context.report:
        details["speed"] = speed_of(task, parts, answering, context)
        sections = told(
            task, parts, dataset, split, probabilities, result, details["speed"], context
        )
    return evaluation_of(result, rows, sections, details)


def evaluation_of(
    result: classification.ClassificationResult,
    rows: list[dict[str, Any]],
    sections: list[Section],
    details: dict[str, Any],
) -> Evaluation:
    """Return a result as what the run keeps of it."""
    found = result.as_json()
    return Evaluation(
        metrics=found.pop("metrics"),
        baseline=found.pop("baseline"),
        predictions=rows,
        sections=sections,
        details=found | details,
    )


def speed_of(task: PictureTask, parts: Parts, answering: Parts, context: Context) -> dict[str, Any]:
    """Return the speed of the networks, as they answer one after the other, and their size."""
    speeds = [
        measure_speed(each.network, each.example(context.device))
        for each in task.members(answering)
    ]
    return in_turn(speeds) | size_of(*(each.network for each in task.members(parts)))


def told(
    task: ImageClassifier,
    parts: Parts,
    dataset: Dataset,
    split: Indices,
    probabilities: NDArray[Any],
    result: classification.ClassificationResult,
    speed: dict[str, Any],
    context: Context,
) -> list[Section]:
    """Return the sections of the report."""
    classes, members = task.state["classes"], task.members(parts)
    sections = [
        opening(result, speed),
        *pictures_sections(task, parts, dataset, split, probabilities, context),
        class_section(result, classes),
        measures(result),
        curves(result, classes),
    ]
    if len(members) == 1:
        sections.append(network_section(filters=first_filters(members[0].network)))
    return sections


def prediction_rows(
    dataset: Dataset, split: Indices, probabilities: NDArray[Any], classes: list[str]
) -> list[dict[str, Any]]:
    """Return one row an example for ``predictions/``: what it is, what was said, how surely."""
    assert dataset.labels is not None
    answers, labels = probabilities.argmax(1), dataset.labels[split]
    highest = np.round(probabilities.max(1).astype(np.float64), 6)
    rows = zip(
        split.tolist(), labels.tolist(), answers.tolist(), highest.tolist(),
        probability_cells(probabilities, classes), strict=True,
    )  # fmt: skip
    return [
        {
            "input": dataset.records.name(index),
            "label": classes[label],
            "prediction": classes[answer],
            "probability": probability,
            "correct": int(label == answer),
            **({} if dataset.groups is None else {"group": str(dataset.groups[index])}),
            **cells,
        }
        for index, label, answer, probability, cells in rows
    ]


def probability_cells(
    probabilities: NDArray[Any], classes: list[str]
) -> Iterator[dict[str, str | float]]:
    """Give the cells of each example: the probability of every class, or the highest of many.

    A table of 10,000 classes by 30,000 examples would have 300 million cells.
    """
    if len(classes) <= COLUMNS:
        columns = [f"p({name})" for name in classes]
        for row in np.round(probabilities.astype(np.float64), 6).tolist():
            yield dict(zip(columns, row, strict=True))
        return
    for row in probabilities:
        high = np.argpartition(-row, TOP)[:TOP]
        high = high[np.argsort(-row[high], kind="stable")]
        cells: dict[str, str | float] = {}
        for place, each in enumerate(high.tolist(), 1):
            cells[f"class_{place}"] = classes[each]
            cells[f"probability_{place}"] = round(float(row[each]), 6)
        yield cells


def pictures_sections(
    task: ImageClassifier,
    parts: Parts,
    dataset: Dataset,
    split: Indices,
    probabilities: NDArray[Any],
    context: Context,
) -> list[Section]:
    """Return the worst mistakes, the least sure answers, what answers rest on, what is drawn."""
    from torchfolio.tasks.image_explanations import Explainer  # which takes a second to import
    from torchfolio.tasks.page_pictures import page_sections

    assert dataset.labels is not None
    labels = dataset.labels[split]
    classes = task.state["classes"]
    largest = max(task.inputs, key=lambda each: each.state["size"])
    wrong = counts.worst_mistakes(probabilities, labels, SHOWN)
    unsure = counts.least_sure(probabilities, SHOWN)
    blocks: list[Block] = []
    for title, chosen, caption in (
        ("Worst mistakes", wrong, "Wrong answers, those that gave the true class least first."),
        ("Least sure", unsure, "The answers with the smallest lead over the second choice."),
    ):
        if len(chosen):
            pictures = [shown_picture(each) for each in largest.fitted(dataset, split[chosen])]
            items = captioned(classes, pictures, probabilities, labels, chosen)
            blocks.append(Gallery(title, items, caption))
    chosen = np.concatenate([wrong[:6], surest(probabilities, labels, 6)])
    answers, right = (torch.from_numpy(each[chosen]) for each in (probabilities.argmax(1), labels))
    drawn: list[Section] = []
    members = task.members(parts)
    for member in members:
        images = member.task.pictures.fitted(dataset, split[chosen])
        explainer = Explainer(member.task, member.network, context)
        pictures = [
            overlay(shown_picture(image), each.values)
            for image, each in zip(images, explainer(images, answers), strict=True)
        ]
        items = captioned(classes, pictures, probabilities, labels, chosen)
        title = f"Where {member.name if len(members) > 1 else 'it'} looks"
        blocks.append(Gallery(title, items, f"{explainer.caption()} The brighter, the more."))
        there = images.to(context.device), right.to(context.device)
        name = member.name if len(members) > 1 else ""
        drawn += page_sections(member.task, member.network, *there, name)
    return [Section("Pictures", blocks), *drawn]


def captioned(
    classes: list[str],
    pictures: list[NDArray[np.uint8]],
    probabilities: NDArray[Any],
    labels: NDArray[np.int64],
    chosen: NDArray[np.int64],
) -> list[Picture]:
    """Return pictures with truth and answer below, marked right or wrong."""
    return [
        Picture(
            picture,
            words(classes, probabilities[place], labels[place]),
            bool(probabilities[place].argmax() == labels[place]),
        )
        for picture, place in zip(pictures, chosen.tolist(), strict=True)
    ]


def surest(probabilities: NDArray[Any], labels: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Return the right answers with the highest probability, one of each class in turn."""
    answers, sureness = probabilities.argmax(1), probabilities.max(1)
    right = np.flatnonzero(answers == labels)
    right = right[np.argsort(-sureness[right], kind="stable")]
    _, first = np.unique(labels[right], return_index=True)
    return right[np.sort(first)][:k]


def words(classes: list[str], row: NDArray[Any], label: int) -> str:
    """Return truth and answers of one picture in words."""
    best = np.argsort(-row, kind="stable")[:2]
    answers = ", ".join(f"{classes[each]} {percent(row[each], 0)}" for each in best)
    return f"is {classes[label]}\nsaid {answers}"


def shown_picture(image: Tensor) -> NDArray[np.uint8]:
    """Return (channels, height, width) pixels as (height, width, 3) uint8."""
    pixels = image.expand(3, -1, -1).movedim(0, 2).cpu().numpy()
    return pixels if pixels.dtype == np.uint8 else (pixels * 255).round().astype(np.uint8)


def first_filters(network: nn.Module) -> NDArray[np.float32] | None:
    """Return the weights of the first convolution, if it is large enough to look at."""
    convolutions = (each for each in network.modules() if isinstance(each, nn.Conv2d))
    first = next(convolutions, None)
    if first is None or min(first.kernel_size) < 3:
        return None
    return first.weight.detach().float().cpu().numpy()
