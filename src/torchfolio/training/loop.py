"""The loop: it serves every task and names none.

It owns backward, accumulation, clipping, precision, schedules, the average of the weights, early
stopping and checkpoints; the task yields steps, and each is taken before the next is asked for.
"""

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

import torch
from torch import Tensor, nn

from torchfolio.checkpoint import digest
from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.feed import Feed
from torchfolio.errors import FolioError, RequestError, normalise, unknown
from torchfolio.tasks.base import Parts, Task
from torchfolio.training.average import MovingAverage
from torchfolio.training.convolution import quicken
from torchfolio.training.device import place, ready_for, seed_for
from torchfolio.training.failures import diverged, explained
from torchfolio.training.features import Features, FromHead
from torchfolio.training.measure import measure
from torchfolio.training.optimizers import OptimizerGroup
from torchfolio.training.options import TrainingOptions
from torchfolio.training.processes import Processes
from torchfolio.training.progress import Listener, Progress
from torchfolio.training.schedules import Plateau, Schedule
from torchfolio.training.sharding import replicate, split_part, whole
from torchfolio.training.transfer import frozen_modules
from torchfolio.training.unfreezing import Unfreezing
from torchfolio.training.update import Taken, Updater

EXPLODED = 1e4  # a loss this many times the first one (or 1) stops the training


class Loop:
    """One training: parts, their optimizers, the data, and where it stands."""

    def __init__(
        self,
        task: Task,
        parts: Parts,
        optimizers: dict[str, OptimizerGroup],
        dataset: Dataset,
        splits: dict[str, Indices],
        options: TrainingOptions,
        world: Processes | None = None,
    ) -> None:
        self.task = task
        self.optimizers = optimizers
        self.dataset = dataset
        self.splits = splits
        self.options = options
        self.world = world or Processes()
        self.sharded = self.world.several and options.sharded
        self.device = torch.device(options.device)
        self.parts = Parts({name: place(part, options) for name, part in parts.items()})
        if options.weight_gradients == "products":
            quicken(self.parts.values(), options.precision)
        self.features: Features | None = None
        self.reader = task  # whose batches are taken
        if options.cache_features:
            self.features = Features(task, self.parts, dataset, splits, options)
            self.reader = task.reading(self.features)
        every = options.unfreeze
        self.unfreezing = [Unfreezing(each, every) for each in self.parts.values() if every]
        for each in self.unfreezing:
            each.reach(0)
        self.running = self.callable_parts()
        self.frozen = [each for part in self.parts.values() for each in frozen_modules(part)]
        self.averages = {}
        if options.ema is not None:
            self.averages = {
                name: MovingAverage(part, options.ema) for name, part in self.parts.items()
            }
        metrics = {normalise(each): each for each in task.higher_is_better}
        wanted = options.monitor or task.monitor
        self.monitor = wanted and metrics.get(normalise(wanted), wanted)
        self.check_request()
        better = self.monitor is None or task.higher_is_better[self.monitor]
        self.sign = 1.0 if better else -1.0
        self.plateau = Plateau(options.gamma, options.plateau_patience, better)
        self.updater = Updater(self.reader, self.running, optimizers, options, self.world)
        self.progress = Progress()
        self.best: dict[str, dict[str, Tensor]] | None = None  # kept until it is saved
        self.updates_an_epoch = len(self.plan(0))
        self.schedule = Schedule(
            kind=options.schedule,
            milestones=options.milestones,
            gamma=options.gamma,
            power=options.power,
            warmup=min(0.5, options.warmup / options.epochs),
        )
        self.stopping = False  # asked for in any process
        self._pending: list[Taken] = []  # updates not yet added up

    def callable_parts(self) -> Parts:
        """Return what is called in training: from the head on, compiled or replicated."""
        running = self.from_head(self.parts)
        if self.options.compile:
            compiled = {name: torch.compile(part) for name, part in running.items()}
            running = Parts(cast("dict[str, nn.Module]", compiled))
        return replicate(self.world, self.options, running)

    def from_head(self, parts: Parts) -> Parts:
        """Return parts that take what their head reads, where that is computed once."""
        if self.features is None:
            return parts
        return Parts({name: FromHead(part) for name, part in parts.items()})

    def check_request(self) -> None:
        """Refuse settings that this task, these data or these optimizers cannot follow."""
        options = self.options
        if self.monitor is not None and self.monitor not in self.task.higher_is_better:
            raise unknown("metric", self.monitor, self.task.higher_is_better)
        if not len(self.splits["train"]):
            raise RequestError("There are no training examples. Take a smaller --test-split.")
        needing = {
            "--patience": options.patience is not None,
            "--monitor": options.monitor is not None,
            "--schedule plateau": options.schedule == "plateau",
        }
        names = " and ".join(name for name, given in needing.items() if given)
        if names and not len(self.splits["val"]):
            raise RequestError(
                f"There are no validation examples, which {names} would watch. Leave it out, "
                "or give --val-split."
            )
        if names and self.monitor is None:
            raise RequestError(
                f"{self.task.name} has no metric of its own that {names} could watch. Leave it "
                "out, or name one by --monitor."
            )
        closures = [name for name, each in self.optimizers.items() if each.closure_based]
        if options.unfreeze is not None and closures:
            raise RequestError(
                f"L-BFGS ({closures[0]}) takes all parameters from the first update on. Leave "
                "--unfreeze out, or take another optimizer."
            )
        if options.precision == "fp16" and closures:
            raise RequestError(
                f"L-BFGS ({closures[0]}) has no loss scaling, which fp16 needs. Take --precision "
                "bf16 or fp32."
            )

    # The training

    def run(self, listener: Listener) -> str:
        """Train to the end; return why it ended: "finished", "patience", "minutes", "stopped"."""
        with explained(self.options, lambda: self.progress.update + 1):
            listener.started(self)
            reason = self.reason_to_end()
            if reason is None and not self.compute_features(listener):
                self.stopping, reason = True, "stopped"
            if reason is None:
                self.read_ahead()
            while reason is None:
                if not self.run_epoch(listener):
                    reason = "stopped" if self.stopping else "minutes"
                    if reason == "minutes":
                        self.finish_epoch(listener)
                    break
                self.finish_epoch(listener)
                reason = self.reason_to_end()
                if reason is None:
                    listener.save(self, final=False)
            listener.save(self, final=True)
            return reason

    def compute_features(self, listener: Listener) -> bool:
        """Compute what the head reads, where that is done once; return False if broken off."""
        if self.features is None:
            return True
        start = time.perf_counter()
        whole = self.features.compute(listener.should_stop)
        self.progress.seconds += time.perf_counter() - start
        return whole

    def read_ahead(self) -> None:
        """Read this process's share of the training examples first, where they share the CPU."""
        if self.device.type == "cpu":
            start = time.perf_counter()
            share = self.splits["train"][self.world.rank :: self.world.size]
            self.reader.read_ahead(self.dataset, share)
            self.progress.seconds += time.perf_counter() - start

    def reason_to_end(self) -> str | None:
        """Return why no further epoch starts, or ``None``."""
        options, progress = self.options, self.progress
        if options.patience is not None and progress.bad_epochs >= options.patience:
            return "patience"
        if progress.epoch >= options.epochs:
            return "finished"
        return "minutes" if self.out_of_time() else None

    def out_of_time(self) -> bool:
        minutes = self.options.minutes
        return minutes is not None and self.progress.seconds >= 60 * minutes

    def plan(self, epoch: int) -> list[Indices]:
        """Return the batches of an epoch."""
        options = self.options
        return self.task.batches(
            self.dataset, self.splits["train"], options.batch_size, options.seed, epoch
        )

    def run_epoch(self, listener: Listener) -> bool:
        """Take the (remaining) updates of one epoch; False if it was broken off between two."""
        progress, options = self.progress, self.options
        self.set_training_mode()
        plan = self.plan(progress.epoch)[progress.batch :]
        workers = 0 if self.features else options.workers or 0  # a row is copied in no time
        feed = Feed(self.load, plan, workers)
        mark, waited = time.perf_counter(), 0.0
        for indices, pieces in zip(plan, feed, strict=True):
            self.take_update(pieces, self.world.counts(len(indices), self.usual_piece()))
            now = time.perf_counter()
            progress.seconds += now - mark
            progress.epoch_seconds += now - mark
            progress.waited += feed.waited - waited
            mark, waited = now, feed.waited
            loss = self.flush() if self.device.type == "cpu" or progress.update % 50 == 0 else None
            listener.updated(self, loss)
            self.agree(listener)
            if self.stopping or self.out_of_time():
                self.flush()
                return False
        self.flush()
        return True

    def agree(self, listener: Listener) -> None:
        """Let all processes have the first one's time, and stop where any of them is to stop."""
        seconds = self.progress.seconds if self.world.main else 0.0
        stop, self.progress.seconds = self.world.sum(listener.should_stop(), seconds)
        self.stopping = stop > 0

    def usual_piece(self) -> int:
        """Return how many examples a piece of a full batch has in each process."""
        return self.options.batch_size // (self.options.accumulate * self.world.size)

    def load(self, indices: Indices) -> list[Any]:
        """Load one update's examples (this process's), in the pieces that it is computed in.

        A last, smaller batch has fewer pieces, not smaller ones: batch norm cannot train on one
        example.
        """
        options, epoch = self.options, self.progress.epoch
        share = min(1.0, len(indices) / options.batch_size)
        number = math.ceil(options.accumulate * share)
        pieces = self.world.pieces(indices, number, self.usual_piece())
        batches = (self.reader.load(self.dataset, piece, epoch, options.seed) for piece in pieces)
        return [ready_for(self.device, batch) for batch in batches]

    def take_update(self, pieces: Sequence[Any], counts: bool = True) -> None:
        """Take one update from the pieces that :meth:`load` returned, if they are to count."""
        self.set_rates()
        self._pending.append(self.updater.take(pieces, self.progress.update, counts))
        for name, average in self.averages.items():
            average.update_parameters(self.parts[name])
        self.progress.update += 1
        self.progress.batch += 1
        self.progress.examples += self._pending[-1].examples

    def set_rates(self) -> None:
        """Set every learning rate for the next update."""
        factor = self.plateau.factor if self.options.schedule == "plateau" else 1.0
        share, warmed = self.share_done(), self.warmed()
        if warmed < 1:
            self.progress.warm_share = share
        by_time = self.options.minutes is not None  # the warm-up's share shows when it ends
        warmup = self.progress.warm_share if by_time else self.schedule.warmup
        factor *= self.schedule.factor(share, warmed, warmup)
        for group in self.optimizers.values():
            group.set_factor(factor)

    def warmed(self) -> float:
        """Return how much of the warm-up is done: it lasts its epochs, or half of the training."""
        updates = self.options.warmup * self.updates_an_epoch
        return max(self.progress.update / updates, 2 * self.share_done()) if updates else 1.0

    def share_done(self) -> float:
        """Return how much of the training is done, in [0, 1]: by updates, or by time."""
        share = self.progress.update / (self.updates_an_epoch * self.options.epochs)
        if self.options.minutes is not None:
            share = max(share, self.progress.seconds / (60 * self.options.minutes))
        return min(1.0, share)

    def set_training_mode(self) -> None:
        """Put the parts into training mode, and what is frozen into evaluation mode.

        Under gradual unfreezing, what trains in this epoch is let train first.
        """
        changed = [each.reach(self.progress.epoch) for each in self.unfreezing]
        if any(changed):
            self.frozen = [each for part in self.parts.values() for each in frozen_modules(part)]
            self.running = self.callable_parts()
            self.updater.call(self.running)
        for part in self.parts.values():
            part.train()
        for module in self.frozen:
            module.eval()

    def flush(self) -> float | None:
        """Add the figures of the last updates up, and stop if a loss is no number.

        Returns the last update's first loss, or ``None`` if there was no update.
        """
        last = None
        first = self.progress.update - len(self._pending) + 1
        pending, self._pending = self._pending, []
        for update, taken in enumerate(pending, first):
            numbers = {name: float(value) for name, value in taken.losses.items()}
            for name, number in numbers.items():
                self.check_loss(name, number, update)
            numbers |= {name: float(value) for name, value in taken.logs.items()}
            for name, number in numbers.items():  # a step may be taken in some updates only
                total, weight = self.progress.sums.get(name, (0.0, 0.0))
                self.progress.sums[name] = (total + number * taken.weight, weight + taken.weight)
            last = next(iter(numbers.values()))
        return last

    def check_loss(self, name: str, loss: float, update: int) -> None:
        """Stop if a loss is not finite or has grown beyond all measure."""
        first = self.progress.first_losses.setdefault(name, loss)
        if not math.isfinite(loss) or abs(loss) > EXPLODED * max(abs(first), 1.0):
            raise self.diverged(f"The {name} became {loss:.3g}", update)

    def check_weights(self) -> None:
        """Stop if a weight is not finite, before such weights are measured or saved."""
        for part, module in self.parts.items():
            for name, parameter in module.named_parameters():
                if not bool(whole(parameter).isfinite().all()):
                    raise self.diverged(f"{part}.{name} is no longer finite", self.progress.update)

    def diverged(self, what: str, update: int) -> FolioError:
        rates = {name: group.rate for name, group in self.optimizers.items()}
        return diverged(what, update, self.progress, rates, self.options)

    # After an epoch

    def finish_epoch(self, listener: Listener) -> None:
        """Validate, remember the best weights, and write the epoch's row."""
        progress = self.progress
        self.check_weights()
        row: dict[str, Any] = {"epoch": progress.epoch + 1, "updates": progress.update}
        for name, group in self.optimizers.items():
            row["lr" if len(self.optimizers) == 1 else f"lr_{name}"] = group.rate
        if self.unfreezing:
            row["trained_groups"] = sum(each.count for each in self.unfreezing)
        for name, (total, weight) in progress.sums.items():
            row[f"train_{name}"] = total / weight
        if len(self.splits["val"]):
            start = time.perf_counter()
            metrics = self.validate()
            progress.seconds += time.perf_counter() - start
            progress.seconds = self.world.first(progress.seconds)
            row |= {f"val_{name}": value for name, value in metrics.items()}
            if self.monitor is not None:
                self.remember(metrics, self.monitor)
        row["digest"] = self.digest()[:16]
        row["examples_per_second"] = round(progress.examples / max(1e-9, progress.epoch_seconds), 1)
        row["data_wait"] = round(progress.waited / max(1e-9, progress.epoch_seconds), 4)
        row["seconds"] = round(progress.seconds, 3)
        progress.history.append(row)
        progress.epoch += 1
        progress.batch = progress.examples = 0
        progress.waited = progress.epoch_seconds = 0.0
        progress.sums = {}
        listener.epoch_ended(self, row)

    def validate(self) -> dict[str, float]:
        """Return the metrics of the validation split, with the averaged weights where kept."""
        seed_for("validation", self.options.seed, self.progress.epoch)
        parts = self.usable_parts()
        self.world.spread(each for part in parts.values() for each in part.buffers())
        return self.measure(self.splits["val"])

    def measure(self, split: Indices) -> dict[str, float]:
        """Return the metrics of examples, with the averaged weights where kept."""
        parts = self.from_head(self.usable_parts())
        return measure(self.reader, parts, self.dataset, split, self.options, self.world)

    def remember(self, metrics: dict[str, float], monitor: str) -> None:
        """Compare the monitored metric with the best so far; keep the weights of a new best.

        Of epochs with equal values the one with the least loss is best (on a few dozen validation
        examples many are equal), but patience asks for a better value. Until the metric is a number
        for the first time the loss is watched in its place.
        """
        if monitor not in metrics:
            raise FolioError(f"monitor is {monitor!r}; this task measures {', '.join(metrics)}.")
        progress = self.progress
        value, loss = metrics[monitor], metrics.get("loss", math.inf)
        best = progress.best_value
        by_loss = math.isnan(value) and best is None
        self.plateau.update(-self.sign * loss if by_loss else value)
        if by_loss:
            better, equal = loss < progress.best_loss, False
        else:
            better = self.sign * value > (-math.inf if best is None else self.sign * best)
            equal = value == best and loss < progress.best_loss
        progress.bad_epochs = 0 if better else progress.bad_epochs + 1
        if better or equal:
            progress.best_value, progress.best_loss = None if by_loss else value, loss
            progress.best_epoch = progress.epoch + 1
            states = self.weights()
            if self.world.main:
                self.best = {
                    name: {key: tensor.detach().cpu().clone() for key, tensor in state.items()}
                    for name, state in states.items()
                }

    def chosen_by(self) -> tuple[str | None, float | None]:
        """Return what has chosen the best weights, and its best value: the metric, or the loss."""
        progress = self.progress
        if progress.best_epoch is None or progress.best_value is not None:
            return self.monitor, progress.best_value
        return "loss", progress.best_loss

    def unmeasured(self) -> str:
        """Return in words, after the first epoch, that the metric is no number; else ""."""
        if self.progress.epoch != 1 or self.chosen_by()[0] == self.monitor:
            return ""
        return (
            f"{self.monitor} cannot be measured on the {len(self.splits['val']):,} validation "
            "examples: until it can, the loss of these is watched in its place"
        )

    def usable_parts(self) -> Parts:
        """Return the parts to measure and use: the averaged ones where an average is kept."""
        if self.averages:
            return Parts({name: average.module for name, average in self.averages.items()})
        return self.parts

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """Return the tensors of the parts to use, whole where they are split among processes."""
        states = {name: part.state_dict() for name, part in self.usable_parts().items()}
        return whole(states, self.world.main)

    def digest(self) -> str:
        """Return the digest of the parts as they are trained; "" in all but the first process."""
        tensors = whole(self.tensors(self.parts), self.world.main)
        return digest(tensors) if self.world.main else ""

    @staticmethod
    def tensors(parts: Parts) -> dict[str, Tensor]:
        """Return every parameter and buffer, as ``part.name``."""
        return {
            f"{name}.{key}": tensor
            for name, part in parts.items()
            for key, tensor in part.state_dict().items()
        }

    # State

    def state_dict(self) -> dict[str, Any]:
        """Return all that an exact continuation needs; raise if the weights are not finite."""
        self.flush()
        self.check_weights()
        state = {
            "progress": asdict(self.progress),
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "averages": {name: each.state_dict() for name, each in self.averages.items()},
            "optimizers": {name: each.state_dict() for name, each in self.optimizers.items()},
            "plateau": self.plateau.state_dict(),
            "scaler": self.updater.scaler.state_dict(),
            "task": self.task.state_dict(),
        }
        return whole(state, self.world.main) if self.sharded else state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a saved state."""
        self.progress = Progress(**copy.deepcopy(state["progress"]))
        for name, part in self.parts.items():
            part.load_state_dict(split_part(part, state["parts"][name]))
        for name, average in self.averages.items():
            average.load_state_dict(state["averages"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.plateau.load_state_dict(state["plateau"])
        self.updater.scaler.load_state_dict(state["scaler"])
        self.task.load_state_dict(state["task"])
