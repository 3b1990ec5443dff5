"""ResNet-18 answers: 2,000 JPEGs by one command, and one picture after another in one process.

Everybody has the weights of one short training of ours, at 224 pixels. What is asked are the
pictures that it was trained on: their accuracy only shows that all give the same answers.
"""

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
    arguments = [
        *(place.python, "-m", "torchfolio", "train", "resnet18", place.there.path),
        *("--image-size", str(SIZE), "--epochs", "1", "--batch-size", "32", "--lr", "0.02"),
        *("--colour", "0", "--normalize", "imagenet", "--no-report", "--quiet", "--out", str(run)),
    ]
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
        ready=train,
    ),
]
