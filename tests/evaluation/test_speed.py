"""Speed and size."""

import time

import pytest
import torch
from torch import Tensor, nn

from torchfolio.evaluation.speed import in_turn, measure_speed, size_of


class Slow(nn.Module):
    """Takes a known time: 2 ms a call and 1 ms an example."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(10, 5)  # 55 parameters
        self.norm = nn.BatchNorm1d(5)  # 10 parameters, buffers 5 + 5 float32 and one int64

    def forward(self, rows: Tensor) -> Tensor:
        time.sleep(0.002 + 0.001 * len(rows))
        return self.norm(self.linear(rows))


def test_times_and_sizes_of_a_network_of_known_speed() -> None:
    network = Slow().train()
    start = time.perf_counter()
    found = measure_speed(network, torch.zeros(4, 10))
    assert time.perf_counter() - start < 4
    # asleep no shorter than asked for; a busy machine wakes late
    assert 3 <= found["latency_ms"] <= 6
    assert found["latency_low_ms"] <= found["latency_ms"] <= found["latency_high_ms"]
    assert found["throughput_batch"] == 32
    assert 32 / 0.068 <= found["throughput"] <= 32 / 0.034
    assert found["parameters"] == 65
    assert found["megabytes"] == pytest.approx((65 * 4 + 10 * 4 + 8) / 1e6)
    assert found["device"] == "cpu"
    assert network.training


def test_a_slow_network_is_timed_in_smaller_batches() -> None:
    class Slower(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            time.sleep(0.2 * len(rows))
            return rows

    found = measure_speed(Slower(), torch.zeros(1, 3))
    assert found["throughput_batch"] == 4
    assert found["throughput"] == pytest.approx(5, rel=0.15)


def test_networks_that_answer_one_after_the_other_take_the_sum_of_their_times() -> None:
    one = {
        "latency_ms": 2.0, "latency_low_ms": 1.5, "latency_high_ms": 2.5, "throughput": 600.0,
        "throughput_batch": 32, "parameters": 10, "megabytes": 0.5, "device": "cpu", "threads": 1,
    }  # fmt: skip
    other = one | {"latency_ms": 5.0, "throughput": 300.0, "throughput_batch": 8, "parameters": 7}
    assert in_turn([one]) == pytest.approx(one)
    found = in_turn([one, other])
    assert found["latency_ms"] == 7
    assert (found["latency_low_ms"], found["latency_high_ms"]) == (3, 5)
    assert found["throughput"] == pytest.approx(200)  # 1 / (1/600 + 1/300)
    assert (found["throughput_batch"], found["parameters"], found["megabytes"]) == (8, 17, 1)
    sizes = size_of(Slow(), nn.Linear(3, 2))
    assert sizes["parameters"] == 65 + 8
    assert sizes["megabytes"] == pytest.approx((65 * 4 + 10 * 4 + 8 + 8 * 4) / 1e6)
