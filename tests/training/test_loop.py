import math
import re
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toys import (
    SGD,
    Listener,
    MeanLoss,
    Regression,
    RowBatch,
    assert_same,
    digit_loop,
    options,
    row_loop,
    small_network,
    weights,
)

from torchfolio.errors import FolioError, RequestError
from torchfolio.tasks.base import Meter, Parts, Step
from torchfolio.training.device import configure
from torchfolio.training.estimate import estimate
from torchfolio.training.update import lock_step

# Accumulation


@pytest.mark.parametrize("pieces", [2, 3, 8])
def test_pieces_add_up_to_the_batch(pieces: int) -> None:
    one, several = row_loop(val=6), row_loop(val=6, accumulate=pieces)  # 42: a last batch of 2
    one.run(Listener())
    several.run(Listener())
    whole, parts = weights(one), weights(several)
    assert all(torch.allclose(whole[name], parts[name], atol=1e-6) for name in whole)
    columns = ("train_loss", "val_loss")
    for first, second in zip(one.progress.history, several.progress.history, strict=True):
        assert [first[key] for key in columns] == pytest.approx([second[key] for key in columns])


@pytest.mark.parametrize("weighing", ["none", "balanced"])
def test_pieces_add_up_under_smoothing_and_class_weights(weighing: str) -> None:
    settings = {"label_smoothing": 0.1, "class_weights": weighing}
    one = digit_loop("lenet5", task_options=settings, epochs=1)
    several = digit_loop("lenet5", task_options=settings, epochs=1, accumulate=4)
    one.run(Listener())
    several.run(Listener())
    whole, parts = weights(one), weights(several)
    assert all(torch.allclose(whole[name], parts[name], atol=1e-6) for name in whole)


def test_a_smaller_last_batch_has_fewer_pieces_not_smaller_ones() -> None:
    loop = row_loop(count=100, val=8, batch_size=40, accumulate=4)  # 92: 40, 40 and 12
    sizes = [[len(piece) for piece in loop.load(rows)] for rows in loop.plan(0)]
    assert sizes == [[10, 10, 10, 10], [10, 10, 10, 10], [6, 6]]


class ByLength(Regression):
    """Cuts its own batches, of many short examples or of few long ones, as a translator does."""

    def batches(self, *_: Any) -> list[Any]:
        return [np.arange(0, 24), np.arange(24, 30), np.arange(30, 40)]


def test_batches_of_a_tasks_own_making_are_taken_whole() -> None:
    task = ByLength()
    loop = row_loop(task, batch_size=8, accumulate=2, epochs=1)
    sizes = [[len(piece) for piece in loop.load(rows)] for rows in loop.plan(0)]
    assert sizes == [[12, 12], [3, 3], [5, 5]]
    listener = Listener()
    loop.run(listener)
    assert listener.updates == [1, 2, 3]
    assert loop.progress.history[0]["updates"] == 3


def test_no_batch_is_left_with_one_example() -> None:
    loop = row_loop(count=25, val=0, batch_size=8, epochs=1)
    assert [len(rows) for rows in loop.plan(0)] == [8, 8, 9]


# Several parts and several steps: the loop names no task


class Adversaries(Regression):
    """A generator of numbers against a discriminator, with a pool of old fakes (Shrivastava)."""

    name = "adversaries"

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.noises: list[float] = []
        self.pool: list[Tensor] = []

    def parts(self, *_: Any, **__: Any) -> Parts:
        torch.manual_seed(0)
        return Parts(generator=nn.Linear(2, 4), discriminator=nn.Linear(4, 1))

    def draw(self, what: str, batch: RowBatch) -> Tensor:
        noise = torch.randn(len(batch), 2)
        self.events.append(f"noise {what} of {len(batch)}")
        self.noises.append(noise[0, 0].item())
        return noise

    def steps(self, parts: Parts, batch: RowBatch) -> Iterator[Step]:
        noise = self.draw("d", batch)

        def judge() -> Tensor:
            self.events.append("judge")
            fakes = parts.generator(noise).detach()
            mixed = torch.cat([fakes[:1], *self.pool])
            real = parts.discriminator(batch.inputs)
            return (
                nn.functional.softplus(-real).mean()
                + nn.functional.softplus(parts.discriminator(mixed)).mean()
            )

        yield Step(judge, ("discriminator",), "d_loss")
        noise = self.draw("g", batch)

        def fool() -> Tensor:
            self.events.append("fool")
            return nn.functional.softplus(-parts.discriminator(parts.generator(noise))).mean()

        yield Step(fool, ("generator",), "g_loss")
        with torch.no_grad():
            self.pool = [*self.pool[-3:], parts.generator(noise)[:1]]

    def predict(self, parts: Parts, batch: RowBatch) -> Tensor:
        return parts.discriminator(parts.generator(torch.randn(len(batch), 2))).mean().abs()

    def state_dict(self) -> dict[str, Any]:
        return {"pool": self.pool}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.pool = state["pool"]


def test_the_steps_of_the_pieces_advance_in_lock_step() -> None:
    task = Adversaries()
    loop = row_loop(task, epochs=1, count=16, val=0, accumulate=2)
    for name in ("discriminator", "generator"):
        loop.optimizers[name].optimizers[0].register_step_post_hook(
            lambda *_, name=name: task.events.append(f"update {name}")
        )
    loop.run(Listener())
    one_update = ["noise d of 4"] * 2 + ["judge"] * 2 + ["update discriminator"]
    one_update += ["noise g of 4"] * 2 + ["fool"] * 2 + ["update generator"]
    assert task.events == one_update * 2
    assert len(set(task.noises)) == len(task.noises) == 8  # fresh for each step and piece
    assert {"train_d_loss", "train_g_loss"} <= set(loop.progress.history[0])


def test_each_step_trains_its_parts_alone() -> None:
    task = Adversaries()
    loop = row_loop(task, epochs=1, count=8, val=0)
    changed: list[set[str]] = []
    before = weights(loop)

    def note(*_: Any) -> None:
        nonlocal before
        now = weights(loop)
        changed.append({key.split(".")[0] for key in now if not torch.equal(now[key], before[key])})
        before = now

    for group in loop.optimizers.values():
        group.optimizers[0].register_step_post_hook(note)
    loop.run(Listener())
    assert changed == [{"discriminator"}, {"generator"}]


class Critics(Adversaries):
    """Wasserstein with gradient penalty: five steps of the critic to one of the generator."""

    name = "critics"
    monitor = None

    def steps(self, parts: Parts, batch: RowBatch) -> Iterator[Step]:
        for _ in range(5):
            noise, share = self.draw("d", batch), torch.rand(len(batch), 1)

            def criticise(noise: Tensor = noise, share: Tensor = share) -> Tensor:
                fakes = parts.generator(noise).detach()
                between = (share * batch.inputs + (1 - share) * fakes).requires_grad_()
                value = parts.discriminator(between.tanh()).sum()
                (slope,) = torch.autograd.grad(value, between, create_graph=True)
                penalty = (slope.norm(2, dim=1) - 1).square().mean()
                gap = parts.discriminator(fakes).mean() - parts.discriminator(batch.inputs).mean()
                self.events.append("critic")
                return gap + 10 * penalty

            yield Step(criticise, ("discriminator",), "critic_loss")
        noise = self.draw("g", batch)

        def fool() -> Tensor:
            self.events.append("generator")
            return -parts.discriminator(parts.generator(noise)).mean()

        yield Step(fool, ("generator",), "generator_loss")


def test_five_critic_steps_to_one_generator_step() -> None:
    task = Critics()
    adam = {"name": "adam", "lr": 0.01, "betas": [0.0, 0.9]}
    rates = {"generator": adam, "discriminator": adam | {"lr": 0.02}}
    loop = row_loop(task, rates, epochs=1, count=24, val=8)
    listener = Listener()
    loop.run(listener)
    steps = [event for event in task.events if not event.startswith("noise")]
    assert steps == (["critic"] * 5 + ["generator"]) * 2
    (row,) = loop.progress.history
    assert (row["lr_generator"], row["lr_discriminator"]) == (0.01, 0.02)
    assert "val_loss" in row
    assert loop.progress.best_epoch is None
    assert listener.best is None


class Now(Regression):
    """Two steps in every update, and a third in every other; each loss is a set number."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    def steps(self, parts: Parts, batch: RowBatch) -> Iterator[Step]:
        def value(number: float) -> Tensor:
            return number + 0 * self.error(parts, batch)

        self.taken += 1
        yield Step(lambda: value(1.0), name="first")
        yield Step(lambda: value(3.0), name="first")
        if self.taken % 2 == 0:
            yield Step(lambda: value(self.taken), name="rare")


def test_a_figure_is_the_mean_over_the_steps_that_were_taken() -> None:
    loop = row_loop(Now(), epochs=1, count=40, val=8, batch_size=8)  # 4 updates of 8
    loop.run(Listener())
    assert loop.progress.history[0]["train_first"] == 2  # of 1 and 3
    assert loop.progress.history[0]["train_rare"] == 3  # of 2 and 4


def test_what_watches_a_metric_needs_one() -> None:
    with pytest.raises(RequestError, match=r"critics has no metric of its own that --patience"):
        row_loop(Critics(), patience=2)
    assert row_loop(Critics(), patience=2, monitor="loss").monitor == "loss"


def test_lock_step_refuses_pieces_of_different_lengths() -> None:
    step = Step(lambda: torch.zeros(()))
    with pytest.raises(ValueError, match="different numbers of steps"):
        list(lock_step([iter([step, step]), iter([step])]))


# Clipping and the moving average


def test_gradients_are_clipped_to_their_norm() -> None:
    free, clipped = (
        row_loop(epochs=1, count=8, val=0),
        row_loop(epochs=1, count=8, val=0, grad_clip=0.01),
    )
    norms = []
    gradients = []
    for loop in (free, clipped):
        loop.run(Listener())  # one update
        found = [each.grad for each in loop.parts.network.parameters() if each.grad is not None]
        gradients.append(torch.cat([each.flatten() for each in found]))
        norms.append(math.sqrt(sum(value * value for value in gradients[-1].tolist())))
    assert norms[0] > 0.1
    assert norms[1] == pytest.approx(0.01, rel=1e-4)
    direction = gradients[0] / norms[0]
    assert torch.allclose(gradients[1] / norms[1], direction, atol=1e-5)


def normed_network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))


def test_the_moving_average_follows_its_formula() -> None:
    listener = Listener()
    loop = row_loop(Regression(normed_network), epochs=1, count=24, val=0, ema=0.75)
    loop.run(listener)
    first, second, third = listener.weights
    average = loop.tensors(loop.usable_parts())
    for name in first:
        if not first[name].is_floating_point():
            assert average[name] == third[name] == 3  # counters are copied
            continue
        expected = 0.75 * (0.75 * first[name] + 0.25 * second[name]) + 0.25 * third[name]
        assert torch.allclose(average[name], expected, atol=1e-6), name
    assert not torch.equal(average["network.1.running_mean"], third["network.1.running_mean"])


def test_the_average_is_what_is_validated_and_kept() -> None:
    listener = Listener()
    loop = row_loop(Regression(normed_network), epochs=1, ema=0.9)
    loop.run(listener)
    assert listener.best is not None
    average = loop.averages["network"].module.state_dict()
    assert_same(dict(listener.best["network"]), dict(average))
    assert not torch.equal(average["0.weight"], loop.parts.network.state_dict()["0.weight"])


# Ending


class Scripted(Regression):
    """Its validation follows a script, one value an epoch."""

    monitor = "score"
    higher_is_better = {"loss": False, "score": True, "error": False}  # noqa: RUF012

    def __init__(self, script: list[float]) -> None:
        super().__init__()
        self.script = script
        self.asked = 0

    def meter(self) -> Meter:
        task = self

        class Script(MeanLoss):
            def compute(self) -> dict[str, float]:
                value = task.script[task.asked]
                task.asked += 1
                return super().compute() | {"score": value, "error": -value}

        return Script()


@pytest.mark.parametrize("monitor", ["score", "error"])
def test_patience_ends_and_the_best_weights_are_kept(monitor: str) -> None:
    task = Scripted([0.1, 0.5, 0.4, 0.5, 0.45, 0.9])
    listener = Listener()
    loop = row_loop(task, epochs=6, patience=3, monitor=monitor)
    assert loop.run(listener) == "patience"
    # 0.4, 0.5 (equal is no improvement) and 0.45 follow epoch 2; 0.5 comes again with less loss
    assert loop.progress.epoch == 5
    losses = [row["val_loss"] for row in loop.progress.history]
    assert losses[3] < losses[1]
    assert loop.progress.best_epoch == 4
    assert loop.progress.best_value == (0.5 if monitor == "score" else -0.5)
    assert listener.best is not None
    best = {f"network.{name}": each for name, each in listener.best["network"].items()}
    assert_same(best, listener.weights[4 * loop.updates_an_epoch - 1])


def test_a_metric_that_is_no_number_is_no_best() -> None:
    loop = row_loop(Scripted([math.nan, 0.3, math.nan, 0.4]), epochs=4)
    assert loop.run(Listener()) == "finished"
    assert (loop.progress.best_epoch, loop.progress.best_value) == (4, 0.4)


def test_an_unknown_metric_is_refused_before_training_with_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"no metric named 'scores'.*score"):
        row_loop(Scripted([]), monitor="scores")


def test_what_watches_the_validation_needs_one() -> None:
    for settings, name in (
        ({"patience": 2}, "--patience"),
        ({"schedule": "plateau"}, "--schedule plateau"),
        ({"monitor": "loss"}, "--monitor"),
    ):
        with pytest.raises(RequestError, match=f"no validation examples, which {name} would"):
            row_loop(val=0, **settings)


def test_without_validation_nothing_is_best() -> None:
    loop = row_loop(val=0, epochs=1)
    assert loop.run(Listener()) == "finished"
    assert loop.best is None
    assert "val_loss" not in loop.progress.history[0]


class Slow(Regression):
    """Each update takes a while."""

    def error(self, parts: Parts, batch: RowBatch) -> Tensor:
        time.sleep(0.02)
        return super().error(parts, batch)


def test_a_budget_of_minutes_ends_the_training() -> None:
    loop = row_loop(Slow(), epochs=1_000_000, minutes=0.01, schedule="linear")
    listener = Listener()
    started = time.monotonic()
    assert loop.run(listener) == "minutes"
    assert time.monotonic() - started >= 0.6
    assert 0.6 <= loop.progress.seconds < 3
    assert loop.progress.history[-1]["updates"] == loop.progress.update == len(listener.updates)
    # linear in time: the rate fell from update to update, to a small rest
    assert all(first > second for first, second in pairwise(listener.rates))
    assert listener.rates[-1] < 0.2 * listener.rates[0]


def test_the_budget_counts_validation() -> None:
    class SlowToMeasure(Regression):
        def predict(self, parts: Parts, batch: RowBatch) -> Tensor:
            time.sleep(0.35)
            return super().predict(parts, batch)

    loop = row_loop(SlowToMeasure(), epochs=1_000_000, minutes=0.01)
    loop.run(Listener())
    assert loop.progress.epoch == 2


def test_a_stop_keeps_the_place() -> None:
    loop = row_loop(epochs=2)
    assert loop.run(Listener(stop_after=3)) == "stopped"
    assert (loop.progress.epoch, loop.progress.batch, loop.progress.update) == (0, 3, 3)


# What goes wrong


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_exploding_loss_stops_with_place_settings_and_advice() -> None:
    loop = digit_loop(optimizer={"name": "sgd", "lr": 1e6}, epochs=2)
    with pytest.raises(FolioError) as caught:
        loop.run(Listener())
    text = str(caught.value)
    for part in (
        r"at update [23] \(epoch 1\)",
        r"learning rate 1e\+06 \(network\)",
        "batch size 8",
        "precision fp32",
        "lower --lr",
        "last good state",
    ):
        assert re.search(part, text), (part, text)


class Broken(Regression):
    """Its loss is no number from a certain update on."""

    def __init__(self, value: float, after: int) -> None:
        super().__init__()
        self.value, self.after, self.taken = value, after, 0

    def error(self, parts: Parts, batch: RowBatch) -> Tensor:
        self.taken += 1
        loss = super().error(parts, batch)
        return loss * self.value if self.taken > self.after else loss


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e9])
def test_a_loss_that_is_no_number_stops_at_its_update(value: float) -> None:
    with pytest.raises(FolioError, match=r"The loss became (nan|inf|.*e\+0\d) at update 4 "):
        row_loop(Broken(value, 3)).run(Listener())


def test_every_loss_of_several_steps_is_watched() -> None:
    class HalfBroken(Adversaries):
        def steps(self, parts: Parts, batch: RowBatch) -> Iterator[Step]:
            for step in super().steps(parts, batch):
                factor = math.nan if step.name == "g_loss" else 1.0
                loss = step.closure
                yield Step(lambda loss=loss, by=factor: loss() * by, step.trains, step.name)

    with pytest.raises(FolioError, match="The g_loss became nan at update 1 "):
        row_loop(HalfBroken()).run(Listener())


def test_a_loss_that_begins_at_nought_may_grow() -> None:
    class Growing(Regression):
        taken = 0

        def error(self, parts: Parts, batch: RowBatch) -> Tensor:
            self.taken += 1
            return super().error(parts, batch) * 0 + 30.0 * (self.taken - 1)  # as a critic's may

    loop = row_loop(Growing(), epochs=4, val=0)
    assert loop.run(Listener()) == "finished"


def test_weights_that_are_not_finite_are_neither_measured_nor_saved() -> None:
    class Steep(Regression):
        def error(self, parts: Parts, batch: RowBatch) -> Tensor:
            return 1000 * super().error(parts, batch)

    sections = {"network": {"name": "sgd", "lr": 1e38}}
    loop = row_loop(Steep(), sections, epochs=1, count=8, val=4)
    with pytest.raises(FolioError, match=r"network\.\S+ is no longer finite at update 1 "):
        loop.run(Listener())  # the only loss was finite
    assert loop.best is None
    with pytest.raises(FolioError, match="no longer finite"):
        loop.state_dict()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
    ],
)
@pytest.mark.parametrize("where", ["error", "load", "predict"])
def test_running_out_of_memory_says_what_to_do(error: Exception, where: str) -> None:
    class Large(Regression):
        pass

    def fail(*_: Any) -> Any:
        raise error

    setattr(Large, where, fail)
    loop = row_loop(Large(), accumulate=2, batch_size=16, count=24, val=8)
    advice = (
        r"Out of memory on cpu at update \d with batch size 16 in 2 piece.*--accumulate 4.*kept"
    )
    with pytest.raises(FolioError, match=advice):
        loop.run(Listener())


def test_other_errors_pass_unchanged() -> None:
    class Wrong(Regression):
        def error(self, parts: Parts, batch: RowBatch) -> Tensor:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        row_loop(Wrong()).run(Listener())


def test_operations_that_are_not_deterministic_are_refused() -> None:
    class Undeterministic(Regression):
        def error(self, parts: Parts, batch: RowBatch) -> Tensor:
            places = torch.zeros(2, dtype=torch.long)
            torch.zeros(3).put_(places, torch.ones(2), accumulate=False)  # has no fixed order
            return super().error(parts, batch)

    configure(options(deterministic=True))
    try:
        with pytest.raises(FolioError, match=r"--deterministic refuses .* update 1: put_ does not"):
            row_loop(Undeterministic(), deterministic=True).run(Listener())
    finally:
        configure(options())


# The rest


def test_measuring_leaves_every_module_in_its_mode() -> None:
    loop = row_loop(Regression(normed_network))
    loop.parts.network.train()
    loop.parts.network[1].eval()
    loop.validate()
    assert [each.training for each in loop.parts.network] == [True, False, True]


def test_bf16_trains() -> None:
    loop = digit_loop(precision="bf16", epochs=2, task_options={"class_weights": "balanced"})
    loop.run(Listener())
    history = loop.progress.history
    assert history[1]["train_loss"] < history[0]["train_loss"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    def trained(seed: int) -> dict[str, Tensor]:
        loop = row_loop(Regression(lambda: small_network(0.5)), seed=seed)
        loop.run(Listener())
        return weights(loop)

    first, again, other = trained(0), trained(0), trained(1)
    assert_same(first, again)
    assert not torch.equal(first["network.0.weight"], other["network.0.weight"])


def test_the_history_has_the_mean_of_what_the_steps_report() -> None:
    listener = Listener()
    loop = row_loop(epochs=1, count=30, val=8, batch_size=8, optimizers={"network": SGD})
    loop.run(listener)  # 22: 8, 8 and 6
    losses = [loss or 0.0 for loss in listener.losses]
    mean = (8 * losses[0] + 8 * losses[1] + 6 * losses[2]) / 22
    assert loop.progress.history[0]["train_loss"] == pytest.approx(mean)


def test_the_estimate_counts_updates_and_validation() -> None:
    loop = row_loop(Slow(), epochs=3)  # 5 updates and one batch of validation, 0.02 s each
    found = estimate(loop)
    assert 0.12 <= found.seconds_an_epoch < 1.0
    assert found.seconds == pytest.approx(3 * found.seconds_an_epoch)
    # Linear(4, 8), Linear(8, 8), Linear(8, 1): 40 + 72 + 9
    assert found.parameters == 121
