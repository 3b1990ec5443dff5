"""Start-up: what a person waits for before anything happens."""

import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.bounds import Bound
from benchmarks.workloads import lenet_mnist
from benchmarks.workloads.base import Command, Place, Workload


def folio(*arguments: str) -> Callable[[Place], Command]:
    """Return a call of the installed command, or of its module where there is none."""

    def command(place: Place) -> Command:
        script = shutil.which("folio", path=str(Path(place.python).parent))
        start = [script] if script else [place.python, "-m", "torchfolio"]
        return Command([*start, *arguments])

    return command


def code(line: str) -> Callable[[Place], Command]:
    """Return a call of Python with one line."""
    return lambda place: Command([place.python, "-c", line])


def torch_start(place: Place) -> Command:
    """Return the call that imports torch and makes an optimizer, by the Python that runs ours."""
    return Command([place.python, "-m", "benchmarks.peers.torch_start"])


def started(name: str, title: str, ours: Callable[[Place], Command], most: float) -> Workload:
    """Return a workload that may take so many seconds, beside starting Python."""
    commands = {"ours": ours, "python": code("pass")}
    return Workload(
        name=name,
        title=title,
        commands=commands,
        standard=("python",),
        devices=("cpu",),
        bounds=(Bound(most, kind="seconds"),),
    )


WORKLOADS = [
    started("startup_help", "folio --help", folio("--help"), 0.3),
    started("startup_list", "folio list", folio("list"), 0.3),
    started("startup_import", "import torchfolio", code("import torchfolio"), 0.1),
    Workload(
        name="startup_training",
        title="LeNet-5 on MNIST until the first step; importing torch and making an optimizer",
        commands={
            "ours": lambda place: lenet_mnist.WORK.ours("ours", place),
            "torch_start": torch_start,
        },
        standard=("torch_start",),
        measure="first_step",
        bounds=(Bound(0.5, ("torch_start",), kind="difference", quantity="first_step"),),
        data="mnist",
        ready=lenet_mnist.WORK.fill_cache,
    ),
]
