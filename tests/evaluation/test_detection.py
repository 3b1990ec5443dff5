"""Average precision: hand-calculated cases, and COCO's own code on random boxes."""

import contextlib
import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from torchfolio.data.boxes import Objects, box_areas
from torchfolio.evaluation.detection import COCO, annotation, coco_statistics, evaluate
from torchfolio.evaluation.matching import (
    Detections,
    average_precision,
    match,
    match_class,
    match_voc,
    overlaps,
    voc_average_precision,
)


@dataclass
class Truth:
    boxes: np.ndarray
    labels: np.ndarray
    aside: np.ndarray

    @property
    def crowd(self) -> np.ndarray:
        return self.aside

    @property
    def areas(self) -> np.ndarray:
        return box_areas(self.boxes)


def truth(*boxes: tuple[float, ...], labels: Any = None, aside: Any = None) -> Truth:
    count = len(boxes)
    return Truth(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels if labels is not None else [0] * count, np.int64),
        np.array(aside if aside is not None else [False] * count, bool),
    )


def said(*boxes: tuple[float, ...], scores: Any, labels: Any = None) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(labels if labels is not None else [0] * len(boxes), np.int64),
    )


def drawn(
    pictures: int = 40, classes: int = 4, seed: int = 0
) -> tuple[list[Truth], list[Detections]]:
    """Random objects of all sizes, crowds among them, and detections near them and elsewhere."""
    draw = np.random.default_rng(seed)
    truths, answers = [], []
    for _ in range(pictures):
        count = draw.integers(0, 8)
        corner = draw.uniform(0, 300, (count, 2))
        size = np.exp(draw.uniform(1.5, 5.5, (count, 2)))
        boxes = np.hstack([corner, corner + size]).astype(np.float32)
        labels = draw.integers(0, classes, count)
        truths.append(Truth(boxes, labels, draw.random(count) < 0.15))
        near = np.repeat(np.arange(count), draw.integers(0, 3, count))
        size = (boxes[near, 2:] - boxes[near, :2]).repeat(2, 0).reshape(-1, 4)
        moved = boxes[near] + draw.normal(0, 0.12, (len(near), 4)) * size
        stray = draw.uniform(0, 200, (3, 2))
        stray = np.hstack([stray, stray + draw.uniform(5, 150, (3, 2))])
        found = np.vstack([moved, stray]).astype(np.float32)
        wrong = draw.random(len(near)) < 0.1
        named = np.where(wrong, draw.integers(0, classes, len(near)), labels[near])
        names = np.append(named, draw.integers(0, classes, 3)).astype(np.int64)
        scores = draw.random(len(found)).astype(np.float32)
        order = np.argsort(-scores, kind="stable")
        answers.append(Detections(found[order], scores[order], names[order]))
    return truths, answers


def test_overlap_is_intersection_over_union() -> None:
    one = np.array([[0, 0, 10, 10]], np.float32)
    other = np.array([[5, 0, 15, 10], [0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 20, 20]], np.float32)
    found = overlaps(one, other, np.array([False, False, False, True]))
    assert found[0].tolist() == pytest.approx([50 / 150, 1, 0, 1])  # all of it lies in the crowd


def test_each_detection_takes_the_free_object_that_overlaps_it_most() -> None:
    shared = np.array([[0.9, 0.6], [0.8, 0.55], [0.7, 0.4]])
    taken = match(shared, np.array([False, False]), np.array([0.5, 0.75]))
    assert taken.tolist() == [[0, 1, -1], [0, -1, -1]]


def test_a_crowd_is_taken_by_many_and_only_where_nothing_else_is() -> None:
    shared = np.array([[0.6, 0.9], [0.5, 0.9], [0.1, 0.9]])
    taken = match(shared, np.array([False, True]), np.array([0.5]))
    assert taken.tolist() == [[0, 1, 1]]


def case() -> tuple[list[Truth], list[Detections]]:
    """Four objects; detections by score: right, wrong, right, wrong, right; one is never found."""
    box = (0, 0, 10, 10)
    far = (50, 50, 60, 60)
    truths = [truth(box, far), truth(box), truth(box)]
    answers = [
        said(box, far, scores=[0.9, 0.7]),
        said(far, box, scores=[0.8, 0.5]),
        said(far, scores=[0.6]),
    ]
    return truths, answers


def test_average_precision_of_a_hand_calculation() -> None:
    matches = match_class(*case(), 0)
    assert matches.right[0].tolist() == [True, False, True, False, True]
    # Recall 1/4, 2/4, 3/4 with best precision from there on 1, 2/3, 3/5.
    area = (1 + 2 / 3 + 3 / 5) / 4
    assert voc_average_precision(matches) == pytest.approx(area)
    points = (3 * 1 + 3 * 2 / 3 + 2 * 3 / 5) / 11  # recalls 0 to .2; .3 to .5; .6 and .7
    assert voc_average_precision(matches, points=True) == pytest.approx(points)
    coco = (26 * 1 + 25 * 2 / 3 + 25 * 3 / 5) / 101  # 0 to .25; .26 to .5; .51 to .75
    found = average_precision(matches, np.ones((1, 3)))
    assert found[0, 0] == pytest.approx(coco)


@pytest.mark.parametrize("found", [0, 3, 6, 7, 10])
def test_a_recall_of_three_tenths_reaches_the_point_of_that_name(found: int) -> None:
    """Ten objects, some found and nothing else: precision is 1 at 0, 0.1 ... found / 10."""
    boxes = [(20.0 * place, 0.0, 20.0 * place + 9, 9.0) for place in range(10)]
    scores = np.linspace(0.9, 0.1, found)
    matches = match_class([truth(*boxes)], [said(*boxes[:found], scores=scores)], 0)
    points = (found + 1) / 11 if found else 0
    assert voc_average_precision(matches, points=True) == pytest.approx(points)


def test_what_is_set_aside_is_neither_right_nor_wrong() -> None:
    box, far = (0, 0, 10, 10), (50, 50, 60, 60)
    truths = [truth(box, far, aside=[True, False])]
    matches = match_class(truths, [said(box, far, scores=[0.9, 0.8])], 0)
    assert voc_average_precision(matches) == 1
    assert matches.objects.tolist() == [1]


def test_without_detections_it_is_zero_and_without_objects_it_is_not_defined() -> None:
    nothing = said(scores=[])
    assert voc_average_precision(match_class([truth((0, 0, 1, 1))], [nothing], 0)) == 0
    assert np.isnan(voc_average_precision(match_class([truth()], [nothing], 0)))
    found = evaluate([truth()], [nothing], np.array([[10, 10]]), 1)
    assert np.isnan(found.metrics["ap"].value)


@pytest.mark.parametrize("seed", range(5))
def test_the_twelve_statistics_are_those_of_pycocotools(seed: int) -> None:
    tools = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    truths, answers = drawn(seed=seed)
    sizes = np.full((len(truths), 2), 400)
    found = coco_statistics(truths, answers, sizes, 4)
    known = tools.COCO()
    known.dataset = {
        "images": [{"id": i + 1, "height": 400, "width": 400} for i in range(len(truths))],
        "categories": [{"id": label + 1} for label in range(4)],
        "annotations": [
            annotation(i, box, int(label)) | {"iscrowd": int(aside)}
            for i, each in enumerate(truths)
            for box, label, aside in zip(each.boxes, each.labels, each.aside, strict=True)
        ],
    }
    for number, each in enumerate(known.dataset["annotations"], 1):
        each["id"] = number
    results = [
        annotation(i, box, int(label)) | {"score": float(score)}
        for i, each in enumerate(answers)
        for box, label, score in zip(each.boxes, each.labels, each.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        known.createIndex()
        evaluation = cocoeval.COCOeval(known, known.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    wanted = [value if value >= 0 else np.nan for value in evaluation.stats]
    assert [found[name] for name in COCO] == pytest.approx(wanted, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("seed", range(5))
def test_intervals_rest_on_the_same_average_precision(seed: int) -> None:
    truths, answers = drawn(seed=seed)
    sizes = np.full((len(truths), 2), 400)
    values = coco_statistics(truths, answers, sizes, 4)
    each = [average_precision(match_class(truths, answers, k), np.ones((1, 40))) for k in range(4)]
    mean = np.nanmean(np.concatenate(each), 0)
    assert mean.mean() == pytest.approx(values["ap"], abs=1e-9)
    assert mean[0] == pytest.approx(values["ap50"], abs=1e-9)
    assert mean[5] == pytest.approx(values["ap75"], abs=1e-9)


def test_a_picture_that_counts_twice_is_as_two_pictures() -> None:
    truths, answers = drawn(6)
    once = average_precision(match_class(truths, answers, 0), np.array([[2, 1, 0, 1, 3, 1]]))
    rows = [0, 0, 1, 3, 4, 4, 4, 5]
    many = match_class([truths[row] for row in rows], [answers[row] for row in rows], 0)
    assert once[0] == pytest.approx(average_precision(many, np.ones((1, 8)))[0], abs=0.02)


def test_figures_have_intervals_over_pictures() -> None:
    truths, answers = drawn(30)
    found = evaluate(truths, answers, np.full((30, 2), 400), 4)
    for name in ("ap", "ap50", "ap75"):
        interval = found.metrics[name]
        assert interval.low < interval.value < interval.high
    assert len(found.by_class["ap"]) == 4


def test_a_second_detection_of_one_object_is_wrong_by_vocs_rule_alone() -> None:
    """Two objects; the second detection overlaps the first by 0.8 and the other by 0.55."""
    shared, aside = np.array([[0.9, 0.3], [0.8, 0.55]]), np.zeros(2, bool)
    half = np.array([0.5])
    assert match(shared, aside, half).tolist() == [[0, 1]]
    assert match_voc(shared, aside, half).tolist() == [[0, -1]]
    assert match_voc(shared, np.array([True, False]), half).tolist() == [[0, 0]]  # difficult
    assert match_voc(shared[:, :0], aside[:0], half).tolist() == [[-1, -1]]


def test_a_small_false_alarm_within_a_difficult_object_is_one() -> None:
    """The devkit: its overlap is 0.01, so it is wrong; precision is 1/2 at the only recall."""
    none = np.zeros(2, bool)
    objects = Objects(
        np.array([[0, 0, 100, 100], [200, 200, 220, 220]], np.float32),
        np.zeros(2, np.int64), np.array([True, False]), none, np.array([1e4, 400], np.float32),
    )  # fmt: skip
    answer = Detections(
        np.array([[10, 10, 20, 20], [200, 200, 220, 220]], np.float32),
        np.array([0.9, 0.8], np.float32), np.zeros(2, np.int64),
    )  # fmt: skip
    found = match_class([objects], [answer], 0, np.array([0.5]), rule=match_voc)
    assert voc_average_precision(found) == pytest.approx(0.5)
    crowd = replace(objects, crowd=objects.aside)
    assert average_precision(match_class([crowd], [answer], 0), np.ones((1, 1)))[0, 0] == 1.0
