"""docs/exactness.md: of the whole catalogue, and as the results say."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools import exactness, planted
from torchfolio.networks.catalogue import cards

WRITE = "python -m tools.exactness run --missing"


def rows_of_the_page() -> dict[str, list[str]]:
    """The cells of each row by the network's name, read off the page."""
    lines = exactness.PAGE.read_text(encoding="utf-8").splitlines()
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if "|" in line
    ]
    return {cells[0].strip("` "): cells for cells in rows if cells[0].strip().startswith("`")}


def test_the_page_names_every_network_and_its_rows_have_the_numbers_of_the_card() -> None:
    rows, text = rows_of_the_page(), exactness.PAGE.read_text(encoding="utf-8")
    assert list(rows) == list(cards()), WRITE
    assert "Not verified yet" not in text
    for name in rows:
        card = cards()[name]
        _, parameters, macs, shape, beside, *differences, onnx, rounding, _, _ = rows[name]
        assert parameters == f"{card.parameters:,}", name
        assert macs == f"{card.macs:,}", name
        assert shape == "x".join(map(str, card.input)), name
        assert beside, name
        assert 0 <= float(differences[0]) <= 1e-5, name
        assert 0 <= float(differences[1]) <= 1e-10, name
        if card.family == "faster_rcnn":  # which is not exported
            assert (onnx, rounding) == ("–", "–")
            continue
        limit = max(1e-4, 4 * float(rounding))  # an export's tolerance; other orders of sums
        assert 0 <= float(onnx) <= (limit if float(rounding) < 0.1 else 1.0), name


def test_the_page_says_that_all_agree_and_is_as_the_results_say() -> None:
    rows = exactness.read()
    assert [row["name"] for row in rows if not row["passed"] or row["failures"]] == []
    text = exactness.PAGE.read_text(encoding="utf-8")
    assert f"{len(rows)} of {len(cards())} networks agree." in text
    assert text == exactness.page(rows), "python -m tools.exactness write"


def row(name: str, **changes: Any) -> dict[str, Any]:
    card = cards()[name]
    return {
        "name": name, "passed": True, "reference": "a 1; b 2", "notes": [], "failures": [],
        "max_difference": 2e-6, "tolerance": 1e-5, "max_difference_float64": 0.0,
        "tolerance_float64": 1e-10, "parameters": card.parameters, "macs": card.macs,
        "onnx_difference": 3e-7, "onnx_rounding": 5e-7, "seconds": 1.5, "memory_mib": 1200,
        "date": "2026-11-27",
        "machine": "Abacus, 2 cores", "threads": 2, "versions": {"torchfolio": "1", "torch": "2"},
    } | changes  # fmt: skip


def test_what_is_missing_or_fails_is_told() -> None:
    bad = row("resnet18", passed=False, failures=["wrong"], notes=["not compared with b"])
    text = exactness.page([row("mlp"), bad | {"max_difference": None, "date": "2026-11-28"}])
    assert f"1 of {len(cards())} networks agree." in text
    assert "Not verified yet: `softmax_regression`, `mlp_plain`, `mlp_bn`," in text
    assert "These do not: `resnet18`." in text
    start = "| `mlp` | 203,530 | 203,264 | 1x28x28 | a 1<br>b 2 | 2.0e-06 | 0 |"
    assert f"{start} 3.0e-07 | 5.0e-07 | 2 | 1,200 |" in text
    assert "a 1<br>b 2 | not finite | 0 |" in text
    assert "- `resnet18`: not compared with b" in text
    assert "- Abacus, 2 cores, 2 threads; torch 2, torchfolio 1; 2026-11-27 (1: all others)" in text
    other = "- Abacus, 2 cores, 2 threads; torch 2, torchfolio 1; 2026-11-28 (1: `resnet18`)"
    assert other in text
    assert "in training" not in text.partition("## ")[2]
    assert "## [ResNet](networks/resnet.md)" in text


def test_what_runs_in_training_alone_is_counted_beside() -> None:
    # networks.csv counts the decoder of CapsNet and the heads of GoogLeNet
    assert exactness.counted("capsnet") == {"macs_in_training": 203_202_560}
    assert exactness.counted("lenet5") == {"macs_in_training": cards()["lenet5"].macs}
    assert exactness.counted("fasterrcnn_vgg16") == {}
    text = exactness.page([row("capsnet", macs_in_training=203_202_560)])
    assert "| 201,793,536 |" in text
    assert "- `capsnet`: in training 203,202,560 multiply-adds" in text
    page = exactness.PAGE.read_text(encoding="utf-8")
    assert "- `capsnet`: in training 203,202,560 multiply-adds" in page
    assert "- `googlenet_original_aux`: in training 1,591,044,096 multiply-adds" in page


def test_planted_mistakes_are_counted_from_what_was_tried() -> None:
    every = [each for each in planted.every() if each[1] == "softmax_regression"]
    found = [
        {"departure": departure.name, "network": network, "caught": True, "named": True}
        for departure, network in every
    ]
    link = "[mistakes](guides/verify.md#departures-that-it-must-catch)"
    whole = f"Each of 4 planted {link} is caught, and its layer named first."
    assert exactness.told([*found, found[0] | {"network": "mlp"}], every) == whole
    found[1]["named"] = found[2]["named"] = found[2]["caught"] = False
    assert exactness.told(found[:3], every) == (
        f"Of 4 planted {link} 3 were tried: 2 are caught, 1 with their layer named first. "
        "Not caught: `flatten-columns` in `softmax_regression`. The layer is not named first of: "
        "`linear-bias-missing` in `softmax_regression`."
    )


def test_a_row_comes_from_the_command_and_replaces_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exactness, "RESULTS", tmp_path / "exactness.json")
    exactness.add(row("mlp"))
    exactness.add(row("softmax_regression", max_difference=1.0))
    found = exactness.verified("softmax_regression")
    assert found["seconds"] > 0
    exactness.add(found)
    other, one = json.loads((tmp_path / "exactness.json").read_text(encoding="utf-8"))
    assert (other["name"], one["name"]) == ("softmax_regression", "mlp")
    assert other["passed"]
    assert other["macs"] == 7_840
    assert 0 <= other["onnx_difference"] <= 1e-6
    assert 0 < other["onnx_rounding"] <= 1e-6
    assert 0 <= other["max_difference"] <= 1e-5
    assert exactness.read() == [other, one]
