"""One update: the steps of its pieces in lock-step, gradients, clipping, and the optimizers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchfolio.tasks.base import Batch, Parts, Step, Task
from torchfolio.training.device import autocast, seed_for
from torchfolio.training.graphs import RecordedStep, Recorder
from torchfolio.training.optimizers import OptimizerGroup
from torchfolio.training.options import TrainingOptions
from torchfolio.training.processes import Processes
from torchfolio.training.sharding import exchanging


@dataclass(frozen=True)
class Taken:
    """One update: how many examples it had, what they weigh, and the means over that weight."""

    examples: int
    weight: float
    losses: dict[str, Tensor]
    logs: dict[str, Tensor]


class Updater:
    """Takes the updates of a training; ``parts`` are what the task calls."""

    def __init__(
        self,
        task: Task,
        parts: Parts,
        optimizers: Mapping[str, OptimizerGroup],
        options: TrainingOptions,
        world: Processes | None = None,
    ) -> None:
        self.task = task
        self.optimizers = optimizers
        self.options = options
        self.world = world or Processes()
        self.device = torch.device(options.device)
        self.call(parts)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=options.precision == "fp16")

    def call(self, parts: Parts) -> None:
        """Call these parts from now on, and record their steps anew: other layers are trained."""
        self.parts = parts
        self.recorder: Recorder | None = None
        if self.options.graphs:
            self.recorder = Recorder(self.steps, self.passes, parts.values())

    def take(self, pieces: Sequence[Any], update: int, counts: bool = True) -> "Taken":
        """Take every step of one update, each before the next is asked for.

        ``pieces`` are the batches that it is computed in; each counts by its weight. Of several
        steps with one name the mean is kept. Several processes have a share of the pieces each;
        where this one's does not count, it only takes part.
        """
        pieces = [piece.to(self.device) for piece in pieces]
        weights = [piece.weight if counts else 0.0 for piece in pieces]
        own = sum(len(piece) for piece in pieces) if counts else 0
        examples, weight = self.world.sum(own, sum(weights))
        shares = [each / weight for each in weights]
        losses: dict[str, list[Tensor]] = {}
        logs: dict[str, list[Tensor]] = {}

        def seed(number: int, piece: int) -> None:  # of what a task draws between steps (noise)
            seed_for("step", self.options.seed, update, number, first + piece)

        first = self.world.rank * len(pieces)  # pieces are counted over all processes
        source = self.recorder.steps_of if self.recorder else self.steps
        streams = [source(piece) for piece in pieces]
        for number, steps in enumerate(lock_step(streams, seed)):
            loss = self.take_step(steps, shares, update, number)
            losses.setdefault(steps[0].name, []).append(loss)
            for key in steps[0].logs:
                values = (step.logs[key] for step in steps)
                logs.setdefault(key, []).append(weighted_sum(values, shares))
        figures = means(logs)
        if figures:
            totals = self.world.total(torch.stack(list(figures.values())))
            figures = dict(zip(figures, totals, strict=True))
        return Taken(int(examples), weight, means(losses), figures)

    def steps(self, batch: Batch) -> Iterator[Step]:
        """Return the steps of a batch."""
        return self.task.steps(self.parts, batch)

    def passes(self, step: Step, factor: float = 1.0) -> Tensor:
        """Take a step's forward and backward pass; return its loss, whose gradient is scaled."""
        if isinstance(step, RecordedStep):
            return step.replay()
        with autocast(self.options):
            loss = step.closure()
        torch.autograd.backward(self.scaler.scale(scaled(loss, factor)))
        return loss.detach()

    def take_step(
        self, steps: Sequence[Step], shares: Sequence[float], update: int, number: int
    ) -> Tensor:
        """Take one step (of all pieces) of an update; return its loss.

        Where an optimizer evaluates the loss several times (L-BFGS) it is the first value, and
        dropout is the same in each.
        """
        groups = [self.optimizers[name] for name in steps[0].trains]
        first = self.world.rank * len(steps)

        def closure() -> Tensor:
            for group in groups:
                group.zero_grad()
            values = []
            for piece, (step, share) in enumerate(zip(steps, shares, strict=True)):
                seed_for("update", self.options.seed, update, number, first + piece)
                with exchanging(self.world, self.parts, last=piece + 1 == len(steps)):
                    values.append(self.passes(step, share * self.world.size))
            self.clip(groups)
            return self.world.total(weighted_sum(values, shares))

        losses = []
        plain = [group for group in groups if not group.closure_based]
        if plain:
            losses.append(closure())
            self.step(plain)
        for group in groups:
            if group.closure_based:
                losses.append(group.step_closure(closure))
        for name in steps[0].trains:
            constrain(self.parts[name])
        return losses[0].detach()

    def clip(self, groups: Sequence[OptimizerGroup]) -> None:
        """Bring the gradients of a step, together, to the largest norm that is allowed."""
        if self.options.grad_clip is None:
            return
        if self.scaler.is_enabled():  # fp16 gradients are scaled up: back to their size
            for group in groups:
                for optimizer in group.optimizers:
                    self.scaler.unscale_(optimizer)
        parameters = [each for group in groups for each in group.parameters()]
        nn.utils.clip_grad_norm_(parameters, self.options.grad_clip)

    def step(self, groups: Sequence[OptimizerGroup]) -> None:
        """Step the optimizers, through the scaler under fp16."""
        for group in groups:
            if self.scaler.is_enabled():
                for optimizer in group.optimizers:
                    if has_gradients(optimizer):  # before its layers are unfrozen it has none
                        self.scaler.step(optimizer)
            else:
                group.step()
        if self.scaler.is_enabled():
            self.scaler.update()


def has_gradients(optimizer: Optimizer) -> bool:
    """Return whether any parameter of an optimizer has a gradient."""
    groups = optimizer.param_groups
    return any(each.grad is not None for group in groups for each in group["params"])


def scaled(value: Tensor, factor: float) -> Tensor:
    """Return ``value * factor``: of a batch in one piece, the value as it is."""
    return value if factor == 1 else value * factor


def weighted_sum(values: Iterable[Tensor], weights: Iterable[float]) -> Tensor:
    """Return the sum of ``weight * value`` over scalars."""
    return reduce(torch.add, map(scaled, values, weights))


def means(values: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each list of scalars."""
    return {
        name: each[0] if len(each) == 1 else torch.stack(each).mean()
        for name, each in values.items()
    }


@torch.no_grad()
def constrain(part: nn.Module) -> None:
    """Let a part that bounds its weights do so; those that are not trained stay as they are."""
    bound = getattr(part, "constrain", None)
    if bound is None:
        return
    frozen = [each for each in part.parameters() if not each.requires_grad]
    before = [each.clone() for each in frozen]
    bound()
    for parameter, value in zip(frozen, before, strict=True):
        parameter.copy_(value)


def lock_step(
    streams: Sequence[Iterator[Step]], before: Callable[[int, int], None] = lambda *_: None
) -> Iterator[list[Step]]:
    """Yield the first step of every stream, then the second of every stream, and so on.

    ``before`` is called with the number of the step and of the stream before each is asked for.
    """
    number = 0
    while True:
        steps = []
        for piece, stream in enumerate(streams):
            before(number, piece)
            steps += [step for step in [next(stream, None)] if step is not None]
        if not steps:
            return
        if len(steps) < len(streams):
            raise ValueError("The pieces of one batch have different numbers of steps.")
        yield steps
        number += 1
