"""The report on detection: thresholds, confusion and curves of hand-calculated cases."""

import numpy as np
import pytest

from torchfolio.data.boxes import Objects, box_areas
from torchfolio.evaluation.detection import evaluate
from torchfolio.evaluation.detection_report import (
    best_threshold,
    class_section,
    confusion,
    confusion_section,
    curve_of,
    mean_f1,
    opening,
)
from torchfolio.evaluation.matching import Detections, Matches, match_class
from torchfolio.evaluation.report import Figure, KeyFigures, Table, Text

HERE, THERE, FAR = (0, 0, 10, 10), (50, 50, 60, 60), (90, 90, 99, 99)


def objects(*boxes: tuple[float, ...], labels: list[int], aside: int = -1) -> Objects:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    left_out = np.arange(len(corners)) == aside
    return Objects(
        corners, np.array(labels, np.int64), left_out, np.zeros_like(left_out), box_areas(corners)
    )


def said(*boxes: tuple[float, ...], scores: list[float], labels: list[int]) -> Detections:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(corners, np.array(scores, np.float32), np.array(labels, np.int64))


def two_classes() -> tuple[list[Objects], list[Detections]]:
    """Of class 0 two objects, found at 0.9 and 0.4, a false alarm at 0.6; of class 1 one, at 0.5.

    Of class 2 there is nothing but a false alarm.
    """
    truths = [objects(HERE, THERE, labels=[0, 1]), objects(HERE, labels=[0])]
    answers = [
        said(HERE, FAR, THERE, scores=[0.9, 0.6, 0.5], labels=[0, 0, 1]),
        said(FAR, HERE, scores=[0.95, 0.4], labels=[2, 0]),
    ]
    return truths, answers


def matches() -> list[Matches]:
    return [match_class(*two_classes(), label) for label in range(3)]


def test_mean_f1_is_of_detections_from_a_score_on() -> None:
    """2 TP / (detections + objects) of each class that has objects, and their mean."""
    found = matches()
    assert mean_f1(found, 0.0) == pytest.approx((4 / 5 + 2 / 2) / 2)
    assert mean_f1(found, 0.5) == pytest.approx((2 / 4 + 2 / 2) / 2)  # 0.5 itself counts
    assert mean_f1(found, 0.55) == pytest.approx((2 / 4 + 0) / 2)
    assert mean_f1(found, 0.7) == pytest.approx((2 / 3 + 0) / 2)
    assert mean_f1(found[2:], 0.0) == 0


def test_the_best_threshold_is_the_lowest_score_of_the_best_mean_f1() -> None:
    """From 0 on there is all: (4/5 + 1) / 2; from 0.5 on 3/4, from 0.6 on 1/4, from 0.9 on 1/3."""
    assert best_threshold(matches()) == (0.0, pytest.approx(0.9))
    truths, answers = two_classes()
    answers[1] = said(FAR, HERE, scores=[0.45, 0.3], labels=[0, 1])  # the one found, now wrong
    found = [match_class(truths, answers, label) for label in range(2)]
    # From 0.5 on: class 0 has 1 right of 2 said, 2 objects; class 1 is all right.
    threshold, f1 = best_threshold(found)
    assert (threshold, f1) == (0.5, pytest.approx((2 / 4 + 2 / 2) / 2))
    assert f1 == pytest.approx(mean_f1(found, threshold))


def test_where_nothing_is_right_the_threshold_is_the_usual_one() -> None:
    nothing = match_class([objects(HERE, labels=[0])], [said(FAR, scores=[0.9], labels=[0])], 0)
    assert best_threshold([nothing]) == (0.25, 0.0)
    assert best_threshold([]) == (0.25, 0.0)


def test_confusion_counts_what_objects_were_taken_for() -> None:
    """An object of 0 taken for 1, one of 1 found, one of 1 missed, an alarm; one is set aside."""
    truths = [objects(HERE, THERE, labels=[0, 1]), objects(HERE, THERE, labels=[1, 0], aside=1)]
    answers = [
        said(HERE, THERE, FAR, scores=[0.9, 0.8, 0.7], labels=[1, 1, 0]),
        said(THERE, HERE, scores=[0.9, 0.1], labels=[0, 1]),
    ]
    assert confusion(truths, answers, 2, 0.5).tolist() == [[0, 1, 0], [0, 1, 1], [1, 0, 0]]
    assert confusion(truths, answers, 2, 0.0).tolist() == [[0, 1, 0], [0, 2, 0], [1, 0, 0]]
    section = confusion_section(confusion(truths, answers, 2, 0.5), ["cat", "dog"], 0.5)
    [figure] = section.blocks
    assert isinstance(figure, Figure)
    assert "score from 0.50 on" in figure.caption
    assert "1 of 4 answers right" in figure.svg
    assert "nothing" in figure.svg


def test_the_curve_is_that_of_an_overlap_of_a_half() -> None:
    """Class 0 by score: right, wrong, right; two objects. Precision from each recall on."""
    curve = curve_of(matches()[0])
    assert curve is not None
    assert curve.area == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert curve_of(matches()[2]) is None  # of which there is no object


def test_the_report_has_the_figures_of_classes_beside_the_baseline() -> None:
    truths, answers = two_classes()
    baseline = [said(HERE, scores=[0.9], labels=[0])] * 2
    result = evaluate(truths, answers, np.full((2, 2), 100), 3, baseline=baseline)
    figures, text = opening(result, 2, 3).blocks
    assert isinstance(figures, KeyFigures)
    assert isinstance(text, Text)
    # COCO: of class 0 recalls to 0.5 have precision 1, those above 2/3; class 1 has 1 everywhere.
    ap50 = ((51 * 1 + 50 * 2 / 3) / 101 + 1) / 2
    assert result.metrics["ap50"].value == pytest.approx(ap50)
    shown = {each.label: each for each in figures.figures}
    assert shown["Objects"].value == "3"
    assert f"{100 * ap50:.1f}" in shown["AP50"].value
    assert "50.0" in shown["AP50"].note  # the baseline finds both of class 0, and none of class 1
    assert "median training box of each class" in text.paragraphs[0]
    table = class_section(result, ["a", "b", "c"], np.array([2, 1, 0])).blocks[0]
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["a", "b", "c"]
    # VOC: area 1/2 + 1/3; of 11 points six have 1 (recalls 0 to 0.5), five 2/3.
    assert table.rows[0][5:] == ["83.3\u202f%", f"{100 * (6 + 10 / 3) / 11:.1f}\u202f%"]
    assert table.rows[2][5:] == ["–", "–"]
