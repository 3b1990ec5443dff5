"""The quick figures of one split, as after every epoch."""

import torch

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.feed import Feed
from torchfolio.layers.modes import keeping_modes
from torchfolio.tasks.base import Parts, Task, in_batches
from torchfolio.training.device import autocast, ready_for
from torchfolio.training.options import TrainingOptions
from torchfolio.training.processes import Processes


def measuring_batch(options: TrainingOptions, processes: int = 1) -> int:
    """Return the batch size of measuring: it takes less memory an example than training does."""
    piece = -(-options.batch_size // (options.accumulate * processes))
    return max(piece, min(64, 4 * piece))


def measure(
    task: Task,
    parts: Parts,
    dataset: Dataset,
    split: Indices,
    options: TrainingOptions,
    world: Processes | None = None,
) -> dict[str, float]:
    """Return the quick metrics of one split; the parts keep their mode.

    Several processes measure a share each, every example in one of them.
    """
    world = world or Processes()
    shares = world.shares(split)
    size = measuring_batch(options, world.size)
    batches = in_batches(shares[world.rank], size)
    own = len(batches)
    if world.several and options.sharded:  # weights are gathered for each batch: as many for all
        most = max(len(in_batches(share, size)) for share in shares)
        batches += [split[:1]] * (most - own)
    meter = task.meter()
    device = torch.device(options.device)
    feed = Feed(
        lambda indices: ready_for(device, task.load(dataset, indices, None, options.seed)),
        batches,
        options.workers or 0,
    )
    ungraded = torch.no_grad() if options.sharded else torch.inference_mode()
    with keeping_modes(parts.values()), ungraded:
        for part in parts.values():
            part.eval()
        for number, batch in enumerate(feed):
            batch = batch.to(device)
            with autocast(options):
                outputs = task.predict(parts, batch)
            if number < own:
                meter.update(outputs, batch)
    meters = world.gathered(meter)
    for other in meters[1:]:
        meters[0].merge(other)
    return world.first(meters[0].compute() if meters else {})
