"""The file of a benchmark that is no workload: where it ran, and what was found."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.ceiling import hardware
from benchmarks.results import slug


def begun(rounds: int, device: str = "cpu") -> dict[str, Any]:
    """Return what every document begins with: hardware, threads, torch, time and rounds."""
    return {
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": rounds,
    }


def write(name: str, document: dict[str, Any], folder: Path) -> None:
    """Write a document as NAME_HARDWARE.json into a folder."""
    path = folder / f"{name}_{slug(document['hardware'])}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
