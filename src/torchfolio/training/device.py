"""The device, its precision, its threads, and the seeds: what wraps the arithmetic of the loop."""

import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torchfolio.data.draws import key
from torchfolio.data.store import memory_budget
from torchfolio.errors import RequestError
from torchfolio.tasks.base import Batch
from torchfolio.training.malloc import keep_freed_memory, keeps_freed_memory
from torchfolio.training.options import TrainingOptions

WIDE = 2**18  # weights of a linear layer
NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}
AMPERE = (8, 0)  # the first GPUs with TF32 and bf16
LOADERS = 8  # threads that load for a GPU, at most


def resolve_device(options: TrainingOptions, in_memory: bool = False) -> TrainingOptions:
    """Return the options with device, workers, threads and memory chosen by fixed rules.

    The first CUDA device if there is one, then Apple's, then the CPU. Two threads load, for a GPU
    up to ``LOADERS`` where there are files to read; on the CPU the loop itself copies examples that
    lie ``in_memory``, which takes less time than handing them from thread to thread. On the CPU
    memory is kept by :func:`keeps_freed_memory`. Precision and layout follow the parts
    (:func:`resolve_arithmetic`).
    """
    device = options.device
    if device == "auto":
        device = "cpu"
        if torch.cuda.is_available():
            device = "cuda"
        elif torch.backends.mps.is_available():
            device = "mps"
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise RequestError(
            f"device is {device!r}; it should be auto, cpu, cuda, cuda:N or mps."
        ) from error
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (wanted.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(wanted.type, False):
        raise RequestError(f"There is no device {device!r} on this machine. Say --device auto.")
    if options.precision == "fp16" and wanted.type == "cpu":
        raise RequestError("precision fp16 needs a GPU; on the CPU take bf16 or fp32.")
    if options.precision == "tf32" and not has_tf32(wanted):
        raise RequestError("precision tf32 needs an NVIDIA GPU (Ampere or later); take fp32.")
    at_most = LOADERS if wanted.type != "cpu" and not in_memory else 2
    workers = 0 if in_memory and wanted.type == "cpu" else min(at_most, os.cpu_count() or 1)
    workers = workers if options.workers is None else options.workers
    threads = options.threads or torch.get_num_threads()
    keep = wanted.type == "cpu" and keeps_freed_memory(options.keep_memory)
    return replace(options, device=device, workers=workers, threads=threads, keep_memory=keep)


def half_of_memory(device: torch.device) -> int:
    """Return half of the memory of a device, or of the machine, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory) // 2
    return 2 * memory_budget()


def computes_bf16(device: torch.device) -> bool:
    """Return whether bf16 is quicker than float32 by measure.

    It is on CPUs with instructions for it (elsewhere it takes several times as long), and on NVIDIA
    GPUs that have it (docs/performance.md, "Layouts and precision", on an H200). That accuracy does
    not suffer was measured on CPUs alone ("Float32 and bf16"), and is taken over for GPUs.
    """
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return has_tf32(device)


def has_tf32(device: torch.device) -> bool:
    """Return whether a device has TF32 (10 of float32's 23 bits), and with it bf16."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE


def moved(options: TrainingOptions, device: str) -> TrainingOptions:
    """Return a training's options for another device: what only the first has is chosen anew."""
    found = resolve_device(TrainingOptions(device=device)).device
    same = (
        options.device != "auto" and torch.device(found).type == torch.device(options.device).type
    )
    if same:  # an ensemble, which was not trained, was on none
        return replace(options, device=found)
    precision = "fp32" if options.precision == "tf32" else options.precision
    fresh: dict[str, Any] = dict.fromkeys(("graphs", "workers", "keep_memory", "sync_norm"))
    fresh["weight_gradients"] = "auto"
    return replace(options, device=found, precision=precision, **fresh)


def again(options: TrainingOptions, device: str | None = None) -> TrainingOptions:
    """Return a stored training's options to train by once more, elsewhere if a device is named.

    That it recorded graphs is left to the rule, which says so again wherever it can be: neither
    among several processes nor with batches in pieces or compiled parts.
    """
    if device is not None:
        options = moved(options, device)
    return replace(options, graphs=None if options.graphs else options.graphs)


def configure(options: TrainingOptions) -> torch.device:
    """Set torch up as the resolved options say and return the device."""
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.keep_memory:
        keep_freed_memory()
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = options.precision == "tf32"  # fp32 means fp32
    torch.backends.cuda.matmul.allow_tf32 = options.precision == "tf32"  # torch's default: False
    torch.backends.cudnn.deterministic = True
    if options.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if options.deterministic != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(options.deterministic)  # its first call takes seconds
    return torch.device(options.device)


def place(part: nn.Module, options: TrainingOptions) -> nn.Module:
    """Move a part to its device, and into the memory layout that the options name."""
    part = part.to(torch.device(options.device))
    return part.to(memory_format=torch.channels_last) if options.channels_last else part


def ready_for(device: torch.device, batch: Batch) -> Batch:
    """Return a batch as a device copies it soonest: for CUDA in page-locked memory."""
    return batch.mapped(Tensor.pin_memory) if device.type == "cuda" else batch


def resolve_arithmetic(
    options: TrainingOptions,
    parts: Sequence[nn.Module],
    *,
    cleared: bool = False,
    closures: bool = False,
    sharded: bool = False,
) -> TrainingOptions:
    """Return the options with precision and memory layout chosen by fixed rules.

    bf16 where it is ``cleared`` for the network (:class:`torchfolio.networks.catalogue.Card`), the
    device :func:`computes_bf16`, and the parts are large enough (:func:`wants_bf16`). Otherwise
    TF32 on GPUs that have it: torch itself computes convolutions in it unless told otherwise, but
    matrix products in float32; ours are in TF32, too, because it is quicker. Else float32. The
    layout by :func:`wants_channels_last`. ``closures`` says that an optimizer evaluates the loss
    several times and lays all gradients end to end (L-BFGS): it takes float32 and, like ``sharded``
    parts, the plain layout.
    """
    if closures and options.channels_last:
        raise RequestError("lbfgs needs the plain memory layout. Leave --channels-last out.")
    last = options.channels_last
    if last is None:
        last = not (closures or sharded) and wants_channels_last(parts)
    precision = options.precision
    if precision == "auto":
        device = torch.device(options.device)
        quicker = cleared and computes_bf16(device) and wants_bf16(parts, device)
        usual: Literal["fp32", "tf32"] = "tf32" if has_tf32(device) else "fp32"
        precision = "fp32" if closures else "bf16" if quicker else usual
    return replace(options, channels_last=last, precision=precision)


def wants_bf16(parts: Iterable[nn.Module], device: torch.device) -> bool:
    """Return whether the parts of a cleared network are large enough for bf16: a fixed rule.

    Networks with batch norm are, and on the CPU those with a linear layer of 2 ** 18 weights
    (512 x 512); below, converting takes longer than bf16 saves (docs/performance.md, "Float32 and
    bf16", "Layouts and precision").
    """
    modules = [each for part in parts for each in part.modules()]
    wide = any(isinstance(each, nn.Linear) and each.weight.numel() >= WIDE for each in modules)
    normed = any(isinstance(each, NORMS) for each in modules)
    return normed or (wide and device.type == "cpu")


def wants_channels_last(parts: Iterable[nn.Module]) -> bool:
    """Return whether images lie channels-last in memory, unless it is asked for: a fixed rule.

    It is quicker for convolutions with batch norm or pooling (ResNets, LeNets) and slower or no
    different for others (docs/performance.md, "Layouts and precision"). A page whose own
    arithmetic wants the plain layout says so by ``channels_last = False``.
    """
    modules = [each for part in parts for each in part.modules()]
    if any(getattr(each, "channels_last", True) is False for each in modules):
        return False
    quicker = (*NORMS, nn.AvgPool2d, nn.MaxPool2d)
    return any(isinstance(each, quicker) for each in modules)


def autocast(options: TrainingOptions) -> AbstractContextManager[Any]:
    """Return the context in which forward passes run."""
    if options.precision not in PRECISIONS:
        return nullcontext()
    kind = torch.device(options.device).type
    return torch.autocast(kind, PRECISIONS[options.precision])


def seed_for(*coordinates: int | str) -> None:
    """Seed torch's generators (dropout, initial weights) for one place in a training.

    Every update is seeded by its number, so that no generator's state has to be kept.
    """
    seed = key(*coordinates)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed takes a hundred times as long
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
