"""What the loop costs: its share follows from the medians beside it."""

import json
from pathlib import Path

import pytest

from benchmarks.growth import cost_of, shares
from benchmarks.tables import growth


def test_the_share_is_that_of_the_medians_and_its_quartiles_those_of_the_pairs() -> None:
    found = shares([10.0, 12.0, 20.0, 11.0, 13.0], [9.0, 9.0, 18.0, 9.9, 6.5])
    assert found == {
        "ours": 12.0,  # of 10, 11, 12, 13, 20
        "quartiles of ours": [11.0, 13.0],
        "bare": 9.0,  # of 6.5, 9, 9, 9.9, 18
        "quartiles of bare": [9.0, 9.9],
        "share": 0.25,
        "quartiles of the share": [0.1, 0.25],  # of 0.1, 0.1, 0.1, 0.25, 0.5
    }


def test_the_loop_is_measured_beside_the_bare_step(tmp_path: Path) -> None:
    row = cost_of("lenet5", "digits", 2, 2, batch_size=16, augment="none", device="cpu")
    assert (row["network"], row["batch"], row["rounds"]) == ("lenet5", 16, 2)
    assert row["ours"] > 0
    assert row["bare"] > 0
    assert row["share"] == pytest.approx(1 - row["bare"] / row["ours"], abs=0.01)
    about = {"began": "2026-11-27T02:53:32", "torch": "2.15.0", "rows": [row | {"share": 0.25}]}
    (tmp_path / "growth_abacus.json").write_text(
        json.dumps({"hardware": "Abacus", "loop": about}), encoding="utf-8"
    )
    low, high = row["quartiles of the share"]
    assert growth(tmp_path)[-2].endswith(f"| 0.25 | {low} to {high} |")
