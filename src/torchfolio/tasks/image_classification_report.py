"""Measuring an image classifier: its figures, its predictions, and the pictures of its report."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.feed import Feed
from torchfolio.evaluation import classification, counts
from torchfolio.evaluation.classification_report import (
    class_section,
    curves,
    measures,
    network_section,
    opening,
)
from torchfolio.evaluation.explain import grad_cam, last_convolution, overlay
from torchfolio.evaluation.report import Block, Gallery, Picture, Section, percent
from torchfolio.evaluation.speed import measure_speed
from torchfolio.tasks.base import Context, Evaluation, Parts, in_batches

if TYPE_CHECKING:
    from torchfolio.tasks.image_classification import ImageClassification

SHOWN = 24  # pictures of a gallery


@torch.inference_mode()
def class_probabilities(
    task: "ImageClassification",
    parts: Parts,
    dataset: Dataset,
    indices: Indices,
    context: Context,
) -> NDArray[np.float32]:
    """Return the probability of each class (examples, classes), in the order of ``indices``."""
    feed = Feed(
        lambda part: task.load(dataset, part, None, 0),
        in_batches(indices, context.batch_size),
        context.workers,
    )
    found = []
    for batch in feed:
        scores, _ = task.predict(parts, batch.to(context.device))
        found.append(scores.softmax(1).cpu().numpy())
    return np.concatenate(found)


def evaluate(
    task: "ImageClassification",
    parts: Parts,
    dataset: Dataset,
    split: Indices,
    context: Context,
) -> Evaluation:
    """Measure a split fully, with every picture and table of the report."""
    assert dataset.labels is not None
    classes = task.state["classes"]
    probabilities = class_probabilities(task, parts, dataset, split, context)
    labels = dataset.labels[split]
    result = classification.evaluate(
        probabilities,
        labels,
        training_counts=task.state["train_counts"],
        groups=None if dataset.groups is None else dataset.groups[split],
        seed=context.seed,
    )
    rows = prediction_rows(dataset, split, probabilities, classes)
    size, channels = task.state["size"], task.state["channels"]
    speed = measure_speed(
        parts.network, torch.zeros(1, channels, size, size, device=context.device)
    )
    sections = [
        opening(result, speed),
        pictures_section(task, parts, dataset, split, probabilities, context),
        class_section(result, classes),
        measures(result),
        curves(result, classes),
        network_section(filters=first_filters(parts.network)),
    ]
    return Evaluation(
        metrics={name: each.as_json() for name, each in result.metrics.items()},
        baseline={name: each.as_json() for name, each in result.baseline.items()},
        predictions=rows,
        sections=sections,
        details={
            key: value
            for key, value in result.as_json().items()
            if key not in ("metrics", "baseline")
        }
        | {"classes": classes, "speed": speed},
    )


def prediction_rows(
    dataset: Dataset, split: Indices, probabilities: NDArray[Any], classes: list[str]
) -> list[dict[str, Any]]:
    """Return one row an example for ``predictions/``: what it is, what was said, how surely."""
    assert dataset.labels is not None
    answers = probabilities.argmax(1)
    return [
        {
            "input": dataset.records.name(int(index)),
            "label": classes[dataset.labels[index]],
            "prediction": classes[answer],
            "probability": round(float(row[answer]), 6),
            "correct": int(dataset.labels[index] == answer),
        }
        | {f"p({name})": round(float(p), 6) for name, p in zip(classes, row, strict=True)}
        for index, answer, row in zip(split, answers, probabilities, strict=True)
    ]


def pictures_section(
    task: "ImageClassification",
    parts: Parts,
    dataset: Dataset,
    split: Indices,
    probabilities: NDArray[Any],
    context: Context,
) -> Section:
    """Return the worst mistakes, the least sure answers, and what answers rest on."""
    assert dataset.labels is not None
    labels = dataset.labels[split]
    wrong = counts.worst_mistakes(probabilities, labels, SHOWN)
    unsure = counts.least_sure(probabilities, SHOWN)
    blocks: list[Block] = []
    for title, chosen, caption in (
        ("Worst mistakes", wrong, "Wrong answers, those that gave the true class least first."),
        ("Least sure", unsure, "The answers with the smallest lead over the second choice."),
    ):
        if len(chosen):
            pictures = [
                shown_picture(each) for each in task.pictures.fitted(dataset, split[chosen])
            ]
            blocks.append(
                Gallery(title, captioned(task, pictures, probabilities, labels, chosen), caption)
            )
    example = task.pictures.normalised(task.pictures.fitted(dataset, split[:1]).to(context.device))
    layer = last_convolution(parts.network, example)
    if layer is not None:
        chosen = np.concatenate([wrong[:6], surest(probabilities, labels, 6)])
        images = task.pictures.fitted(dataset, split[chosen])
        answers = torch.from_numpy(probabilities[chosen].argmax(1)).to(context.device)
        heat = grad_cam(
            parts.network, task.pictures.normalised(images.to(context.device)), answers, layer
        )
        pictures = [
            overlay(shown_picture(image), each) for image, each in zip(images, heat, strict=True)
        ]
        items = captioned(task, pictures, probabilities, labels, chosen)
        caption = f"Grad-CAM of the answer, at {layer}: the brighter, the more it speaks for it."
        blocks.append(Gallery("Where it looks", items, caption))
    return Section("Pictures", blocks)


def captioned(
    task: "ImageClassification",
    pictures: list[NDArray[np.uint8]],
    probabilities: NDArray[Any],
    labels: NDArray[np.int64],
    chosen: NDArray[np.int64],
) -> list[Picture]:
    """Return pictures with truth and answer below, marked right or wrong."""
    classes = task.state["classes"]
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
