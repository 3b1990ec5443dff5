"""When torch.compile pays: the seconds that it takes, and what a training step gains by it.

    python -m benchmarks.compiled [NETWORK ...] [--rounds N] [--device cuda]

Steps of a network, in float32 and the memory layout of its training, are taken in turn as written
and compiled as ``--compile`` does, in one process, on the pictures of its page. Compiling is
counted for the two forms of batch that an epoch has (the usual one, and the last, smaller one),
with no compiled code left from before: what their first steps take more than a compiled step does.
It pays after so many updates as those seconds divided by what a step gains; where it gains nothing,
never. On the CPU all are seconds of CPU time, by one thread, so that other work on the machine
counts less. Networks that are not named keep the figures that they have.
"""

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.ceiling import hardware
from benchmarks.results import RESULTS, slug
from benchmarks.statistics import quartiles
from torchfolio import create
from torchfolio.networks.catalogue import find_card
from torchfolio.training.device import wants_channels_last

BATCHES = {"lenet5": 64, "resnet20": 128}
LAST = 3 / 8  # of a batch: the last one of an epoch
WARM_UP = 3


def stepping(name: str, batch: int, compiled: bool, device: torch.device) -> Callable[[int], None]:
    """Return what takes one training step on so many of ``batch`` pictures."""
    torch.manual_seed(0)
    images = torch.randn(batch, *find_card(name).input, device=device)
    labels = torch.randint(0, 10, (batch,), device=device)
    network: Any = create(name, num_classes=10).train().to(device)
    criterion: Any = getattr(network, "loss", F.cross_entropy)
    if wants_channels_last([network]):
        network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, fused=True)
    called: nn.Module | Callable[[Tensor], Tensor] = torch.compile(network) if compiled else network

    def step(count: int) -> None:
        optimizer.zero_grad()
        criterion(called(images[:count]), labels[:count]).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def seconds_of(step: Callable[[int], None], count: int, device: torch.device) -> float:
    """Return the seconds of one step."""
    start = clock(device)
    step(count)
    return clock(device) - start


def clock(device: torch.device) -> float:
    """Return seconds: of CPU time, with that of the compiler, or by the clock for a GPU."""
    if device.type != "cpu":
        return time.perf_counter()
    import resource

    compiler = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + compiler.ru_utime + compiler.ru_stime


def measure(name: str, batch: int, rounds: int, device: torch.device) -> dict[str, Any]:
    """Return what compiling one network costs and gains."""
    counts = (batch, max(2, round(LAST * batch)))
    steps = {
        "plain": stepping(name, batch, False, device),
        "compiled": stepping(name, batch, True, device),
    }
    first = {
        way: [seconds_of(step, each, device) for each in counts] for way, step in steps.items()
    }
    found: dict[str, list[float]] = {way: [] for way in steps}
    for number in range(rounds + WARM_UP):
        for way, step in steps.items():
            took = seconds_of(step, batch, device)
            if number >= WARM_UP:
                found[way].append(took)
    medians = {way: statistics.median(each) for way, each in found.items()}
    compiling = sum(first["compiled"]) - len(counts) * medians["compiled"]
    return {
        "network": name,
        "batch": batch,
        "milliseconds": {way: round(1000 * each, 3) for way, each in medians.items()},
        "quartiles": {
            way: quartiles([1000 * one for one in each], 3) for way, each in found.items()
        },
        "compiling": round(compiling, 1),
        "pays_after": pays_after(compiling, medians["plain"], medians["compiled"]),
    }


def pays_after(compiling: float, plain: float, compiled: float) -> int | None:
    """Return the updates after which compiling has paid, of seconds; ``None``: it never does."""
    return math.ceil(compiling / (plain - compiled)) if compiled < plain else None


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", help=f"of: {', '.join(BATCHES)}; all unless named")
    parser.add_argument("--rounds", type=int, default=51, help="steps of each, in turn")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--out", type=Path, default=RESULTS.parent / "compiled")
    request = parser.parse_args()
    for name in set(request.networks) - set(BATCHES):
        parser.error(f"there is no {name}, but {', '.join(BATCHES)}")
    machine = hardware(request.device.type)
    path = request.out / f"compiled_{slug(machine)}.json"
    rows: dict[str, dict[str, Any]] = {}
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))["networks"]
        rows = {row["network"]: row for row in before}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as fresh:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = fresh
        if request.device.type == "cpu":
            os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # its work is counted here
            torch.set_num_threads(1)
        for name in request.networks or BATCHES:
            about = {
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "began": datetime.now(UTC).isoformat(timespec="seconds"),
                "rounds": request.rounds,
                "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
            }
            rows[name] = measure(name, BATCHES[name], request.rounds, request.device) | about
            print(rows[name], flush=True)
            document = {"hardware": machine, "networks": list(rows.values())}
            path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
