"""Measuring detection: the figures of a split, and the pictures of its report."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from torchfolio.data.boxes import Objects
from torchfolio.data.dataset import Dataset, Indices
from torchfolio.evaluation.detection import evaluate as measure
from torchfolio.evaluation.detection_report import (
    best_threshold,
    class_section,
    confusion,
    confusion_section,
    opening,
)
from torchfolio.evaluation.matching import Detections, match, match_class, overlaps
from torchfolio.evaluation.report import Gallery, Picture, Section
from torchfolio.tasks.base import Context, Evaluation, Parts, in_batches
from torchfolio.tasks.detection.suppression import USUAL
from torchfolio.tasks.outputs import outputs

MOVED = 5  # pictures that are shown as training saw them
SHOWN = 10  # pictures of a gallery
SIDE = 420  # pixels of the longer side of one
FOUND, MISSED, ALARM = (0, 158, 115), (230, 159, 0), (213, 94, 0)  # Okabe and Ito's colours


def evaluate(
    task: Any, parts: Parts, dataset: Dataset, split: Indices, context: Context
) -> Evaluation:
    """Measure a split fully."""
    classes = task.state["classes"]
    records: Any = dataset.records
    truths: list[Objects] = [records.objects[index] for index in split.tolist()]
    answers = answered(task, parts, dataset, split, context)
    sizes = records.sizes[split]
    result = measure(
        truths,
        answers,
        sizes,
        len(classes),
        baseline=[middle(task.state, *size) for size in sizes.tolist()],
        groups=None if dataset.groups is None else dataset.groups[split],
        seed=context.seed,
    )
    least = float(task.state.get("threshold", USUAL))
    counts = np.zeros(len(classes), np.int64)
    for each in truths:
        counts += np.bincount(each.labels[~each.aside], minlength=len(classes))
    taken = confusion(truths, answers, len(classes), least)
    sections: list[Section] = []
    if context.report:
        sections = [
            opening(result, len(split), int(counts.sum())),
            galleries(dataset, split, truths, answers, least, moved(task, dataset, split, context)),
            class_section(result, classes, counts),
            confusion_section(taken, classes, least),
        ]
    return Evaluation(
        metrics={name: each.as_json() for name, each in result.metrics.items()},
        baseline={name: each.as_json() for name, each in result.baseline.items()},
        predictions=prediction_rows(dataset, split, answers, classes),
        sections=sections,
        details={
            "classes": classes,
            "objects": counts.tolist(),
            "threshold": least,
            "by_class": {k: [e.as_json() for e in v] for k, v in result.by_class.items()},
            "voc_ap": {
                key: [None if np.isnan(each) else each for each in values]
                for key, values in result.voc.items()
            },
            "confusion": taken.tolist(),
        },
    )


def answered(
    task: Any, parts: Parts, dataset: Dataset, split: Indices, context: Context
) -> list[Detections]:
    """Return what the network finds in each picture, in its own pixels."""

    def compute(batch: Any) -> list[Detections]:
        with torch.autocast(context.device.type, torch.bfloat16, enabled=context.bf16):
            return task.predict(parts, batch.to(context.device)).detections

    found = outputs(
        lambda part: task.load(dataset, part, None, 0),
        compute,
        in_batches(split, context.batch_size),
        context,
    )
    return [each for batch in found for each in batch]


def choose_threshold(
    task: Any, parts: Parts, dataset: Dataset, validation: Indices, context: Context
) -> list[str]:
    """Choose the score of the best F1 on validation data; return a line on it."""
    records: Any = dataset.records
    truths = [records.objects[index] for index in validation.tolist()]
    answers = answered(task, parts, dataset, validation, context)
    matches = [match_class(truths, answers, k) for k in range(len(task.state["classes"]))]
    threshold, f1 = best_threshold(matches)
    task.state["threshold"] = threshold
    if not any(each.objects.sum() for each in matches):
        return [
            f"boxes are answered from a score of {threshold:.3f} on, as usual: of "
            f"{len(validation):,} validation pictures none has an object to choose it by"
        ]
    return [
        f"boxes are answered from a score of {threshold:.3f} on: the best F1 ({f1:.3f}) on "
        f"{len(validation):,} validation pictures"
    ]


def middle(state: dict[str, Any], height: int, width: int) -> Detections:
    """Return what is said without looking: the median training box of each class in the middle."""
    counts = np.array(state["train_objects"], np.float64)
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    sizes = np.broadcast_to(state["sizes"].numpy(), (len(counts), 2))  # older runs: one for all
    half = sizes[order] * max(height, width) / state["size"] / 2
    centre = np.array([width, height]) / 2
    boxes = np.concatenate([centre - half, centre + half], 1).astype(np.float32)
    return Detections(boxes, (counts / counts.sum())[order].astype(np.float32), order)


def prediction_rows(
    dataset: Dataset, split: Indices, answers: Sequence[Detections], classes: list[str]
) -> list[dict[str, Any]]:
    """Return a row a detection: picture, class, score and box."""
    return [
        {
            "input": dataset.records.name(index),
            "class": classes[label],
            "score": round(float(score), 6),
            **{
                side: round(float(each), 2)
                for side, each in zip(("left", "top", "right", "bottom"), box, strict=True)
            },
        }
        for index, found in zip(split.tolist(), answers, strict=True)
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)
    ]


def galleries(
    dataset: Dataset,
    split: Indices,
    truths: Sequence[Objects],
    answers: Sequence[Detections],
    least: float,
    others: Sequence[Gallery],
) -> Section:
    """Return the pictures with most mistakes, and with fewest, with all boxes drawn in.

    Below them are ``others``.
    """
    marks = [marked(truth, said, least) for truth, said in zip(truths, answers, strict=True)]
    wrong = np.array([missed.sum() + alarms.sum() for _, missed, alarms in marks])
    order = np.argsort(-wrong, kind="stable")
    chosen = {"Most misses and false alarms": order[:SHOWN], "Fewest": order[::-1][:SHOWN]}
    if len(order) <= SHOWN:
        chosen = {"All, the worst first": order}
    blocks = []
    for title, places in chosen.items():
        items = []
        for place in places.tolist():
            index = int(split[place])
            pixels = drawn(dataset, index, truths[place], answers[place], marks[place])
            _, missed, alarms = marks[place]
            words = (
                f"{dataset.records.name(index)}\n{int(missed.sum())} missed, {int(alarms.sum())} "
                "false alarms"
            )
            items.append(Picture(pixels, words))
        caption = (
            f"Boxes from a score of {least:.2f} on: green found, vermilion false alarms; orange "
            "objects that were missed."
        )
        blocks.append(Gallery(title, items, caption))
    return Section("Pictures", [*blocks, *others])


def moved(task: Any, dataset: Dataset, split: Indices, context: Context) -> list[Gallery]:
    """Return pictures moved at random as in training, with the boxes that moved along."""
    options, records = task.options, dataset.records
    if options.augment == "none":
        return []
    some = split[:MOVED]
    batch = task.pictures.augmented(dataset, some, 0, context.seed, pool=split)
    scale = 1.0 if batch.images.dtype == torch.uint8 else 255.0
    items = []
    for index, picture, (boxes, _) in zip(some.tolist(), batch.images, batch.targets, strict=True):
        pixels = (picture * scale).round().to(torch.uint8).movedim(0, -1).numpy()
        image, shrunk = small(pixels)
        pen = ImageDraw.Draw(image)
        for box in boxes.tolist():
            pen.rectangle([each * shrunk for each in box], outline=FOUND, width=2)
        items.append(Picture(np.asarray(image), records.name(index)))
    caption = (
        "Pictures of this split, changed at random as training pictures were (--augment "
        f"{options.augment}), with their boxes."
    )
    return [Gallery("As training pictures were moved", items, caption)]


def marked(
    truth: Objects, said: Detections, least: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which detections are shown, which objects are missed, which detections are alarms.

    Within each class, from an overlap of 0.5 on.
    """
    shown = said.scores >= least
    missed, alarms = ~truth.aside, shown.copy()
    for label in np.unique(np.concatenate([truth.labels, said.labels])):
        own, mine = (
            np.flatnonzero(truth.labels == label),
            np.flatnonzero(shown & (said.labels == label)),
        )
        shared = overlaps(said.boxes[mine], truth.boxes[own], truth.crowd[own])
        taken = match(shared, truth.aside[own], np.array([0.5]))[0]
        missed[own[taken[taken >= 0]]] = False
        alarms[mine[taken >= 0]] = False
    return shown, missed, alarms


def drawn(
    dataset: Dataset,
    index: int,
    truth: Objects,
    said: Detections,
    marks: tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]],
) -> NDArray[np.uint8]:
    """Return a picture with its boxes, small enough for a page."""
    records: Any = dataset.records
    pixels = records.pixels(index, 8)
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels * 255).astype(np.uint8)
    image, scale = small(pixels)
    pen = ImageDraw.Draw(image)
    shown, missed, alarms = marks
    for box in truth.boxes[missed]:
        pen.rectangle([float(each) * scale for each in box], outline=MISSED, width=2)
    for place in np.flatnonzero(shown).tolist():
        shade = ALARM if alarms[place] else FOUND
        pen.rectangle([float(each) * scale for each in said.boxes[place]], outline=shade, width=2)
    return np.asarray(image)


def small(pixels: NDArray[np.uint8]) -> tuple[Image.Image, float]:
    """Return pixels (height, width, channels) as an image that fits a page, and its scale."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    scale = min(1.0, SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR), scale
