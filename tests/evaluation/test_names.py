"""What metrics are called: every one of all tasks, and which are shown in per cent."""

import pytest

from torchfolio.evaluation import classification, detection, multilabel, segmentation
from torchfolio.evaluation.names import BOUNDED, NAMES, SHARES, title, within


def test_every_metric_has_a_name() -> None:
    every = {*classification.METRICS, *multilabel.METRICS, *segmentation.METRICS, *detection.COCO}
    assert NAMES.keys() == every


@pytest.mark.parametrize(
    ("metric", "alone", "inside"),
    [
        ("macro_f1", "Macro F1", "macro F1"),
        ("roc_auc", "ROC AUC", "ROC AUC"),
        ("log_loss", "Log-loss", "log-loss"),
        ("val_loss", "Val loss", "val loss"),
    ],
)
def test_names_stand_alone_and_in_sentences(metric: str, alone: str, inside: str) -> None:
    assert (title(metric), within(metric)) == (alone, inside)


def test_areas_are_no_shares() -> None:
    assert {"accuracy", "subset_accuracy", "micro_f1", "hamming_loss", "ece"} <= SHARES
    assert {
        "mean_average_precision", "micro_average_precision", "roc_auc", "average_precision",
    } == BOUNDED - SHARES  # fmt: skip
    assert "log_loss" not in BOUNDED
