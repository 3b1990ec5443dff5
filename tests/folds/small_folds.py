"""Small folders of runs that the tests of folds share."""

from pathlib import Path
from typing import Any

from torchfolio import Folds, train

QUICK: dict[str, Any] = {"epochs": 1, "device": "cpu", "threads": 1, "workers": 0, "report": False}
FLAGS = ["--epochs", "1", "--device", "cpu", "--threads", "1", "--workers", "0", "--no-report"]


def folds_of(network: str, out: Path, **settings: Any) -> Folds:
    """Train on the digits; ``settings`` have folds, repeats or both."""
    found = train(network, "digits", out=out, **(QUICK | settings))
    assert isinstance(found, Folds)
    return found
