"""What a network says of many examples: batches loaded and computed side by side, in order."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from torchfolio.data.feed import Feed
from torchfolio.tasks.base import Context

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")
Output = TypeVar("Output")

# The input values of a batch on the CPU: those of eight pictures of 3x224x224. The largest tensors
# inside a ResNet then stay below 32 MiB, which malloc keeps for the next ones. Larger ones it takes
# from the system each time: for ResNet-18 in batches of 64 a sixth of the time.
VALUES = 8 * 3 * 224 * 224
SIDE_BY_SIDE = 8  # batches that are in memory at once, at most


def batch_size(context: Context, values: int) -> int:
    """Return how many examples of so many input values go into a batch without gradients."""
    if context.device.type != "cpu":
        return context.batch_size
    return max(1, min(context.batch_size, VALUES // values))


def outputs(
    load: Callable[[Item], Loaded],
    compute: Callable[[Loaded], Output],
    items: Sequence[Item],
    context: Context,
) -> Iterator[Output]:
    """Yield ``compute(load(item))`` for each item, in order, without gradients.

    On the CPU every thread loads and computes batches of its own, so that no core waits for
    another; on other devices threads load ahead. One batch, or all of them without workers, are
    the calling thread's.
    """
    compute = torch.inference_mode()(compute)
    threads = torch.get_num_threads()
    crowd = min(len(items), SIDE_BY_SIDE, max(threads, context.workers))
    if context.device.type != "cpu" or context.workers == 0 or crowd < 2:
        for loaded in Feed(load, items, context.workers if len(items) > 1 else 0):
            yield compute(loaded)
        return

    yield from Feed(lambda item: compute(load(item)), items, crowd, max(1, threads // crowd))
