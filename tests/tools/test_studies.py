"""Studies: what several trainings show side by side, on figures made by hand."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The scripts of tools find one another beside themselves."""
    monkeypatch.syspath_prepend(str(TOOLS))
    import studies_page

    yield studies_page
    ours = ("results_page", "studies_page", "studies", "trainings", "recipes_tried", "where")
    for name in (*ours, "origin"):
        sys.modules.pop(name, None)


def entry(seed: int, value: float, low: float, high: float, p: float, **more: Any) -> Any:
    return {
        "seed": seed, "examples": 52, "threads": 2, "machine": "Abacus", "date": "2026-11-27",
        "versions": {"torch": "2", "torchfolio": "1"}, "ensembles": {},
        "pairs": [{"difference": {"value": value, "low": low, "high": high}, "p_adjusted": p}],
    } | more  # fmt: skip


def test_the_sign_is_that_of_who_is_ahead_of_the_first(pages: Any) -> None:
    study = pages.Study("Ants and bees", "What?", "Which?", ("ants_bees_scratch", "ants_bees_all"))
    # of the first less the other: the other is ahead by 20 points, then behind by 10, then equal
    entries = [
        entry(0, -0.2, -0.3, -0.1, 0.01),
        entry(1, 0.1, -0.05, 0.25, 0.4),
        entry(2, 0.0, -0.1, 0.1, 1.0),
    ]
    text = "\n".join(pages.study_lines("ants_bees", study, entries))
    row = (
        "| ResNet-18 from CIFAR-10, `--transfer all` | +3.33 | +20.00 [+10.00, +30.00], p 0.01"
        "<br>-10.00 [-25.00, +5.00], p 0.4<br>+0.00 [-10.00, +10.00], p 1 | 1 of 3 seeds |"
    )
    assert row in text
    assert "52 test pictures" in text
    assert "python tools/results.py run ants_bees" in text


def test_an_ensemble_stands_beside_its_members(pages: Any) -> None:
    study = pages.Study(
        "MNIST", "What?", "Which?", ("one", "two"),
        ensembles={"one": ("mnist_mlp", "mnist_resnet18"), "two": ("mnist_mlp", "mnist_capsnet")},
    )  # fmt: skip
    assert study.trainings() == ["mnist_mlp", "mnist_resnet18", "mnist_capsnet"]
    members = [{"accuracy": {"value": value}} for value in (0.97, 0.98)]
    pairs = [
        {"difference": {"value": 0.02}, "p_adjusted": 0.001},
        {"difference": {"value": 0.01}, "p_adjusted": 0.06},
    ]
    made = {
        "accuracy": {"value": 0.99, "low": 0.985, "high": 0.995}, "members": members,
        "pairs": pairs, "disagreement": [{"disagree": 1234}], "oracle": {"value": 0.995},
    }  # fmt: skip
    entries = [entry(0, 0.0, -0.1, 0.1, 1.0, ensembles={"one": made, "two": made})]
    text = "\n".join(pages.study_lines("x", study, entries))
    assert (
        "| MLP 784-512-512-10 + ResNet-18 | 0 | 99.00 [98.50, 99.50] | 97.00, 98.00 | "
        "+2.00 (p 0.001), +1.00 (p 0.06) | 1,234 | 99.50 |"
    ) in text


def test_results_are_as_the_page_says(
    pages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import results_page

    docs = results_page.ROOT / "docs"
    shutil.copytree(docs / "results", tmp_path / "docs" / "results")
    monkeypatch.setattr(results_page, "ROOT", tmp_path)
    monkeypatch.setattr(results_page, "RESULTS", tmp_path / "docs" / "results")
    results_page.write_page()
    written = (tmp_path / "docs" / "results.md").read_text(encoding="utf-8")
    assert written == (docs / "results.md").read_text(encoding="utf-8"), "tools/results.py write"


def test_a_recipe_that_was_tried_stands_beside_the_baseline(pages: Any) -> None:
    import recipes_tried

    entry = {
        "seconds": 150.0, "command": "folio train vgg11 digits", "threads": 1, "seed": 0,
        "machine": "Abacus", "date": "2026-11-27", "versions": {"torch": "2", "torchfolio": "1"},
        "metrics": {"accuracy": {"value": 0.912, "low": 0.88, "high": 0.94}},
        "baseline": {"accuracy": {"value": 0.101, "low": 0.07, "high": 0.13}},
        "training": {"updates": 1234},
    }  # fmt: skip
    text = "\n".join(recipes_tried.tried_lines({"recipe_vgg11_modern": [entry]}))
    assert "| vgg11 | modern | 91.2 (88.0 to 94.0) | 10.1 | 1,234 | 2 min |" in text
    assert "folio train vgg11 digits" in text
    assert recipes_tried.tried_lines({}) == []


def test_every_family_of_the_papers_recipes_that_results_lack_is_tried(pages: Any) -> None:
    import recipes_tried
    from trainings import TRAININGS

    from torchfolio.networks.catalogue import cards, find_card

    networks = [
        each.arguments.split()[0] for each in (*TRAININGS.values(), *recipes_tried.TRIED.values())
    ]
    classifiers = [card for card in cards().values() if "image-classification" in card.tasks]
    tried = {find_card(each).family for each in networks}
    assert {card.family for card in classifiers} <= tried


def test_what_says_where_things_are_has_intervals_and_baselines(pages: Any) -> None:
    import where

    entry = {
        "seconds": 150.0, "command": "folio train unet DATA/busi", "threads": 2, "seed": 0,
        "machine": "Abacus", "date": "2026-11-27", "versions": {"torch": "2", "torchfolio": "1"},
        "metrics": {
            "picture_dice": {"value": 0.8123, "low": 0.75, "high": 0.9},
            "object_recall": {"value": None, "low": None, "high": None},
            "false_alarms": {"value": 0.5, "low": 0.25, "high": 1.0},
            "mean_iou": {"value": 0.7, "low": None, "high": None},
        },
        "baseline": {"picture_dice": {"value": 0.0, "low": 0.0, "high": 0.0}},
    }  # fmt: skip
    text = "\n".join(where.where_lines({"tumours_busi": [entry]}))
    assert "### Breast tumours in ultrasound" in text
    heads = (
        "| network | Dice a picture | Objects found | False alarms a picture | Mean IoU | time |"
    )
    assert heads in text
    row = "| 81.2 (75.0 to 90.0); baseline 0.0 | – | 0.50 (0.25 to 1.00) | 70.0 | 2 min |"
    assert f"| U-Net, batch norm {row}" in text
    assert "folio train unet DATA/busi" in text
    assert "On: Abacus" in text
    assert where.where_lines({}) == []
