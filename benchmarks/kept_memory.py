"""What it is worth that malloc keeps what a training step has freed, on the CPU.

    python -m benchmarks.kept_memory [--rounds N] [--steps N]

Processes take turns: in one malloc keeps freed memory as trainings let it
(``torchfolio.training.malloc``), in the other it is left alone. Each takes training steps of
ResNet-18 in bf16, batch 32, and says the median milliseconds of a step, its page faults and the
peak of its memory.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT

SIZES = (128, 224)
WAYS = ("kept", "left alone")
RESULTS = Path(__file__).parent / "kept_memory"


def steps(size: int, number: int, kept: bool) -> dict[str, float]:
    """Take steps in this process; return what one costs."""
    import torch
    from torch.nn import functional as F

    from torchfolio import create
    from torchfolio.training.malloc import keep_freed_memory

    if kept and not keep_freed_memory():
        sys.exit("malloc cannot be told to keep memory here")
    torch.manual_seed(0)
    network = create("resnet18", num_classes=4).train().to(memory_format=torch.channels_last)
    images = torch.randn(32, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 4, (32,))
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, fused=True)
    seconds: list[float] = []
    faults = 0
    for step in range(number + 3):  # the first ones warm up
        if step == 3:
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(network(images), labels)
        torch.autograd.backward(loss)
        optimizer.step()
        if step >= 3:
            seconds.append(time.perf_counter() - start)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "milliseconds": 1000 * statistics.median(seconds),
        "page_faults": (usage.ru_minflt - faults) / number,
        "memory_mib": usage.ru_maxrss / 1024,
    }


def asked(size: int, number: int, way: str) -> dict[str, float]:
    """Return what a process of its own says of a step."""
    told = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-m", "benchmarks.kept_memory", "--one", str(size), way]
    done = subprocess.run(
        [*command, "--steps", str(number)],
        cwd=ROOT, env=told, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--one", nargs=2, metavar=("SIZE", "WAY"), help=argparse.SUPPRESS)
    request = parser.parse_args()
    if request.one:
        size, way = request.one
        print(json.dumps(steps(int(size), request.steps, way == WAYS[0])))
        return
    from benchmarks.document import begun, write

    document = begun(request.rounds)
    rows: list[dict[str, Any]] = []
    for size in SIZES:
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(request.rounds):
            for way in WAYS:
                found[way].append(asked(size, request.steps, way))
        for way in WAYS:
            row: dict[str, Any] = {"network": "resnet18", "size": size, "way": way}
            for key in found[way][0]:
                row[key] = round(statistics.median(each[key] for each in found[way]), 1)
            row["all_milliseconds"] = [round(each["milliseconds"], 1) for each in found[way]]
            rows.append(row)
            print(row, flush=True)
    write("kept_memory", document | {"steps": rows}, RESULTS)


if __name__ == "__main__":
    main()
