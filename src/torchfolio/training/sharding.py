"""How parts are trained by several processes: as copies (DDP), or split among them (FSDP2).

Both are torch's own. They average the gradients of the processes, so each loss is multiplied by
the number of processes before its backward pass: what is averaged then is the sum.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from torchfolio.errors import RequestError
from torchfolio.tasks.base import Parts
from torchfolio.training.options import TrainingOptions
from torchfolio.training.processes import Processes

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule


class Replica(DistributedDataParallel):
    """A part of which every process has a copy; it shows the part's own attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "module":
                raise
            return getattr(self.module, name)


def replicate(world: Processes, options: TrainingOptions, parts: Parts) -> Parts:
    """Return what is called in training: the parts, wrapped where several processes copy them.

    Buffers are not sent before each update, as DDP would: the first process's are the run's, and
    the others get them before they measure.
    """
    if not world.several or options.sharded:
        return parts
    old, new = "broadcast_buffers", "forward_sync_buffers"  # torch renamed it after 2.11
    known = inspect.signature(DistributedDataParallel).parameters
    chosen: dict[str, Any] = {new if new in known else old: False}
    return Parts({name: Replica(part, **chosen) for name, part in parts.items()})


def check_sharded(parts: Parts, options: TrainingOptions, optimizers: Mapping[str, Any]) -> None:
    """Refuse what does not go together with weights that are split among processes."""
    refused = {
        "--ema": options.ema is not None,
        "--unfreeze": options.unfreeze is not None,
        "--compile": options.compile,
        "--channels-last": bool(options.channels_last),
        "--precision fp16": options.precision == "fp16",
    }
    refused |= {
        f"the optimizer {section['name']}": str(section["name"]).lower() in ("lbfgs", "muon")
        for section in optimizers.values()
    }
    refused |= {
        f"{name}, which bounds its weights,": hasattr(part, "constrain")
        for name, part in parts.items()
    }
    for what, given in refused.items():
        if given:
            raise RequestError(
                f"--sharded splits every weight among the processes, and {what} needs whole ones. "
                "Leave one of the two out."
            )


def shard(world: Processes, options: TrainingOptions, parts: Parts) -> None:
    """Split weights, gradients and the optimizers' state among the processes, in place.

    Gathered together for a forward pass are the members of a list or a sequence of layers (the
    blocks of a deep network), each by itself, and all that is in none of them. Each moves from the
    CPU to the device as it is split (``fully_shard`` does that), so that no device ever holds the
    whole network.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(torch.device(options.device).type, (world.size,))
    for part in parts.values():
        for unit in units(part):
            fully_shard(unit, mesh=mesh)
        fully_shard(part, mesh=mesh)


def units(module: nn.Module) -> Iterator[nn.Module]:
    """Return the outermost members of lists and sequences that have parameters."""
    listing = isinstance(module, nn.ModuleList | nn.Sequential)
    for child in module.children():
        if listing and not isinstance(child, nn.ModuleList | nn.Sequential):
            if any(True for _ in child.parameters()):
                yield child
        else:
            yield from units(child)


def resolve_norms(options: TrainingOptions, *, alone: bool) -> TrainingOptions:
    """Return the options with how batch norm is computed by several processes: a fixed rule.

    It sees the whole batch of all processes on GPUs, where torch has that. One process (``alone``)
    has nothing to choose.
    """
    if alone:
        return options
    on_gpu = torch.device(options.device).type == "cuda"
    if options.sync_norm and not on_gpu:
        raise RequestError(
            "torch's synchronised batch norm needs GPUs. Leave --sync-norm out: each process then "
            "normalises by its own share of the batch."
        )
    return replace(options, sync_norm=on_gpu if options.sync_norm is None else options.sync_norm)


def synchronise_norms(parts: Parts) -> None:
    """Let batch norm see the whole batch of all processes."""
    for name, part in parts.items():
        parts[name] = nn.SyncBatchNorm.convert_sync_batchnorm(part)  # type: ignore[no-untyped-call]


def exchanging(world: Processes, parts: Parts, last: bool) -> AbstractContextManager[None]:
    """Return the context of one piece's passes: gradients are exchanged after the ``last`` one."""
    return exchanged(parts, last) if world.several else nullcontext()


@contextmanager
def exchanged(parts: Parts, last: bool) -> Iterator[None]:
    """Keep the gradients of a piece to oneself, unless it is the last of its batch."""
    with ExitStack() as stack:
        for part in parts.values():
            if isinstance(part, Replica) and not last:
                stack.enter_context(part.no_sync())
            elif not isinstance(part, Replica):
                cast("FSDPModule", part).set_requires_gradient_sync(last)
        yield


# Split tensors


def is_split(tensor: Any) -> bool:
    """Return whether this process holds but a part of a tensor."""
    return hasattr(tensor, "full_tensor")


def whole(value: Any, keep: bool = True) -> Any:
    """Return nested values with every split tensor whole, on the CPU.

    All processes must ask at once; those that do not ``keep`` the tensors get empty ones.
    """
    if isinstance(value, Mapping):
        return {key: whole(each, keep) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(whole(each, keep) for each in value)
    if is_split(value):
        tensor = value.detach().full_tensor()
        return tensor.cpu() if keep else torch.empty(0)
    return value


def split_as(value: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor split as another one is; every process has the whole one."""
    if not is_split(like) or is_split(value) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


def split_part(part: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a saved state of a part as the part holds its own."""
    own = part.state_dict()
    return {key: split_as(value, own.get(key, value)) for key, value in state.items()}


def split_moments(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Return a saved state of an optimizer with moments split as their parameters are."""
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    moments = {
        number: {
            key: split_as(each, parameters[int(number)]) if isinstance(each, Tensor) else each
            for key, each in values.items()
        }
        for number, values in state["state"].items()
    }
    return {**state, "state": moments}
