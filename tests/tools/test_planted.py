"""What is known of the planted mistakes: all were tried, and caught."""

from pathlib import Path

import pytest

from tools import planted
from torchfolio.verification.departures import DEPARTURES

BY_NAME = {departure.name: departure for departure in DEPARTURES}


def test_every_planted_mistake_was_tried_and_caught_and_its_layer_named() -> None:
    rows = planted.read()
    tried = [planted.key(row) for row in rows]
    expected = [(departure.name, network) for departure, network in planted.every()]
    assert tried == expected, "python -m tools.planted --missing"
    assert [planted.told(row) for row in rows if not (row["caught"] and row["named"])] == []
    assert [row["layer"] for row in rows] == [d.on[network] for d, network in planted.every()]


@pytest.mark.parametrize(
    ("name", "network", "layer", "said"),
    [
        ("softmax-start", "softmax_regression", "linear", "linear.weight starts wrong"),
        ("pieces-smallest", "maxout_mlp", "h1", "h1, after h1.linear: the output"),  # after steps
        ("depth", "resnet20", "layer1.2", "layer1.2.conv1.weight is missing"),  # after the counts
    ],
)
def test_what_verify_says_first_is_kept(name: str, network: str, layer: str, said: str) -> None:
    row = planted.planted(BY_NAME[name], network)
    assert (row["caught"], row["named"], row["layer"]) == (True, True, layer)
    assert row["said"].startswith(said)


def test_a_layer_is_named_by_its_whole_name() -> None:
    assert planted.names(["there are 5 parameters", "conv1.weight is missing"], "conv1")
    assert planted.names(["before layer1.0: its input differs"], "layer1.0")
    assert not planted.names(["conv12.weight is missing"], "conv1")
    assert not planted.names(["before layer1.0.conv1: its input differs"], "conv1")
    assert not planted.names(["there are 5 parameters", "fc differs", "conv1 differs"], "conv1")
    assert not planted.names([], "conv1")


def test_rows_are_replaced_and_a_new_mistake_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planted, "RESULTS", tmp_path / "planted.json")
    row = {"departure": "mlp-elu", "network": "mlp", "caught": False, "named": False, "said": "",
           "seconds": 1.5}  # fmt: skip
    right = row | {"caught": True, "said": "output differs"}
    for each in (row, row | {"departure": "mlp-plain"}, right, row | {"departure": "unknown"}):
        planted.add(each)
    kept = planted.read()
    assert [each["departure"] for each in kept] == ["mlp-plain", "mlp-elu"]
    assert planted.told(kept[0]) == "mlp-plain in mlp: NOT caught, 1.5 s: "
    assert planted.told(kept[1]) == "mlp-elu in mlp: caught, NOT named, 1.5 s: output differs"
    assert len(planted.code()) == 16
