import math

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau
from toys import SGD, Listener, row_loop

from torchfolio.training.schedules import Plateau, Schedule


def test_constant() -> None:
    assert [Schedule().factor(t) for t in (0.0, 0.3, 1.0)] == [1.0, 1.0, 1.0]


def test_step_falls_at_each_milestone() -> None:
    schedule = Schedule("step", milestones=(0.5, 0.75), gamma=0.1)
    factors = [schedule.factor(t) for t in (0.0, 0.4999, 0.5, 0.7499, 0.75, 1.0)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_is_half_at_half() -> None:
    schedule = Schedule("cosine")
    # 1/2 (1 + cos(pi t)): cos(pi/3) = 1/2, cos(pi/2) = 0, cos(pi) = -1
    factors = [schedule.factor(t) for t in (0.0, 1 / 3, 0.5, 1.0)]
    assert factors == pytest.approx([1, 0.75, 0.5, 0], abs=1e-12)


def test_linear_and_polynomial() -> None:
    assert Schedule("linear").factor(0.25) == pytest.approx(0.75)
    # (1 - 0.19) ** 0.5 = 0.9
    assert Schedule("polynomial", power=0.5).factor(0.19) == pytest.approx(0.9)
    assert Schedule("polynomial", power=2.0).factor(0.5) == pytest.approx(0.25)
    assert Schedule("polynomial", power=2.0).factor(1.0) == 0


def test_warmup_rises_from_a_hundredth_and_the_shape_follows() -> None:
    schedule = Schedule("cosine", warmup=0.2)
    assert schedule.factor(0.0) == pytest.approx(0.01)
    assert schedule.factor(0.1) == pytest.approx(0.505)  # half way from 0.01 to 1
    assert schedule.factor(0.2) == pytest.approx(1.0)
    assert schedule.factor(0.6) == pytest.approx(0.5)  # half way from 0.2 to 1
    assert schedule.factor(1.0) == pytest.approx(0.0, abs=1e-12)


def test_under_a_budget_of_time_the_shape_follows_the_warmup_without_a_jump() -> None:
    schedule = Schedule("cosine")
    assert schedule.factor(0.3, 0.99, 0.3) == pytest.approx(0.01 + 0.99 * 0.99)
    assert schedule.factor(0.3, 1.0, 0.3) == 1.0
    assert schedule.factor(0.65, 1.5, 0.3) == pytest.approx(0.5)  # half way from 0.3 to 1


def test_the_loop_keeps_where_the_warmup_ended() -> None:
    loop = row_loop(schedule="cosine", epochs=1_000_000, minutes=1.0, warmup=2.0)
    an_epoch = loop.updates_an_epoch
    for update, seconds, factor in (
        (an_epoch, 9.0, 0.01 + 0.99 * 0.5),  # half of the warm-up
        (2 * an_epoch - 1, 18.0, None),
        (2 * an_epoch, 18.0, 1.0),  # it took 30 % of the minute
        (3 * an_epoch, 39.0, 0.5),  # half way from 30 % to the end
    ):
        loop.progress.update, loop.progress.seconds = update, seconds
        loop.set_rates()
        if factor is not None:
            rate = loop.optimizers["network"].rate / SGD["lr"]
            assert rate == pytest.approx(factor)


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_plateau_falls_when_torchs_does(higher_is_better: bool) -> None:
    values = [0.5, 0.52, 0.52, 0.52001, 0.51, 0.53, 0.5, 0.5, 0.5, 0.54, 0.1, 0.2, 0.3, 0.3, 0.3]
    values += [0.0, 0.0, 0.6, 0.59, 0.58, 0.57]
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    torchs = ReduceLROnPlateau(
        optimizer, "max" if higher_is_better else "min", factor=0.5, patience=2
    )
    ours = Plateau(0.5, 2, higher_is_better)
    factors = []
    for value in values:
        ours.update(value)
        torchs.step(value)
        factors.append((ours.factor, optimizer.param_groups[0]["lr"]))
    assert [first for first, _ in factors] == pytest.approx([second for _, second in factors])
    assert len({first for first, _ in factors}) > 2


def test_a_figure_that_is_no_number_is_no_improvement() -> None:
    plateau = Plateau(0.5, 0, True)
    for value in (math.nan, 0.3, math.nan):
        plateau.update(value)
    assert plateau.factor == 0.25  # the first and the last
    assert plateau.best == 0.3
    plateau.update(0.4)
    assert plateau.best == 0.4


def test_plateau_state_goes_back_and_forth() -> None:
    first, second = Plateau(0.1, 1, False), Plateau(0.1, 1, False)
    for value in (1.0, 2.0):
        first.update(value)
    second.load_state_dict(first.state_dict())
    first.update(2.0)
    second.update(2.0)
    assert first.factor == second.factor == pytest.approx(0.1)


def test_the_loop_sets_the_rate_before_each_update() -> None:
    listener = Listener()
    # 40 rows in batches of 8: 5 updates an epoch, 10 in all
    loop = row_loop(epochs=2, schedule="step", milestones=(0.5, 0.8), gamma=0.1)
    loop.run(listener)
    expected = [0.05] * 5 + [0.005] * 3 + [0.0005] * 2
    assert listener.rates == pytest.approx(expected)


def test_warmup_is_counted_in_epochs() -> None:
    listener = Listener()
    loop = row_loop(epochs=4, warmup=1.0)  # 5 updates an epoch
    loop.run(listener)
    rising = [0.05 * (0.01 + 0.99 * number / 5) for number in range(5)]
    assert listener.rates == pytest.approx(rising + [0.05] * 15)


def test_warmup_is_counted_in_epochs_under_a_budget_of_minutes_too() -> None:
    loop = row_loop(epochs=1_000_000, minutes=60.0, warmup=2.0)
    factors = []
    for update in (0, 5, 10, 15):
        loop.progress.update = update
        loop.set_rates()
        factors.append(loop.optimizers["network"].rate / 0.05)
    assert factors == pytest.approx([0.01, 0.505, 1.0, 1.0])


def test_warmup_never_outlasts_half_of_the_training() -> None:
    loop = row_loop(epochs=2, warmup=10.0)
    loop.progress.update = 5
    loop.set_rates()
    assert loop.optimizers["network"].rate == pytest.approx(0.05)


def test_plateau_lowers_the_rate_of_the_loop() -> None:
    listener = Listener()
    loop = row_loop(
        optimizers={"network": {"name": "sgd", "lr": 1e-9}},  # nothing improves by 1e-4
        epochs=4,
        schedule="plateau",
        plateau_patience=1,
        gamma=0.5,
    )
    loop.run(listener)
    # epoch 1 is the first value, 2 and 3 are bad, more than the patience of 1: 4 has half
    assert listener.rates[::5] == pytest.approx([1e-9, 1e-9, 1e-9, 5e-10])
