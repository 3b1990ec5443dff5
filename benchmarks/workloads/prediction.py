"""ResNet-18 answers: 2,000 JPEGs by one command, and one picture after another in one process.

Everybody has the weights of one short training of ours, at 224 pixels: the run, or the ONNX file
that ``folio export`` makes of it. What is asked are the pictures that it was trained on: their
accuracy only shows that all give the same answers.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.bounds import Bound
from benchmarks.data import Data
from benchmarks.results import code_digest
from benchmarks.workloads.base import Command, Cost, Place, Workload, reached
from benchmarks.workloads.training import call

SIZE = 224


def run_of(place: Place) -> Path:
    """Return the run whose weights everybody uses: one of our code as it is."""
    return place.kept / f"run-{code_digest()}"


def train(place: Place) -> None:
    """Make the run; normalised as the peers do."""
    run = run_of(place)
    if (run / "metrics.json").is_file():
        return
    shutil.rmtree(run, ignore_errors=True)  # of a training that was broken off
    arguments = [
        *(place.python, "-m", "torchfolio", "train", "resnet18", place.there.path),
        *("--image-size", str(SIZE), "--epochs", "1", "--batch-size", "32", "--lr", "0.02"),
        *("--colour", "0", "--normalize", "imagenet", "--no-report", "--quiet", "--out", str(run)),
    ]
    call(Command(arguments, ours_cache(place)), place.folder)


def file_of(place: Place) -> Path:
    """Return the exported file of the run."""
    return place.kept / f"exported-{code_digest()}.onnx"


def export(place: Place) -> None:
    """Make the run and export it."""
    train(place)
    if file_of(place).is_file():
        return
    arguments = [place.python, "-m", "torchfolio", "export", str(run_of(place)), "--quiet"]
    arguments += ["--out", str(file_of(place))]
    call(Command(arguments, ours_cache(place)), place.folder)


def ours_cache(place: Place) -> dict[str, str]:
    """Return the variable that names our cache."""
    return {"TORCHFOLIO_CACHE": str(place.kept / "cache")}


def pictures(place: Place) -> str:
    """Return the folder of class folders that is asked."""
    return str(Path(place.there.path) / "train")


def ours_all(place: Place) -> Command:
    """Return our command for all pictures."""
    run = run_of(place)
    arguments = [
        *(place.python, "-m", "torchfolio", "predict", str(run), pictures(place)),
        *("--device", place.device, "--json"),
    ]
    return Command(arguments, ours_cache(place), run)


def ours_one(place: Place) -> Command:
    """Return what asks our Python interface one picture after another."""
    run = run_of(place)
    call = (place.python, "-m", "benchmarks.ours_latency")
    return Command([*call, str(run), pictures(place), place.device], ours_cache(place), run)


def peer(place: Place, one: bool) -> Command:
    """Return the usual loop of PyTorch."""
    weights = str(run_of(place) / "weights" / "best.safetensors")
    arguments = [
        *(place.peer_python, "-m", "benchmarks.peers.prediction", weights, pictures(place)),
        *("--size", str(SIZE), "--device", place.device, *(["--one"] if one else [])),
    ]
    return Command(arguments)


def exported_all(place: Place) -> Command:
    """Return our command for all pictures, by the exported file."""
    arguments = [place.python, "-m", "torchfolio", "predict", str(file_of(place)), pictures(place)]
    return Command([*arguments, "--json"], ours_cache(place))


def exported_one(place: Place) -> Command:
    """Return what asks our Python interface one picture after another, by the exported file."""
    arguments = [place.python, "-m", "benchmarks.ours_latency", str(file_of(place))]
    return Command([*arguments, pictures(place), "cpu"], ours_cache(place))


def by_hand(engine: str, *flags: str) -> Callable[[Place], Command]:
    """Return what asks the exported file without us, by another library."""

    def command(place: Place) -> Command:
        arguments = [
            *(place.peer_python, "-m", "benchmarks.peers.exported", str(file_of(place))),
            *(pictures(place), "--size", str(SIZE), "--engine", engine, *flags),
        ]
        return Command(arguments)

    return command


def right_answers(output: Any, data: Data | None) -> tuple[float, int] | None:
    """Return how many of the rows of ``folio predict --json`` name the folder of the picture."""
    if not isinstance(output, list):
        return reached(output, data)
    right = [row["prediction"] == Path(row["input"]).parent.name for row in output]
    return sum(right) / len(right), len(right)


WORKLOADS = [
    Workload(
        name="predict_jpegs",
        title="ResNet-18 at 224 answers 2,000 JPEGs of 500x375, whole process",
        commands={"ours": ours_all, "pytorch": lambda place: peer(place, one=False)},
        standard=("pytorch",),
        data="jpegs_2000",
        chance=0.1,
        cost=Cost("resnet18", (3, SIZE, SIZE), lambda data, small: data.train),
        ready=train,
        accuracy=right_answers,
        bounds=(Bound(0.50, ("pytorch",)),),
    ),
    Workload(
        name="predict_one",
        title="ResNet-18 at 224 answers one JPEG of 500x375: median latency in one process",
        commands={"ours": ours_one, "pytorch": lambda place: peer(place, one=True)},
        standard=("pytorch",),
        measure="latency",
        bounds=(Bound(0.70, ("pytorch",), quantity="latency"),),
        data="jpegs_2000",
        chance=0.1,
        cost=Cost("resnet18", (3, SIZE, SIZE), lambda data, small: 1),
        ready=train,
    ),
    Workload(
        name="predict_exported",
        title="ResNet-18 at 224, exported as ONNX, answers 2,000 JPEGs of 500x375, whole process",
        commands={
            "ours": exported_all,
            "onnxruntime": by_hand("onnxruntime"),
            "onnxruntime_threads": by_hand("onnxruntime", "--threads"),
            "openvino": by_hand("openvino", "--threads"),
            "pytorch": lambda place: peer(place, one=False),
        },
        standard=("onnxruntime", "onnxruntime_threads", "openvino", "pytorch"),
        data="jpegs_2000",
        chance=0.1,
        cost=Cost("resnet18", (3, SIZE, SIZE), lambda data, small: data.train),
        devices=("cpu",),
        ready=export,
        accuracy=right_answers,
        bounds=(Bound(1.0, ("onnxruntime", "onnxruntime_threads")),),
    ),
    Workload(
        name="predict_exported_one",
        title="ResNet-18 at 224, exported as ONNX, answers one JPEG of 500x375: median latency",
        commands={
            "ours": exported_one,
            "onnxruntime": by_hand("onnxruntime", "--one"),
            "openvino": by_hand("openvino", "--one"),
            "pytorch": lambda place: peer(place, one=True),
        },
        standard=("onnxruntime", "openvino", "pytorch"),
        measure="latency",
        data="jpegs_2000",
        chance=0.1,
        cost=Cost("resnet18", (3, SIZE, SIZE), lambda data, small: 1),
        devices=("cpu",),
        ready=export,
        bounds=(Bound(1.0, ("onnxruntime",), quantity="latency"),),
    ),
]
