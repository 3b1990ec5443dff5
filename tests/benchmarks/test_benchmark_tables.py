"""Tables of the page that are of no workload."""

import json
from pathlib import Path

from benchmarks.tables import decoding, kept_memory


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
