"""What a training would cost: a few timed updates, without writing anything."""

import sys
import time
from dataclasses import dataclass

import torch

from torchfolio.data.dataset import Indices
from torchfolio.training.failures import explained
from torchfolio.training.loop import Loop
from torchfolio.training.measure import measure, measuring_batch

UPDATES = 3  # timed, after one that warms up


@dataclass(frozen=True)
class Estimate:
    """Seconds an epoch and in all, and the peak memory of the process or device in bytes."""

    seconds_an_epoch: float
    seconds: float
    peak_memory: int
    parameters: int


def estimate(loop: Loop) -> Estimate:
    """Take a few updates of a loop and one batch of validation, and reckon the whole from them."""
    options = loop.options
    plan: list[Indices] = loop.plan(0)
    validation = loop.splits["val"][: measuring_batch(options)]
    spent = 0.0
    with explained(options, lambda: loop.progress.update + 1):
        loop.set_training_mode()
        seconds: list[float] = []
        for number in range(UPDATES + 1):
            start = time.perf_counter()
            loop.take_update(loop.load(plan[number % len(plan)]))
            loop.flush()
            seconds.append(time.perf_counter() - start)
        update = min(seconds[1:])
        if len(validation):
            measure(loop.task, loop.usable_parts(), loop.dataset, validation, options)  # warms up
            start = time.perf_counter()
            measure(loop.task, loop.usable_parts(), loop.dataset, validation, options)
            spent = (time.perf_counter() - start) * len(loop.splits["val"]) / len(validation)
    epoch = update * len(plan) + spent
    total = epoch * options.epochs
    if options.minutes is not None:
        total = min(total, 60 * options.minutes)
    parameters = sum(each.numel() for part in loop.parts.values() for each in part.parameters())
    return Estimate(epoch, total, peak_memory(loop.device), parameters)


def peak_memory(device: torch.device) -> int:
    """Return the largest memory that was held: of the device, or of this process on the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
