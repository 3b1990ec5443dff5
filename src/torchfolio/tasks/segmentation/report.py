"""Measuring segmentation: the figures of a split, its masks, and the pictures of its report."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchfolio.data.bands import to_look_at
from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.masks import IGNORE
from torchfolio.evaluation.classification_report import range_text, value_text
from torchfolio.evaluation.grey_cut import GreyCut, grey
from torchfolio.evaluation.names import NAMES
from torchfolio.evaluation.objects import picture_objects, rand_error
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
    show,
)
from torchfolio.evaluation.segmentation import (
    ClassCounts,
    SegmentationResult,
    confusion,
    figures,
    judged,
    picture_dice,
)
from torchfolio.evaluation.segmentation import evaluate as measure
from torchfolio.tasks.base import Context, Evaluation, Parts
from torchfolio.tasks.outputs import outputs
from torchfolio.tasks.segmentation.asking import ask
from torchfolio.tasks.segmentation.masks import overlay, palette_mask
from torchfolio.tasks.segmentation.objects import not_counted, objects_of_files, walled

SHOWN = 6  # pictures of a gallery
WRITTEN = 10_000  # masks that are written beside the figures
MEANS = ("mean_iou", "mean_dice", "pixel_accuracy", "mean_precision", "mean_recall")
SPREAD = {
    "picture_dice": "Dice without the first class",
    "mean_iou": "mean IoU",
    "mean_dice": "mean Dice",
    "pixel_accuracy": "pixel accuracy",
    "mean_precision": "mean precision",
    "mean_recall": "mean recall",
}


def evaluate(
    task: Any, parts: Parts, dataset: Dataset, split: Indices, context: Context
) -> Evaluation:
    """Measure a split fully, picture by picture."""
    classes, pixels = task.state["classes"], task.state["train_pixels"]
    records: Any = dataset.records
    uncounted, told = not_counted(classes, pixels), 0
    confusions = np.zeros((len(split), len(classes), len(classes)), np.int64)
    objects = None if uncounted else np.zeros((len(split), len(classes) - 1, 5), np.int64)
    rand = np.zeros(len(split)) if walled(pixels) else None
    cut = GreyCut(**task.state["cut"]) if "cut" in task.state else None
    by_cut = np.zeros((2, 2), np.int64)
    files: dict[str, bytes] = {}
    answers = answered(task, parts, dataset, split, context)
    for place, (index, answer) in enumerate(zip(split.tolist(), answers, strict=True)):
        truth = task.scenes.mask(dataset, index).numpy()
        confusions[place] = confusion(truth, answer, len(classes))
        if objects is not None:
            numbers = objects_of_files(records.masks, index)
            told += numbers is not None
            objects[place] = picture_objects(truth, answer, len(classes), numbers)
        if rand is not None:
            counts = truth != IGNORE
            rand[place] = rand_error((truth == 1) & counts, (answer == 1) & counts)
        if cut is not None:
            by_cut += confusion(truth, cut.answer(grey(dataset.records, index)), 2)
        if place < WRITTEN:
            files[f"{place:05d}.png"] = palette_mask(answer)
    result = measure(
        confusions,
        pixels,
        objects=objects,
        of_pictures={} if rand is None else {"rand_error": rand},
        groups=None if dataset.groups is None else dataset.groups[split],
        seed=context.seed,
    )
    rows = prediction_rows(dataset, split, confusions, classes)
    further = [uncounted] if uncounted else []
    sections = []
    if context.report:
        cuts = [] if cut is None else [told_cut(cut, by_cut)]
        sections = [
            opening(result, classes, cuts + further),
            galleries(task, parts, dataset, split, result, context),
            class_section(result, classes),
        ]
        if objects is not None:
            sections.append(object_section(result, classes, told))
    found = result.as_json()
    if cut is not None:
        plain = {name: float(value) for name, value in figures(by_cut).items()}
        found["plain_threshold"] = vars(cut) | {"metrics": plain}
    emptied = [empty_rule(result, classes)] if empty_masks(result) else []
    return Evaluation(
        metrics=found.pop("metrics"),
        baseline=found.pop("baseline"),
        predictions=rows,
        sections=sections,
        details={"classes": classes, "notes": emptied + further} | found,
        files=files,
    )


def empty_masks(result: SegmentationResult) -> int:
    """Return how many pictures hold the first class only, of those of which any pixel counts."""
    known = judged(result.confusions)
    return int((result.confusions[known, 1:].sum((1, 2)) == 0).sum())


def empty_rule(result: SegmentationResult, classes: list[str]) -> str:
    """Return in words what the Dice of a picture is whose mask is empty, and how many such are."""
    empty = empty_masks(result)
    return (
        f"Where a mask holds {classes[0]} only ({f'{empty:,}' if empty else 'none'} of these "
        "pictures), the picture's Dice is 1 if the answer holds nothing else either, and 0 "
        "otherwise."
    )


def answered(
    task: Any, parts: Parts, dataset: Dataset, split: Indices, context: Context
) -> Iterator[NDArray[np.uint8]]:
    """Yield the classes that the network gives the pixels of each picture."""

    def load(index: int) -> tuple[Tensor, tuple[int, ...]]:
        size = tuple(task.scenes.mask(dataset, index).shape)
        return task.scenes.picture(dataset, index), size

    def compute(loaded: tuple[Tensor, tuple[int, ...]]) -> NDArray[np.uint8]:
        picture, size = loaded
        with torch.autocast(context.device.type, torch.bfloat16, enabled=context.bf16):
            return ask(task.state, parts.network, picture.to(context.device), size).classes

    return outputs(load, compute, split.tolist(), context)


def prediction_rows(
    dataset: Dataset, split: Indices, confusions: NDArray[np.int64], classes: list[str]
) -> list[dict[str, Any]]:
    """Return a row a picture: its Dice, means over its classes, and the figures of each class.

    What is not defined (a class that a picture lacks, a picture of which no pixel counts) is empty.
    """
    dice, counts, of_all = picture_dice(confusions), ClassCounts.of(confusions), figures(confusions)
    by_class = {
        "iou": counts.iou(),
        "dice": counts.dice(),
        "precision": counts.precision(),
        "recall": counts.recall(),
    }
    return [
        {
            "input": dataset.records.name(index),
            "mask": f"{place:05d}.png" if place < WRITTEN else "",
            "dice": rounded(dice[place]),
            **({} if dataset.groups is None else {"group": str(dataset.groups[index])}),
            **{name: rounded(of_all[name][place]) for name in MEANS},
            **{
                f"{figure}({name})": rounded(value)
                for figure, values in by_class.items()
                for name, value in zip(classes, values[place], strict=True)
            },
        }
        for place, index in enumerate(split.tolist())
    ]


def rounded(value: Any) -> float | str:
    """Return a figure with six digits; nothing where it is no number."""
    return round(float(value), 6) if np.isfinite(value) else ""


def spread_table(confusions: NDArray[np.int64]) -> Table:
    """Return how the figures of single pictures are spread."""
    found = {"picture_dice": picture_dice(confusions)} | figures(confusions)
    rows = []
    for name in ("picture_dice", *MEANS):
        values = found[name][np.isfinite(found[name])]
        if len(values):
            places = np.percentile(values, (0, 25, 50, 75, 100)).tolist()
            mean = percent(float(values.mean()))
            rows.append([SPREAD[name], mean, *(percent(each) for each in places)])
    columns = [
        "of each picture",
        "mean",
        "lowest",
        "quarter",
        "median",
        "three quarters",
        "highest",
    ]
    note = "Means over the classes of a picture are taken first; predictions/ has every picture."
    return Table("By picture", columns, rows, note)


def told_cut(cut: GreyCut, by_cut: NDArray[np.int64]) -> str:
    """Return in words how well a plain threshold does."""
    found = {name: percent(float(value)) for name, value in figures(by_cut).items()}
    return (
        f"A plain threshold ({cut.told()}, the best for training pictures) reaches a Dice of "
        f"{found['dice']}, an IoU of {found['iou']} and a mean IoU of {found['mean_iou']}."
    )


def opening(result: SegmentationResult, classes: list[str], further: list[str]) -> Section:
    """Return the numbers that matter, with the baselines beside them, and ``further`` notes."""
    chosen = ["mean_iou", "mean_dice", "picture_dice", "pixel_accuracy"]
    if len(classes) == 2:
        chosen = ["dice", "iou", "picture_dice", "mean_iou", "pixel_accuracy"]
    shown = []
    for name in chosen:
        interval = result.metrics[name]
        note = f"baseline {value_text(result.baseline[name], share=True, like=interval)}"
        texts = value_text(interval, share=True), range_text(interval, share=True)
        shown.append(KeyFigure(NAMES[name], *texts, note))
    if "rand_error" in result.metrics:
        rand = result.metrics["rand_error"]
        texts = value_text(rand, share=False), range_text(rand, share=False)
        shown.append(KeyFigure(NAMES["rand_error"], *texts, "of regions, at one threshold"))
    shown.append(KeyFigure("Pictures", show(len(result.pictures))))
    known = judged(result.confusions)
    notes = [
        "Baseline: the commonest class of the training pixels everywhere. A class that neither "
        "truth nor answers have is in no mean.",
        empty_rule(result, classes),
        *further,
    ]
    if not known.all():
        notes.append(
            f"Of {(~known).sum():,} of the pictures no pixel counts: they are in no figure."
        )
    return Section("", [KeyFigures(shown), Text("", notes)])


def class_section(result: SegmentationResult, classes: list[str]) -> Section:
    """Return the figures of each class, and which are taken for which."""
    from torchfolio.evaluation.figures import pixel_confusion

    columns = ["class", "IoU", "95 % interval", "Dice", "precision", "recall", "share of pixels"]
    total = result.confusions.sum(0)
    shares = total.sum(1) / max(1, total.sum())
    rows = []
    for place, name in enumerate(classes):
        iou = result.by_class["iou"][place]
        others = [
            value_text(result.by_class[key][place], share=True)
            for key in ("dice", "precision", "recall")
        ]
        texts = value_text(iou, share=True), range_text(iou, share=True)
        rows.append([name, *texts, *others, percent(float(shares[place]))])
    note = "Over all pixels of the split; intervals are resampled over pictures."
    blocks: list[Any] = [Table("", columns, rows, note)]
    drawn = pixel_confusion(total, classes)
    told = (
        "Per cent of the pixels of the true class. Rows: the true class; columns: the answer. "
        "Right answers are blue, wrong ones orange, the stronger the larger the share."
    )
    blocks.append(Figure("Confusion", drawn, told, wide=14 < len(classes) <= 30))
    wrong = total.astype(np.float64)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:10]
    pairs = [divmod(int(each), len(classes)) for each in order if wrong.flat[each] > 0]
    if pairs:
        table = [
            [classes[a], classes[b], show(int(total[a, b])), percent(total[a, b] / total[a].sum())]
            for a, b in pairs
        ]
        heads = ["is", "said to be", "pixels", "of the class"]
        blocks.append(Table("Most confused", heads, table))
    return Section("Classes", blocks)


def object_section(result: SegmentationResult, classes: list[str], told: int) -> Section:
    """Return how many objects of each class were found, and how wrong their size is.

    ``told`` is of how many pictures the files tell the objects.
    """
    assert result.objects is not None
    totals = result.objects.sum(0)
    columns = ["class", "objects", "found", "95 % interval", "false alarms a picture", "area error"]
    rows = []
    for place, name in enumerate(classes[1:]):
        found, alarms, area = (
            result.by_class[key][place + 1]
            for key in ("object_recall", "false_alarms", "area_error")
        )
        rows.append(
            [
                *(name, show(int(totals[place, 0])), value_text(found, share=True)),
                *(range_text(found, share=True), value_text(alarms, share=False)),
                value_text(area, share=True),
            ]
        )
    groups = "a group of pixels that touch, also at corners"
    what = f"An object is {groups}."
    if told:
        some = "" if told == len(result.pictures) else f" of {told:,} pictures"
        what = (
            f"Objects of masks{some} are those that the files tell apart, also where they touch; "
            f"else, and in answers, an object is {groups}."
        )
    notes = [
        f"{what} It is found where the answer covers at least half of it; one of the answer is a "
        f"false alarm where it touches none. What they lie before is {classes[0]}.",
        "Area error: by what share of its pixels the size of a picture's objects is wrong, the "
        "mean over pictures that have any.",
    ]
    return Section("Objects", [Table("", columns, rows), Text("", notes)])


def galleries(
    task: Any,
    parts: Parts,
    dataset: Dataset,
    split: Indices,
    result: SegmentationResult,
    context: Context,
) -> Section:
    """Return the worst, the median and the best pictures with truth and answer drawn in."""
    order = np.argsort(result.pictures, kind="stable")[: judged(result.confusions).sum()]
    blocks: list[Any] = []
    for name, places in shown_places(order).items():
        items = []
        answers = answered(task, parts, dataset, split[places], context)
        for place, answer in zip(places.tolist(), answers, strict=True):
            index = int(split[place])
            picture = shown_picture(dataset, index)
            truth = task.scenes.mask(dataset, index).numpy()
            answer = np.where(truth == IGNORE, np.uint8(IGNORE), answer)
            words = f"{dataset.records.name(index)}\nDice {result.pictures[place]:.3f}"
            items.append(Picture(overlay(picture, truth, answer), words))
        caption = "Left what is there, right what was said; grey pixels do not count."
        blocks.append(Gallery(name, items, caption, pairs=True))
    return Section("Pictures", [*blocks, spread_table(result.confusions)])


def shown_places(order: Indices) -> dict[str, Indices]:
    """Return which places, in order from the worst on, are shown together: none of them twice."""
    if len(order) <= SHOWN:
        return {"All, the worst first": order}
    each = min(SHOWN, len(order) // 3)
    middle = (len(order) - each) // 2
    return {
        "Worst": order[:each],
        "Around the median": order[middle : middle + each],
        "Best": order[::-1][:each],
    }


def shown_picture(dataset: Dataset, index: int) -> NDArray[np.uint8]:
    """Return a picture as it is (height, width, 3)."""
    records: Any = dataset.records
    return np.ascontiguousarray(to_look_at(records.pixels(index, 8)))
