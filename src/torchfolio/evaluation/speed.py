"""How fast and how large a network is, measured in at most about two seconds."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchfolio.layers.modes import evaluating

THROUGHPUT_BATCH = 32
LATENCY_SECONDS, THROUGHPUT_SECONDS = 0.5, 0.9  # warm-up is the rest
MOST_RUNS = 200


def measure_speed(network: nn.Module, example: Tensor) -> dict[str, Any]:
    """Return latency, throughput and size of a network on the device of ``example``.

    ``example`` is an input with its batch dimension; its first entry is used. Keys: ``latency_ms``,
    the median time of one example, with its quartiles ``latency_low_ms`` and ``latency_high_ms``;
    ``throughput``, examples a second in batches of ``throughput_batch`` (32, or fewer where 32
    would take too long); ``parameters``; ``megabytes`` of parameters and buffers (1 MB = 10^6
    bytes); ``device`` and ``threads``. Loading and transforming data are not included.
    """
    one = example[:1].detach()
    with evaluating(network), torch.inference_mode():
        _times(lambda: network(one), 0, one.device)  # warm-up
        single = _times(lambda: network(one), LATENCY_SECONDS, one.device)
        affordable = int(THROUGHPUT_SECONDS / max(float(np.median(single)), 1e-9))
        count = max(1, min(THROUGHPUT_BATCH, affordable))
        many = one.repeat(count, *[1] * (one.ndim - 1))
        if count > 1:
            _times(lambda: network(many), 0, one.device)
        batches = _times(lambda: network(many), THROUGHPUT_SECONDS, one.device)
    low, high = np.percentile(single, [25, 75])
    return {
        "latency_ms": 1000 * float(np.median(single)),
        "latency_low_ms": 1000 * float(low),
        "latency_high_ms": 1000 * float(high),
        "throughput": count / float(np.median(batches)),
        "throughput_batch": count,
        **size_of(network),
        "device": str(one.device),
        "threads": torch.get_num_threads(),
    }


def in_turn(speeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the speed of networks that answer one after the other, from that of each.

    Times and sizes add up; so do the quartiles, which is as far as they can lie apart. The device
    is that of the first.
    """
    sums = ("latency_ms", "latency_low_ms", "latency_high_ms", "parameters", "megabytes")
    return {
        **speeds[0],
        **{name: sum(each[name] for each in speeds) for name in sums},
        "throughput": 1 / sum(1 / each["throughput"] for each in speeds),
        "throughput_batch": min(each["throughput_batch"] for each in speeds),
    }


def size_of(*networks: nn.Module) -> dict[str, Any]:
    """Return the ``parameters`` and the ``megabytes`` of parameters and buffers of networks."""
    parameters = [each for network in networks for each in network.parameters()]
    tensors = [*parameters, *(each for network in networks for each in network.buffers())]
    return {
        "parameters": sum(each.numel() for each in parameters),
        "megabytes": sum(each.numel() * each.element_size() for each in tensors) / 1e6,
    }


def _times(run: Callable[[], Any], seconds: float, device: torch.device) -> list[float]:
    """Time runs until the seconds are over: at least one, at most 200. Each in seconds."""
    times: list[float] = []
    while not times or (len(times) < MOST_RUNS and sum(times) < seconds):
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        times.append(time.perf_counter() - start)
    return times


def _wait(device: torch.device) -> None:
    """Wait until the device has done its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
