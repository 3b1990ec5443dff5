"""Settings of the loop, the same for every task."""

from dataclasses import dataclass
from typing import Literal

from torchfolio.options import option


@dataclass(frozen=True)
class TrainingOptions:
    """How long, how fast and on what a training runs; every task shares these."""

    epochs: int = option(10, "Passes over the training split.", low=1)
    minutes: float | None = option(
        None, "Budget in minutes; without --epochs, the length of the training.", low=0.01
    )
    batch_size: int = option(64, "Examples an update.", low=1)
    reference_batch: int | None = option(
        None, "The batch that the recipe's rate is for; a smaller one scales it linearly.", low=1
    )
    accumulate: int = option(1, "Pieces that each batch is computed in, to save memory.", low=1)
    schedule: Literal["constant", "step", "plateau", "cosine", "linear", "polynomial"] = option(
        "constant", "The shape of the learning rate."
    )
    milestones: tuple[float, ...] = option(
        (0.5, 0.75), "Step: the shares of the training after which the rate falls."
    )
    gamma: float = option(0.1, "Step and plateau: what the rate is multiplied by.", low=0, high=1)
    power: float = option(1.0, "Polynomial: the exponent.", low=0)
    plateau_patience: int = option(
        5, "Plateau: epochs without improvement before the rate falls.", low=0
    )
    warmup: float = option(0.0, "Epochs over which the rate first rises.", low=0)
    grad_clip: float | None = option(None, "Largest norm of an update's gradient.", low=1e-6)
    ema: float | None = option(
        None, "Decay of the moving average of the weights.", low=0, high=0.999999
    )
    unfreeze: int | None = option(
        None,
        "Gradual unfreezing of given weights: the head trains first, and after so many epochs each "
        "one group of layers more.",
        low=1,
    )
    cache_features: bool | None = option(
        None,
        "Where only the head trains, compute what it reads once an example; by a fixed rule unless "
        "given.",
    )
    monitor: str | None = option(
        None, "The validation metric that chooses the best weights; the task's unless named."
    )
    patience: int | None = option(
        None, "Epochs without improvement of the monitored metric before it stops.", low=1
    )
    seed: int = option(
        0, "Seed of everything random, and of the split unless that has one of its own.", low=0
    )
    deterministic: bool = option(False, "Refuse operations that are not deterministic.")
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps.")
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = option(
        "auto", "Arithmetic of forward and backward."
    )
    channels_last: bool | None = option(
        None, "Keep images channels-last in memory; by a fixed rule unless given."
    )
    weight_gradients: Literal["auto", "convolutions", "products"] = option(
        "auto",
        "How wide convolutions take them on the CPU: by oneDNN, or as matrix products; by a fixed "
        "rule unless given.",
    )
    compile: bool = option(False, "Compile the parts with torch.compile.")
    graphs: bool | None = option(
        None, "Record passes as CUDA graphs; by a fixed rule unless given."
    )
    workers: int | None = option(None, "Threads that load batches; 0 loads in the loop.", low=0)
    threads: int | None = option(
        None,
        "Threads that compute on the CPU; unless given, as many as torch takes: one a core, or "
        "OMP_NUM_THREADS.",
        low=1,
        high=1024,
    )
    keep_memory: bool | None = option(
        None,
        "Keep what a step frees for the next one, on the CPU with glibc; by a fixed rule unless "
        "given.",
    )
    sharded: bool = option(
        False, "Split weights, gradients and optimizer state over the processes (FSDP2)."
    )
    sync_norm: bool | None = option(
        None, "Batch norm over all processes' examples; unless given, on GPUs."
    )
    tensorboard: bool = option(False, "Write TensorBoard files too (extra: tensorboard).")
