"""Several processes that train together, and the one process that trains alone.

torch does the work: DistributedDataParallel or FSDP2 exchange the gradients (``sharding.py``), and
here stand the few figures and decisions that all processes must have in common. Alone, each of
these is the value itself.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from torchfolio.data.dataset import Indices
from torchfolio.errors import FolioError, RequestError

if TYPE_CHECKING:
    from torchfolio.training.options import TrainingOptions

Value = TypeVar("Value")

# How long a process waits for the others: in the exchange of gradients for the slowest one, in
# decisions for what the first does alone (it reads the data, saves, measures). Those that are
# gone are noticed by the watch, within seconds.
EXCHANGE = timedelta(minutes=30)
DECISION = timedelta(days=7)


class Processes:
    """The processes of one training, seen from one of them; made without arguments, one alone."""

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0, local_size: int = 1):
        self.rank = rank
        self.size = size
        self.local_rank = local_rank  # among those of this machine
        self.local_size = local_size
        self._group: Any = None  # of decisions: on the CPU, also where gradients travel by NCCL

    @property
    def main(self) -> bool:
        """Whether this is the first process, which alone prints, locks and writes."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there is any other process."""
        return self.size > 1

    # What all have in common

    def sum(self, *values: float) -> list[float]:
        """Return each value, added up over the processes."""
        if not self.several:
            return list(values)
        totals = torch.tensor(values, dtype=torch.float64)
        torch.distributed.all_reduce(totals, group=self._group)
        return totals.tolist()

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        return self.sum(float(flag))[0] > 0

    def everyone(self, value: Value) -> list[Value]:
        """Return the value of each process, in order, in every one of them."""
        if not self.several:
            return [value]
        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value, group=self._group)
        return values

    def gathered(self, value: Value) -> list[Value]:
        """Return the value of each process, in order, in the first; an empty list elsewhere."""
        if not self.several:
            return [value]
        values: list[Any] | None = [None] * self.size if self.main else None
        torch.distributed.gather_object(value, values, dst=0, group=self._group)
        return values or []

    def first(self, value: Value) -> Value:
        """Return the first process's value; the others wait for it."""
        if not self.several:
            return value
        values: list[Any] = [value]
        torch.distributed.broadcast_object_list(values, src=0, group=self._group)
        return values[0]

    def wait(self) -> None:
        """Wait until every process is here."""
        self.any(False)

    def require_same(self, what: str, value: Any) -> None:
        """Raise unless ``value`` is the same in every process."""
        values = self.everyone(value)
        for rank, other in enumerate(values):
            if other != values[0]:
                raise FolioError(
                    f"Process {rank} has other {what} than process 0: {other!r}, not "
                    f"{values[0]!r}. Give every host the same data, run folder and flags."
                )

    def total(self, tensor: Tensor) -> Tensor:
        """Return a tensor added up over the processes, on its device and without waiting for it."""
        if self.several:
            torch.distributed.all_reduce(tensor)
        return tensor

    def spread(self, tensors: Iterator[Tensor]) -> None:
        """Overwrite tensors with the first process's."""
        if self.several:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, src=0)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let one process of each machine go first: what it caches serves the others."""
        if self.local_rank:
            self.wait()
        yield
        if not self.local_rank:
            self.wait()

    # Shares of a batch

    def takers(self, count: int, usual: int) -> int:
        """Return how many processes share a batch of so many examples.

        Each has two at least, because batch norm cannot train on one, unless a process's ``usual``
        share is one. The others compute examples that do not count, since all must take part.
        """
        least = 2 if usual > 1 else 1
        return max(1, min(self.size, count // least))

    def pieces(self, indices: Indices, number: int, usual: int) -> list[Indices]:
        """Return this process's share of a batch in (at most) ``number`` pieces."""
        if not self.several and number == 1:
            return [indices]
        takers = self.takers(len(indices), usual)
        number = max(1, min(number, len(indices) // takers))
        if self.rank >= takers:
            return [indices[: max(1, len(indices) // takers // number)]] * number
        return np.array_split(np.array_split(indices, takers)[self.rank], number)

    def counts(self, count: int, usual: int) -> bool:
        """Return whether this process's share of a batch of so many examples counts."""
        return self.rank < self.takers(count, usual)

    def shares(self, split: Indices) -> list[Indices]:
        """Return the part of a split that each process measures: each example is in one."""
        return np.array_split(split, self.size)


def is_main() -> bool:
    """Return whether this process is the first, or the only one, before or after they meet."""
    return given_place()[0] == 0


def given_place() -> tuple[int, int]:
    """Return rank and number of processes: of an initialised group, or as torchrun names them."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    try:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except KeyError:
        return 0, 1
    except ValueError as error:
        raise RequestError(
            f"RANK or WORLD_SIZE in the environment is no number: {error}. Start with torchrun, or "
            "unset them."
        ) from error


@contextmanager
def joined() -> Iterator[Processes]:
    """Meet the other processes, if there are any, and part from them in agreement.

    They are those of the process group that is initialised already (Ray Train, one's own script),
    or those that torchrun started. Where one of them fails or dies, the others raise a
    ``FolioError`` that says so, or are ended where they cannot.
    """
    rank, size = given_place()
    if size == 1:
        yield Processes()
        return
    from torchfolio.training.watch import Watch

    world = meet(rank, size)
    watch = Watch(rank, size)
    try:
        yield world
    except BaseException as error:
        with not_ended():  # by torchrun, before it is said what went wrong
            lost = watch.blames(error)
            watch.leave(str(error) or type(error).__name__)
        if lost is None:
            raise
        raise lost from error
    watch.leave("")


@contextmanager
def not_ended() -> Iterator[None]:
    """Pass over requests to end (SIGTERM) for the length of a block of a few seconds."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def meet(rank: int, size: int) -> Processes:
    """Initialise torch's process group, unless that is done, and this process's share of cores."""
    distributed = torch.distributed
    if not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        try:
            distributed.init_process_group(backend, timeout=EXCHANGE)
        except (RuntimeError, ValueError) as error:
            raise FolioError(
                f"Process {rank} of {size} cannot meet the others: {error} Start all of them with "
                "torchrun."
            ) from error
    group = distributed.new_group(backend="gloo", timeout=DECISION)
    world = Processes(rank, size)
    world._group = group
    hosts = world.everyone(socket.gethostname())
    together = [each for each, host in enumerate(hosts) if host == hosts[rank]]
    world.local_rank, world.local_size = together.index(rank), len(together)
    torch.set_num_threads(max(1, cores() // world.local_size))
    if torch.cuda.is_available() and not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.set_device(world.local_rank % torch.cuda.device_count())  # what "cuda" means
    return world


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_device(world: Processes, options: "TrainingOptions") -> None:
    """Refuse a device that several processes cannot share."""
    if not world.several:
        return
    device = torch.device(options.device)
    if device.type == "mps":
        raise RequestError(
            f"{world.size} processes cannot share Apple's GPU. Train in one process, or with "
            "--device cpu."
        )
    if device.index is not None:
        raise RequestError(
            f"device is {options.device}, and {world.size} processes each take a GPU of their own. "
            "Say --device cuda, and choose the GPUs by CUDA_VISIBLE_DEVICES."
        )
    if device.type == "cuda" and "cuda:nccl" in torch.distributed.get_backend_config():
        gpus = len(set(world.everyone(own_gpu())))
        if gpus < world.size:
            raise RequestError(
                f"{world.size} processes have {gpus} GPU{'s' * (gpus > 1)} among them, and NCCL "
                "wants one for each. Start one process a GPU (--nproc-per-node gpu)."
            )


def own_gpu() -> str:
    """Return what no other GPU has: the identity of this process's, whatever its number here."""
    return str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)
