import time

import pytest
import torch

from benchmarks import ceiling
from benchmarks.data import Data
from benchmarks.workloads import all_workloads


def test_multiply_adds_are_those_counted_by_hand() -> None:
    # LeNet-5: 28 * 28 * 6 * 25 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10
    assert ceiling.macs("lenet5", [1, 32, 32], []) == 416_520
    # 784 * 512 + 512 * 512 + 512 * 10
    assert ceiling.macs("mlp", [1, 28, 28], ["widths=[512,512]"]) == 668_672
    assert ceiling.macs(None, None, []) is None


def test_a_training_picture_counts_three_times_in_every_epoch() -> None:
    data = Data("data", train=100, val=20, test=30)
    cost = all_workloads()["lenet_mnist"].cost
    assert cost is not None
    assert cost.times(data, False) == 3 * (3 * 100 + 20) + 30
    assert cost.times(data, True) == 3 * 100 + 20 + 30
    answers = all_workloads()["predict_jpegs"].cost
    assert answers is not None
    assert answers.times(data, False) == 100


def test_the_shortest_time_counts_after_one_to_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "SECONDS", 0.3)
    waits = iter([0.001, 0.15, 0.05, *[0.1] * 10])
    assert 0.05 <= ceiling.best(lambda: time.sleep(next(waits)), torch.device("cpu")) < 0.15
    slow = iter([0.4, 0.001])  # the first call alone takes longer than all should
    assert ceiling.best(lambda: time.sleep(next(slow)), torch.device("cpu")) >= 0.4


def test_rates_are_operations_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "best", lambda work, device: work() is None or 0.5)
    cpu = torch.device("cpu")
    assert ceiling.matmul(64, torch.float32, cpu) == 2 * 64**3 / 0.5
    # two operations for each of 4 pictures, 8 * 8 channels, 9 weights, 6 * 6 pixels
    assert ceiling.conv(8, 6, 4, torch.float32, cpu) == 2 * 4 * 8 * 8 * 9 * 6 * 6 / 0.5
