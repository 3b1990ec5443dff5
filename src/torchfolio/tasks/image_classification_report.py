"""Measuring and answering: what an image classifier's evaluation holds, and what predict says."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.feed import Feed
from torchfolio.data.images import decode
from torchfolio.errors import FolioError
from torchfolio.evaluation import classification, counts, figures
from torchfolio.evaluation.explain import grad_cam, last_convolution, overlay
from torchfolio.evaluation.report import (
    Figure,
    Gallery,
    KeyFigure,
    KeyFigures,
    Picture,
    Section,
    Table,
    Text,
    percent,
)
from torchfolio.evaluation.speed import measure_speed
from torchfolio.tasks.base import Context, Evaluation, Parts, in_batches

if TYPE_CHECKING:
    from torchfolio.tasks.image_classification import ImageClassification

SHOWN = 24  # pictures of a gallery
LABELS = {
    "accuracy": "Accuracy",
    "top5_accuracy": "Top-5 accuracy",
    "macro_precision": "Precision (macro)",
    "macro_recall": "Recall (macro)",
    "macro_f1": "F1 (macro)",
    "weighted_f1": "F1 (weighted)",
    "log_loss": "Log-loss",
    "roc_auc": "ROC area (macro)",
    "average_precision": "Average precision (macro)",
    "ece": "Calibration error (ECE)",
}


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
    speed = measure_speed(parts.network, torch.zeros(1, channels, size, size, device=context.device))
    sections = [
        figures_section(result, classes, len(split)),
        mistakes_section(task, parts, dataset, split, probabilities, labels, context),
        details_section(result, classes),
        network_section(parts.network, speed, task.state["train_counts"], classes),
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


def figures_section(
    result: classification.ClassificationResult, classes: list[str], examples: int
) -> Section:
    """Return the headline: accuracy and its neighbours, beside the majority class."""
    shown = [name for name in LABELS if name in result.metrics and result.metrics[name].defined]
    key = [
        KeyFigure(LABELS[name], number(name, result.metrics[name].value), span(name, result.metrics[name]))
        for name in ("accuracy", "macro_f1", "roc_auc", "log_loss")
        if name in shown
    ]
    rows = []
    for name in shown:
        base = result.baseline.get(name)
        rows.append(
            [
                LABELS[name],
                number(name, result.metrics[name].value),
                span(name, result.metrics[name]),
                number(name, base.value) if base is not None and base.defined else "",
            ]
        )
    note = (
        f"{examples:,} test examples. Intervals: 95 %, bootstrap of {result.resamples:,} resamples. "
        "Baseline: always the commonest class of the training split."
    )
    blocks: list[Any] = [
        KeyFigures(key),
        Table("All figures", ["metric", "value", "95 % interval", "baseline"], rows, note=note),
    ]
    if result.notes:
        blocks.append(Text("Notes", result.notes))
    return Section("Result", blocks)


def number(name: str, value: float) -> str:
    """Return a metric as a person reads it: shares in per cent, others with four digits."""
    return f"{value:.4f}" if name == "log_loss" else percent(value, 2)


def span(name: str, interval: Any) -> str:
    """Return an interval as text."""
    if not (np.isfinite(interval.low) and np.isfinite(interval.high)):
        return ""
    return f"{number(name, interval.low)} – {number(name, interval.high)}"


def mistakes_section(
    task: "ImageClassification",
    parts: Parts,
    dataset: Dataset,
    split: Indices,
    probabilities: NDArray[Any],
    labels: NDArray[np.int64],
    context: Context,
) -> Section:
    """Return what goes wrong: confused pairs, the worst mistakes, the least sure answers."""
    classes = task.state["classes"]
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels, probabilities.argmax(1)), 1)
    blocks: list[Any] = [
        Figure(
            "Confusion matrix",
            figures.confusion_matrix(confusion, classes),
            "Rows are the true classes, columns the answers.",
        )
    ]
    pairs = [
        [each["true"], each["predicted"], each["count"], percent(each["share"])]
        for each in counts.most_confused(confusion, classes, 10)
    ]
    if pairs:
        blocks.append(
            Table("Most confused", ["true class", "answered", "pictures", "of the class"], pairs)
        )
    wrong = counts.worst_mistakes(probabilities, labels, SHOWN)
    unsure = counts.least_sure(probabilities, SHOWN)
    for title, chosen, caption in (
        ("Worst mistakes", wrong, "Wrong answers, the surest first."),
        ("Least sure", unsure, "The answers with the smallest lead over the second choice."),
    ):
        if len(chosen):
            items = pictures_of(task, dataset, split, probabilities, labels, chosen)
            blocks.append(Gallery(title, items, caption))
    example = task.normalised(task.fitted(dataset, split[:1]).to(context.device))
    layer = last_convolution(parts.network, example)
    if layer is not None:
        chosen = np.concatenate([wrong[:6], surest(probabilities, labels, 6)])
        items = heat_pictures(task, parts, dataset, split, probabilities, labels, chosen, layer, context)
        caption = f"Grad-CAM of the answer at {layer}: what the answer rests on, from cold to hot."
        blocks.append(Gallery("Where it looks", items, caption))
    return Section("Mistakes", blocks)


def pictures_of(
    task: "ImageClassification",
    dataset: Dataset,
    split: Indices,
    probabilities: NDArray[Any],
    labels: NDArray[np.int64],
    chosen: NDArray[np.int64],
) -> list[Picture]:
    """Return pictures at the network's size, with truth and answer below."""
    classes = task.state["classes"]
    items = []
    for place in chosen.tolist():
        picture = shown_picture(task.fitted(dataset, split[[place]])[0])
        items.append(Picture(picture, words(classes, probabilities[place], labels[place]), bool(probabilities[place].argmax() == labels[place])))
    return items


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
    return f"{classes[label]}\n{answers}"


def shown_picture(image: Tensor) -> NDArray[np.uint8]:
    """Return (channels, height, width) pixels as (height, width, 3) uint8."""
    pixels = image.expand(3, -1, -1).movedim(0, 2).cpu().numpy()
    return pixels if pixels.dtype == np.uint8 else (pixels * 255).round().astype(np.uint8)


def heat_pictures(
    task: "ImageClassification",
    parts: Parts,
    dataset: Dataset,
    split: Indices,
    probabilities: NDArray[Any],
    labels: NDArray[np.int64],
    chosen: NDArray[np.int64],
    layer: str,
    context: Context,
) -> list[Picture]:
    """Return pictures with the Grad-CAM of their answer laid over them."""
    images = task.fitted(dataset, split[chosen])
    answers = torch.from_numpy(probabilities[chosen].argmax(1))
    normalised = task.normalised(images.to(context.device))
    heat = grad_cam(parts.network, normalised, answers.to(context.device), layer)
    classes = task.state["classes"]
    return [
        Picture(
            overlay(shown_picture(image), each),
            words(classes, probabilities[place], labels[place]),
            bool(probabilities[place].argmax() == labels[place]),
        )
        for image, each, place in zip(images, heat, chosen.tolist(), strict=True)
    ]


def details_section(result: classification.ClassificationResult, classes: list[str]) -> Section:
    """Return curves, calibration, and the figures of each class."""
    rows = [
        [name, *(number(key, row[key].value) if row[key].defined else "" for key in classification.PER_CLASS)]  # type: ignore[union-attr]
        + [f"{row['support']:,}"]
        for name, row in zip(classes, result.per_class, strict=True)
    ]
    columns = ["class", "precision", "recall", "F1", "ROC area", "average precision", "examples"]
    return Section(
        "Classes, curves, calibration",
        [
            Table("By class", columns, rows),
            Figure(
                "ROC curves",
                figures.roc_curves(result.roc, classes),
                "Share of a class that is found against the share of others taken for it.",
            ),
            Figure(
                "Precision and recall",
                figures.precision_recall_curves(result.precision_recall, classes),
                "Each class against the rest.",
            ),
            Figure(
                "Reliability",
                figures.reliability_diagram(result.reliability),
                "How often answers of a certain probability are right; on the line they are as "
                "sure as they should be.",
            ),
        ],
    )


def network_section(
    network: nn.Module, speed: dict[str, Any], training: list[int], classes: list[str]
) -> Section:
    """Return size, speed, the first layer's filters, and the balance of the training classes."""
    blocks: list[Any] = [Table("Size and speed", ["", ""], speed_rows(speed))]
    weight = next(
        (each.weight for each in network.modules() if isinstance(each, nn.Conv2d)), None
    )
    if weight is not None and min(weight.shape[2:]) >= 3:
        blocks.append(
            Figure(
                "First layer",
                figures.first_layer_filters(weight.detach().cpu().numpy()),
                "The filters of the first convolution.",
            )
        )
    blocks.append(
        Figure("Training pictures", figures.class_balance({"training": training}, classes))
    )
    return Section("Network", blocks)


def speed_rows(speed: dict[str, Any]) -> list[list[str]]:
    """Return size and speed in words."""
    low, high = speed["latency_low_ms"], speed["latency_high_ms"]
    return [
        ["parameters", f"{speed['parameters']:,}"],
        ["size of the weights", f"{speed['megabytes']:.3g} MB"],
        ["one picture", f"{speed['latency_ms']:.3g} ms (quartiles {low:.3g} to {high:.3g})"],
        [f"in batches of {speed['throughput_batch']}", f"{speed['throughput']:,.0f} pictures a second"],
        ["measured on", f"{speed['device']}, {speed['threads']} thread(s), without reading files"],
    ]


@torch.inference_mode()
def answer(
    task: "ImageClassification", parts: Parts, inputs: Sequence[Any], context: Context
) -> Iterator[dict[str, Any]]:
    """Yield one row an input: class, probability, all probabilities in falling order, or an error."""
    classes = task.state["classes"]

    def load(part: Sequence[Any]) -> tuple[Sequence[Any], list[Tensor | str]]:
        return part, [read(task, item) for item in part]

    size = context.batch_size
    parts_of_inputs = [inputs[start : start + size] for start in range(0, len(inputs), size)]
    for part, pictures in Feed(load, parts_of_inputs, context.workers):
        good = [each for each in pictures if isinstance(each, Tensor)]
        probabilities = iter(())  # type: Iterator[Any]
        if good:
            images = task.normalised(torch.stack(good).to(context.device))
            probabilities = iter(parts.network(images).float().softmax(1).cpu().numpy())
        for item, picture in zip(part, pictures, strict=True):
            row: dict[str, Any] = {
                "input": str(item), "prediction": None, "probability": None, "error": None, "top": [],
            }  # fmt: skip
            if isinstance(picture, str):
                row["error"] = picture
            else:
                found = next(probabilities)
                order = np.argsort(-found, kind="stable")
                row["top"] = [
                    {"class": classes[each], "probability": float(found[each])} for each in order
                ]
                row["prediction"] = classes[order[0]]
                row["probability"] = float(found[order[0]])
            yield row


def read(task: "ImageClassification", item: Any) -> Tensor | str:
    """Read one input as the training pictures were read; return its error as text."""
    try:
        if isinstance(item, np.ndarray):
            pixels = item if item.ndim == 3 else item[..., None]
        else:
            path = Path(item)
            if not path.is_file():
                return f"There is no file {path}."
            pixels = decode(path, task.state["channels"], task.state["depth"])
        return task.fit(task.tensor(pixels))
    except (FolioError, OSError) as error:
        return str(error)


def draw_answer(row: dict[str, Any], target: Path) -> Path:
    """Write the picture of an answer with its classes and probabilities below it, as PNG."""
    from PIL import Image, ImageDraw, ImageFont

    pixels = decode(Path(row["input"]), 3, 8)
    image = Image.fromarray(pixels)
    width = max(320, min(900, image.width))
    scale = width / image.width
    resample = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    image = image.resize((width, max(1, round(image.height * scale))), resample)
    top = row["top"][:3]
    font = ImageFont.load_default(size=18)
    sheet = Image.new("RGB", (width, image.height + 30 * len(top) + 8), "white")
    sheet.paste(image, (0, 0))
    draw = ImageDraw.Draw(sheet)
    for place, each in enumerate(top):
        y = image.height + 6 + 30 * place
        draw.rectangle((0, y, round(width * each["probability"]), y + 26), fill="#cfe3f5")
        draw.text((8, y + 2), f"{each['class']}  {each['probability']:.1%}", fill="#102030", font=font)
    target.mkdir(parents=True, exist_ok=True)
    path = free_path(target / f"{Path(row['input']).stem}.png")
    sheet.save(path)
    return path


def free_path(path: Path) -> Path:
    """Return the path, or the first of ``name-2``, ``name-3`` ... that is free."""
    number = 2
    found = path
    while found.exists():
        found = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return found
