"""What a peer is asked to do, and how it answers."""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from typing import Any

from benchmarks.process import mark


@dataclass(frozen=True)
class Request:
    """One training. Each field is a flag of the same name."""

    network: str = "lenet5"  # lenet5, mlp, resnet18 or resnet20
    data: str = ""  # path
    kind: str = "mnist"  # of data: mnist (IDX), cifar (.npz) or folder (pictures in class folders)
    size: int = 32  # side of the network's input in pixels
    epochs: int = 1
    batch_size: int = 64
    optimizer: str = "sgd"  # sgd (momentum 0.9) or adam
    lr: float = 0.05
    label_smoothing: float = 0.0
    schedule: str = "constant"  # constant, or cosine (to 0, over the whole training)
    augment: str = "none"  # none, shift (2 of 28 pixels), crop-flip (4 of 32) or photo
    crop_area: float = 0.25  # photo: the smallest share of a photograph that a crop keeps
    start: str = "plain"  # zero: residual networks start each block's last batch norm at zero
    precision: str = "fp32"  # or bf16, where the peer offers it: torch and Keras
    seed: int = 0
    device: str = "cpu"
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)

    @classmethod
    def read(cls) -> "Request":
        """Read the flags."""
        parser = argparse.ArgumentParser()
        defaults = cls()
        for each in fields(cls):
            default = getattr(defaults, each.name)
            parser.add_argument(
                f"--{each.name.replace('_', '-')}", type=type(default), default=default
            )
        return cls(**vars(parser.parse_args()))


def first_step() -> None:
    """Note that the first training step is done; later calls change nothing."""
    global _stepped
    if not _stepped:
        mark("first_step")
        _stepped = True


_stepped = False


def asked() -> argparse.Namespace:
    """Read what a peer that answers pictures is asked: network, weights, and where they are."""
    parser = argparse.ArgumentParser()
    for name in ("network", "weights", "data", "folder"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def print_rows(rows: list[dict[str, Any]], *packages: str) -> None:
    """Print a row for each picture, and the versions of what was used."""
    print(json.dumps({"rows": rows, "versions": versions_of(packages)}), flush=True)


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Return the version of each package."""
    return {each: version(each) for each in packages}


def answer(accuracy: float, examples: int, *packages: str, **more: Any) -> None:
    """Print the accuracy on so many test examples, and the versions of what was used."""
    versions = versions_of(packages)
    document = {"accuracy": float(accuracy), "examples": examples, "versions": versions, **more}
    print(f"\n{json.dumps(document)}", flush=True)  # a progress bar may have left a line open
