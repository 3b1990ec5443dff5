"""What a frozen network makes of each example, computed once: epochs then train the head alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.feed import Feed
from torchfolio.data.store import memory_budget
from torchfolio.errors import RequestError
from torchfolio.layers.modes import keeping_modes
from torchfolio.networks.weights import head_names
from torchfolio.tasks.base import Parts, Task, in_batches
from torchfolio.training.device import autocast, ready_for
from torchfolio.training.options import TrainingOptions
from torchfolio.training.transfer import frozen_modules


class FromHead(nn.Module):
    """A network that is called with what its head reads; it shows the network's own attributes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.first = head_names(network)[0]

    def __getattr__(self, name: str) -> Any:  # a page's loss
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "network":
                raise
            return getattr(self.network, name)

    def forward(self, features: Tensor) -> Any:
        return self.network.get_submodule(self.first)(features)


class Features:
    """What the head of a frozen network reads of training and validation examples, in memory.

    ``values`` (examples, ...) are there once :meth:`compute` has run. Batches are those of the
    examples in their order, so that the values are the same after a resume, bit for bit.
    """

    def __init__(
        self,
        task: Task,
        parts: Parts,
        dataset: Dataset,
        splits: dict[str, Indices],
        options: TrainingOptions,
    ) -> None:
        self.task = task
        self.parts = parts
        self.dataset = dataset
        self.options = options
        self.device = torch.device(options.device)
        self.examples = used(splits)
        self.places = np.full(len(dataset), -1, np.int64)  # rows of ``values``
        self.places[self.examples] = np.arange(len(self.examples))
        self.values: Tensor | None = None

    def __call__(self, indices: Indices) -> Tensor:
        """Return the rows of records, a copy."""
        assert self.values is not None
        return self.values[torch.from_numpy(self.places[indices])]

    def batches(self) -> list[Indices]:
        """Return all examples in the batches that are computed: as large as those of training."""
        return in_batches(self.examples, max(1, self.options.batch_size // self.options.accumulate))

    def load(self, indices: Indices) -> Any:
        batch = self.task.load(self.dataset, indices, None, self.options.seed)
        return ready_for(self.device, batch)

    def read(self, batch: Any) -> Tensor:
        """Return what the head reads of a batch (batch, ...), on the CPU; parts are set to eval."""
        network = self.parts.network.eval()
        head = network.get_submodule(head_names(network)[0])
        with watched(head) as calls, torch.no_grad(), autocast(self.options):
            self.task.predict(self.parts, batch.to(self.device))
        return calls.inputs[0][0].cpu()

    def compute(self, should_stop: Callable[[], bool]) -> bool:
        """Compute all values, unless they are there; return False if it was broken off."""
        if self.values is not None:
            return True
        batches = self.batches()
        values, start = torch.empty(0), 0
        for batch in Feed(self.load, batches, self.options.workers or 0):
            found = self.read(batch)
            if start == 0:
                values = found.new_empty(len(self.examples), *found.shape[1:])
            values[start : start + len(found)] = found
            start += len(found)
            if should_stop():
                return False
        self.values = values
        return True


def used(splits: dict[str, Indices]) -> Indices:
    """Return the examples that a training reads: to train on, and to validate on."""
    return np.concatenate([splits["train"], splits["val"]])


# Whether it can be done


def resolve_features(
    task: Task,
    parts: Parts,
    dataset: Dataset,
    splits: dict[str, Indices],
    options: TrainingOptions,
    *,
    alone: bool,
) -> tuple[TrainingOptions, list[str]]:
    """Return the options with ``cache_features`` chosen by a fixed rule, and what is to be said.

    Features are kept where only the head is trained, from the first epoch to the last, nothing
    of an example is random in training, the network is a backbone and a head (:func:`cut`), one
    process (``alone``) trains it uncompiled, and they fit into a quarter of the machine's memory
    (:func:`memory_budget`). The parts are on their device.
    """
    asked, head_alone = options.cache_features, trains_head_alone(parts, options)
    without = replace(options, cache_features=False)
    if asked is False or not (asked or head_alone) or not len(splits["train"]):
        return without, []
    why = "" if head_alone else "more than the head is trained (--transfer head trains it alone)"
    why = why or ("--compile compiles the whole network" if options.compile else "")
    why = why or task.what_is_random()
    found: int | str = why
    if not why and alone:
        found = cut(task, parts, dataset, splits["train"][:2], options)
    if asked and found and isinstance(found, str):
        raise RequestError(
            f"Features cannot be computed once: {found}. Leave --cache-features out."
        )
    count = len(used(splits))
    if isinstance(found, int) and count * found > memory_budget():
        found = (
            f"those of {count:,} examples take {mebibytes(count * found)}; they may take a quarter "
            f"of the memory, {mebibytes(memory_budget())}"
        )
    if isinstance(found, str):
        found = found or "several processes train"
        return without, [f"features are computed in every epoch, not once: {found}"]
    line = (
        f"features: what {head_names(parts.network)[0]} reads is computed once, before the first "
        f"epoch ({count:,} examples, {mebibytes(count * found)}; --no-cache-features overrules)"
    )
    return replace(options, cache_features=True), [line]


def mebibytes(size: int) -> str:
    """Return bytes as a person reads them."""
    return f"{size / 2**20:,.1f} MiB"


def trains_head_alone(parts: Parts, options: TrainingOptions) -> bool:
    """Return whether the head is all that is trained, and something is frozen."""
    if list(parts) != ["network"] or options.unfreeze is not None:
        return False
    heads = head_names(parts.network)
    inside = {
        (name.split(".")[0] in heads, each.requires_grad)
        for name, each in parts.network.named_parameters()
    }
    return (False, True) not in inside and (False, False) in inside


@torch.no_grad()
def cut(
    task: Task, parts: Parts, dataset: Dataset, some: Indices, options: TrainingOptions
) -> int | str:
    """Return how many bytes the head reads of an example, or why the head cannot stand alone.

    Two examples are run through, as in training and as in evaluation. The head must be one
    module that is called once, with one tensor, the same either way, and its output must be that
    of the network. Modes and buffers are left as they were.
    """
    network = parts.network
    heads = head_names(network)
    if len(heads) > 1:
        return f"the head has several parts ({', '.join(heads)})"
    head = network.get_submodule(heads[0])
    batch = task.load(dataset, some, None, options.seed).to(torch.device(options.device))
    buffers = [(each, each.clone()) for each in network.buffers()]
    seen: list[Tensor] = []
    try:
        with keeping_modes([network]):
            for training in (True, False):
                network.train(training)
                for module in frozen_modules(network):
                    module.eval()
                with watched(network) as whole, watched(head) as last, autocast(options):
                    if training:
                        next(iter(task.steps(parts, batch))).closure()
                    else:
                        task.predict(parts, batch)
                if why := why_apart(heads[0], whole, last, len(some)):
                    return why
                seen.append(last.inputs[0][0])
    finally:
        for buffer, value in buffers:
            buffer.copy_(value)
    if not torch.equal(*seen):
        return f"what {heads[0]} reads is random in training, as by dropout before it"
    return seen[0][0].numel() * seen[0].element_size()


@dataclass
class Calls:
    """What a module was given (copies of the tensors), and what it gave, call by call."""

    inputs: list[tuple[Any, ...]] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)


@contextmanager
def watched(module: nn.Module) -> Iterator[Calls]:
    """Note the calls of a module within the block."""
    calls = Calls()

    def entered(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        given = (*arguments, *named.values())
        copies = (each.clone() if isinstance(each, Tensor) else each for each in given)
        calls.inputs.append(tuple(copies))

    hooks = [
        module.register_forward_pre_hook(entered, with_kwargs=True),
        module.register_forward_hook(lambda _, __, output: calls.outputs.append(output)),
    ]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def why_apart(head: str, whole: Calls, last: Calls, examples: int) -> str:
    """Return why a network is no backbone with a head behind it, by its calls; "" if it is."""
    if len(whole.outputs) != 1 or len(last.outputs) != 1:
        return f"the network runs {len(whole.outputs)} times and {head} {len(last.outputs)} times"
    given = last.inputs[0]
    if len(given) != 1 or not isinstance(given[0], Tensor) or len(given[0]) != examples:
        return f"{head} does not read one tensor with a row an example"
    if whole.outputs[0] is not last.outputs[0]:
        return f"what {head} gives is not yet what the network gives"
    return ""
