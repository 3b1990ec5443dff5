"""CUDA graphs: the forward and backward pass of a step recorded once, and launched as a whole.

A small network leaves a GPU idle while its kernels are launched one by one; a replay launches all
at once. The kernels are the same, so the weights are too, to the last bit.
"""

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from torchfolio.errors import RequestError
from torchfolio.tasks.base import Batch, Step
from torchfolio.training.options import TrainingOptions

FORMS = 2  # of a batch that are recorded: the usual one, and the last of an epoch
WARM_UP = 3  # passes before a recording, as torch asks for (torch.cuda.graph)
Result = TypeVar("Result")


def resolve_graphs(options: TrainingOptions, *, one_step: bool, alone: bool) -> TrainingOptions:
    """Return the options with CUDA graphs chosen by a fixed rule: wherever they can be.

    That is on a CUDA device, in one process (``alone``), for a task with ``one_step`` a batch,
    with batches in one piece, and without ``--compile``.
    """
    possible = torch.device(options.device).type == "cuda" and one_step and alone
    possible = possible and options.accumulate == 1 and not options.compile
    if options.graphs and not possible:
        raise RequestError(
            "graphs are for a CUDA device, one process, batches in one piece (no --accumulate), "
            "no --compile, and tasks that take one step a batch. Leave --graphs out."
        )
    return replace(options, graphs=possible if options.graphs is None else options.graphs)


@dataclass
class RecordedStep(Step):
    """A step whose passes are on record; ``batch`` is what they read."""

    batch: Batch | None = None
    graph: Any = None
    outputs: tuple[Tensor, dict[str, Tensor]] | None = None
    gradients: tuple[tuple[nn.Parameter, Tensor], ...] = ()

    def replay(self) -> Tensor:
        """Compute loss, logs and gradients of what ``batch`` holds; return the loss."""
        assert self.outputs is not None
        self.graph.replay()
        for parameter, gradient in self.gradients:
            parameter.grad = gradient
        loss, logs = self.outputs
        self.logs = {name: value.clone() for name, value in logs.items()}
        return loss.clone()


class Recorder:
    """Records the step of a form of batch when it comes the second time.

    ``steps`` gives the steps of a batch, ``passes`` takes the forward and the backward pass of one
    and returns its loss; ``parts`` are those that are called.
    """

    def __init__(
        self,
        steps: Callable[[Any], Iterator[Step]],
        passes: Callable[[Step], Tensor],
        parts: Iterable[nn.Module],
    ) -> None:
        self.steps = steps
        self.passes = passes
        self.parts = list(parts)
        self.seen: Counter[Any] = Counter()
        self.recorded: dict[Any, RecordedStep] = {}

    def steps_of(self, batch: Batch) -> Iterator[Step]:
        """Return the steps of a batch: the recorded one, if there is one of its form."""
        form = tuple(
            (name, each.shape, each.stride(), each.dtype) for name, each in batch.tensors().items()
        )
        self.seen[form] += 1
        if self.seen[form] == 2 and len(self.recorded) < FORMS:
            self.recorded[form] = self.record(batch)
        step = self.recorded.get(form)
        if step is None:
            return self.steps(batch)
        assert step.batch is not None
        for name, tensor in step.batch.tensors().items():
            tensor.copy_(batch.tensors()[name], non_blocking=True)
        return iter([step])

    def record(self, batch: Batch) -> RecordedStep:
        """Return a batch's step on record; buffers and the generator stay as they are."""
        device = next(iter(batch.tensors().values())).device
        with torch.cuda.device(device):  # which need not be the current one (cuda:1)
            return self.record_here(batch)

    def record_here(self, batch: Batch) -> RecordedStep:
        """Do :meth:`record` on the current device."""
        held = batch.mapped(torch.clone)
        step = next(self.steps(held))
        buffers = [each for part in self.parts for each in part.buffers()]
        before = [each.clone() for each in buffers]
        drawn = torch.cuda.get_rng_state()
        parameters = [each for part in self.parts for each in part.parameters()]
        graph, loss = recorded(lambda: self.passes(step), parameters)
        torch.cuda.set_rng_state(drawn)
        with torch.no_grad():
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
        gradients = tuple((each, each.grad) for each in parameters if each.grad is not None)
        outputs = (loss, dict(step.logs))
        return RecordedStep(
            step.closure, step.trains, step.name, {}, held, graph, outputs, gradients
        )


def recorded(
    passes: Callable[[], Result], parameters: Iterable[nn.Parameter]
) -> tuple[torch.cuda.CUDAGraph, Result]:
    """Return passes on record, and what they return: each replay writes into the same tensors.

    The gradients that they leave are the recording's own as well.
    """
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(WARM_UP):
            passes()
    torch.cuda.current_stream().wait_stream(beside)
    for parameter in parameters:
        parameter.grad = None
    graph = torch.cuda.CUDAGraph()
    with collecting_nothing(), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = passes()
    return graph, result


@contextmanager
def collecting_nothing() -> Iterator[None]:
    """Keep Python from freeing what lies around, such as another recording, while one is made."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
