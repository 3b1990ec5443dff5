"""Tables of the page that are of no workload."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import weight_gradients
from benchmarks.tables import decoding, kept_memory
from benchmarks.tables import weight_gradients as table_of_gradients


def test_memory_that_is_kept_has_a_row_for_each_size_and_way(tmp_path: Path) -> None:
    rows = [
        {"network": "resnet18", "size": 128, "way": way, "milliseconds": ms, "page_faults": faults,
         "memory_mib": 930.2, "all_milliseconds": [ms - 10, ms, ms + 20]}
        for way, ms, faults in (("kept", 330.4, 212.0), ("left alone", 380.1, 24_000.0))
    ]  # fmt: skip
    document = {"hardware": "Abacus", "began": "2026-11-27T10:00:00", "rounds": 3, "steps": rows}
    (tmp_path / "kept_memory_abacus.json").write_text(json.dumps(document))
    lines = kept_memory(tmp_path)
    assert lines[0] == "## Memory that a step frees"
    assert "| 128 | kept | 330 | 320 to 350 | 212 | 930 |" in lines
    assert "| 128 | left alone | 380 | 370 to 400 | 24,000 | 930 |" in lines
    assert kept_memory(tmp_path / "nothing") == []


def test_a_jpeg_has_a_row_for_each_part(tmp_path: Path) -> None:
    parts = [{"part": "ours: decode", "milliseconds": 1.344}]
    document = {"hardware": "Abacus", "began": "2026-11-27T10:00:00", "rounds": 9, "parts": parts}
    (tmp_path / "decoding_abacus.json").write_text(json.dumps(document))
    assert "| ours: decode | 1.34 |" in decoding(tmp_path)
    assert decoding(tmp_path / "nothing") == []


def test_weight_gradients_have_a_row_for_each_convolution_and_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_gradients, "SHAPES", [(8, 6, 5, 2)])
    monkeypatch.setattr(weight_gradients, "TURN", 0.0)
    monkeypatch.setattr("sys.argv", ["weight_gradients", "--rounds", "1", "--out", str(tmp_path)])
    weight_gradients.main()
    lines = table_of_gradients(tmp_path)
    assert [line[:22] for line in lines[-3:-1]] == [
        "| fp32 | 8 | 6 | 5 | 2",
        "| bf16 | 8 | 6 | 5 | 2",
    ]
    assert table_of_gradients(tmp_path / "nothing") == []


def test_both_ways_of_weight_gradients_agree() -> None:
    torch.manual_seed(0)
    images, weight = torch.randn(3, 8, 7, 7), torch.randn(6, 8, 3, 3)
    gradient = torch.randn(3, 6, 4, 4)
    one, other = (way(gradient, images, weight, 2) for way in weight_gradients.WAYS.values())
    torch.testing.assert_close(one, other)
