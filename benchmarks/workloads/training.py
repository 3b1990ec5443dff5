"""Trainings: one description, from which the flags of our command and of every peer follow."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.bounds import Bound
from benchmarks.data import Data
from benchmarks.process import surroundings
from benchmarks.results import code_digest
from benchmarks.workloads.base import Command, Cost, Place, Workload

# The module of a peer, and the variables that it needs.
PEERS: dict[str, tuple[str, dict[str, str]]] = {
    "pytorch": ("pytorch", {}),
    "timm": ("timm", {}),
    "fastai": ("fastai", {}),
    "lightning": ("lightning", {}),
    "keras_torch": ("keras", {"KERAS_BACKEND": "torch"}),
    "keras_jax": ("keras", {"KERAS_BACKEND": "jax"}),
    "ultralytics": ("ultralytics", {}),
}
VARIANTS = {  # of our command
    "ours": ("--no-report",),
    "ours_report": (),
    "ours_fp32": ("--no-report", "--precision", "fp32"),
}
AUGMENT = {"none": "none", "shift": "shift", "crop-flip": "crop-flip", "photo": "standard"}


@dataclass(frozen=True)
class Training:
    """One training. The fields are those of :class:`benchmarks.peers.request.Request`.

    ``settings`` are further flags of ours.
    """

    network: str
    kind: str
    size: int
    epochs: int
    batch_size: int
    lr: float
    optimizer: str = "sgd"
    schedule: str = "constant"
    augment: str = "none"
    label_smoothing: float = 0.0
    start: str = "plain"
    precision: str = "fp32"  # of the peers; ours has its own rule
    settings: tuple[str, ...] = ()

    def epochs_of(self, small: bool) -> int:
        """Return the epochs; a trial has one."""
        return 1 if small else self.epochs

    def ours(self, variant: str, place: Place, cache: str = "kept") -> Command:
        """Return our command; ``cache`` is "kept" between runs, or "empty" before each."""
        momentum = ("--momentum", "0.9") if self.optimizer == "sgd" else ()
        arguments = [
            *(place.python, "-m", "benchmarks.ours", "train", self.network, place.there.path),
            *("--epochs", str(self.epochs_of(place.small)), "--batch-size", str(self.batch_size)),
            *("--optimizer", self.optimizer, "--lr", str(self.lr), *momentum),
            *("--weight-decay", "0", "--schedule", self.schedule),
            *("--augment", AUGMENT[self.augment], "--seed", str(place.seed)),
            *("--label-smoothing", str(self.label_smoothing)),
            *(("--set", "zero_init_residual=true") if self.start == "zero" else ()),
            *self.settings,
            *VARIANTS[variant],
            *("--device", place.device, "--out", "run", "--json", "--quiet"),
        ]
        folder = {"kept": place.kept / "cache", "empty": place.folder / "cache"}[cache]
        return Command(arguments, {"TORCHFOLIO_CACHE": str(folder)}, place.folder / "run")

    def peer(self, name: str, place: Place) -> Command:
        """Return a peer's command."""
        module, environment = PEERS[name]
        arguments = [
            *(place.peer_python, "-m", f"benchmarks.peers.{module}"),
            *("--network", self.network, "--data", place.there.path, "--kind", self.kind),
            *("--size", str(self.size), "--epochs", str(self.epochs_of(place.small))),
            *("--batch-size", str(self.batch_size), "--optimizer", self.optimizer),
            *("--lr", str(self.lr), "--schedule", self.schedule, "--augment", self.augment),
            *("--label-smoothing", str(self.label_smoothing), "--precision", self.precision),
            *("--start", self.start, "--seed", str(place.seed), "--device", place.device),
        ]
        return Command(arguments, environment)

    def commands(self, peers: tuple[str, ...]) -> dict[str, Callable[[Place], Command]]:
        """Return how each contestant is called: the variants of ours, then the peers."""
        found: dict[str, Callable[[Place], Command]] = {}
        found |= {name: partial(self.ours, name) for name in VARIANTS}
        return found | {name: partial(self.peer, name) for name in peers}

    def cost(self, ceiling: str = "conv") -> Cost:
        """Return the arithmetic: each training picture counts three times, each measured one once.

        Backward is counted as two forward passes.
        """

        def times(data: Data, small: bool) -> float:
            return self.epochs_of(small) * (3 * data.train + data.val) + data.test

        channels = 1 if self.kind == "mnist" else 3
        settings = tuple(
            value for flag, value in zip(self.settings, self.settings[1:], strict=False)
            if flag == "--set"
        )  # fmt: skip
        return Cost(self.network, (channels, self.size, self.size), times, ceiling, settings)

    def fill_cache(self, place: Place) -> None:
        """Train once, unmeasured, so that our cache holds the data."""
        fill_once(place, replace(self, epochs=1).ours("ours", place))


def training(
    name: str,
    title: str,
    work: Training,
    *,
    data: str,
    peers: tuple[str, ...],
    ceiling: str = "conv",
    standard: tuple[str, ...] | None = None,
    mark: float | None = None,
    least_rounds: int = 5,
    bounds: tuple[Bound, ...] = (),
) -> Workload:
    """Return the workload of a training over data of 10 classes."""
    return Workload(
        name=name,
        title=title,
        commands=work.commands(peers),
        standard=standard or (*peers, "ours_report"),
        data=data,
        chance=0.1,
        cost=work.cost(ceiling),
        ready=work.fill_cache,
        mark=mark,
        least_rounds=least_rounds,
        bounds=(*bounds, Bound(1.0, ("pytorch",), quantity="memory")),
    )


def fill_once(place: Place, command: Command) -> None:
    """Run a command of ours, unmeasured, unless it filled the cache with these data before."""
    note = place.kept / f"cache-filled-{code_digest()}"
    if note.is_file() and note.read_text(encoding="utf-8") == place.there.path:
        return
    call(command, place.folder)
    note.write_text(place.there.path, encoding="utf-8")


def call(command: Command, folder: Path) -> None:
    """Run a command that is not measured; stop where it fails."""
    environment = surroundings(command.environment)
    done = subprocess.run(
        command.arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False,
        encoding="utf-8",
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(command.arguments)} failed:\n{done.stderr[-2000:]}")
