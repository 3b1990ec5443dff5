import json
from pathlib import Path

import pytest

from benchmarks.page import precisions
from benchmarks.precision import FOLDER, TRAININGS, add, cleared
from benchmarks.statistics import interval
from torchfolio.networks.catalogue import cards, find_card

FP32 = [0.93, 0.95, 0.94, 0.92, 0.96]  # mean 0.94, deviation 0.0158, t 2.776: 0.0196


def test_interval_by_hand() -> None:
    mean, half = interval(FP32)
    assert mean == pytest.approx(0.94)
    assert half == pytest.approx(2.776 * 0.0158114 / 5**0.5, rel=1e-5)


def test_cleared_unless_below_the_interval() -> None:
    assert cleared({"fp32": FP32, "bf16": [0.925] * 5})
    assert cleared({"fp32": FP32, "bf16": [0.99] * 5})
    assert not cleared({"fp32": FP32[:4], "bf16": [0.99] * 4})
    assert not cleared({"fp32": FP32, "bf16": [0.915] * 5})


def test_seeds_add_up_and_the_page_tells_them(tmp_path: Path) -> None:
    for seed, accuracy in enumerate(FP32):
        one = {"accuracy": accuracy, "seconds": 10 + seed, "digest": "d"}
        row = {"seed": seed, "fp32": one, "bf16": one | {"accuracy": 0.9}}
        add("mlp", row | {"hardware": "Abacus", "torch": "2"}, tmp_path)
        if seed == 0:
            assert "| 93.00 | 90.00 | 10, 10 | needs 5 seeds |" in "\n".join(precisions(tmp_path))
    document = json.loads((tmp_path / "mlp.json").read_text("utf-8"))
    assert [row["seed"] for row in document["rows"]] == [0, 1, 2, 3, 4]
    text = "\n".join(precisions(tmp_path))
    assert "| mlp | 5 | 94.00 ± 1.96 | 90.00 ± 0.00 | 12, 12 | no | `folio train mlp " in text
    assert precisions(tmp_path / "none") == []


def test_cards_follow_the_figures() -> None:
    folder = FOLDER
    found = {}
    for path in folder.glob("*.json"):
        document = json.loads(path.read_text("utf-8"))
        found[document["network"]] = cleared(
            {kind: [row[kind]["accuracy"] for row in document["rows"]] for kind in ("fp32", "bf16")}
        )
    assert {name for name, card in cards().items() if card.bf16} == {
        name for name, each in found.items() if each
    }
    assert {find_card(name).name for name in TRAININGS} >= set(found)
