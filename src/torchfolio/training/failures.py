"""What stops a training, said with the place, the settings and what to do."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch

from torchfolio.errors import FolioError, RequestError
from torchfolio.training.options import TrainingOptions
from torchfolio.training.progress import Progress

KEPT = "The weights of the last good state are kept in the run."


def diverged(
    what: str, update: int, progress: Progress, rates: Mapping[str, float], options: TrainingOptions
) -> FolioError:
    """Return the error for a loss, or weights, that are no numbers or beyond all measure."""
    shown = ", ".join(f"{rate:.3g} ({name})" for name, rate in rates.items())
    advice = "Take a lower --lr (a tenth), or add --grad-clip 1 or --warmup 1"
    if options.precision != "fp32":
        advice += ", or --precision fp32"
    return FolioError(
        f"{what} at update {update} (epoch {progress.epoch + 1}), with learning rate {shown}, "
        f"batch size {options.batch_size} and precision {options.precision}. {advice}. {KEPT}"
    )


@contextmanager
def explained(options: TrainingOptions, update: Callable[[], int]) -> Iterator[None]:
    """Say what to do where memory runs out or an operation is not deterministic.

    ``update`` returns the number of the update at which that happened.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise out_of_memory(options, update()) from error
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise RequestError(
            f"Batch norm cannot train on one value a channel (batch size {options.batch_size} in "
            f"{options.accumulate} piece(s), at the network's smallest maps). Take a larger "
            "--batch-size, a smaller --accumulate or a larger --image-size."
        ) from error
    except RuntimeError as error:
        text = str(error).lower()
        if "out of memory" in text or ("alloc" in text and ("memory" in text or "status" in text)):
            raise out_of_memory(options, update()) from error
        if options.deterministic and "deterministic" in text:
            raise FolioError(
                f"--deterministic refuses this training at update {update()}: {error} Leave "
                "--deterministic out, or take another network or device."
            ) from error
        raise


def out_of_memory(options: TrainingOptions, update: int) -> FolioError:
    """Return the error for a device that has no memory left."""
    return FolioError(
        f"Out of memory on {options.device} at update {update} with batch size "
        f"{options.batch_size} in {options.accumulate} piece(s). Take --accumulate "
        f"{options.accumulate * 2} (about half the memory), a smaller --batch-size or a smaller "
        f"--image-size. {KEPT}"
    )
