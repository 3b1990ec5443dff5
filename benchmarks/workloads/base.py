"""What a workload is, and what the runner tells it of one run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bounds import Bound
from benchmarks.data import Data

# Files and folders of our code that no workload loads, and those that none of class scores loads.
NOT_LOADED = (
    "verification",
    "comparison",
    "ensembles",
    "features.py",
    *(f"cli/{verb}.py" for verb in ("compare", "ensemble", "explain", "features", "verify")),
    "cli/check_page.py",
)
NOT_OF_CLASSES = (
    *NOT_LOADED,
    "tasks/segmentation",
    "tasks/detection",
    *(f"networks/{each}.py" for each in ("faster_rcnn", "fcn", "unet", "unet_vgg16", "ternausnet",
                                          "yolov1", "yolov2", "yolov3")),
    *(f"networks/recipes/{each}.toml" for each in ("faster_rcnn", "faster_rcnn_vgg16", "fcn",
      "fcn_resnet", "unet", "unet_bn", "unet_vgg16", "yolov1", "yolov2", "yolov3")),
    *(f"evaluation/{each}.py" for each in ("detection", "detection_report", "segmentation",
      "matching", "objects", "grey_cut")),
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where one run happens: data, folders, seed, device, and the Python of ours and of peers."""

    folder: Path  # empty, of this run alone, removed afterwards
    kept: Path  # of this workload, size and code, kept between runs and sittings
    seed: int = 0
    device: str = "cpu"
    small: bool = False  # a trial
    python: str = "python"
    peer_python: str = "python"
    data: Data | None = None

    @property
    def there(self) -> Data:
        """The data, where the workload has some."""
        if self.data is None:
            raise ValueError("This workload has no data.")
        return self.data


@dataclass(frozen=True)
class Command:
    """A command line, variables of its environment, and where it is ours the run folder."""

    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    run: Path | None = None


@dataclass(frozen=True)
class Cost:
    """The arithmetic of a workload: multiply-adds of a network for one picture, times pictures.

    ``times`` gives, from the data and whether it is a trial, how many forward passes of one
    picture the whole work is worth. ``ceiling`` is the rate that it is measured against, "conv" or
    "matmul".
    """

    network: str
    input: tuple[int, int, int]
    times: Callable[[Data, bool], float]
    ceiling: str = "conv"
    settings: tuple[str, ...] = ()


def nothing(place: Place) -> None:
    """Make nothing ready."""


def reached(output: Any, data: Data | None) -> tuple[float, int] | None:
    """Return the accuracy that a contestant printed, and over how many test examples.

    A peer prints both, ``folio train --json`` its metrics. ``None`` where there is neither.
    """
    if isinstance(output, dict) and "metrics" in output and data is not None:
        return float(output["metrics"]["accuracy"]["value"]), data.test
    if isinstance(output, dict) and "accuracy" in output:
        return float(output["accuracy"]), int(output["examples"])
    return None


@dataclass(frozen=True)
class Workload:
    """One piece of work and its contestants: ``commands`` by name, "ours" first.

    ``standard`` are the peers that run unless others are asked for. ``measure`` is what is
    compared: "wall", "first_step", or "latency", which contestants print. ``ready`` is called
    before a sitting's first round. ``mark`` is an accuracy that the mean over ``least_rounds``
    rounds should reach, ``bounds`` the most that ours may take. ``accuracy`` reads accuracy and
    tested examples off what a contestant printed. ``apart`` is what ours does not load: where only
    that changes, rounds add up.
    """

    name: str
    title: str
    commands: dict[str, Callable[[Place], Command]]
    standard: tuple[str, ...]
    measure: str = "wall"
    data: str | None = None
    chance: float | None = None
    cost: Cost | None = None
    devices: tuple[str, ...] = ("cpu", "cuda")
    ready: Callable[[Place], None] = nothing
    accuracy: Callable[[Any, Data | None], tuple[float, int] | None] = reached
    mark: float | None = None
    bounds: tuple[Bound, ...] = ()
    least_rounds: int = 5
    apart: tuple[str, ...] = NOT_OF_CLASSES
