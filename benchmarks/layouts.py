"""One training step of our networks in each memory layout and precision: what the rules rest on.

    python -m benchmarks.layouts [NETWORK ...] [--rounds N] [--device cuda]

The variants of a network take steps in turn, in one process, on the pictures of its page; written
are the median milliseconds of each. On a GPU each is also recorded as a CUDA graph. The rules
themselves are in ``torchfolio.training.device`` and ``torchfolio.training.graphs``.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.document import begun, write
from benchmarks.results import RESULTS
from torchfolio import create
from torchfolio.networks.catalogue import find_card
from torchfolio.training.device import wants_channels_last
from torchfolio.training.graphs import recorded

NETWORKS = {  # and the batch, and the size of the pictures where the page has none of its own
    "lenet5": (64, None),
    "lenet5_original": (64, None),
    "lenet_caffe": (64, None),
    "maxout_conv_mnist": (64, None),
    "mlp": (128, None),
    "resnet20": (128, None),
    "resnet56": (64, None),
    "resnet18": (16, 128),
    "resnet50": (8, 128),
}
ON_GPU = {  # where they differ: larger batches
    "resnet18": (128, 224),
    "resnet50": (64, 224),
}
VARIANTS = ("plain", "channels_last", "bf16", "bf16_channels_last")
TF32 = ("tf32", "tf32_channels_last")
GRAPH = "_graph"
STEP_SECONDS = 0.2  # of one turn, at least one step


def variants(device: torch.device) -> tuple[str, ...]:
    """Return the variants that a device has."""
    if device.type == "cpu":
        return VARIANTS
    return tuple(each + end for each in (*VARIANTS, *TF32) for end in ("", GRAPH))


def step_of(
    name: str, batch: int, size: int | None, variant: str, device: torch.device
) -> Callable[[], None]:
    """Return what takes one training step."""
    torch.manual_seed(0)
    card = find_card(name)
    channels, height, width = card.input
    images = torch.randn(batch, channels, size or height, size or width, device=device)
    labels = torch.randint(0, 10, (batch,), device=device)
    network: Any = create(name, num_classes=10).train().to(device)
    if "channels_last" in variant:
        network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, fused=True)
    criterion: Any = getattr(network, "loss", F.cross_entropy)

    def passes() -> None:
        bf16 = variant.startswith("bf16")
        torch.backends.cudnn.allow_tf32 = variant.startswith("tf32")
        torch.backends.cuda.matmul.allow_tf32 = variant.startswith("tf32")
        with torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext():
            loss = criterion(network(images), labels)
        loss.backward()

    graph, _ = recorded(passes, network.parameters()) if variant.endswith(GRAPH) else (None, None)

    def step() -> None:
        if graph is None:
            optimizer.zero_grad()
            passes()
        else:
            graph.replay()
        optimizer.step()

    return step


def measure(
    name: str, batch: int, size: int | None, rounds: int, device: torch.device
) -> dict[str, float]:
    """Return the median milliseconds of a step of each variant."""
    names = variants(device)
    steps = {variant: step_of(name, batch, size, variant, device) for variant in names}
    found: dict[str, list[float]] = {variant: [] for variant in names}
    for number in range(rounds + 1):  # the first one warms up
        for variant, step in steps.items():
            start, count = time.perf_counter(), 0
            while count < (1 if number else 3) or time.perf_counter() - start < STEP_SECONDS:
                step()
                count += 1
                if device.type == "cuda" and count % 8 == 0:  # no more ahead than a training runs
                    torch.cuda.synchronize()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number:
                found[variant].append(1000 * (time.perf_counter() - start) / count)
    return {variant: round(statistics.median(each), 3) for variant, each in found.items()}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", help=f"of: {', '.join(NETWORKS)}; all unless named")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--out", type=Path, default=RESULTS.parent / "layouts")
    request = parser.parse_args()
    document, rows = begun(request.rounds, request.device.type), []
    for name in request.networks or NETWORKS:
        batch, size = NETWORKS[name]
        if request.device.type == "cuda":
            batch, size = ON_GPU.get(name, (batch, size))
        milliseconds = measure(name, batch, size, request.rounds, request.device)
        chosen = "channels_last" if wants_channels_last([create(name)]) else "plain"
        rows.append({"network": name, "batch": batch, "size": size or find_card(name).input[-1],
                     "milliseconds": milliseconds, "chosen": chosen})  # fmt: skip
        print(rows[-1], flush=True)
    write("layouts", document | {"networks": rows}, request.out)


if __name__ == "__main__":
    main()
