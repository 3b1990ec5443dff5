"""What a training would cost: a few timed updates, without writing anything."""

import sys
import time
from dataclasses import dataclass

import numpy as np
import torch

from torchfolio.data.dataset import Indices
from torchfolio.training.failures import explained
from torchfolio.training.features import Features
from torchfolio.training.loop import Loop
from torchfolio.training.measure import measuring_batch

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
        once = seconds_of_features(loop.features) if loop.features else 0.0
        update = seconds_of_update(loop, plan)
        if loop.unfreezing:
            update += later_seconds(loop, plan, update)
        if len(validation):
            loop.measure(validation)  # warms up
            start = time.perf_counter()
            loop.measure(validation)
            spent = (time.perf_counter() - start) * len(loop.splits["val"]) / len(validation)
    epoch = update * len(plan) + spent
    total = once + epoch * options.epochs
    if options.minutes is not None:
        total = min(total, 60 * options.minutes)
    parameters = sum(each.numel() for part in loop.parts.values() for each in part.parameters())
    return Estimate(epoch, total, peak_memory(loop.device), parameters)


def seconds_of_update(loop: Loop, plan: list[Indices]) -> float:
    """Return how long an update takes with what trains in the loop's epoch."""
    loop.set_training_mode()
    seconds: list[float] = []
    for number in range(UPDATES + 1):
        start = time.perf_counter()
        loop.take_update(loop.load(plan[number % len(plan)]))
        loop.flush()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def later_seconds(loop: Loop, plan: list[Indices], first: float) -> float:
    """Return how much longer an update takes, in the mean, than with the head alone.

    It grows with the number of groups that are unfrozen, as a straight line.
    """
    epochs, (unfreezing, *_) = loop.options.epochs, loop.unfreezing
    counts = np.minimum(unfreezing.count_at(epochs - 1), 1 + np.arange(epochs) // unfreezing.every)
    if counts[-1] == 1:
        return 0.0
    loop.progress.epoch = epochs - 1
    share = float((counts - 1).mean()) / float(counts[-1] - 1)
    return share * (seconds_of_update(loop, plan) - first)


def seconds_of_features(features: Features) -> float:
    """Return how long it takes to compute what the head reads; zeros take its place."""
    batches = features.batches()
    batch = features.load(batches[0])
    values = features.read(batch)  # warms up
    start = time.perf_counter()
    features.read(features.load(batches[0]))
    seconds = time.perf_counter() - start
    features.values = values.new_zeros(len(features.examples), *values.shape[1:])
    return seconds * len(batches)


def peak_memory(device: torch.device) -> int:
    """Return the largest memory that was held: of the device, or of this process on the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
