"""The sections of a classifier's report say what the result says."""

import numpy as np
import pytest

from torchfolio.evaluation import classification_report as sections
from torchfolio.evaluation.classification import ClassificationResult, evaluate
from torchfolio.evaluation.intervals import UNDEFINED, Interval
from torchfolio.evaluation.report import Figure, KeyFigures, Report, Section, Table, Text, render

CLASSES = ["ant", "bee", "<wasp>"]


@pytest.fixture(scope="module")
def result() -> ClassificationResult:
    """Seven of ten right; two bees taken for ants, one wasp for a bee."""
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 2])
    answers = np.array([0, 0, 0, 1, 1, 0, 0, 2, 2, 1])
    probabilities = np.full((10, 3), 0.15)
    probabilities[np.arange(10), answers] = 0.7
    return evaluate(probabilities, labels, training_counts=[5, 3, 2], resamples=50)


def tables(section: Section) -> dict[str, Table]:
    return {block.title: block for block in section.blocks if isinstance(block, Table)}


def test_accuracy_comes_first_beside_the_baseline(result: ClassificationResult) -> None:
    key = sections.opening(result).blocks[0]
    assert isinstance(key, KeyFigures)
    first = key.figures[0]
    # the commonest class in training is "ant": three of ten
    assert (first.label, first.value) == ("Accuracy", "70.0\u202f%")
    assert first.note == "baseline 30.0\u202f%"


def test_every_metric_has_a_row(result: ClassificationResult) -> None:
    table = tables(sections.measures(result))[""]
    assert len(table.rows) == len(result.metrics)
    assert table.rows[0][:2] == ["Accuracy", "70.0\u202f%"]
    assert "1\u202f000" not in table.note
    assert "50 resamples of 10 independent units" in table.note


def test_confusions_are_counted(result: ClassificationResult) -> None:
    found = tables(sections.class_section(result, CLASSES))
    assert found["Most confused"].rows == [
        ["bee → ant", 2, "50.0 %"],
        ["<wasp> → bee", 1, "33.3 %"],
    ]
    assert [row[:2] for row in found["Each class"].rows] == [
        ["ant", "3"],
        ["bee", "4"],
        ["<wasp>", "3"],
    ]
    assert str(found["Each class"].rows[1][3]).startswith("0.500\n")  # recall of bees


def test_notes_reach_the_reader() -> None:
    labels = np.array([0, 0, 1])
    result = evaluate(np.eye(3)[labels] * 0.7 + 0.1, labels, resamples=10)
    texts = [block for block in sections.opening(result).blocks if isinstance(block, Text)]
    assert "1 of 3 classes has no example" in " ".join(texts[0].paragraphs)


def test_values_have_the_digits_that_their_interval_deserves() -> None:
    wide, narrow = Interval(0.9, 0.85, 0.95), Interval(0.98714, 0.98, 0.99)
    assert sections.value_text(wide, share=True) == "90.0\u202f%"
    assert sections.value_text(narrow, share=True) == "98.71\u202f%"
    assert sections.range_text(narrow, share=True) == "98.00 – 99.00\u202f%"
    assert sections.value_text(wide, share=False) == "0.900"
    assert sections.value_text(wide, share=False, like=narrow) == "0.9000"
    assert sections.value_text(UNDEFINED, share=True) == "–"
    assert sections.range_text(UNDEFINED, share=True) == ""


def test_all_sections_make_a_page(result: ClassificationResult) -> None:
    speed = {
        **{"latency_ms": 1.5, "latency_low_ms": 1.4, "latency_high_ms": 1.6, "throughput": 900.0},
        **{"throughput_batch": 32, "parameters": 61706, "megabytes": 0.2468, "device": "cpu"},
    }
    history = {"loss": {"training": [2.0, 1.0], "validation": [2.0, 1.5]}}
    made = [
        sections.opening(result, speed),
        sections.measures(result),
        sections.training_section(history, best=2),
        sections.class_section(result, CLASSES),
        sections.curves(result, CLASSES),
        sections.network_section(speed, np.ones((6, 1, 5, 5))),
    ]
    html = render(Report("LeNet-5", "", made))
    drawings = sum(isinstance(block, Figure) for section in made for block in section.blocks)
    assert html.count("<svg ") == drawings == 7
    assert "61\u202f706" in html
    assert "&lt;wasp&gt;" in html
    assert "<wasp>" not in html
