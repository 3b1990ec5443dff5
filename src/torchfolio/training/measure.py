"""The quick figures of one split, as after every epoch."""

import torch

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.feed import Feed
from torchfolio.tasks.base import Parts, Task, in_batches
from torchfolio.training.device import autocast
from torchfolio.training.options import TrainingOptions


def measuring_batch(options: TrainingOptions) -> int:
    """Return the batch size of measuring: it takes less memory an example than training does."""
    piece = -(-options.batch_size // options.accumulate)
    return max(piece, min(64, 4 * piece))


@torch.inference_mode()
def measure(
    task: Task, parts: Parts, dataset: Dataset, split: Indices, options: TrainingOptions
) -> dict[str, float]:
    """Return the quick metrics of one split; the parts keep their mode."""
    meter = task.meter()
    device = torch.device(options.device)
    modes = {module: module.training for part in parts.values() for module in part.modules()}
    for part in parts.values():
        part.eval()
    feed = Feed(
        lambda indices: task.load(dataset, indices, None, options.seed),
        in_batches(split, measuring_batch(options)),
        options.workers or 0,
    )
    for batch in feed:
        batch = batch.to(device)
        with autocast(options):
            outputs = task.predict(parts, batch)
        meter.update(outputs, batch)
    for module, training in modes.items():
        module.training = training
    return meter.compute()
