"""fastai: its blocks and Learner for photographs, its DataLoaders over torchvision's data else."""

from functools import partial
from pathlib import Path

import torch
from fastai.vision.all import (
    SGD,
    Adam,
    Callback,
    CrossEntropyLossFlat,
    DataLoaders,
    Flip,
    ImageDataLoaders,
    Learner,
    Normalize,
    RandomResizedCrop,
    accuracy,
    get_image_files,
    imagenet_stats,
    set_seed,
)

from benchmarks.peers.networks import make_network
from benchmarks.peers.request import Request, answer, first_step
from benchmarks.peers.torch_data import make_datasets


class FirstStep(Callback):  # type: ignore[misc]
    """Marks the first training step."""

    def after_batch(self) -> None:
        if self.learn.training:
            first_step()


def main() -> None:
    """Train, validate after every epoch, test at the end."""
    request = Request.read()
    set_seed(request.seed)
    settings = {
        "bs": request.batch_size,
        "num_workers": request.workers,
        "device": torch.device(request.device),
    }
    if request.kind == "folder" and request.size > 64:
        loaders = ImageDataLoaders.from_folder(
            request.data,
            train="train",
            valid="val",
            seed=request.seed,
            item_tfms=RandomResizedCrop(request.size, min_scale=request.crop_area),
            batch_tfms=[Flip(), Normalize.from_stats(*imagenet_stats)],
            **settings,
        )
        files = get_image_files(Path(request.data) / "test")
        test, count = loaders.test_dl(files, with_labels=True), len(files)
    else:
        parts = make_datasets(request)
        loaders = DataLoaders.from_dsets(parts["train"], parts["val"], **settings)
        whole = DataLoaders.from_dsets(parts["train"], parts["test"], **settings)
        test, count = whole.valid, len(parts["test"])
    learner = Learner(
        loaders,
        make_network(request.network, request.size, request.start),
        loss_func=CrossEntropyLossFlat(label_smoothing=request.label_smoothing),
        opt_func=partial(SGD, mom=0.9) if request.optimizer == "sgd" else Adam,
        wd=0.0,
        metrics=accuracy,
        cbs=FirstStep(),
    )
    if request.schedule == "cosine":
        learner.fit_flat_cos(request.epochs, request.lr, pct_start=0.0)
    else:
        learner.fit(request.epochs, request.lr)
    _, reached = learner.validate(dl=test)
    answer(reached, count, "fastai", "torch", "torchvision")


if __name__ == "__main__":
    main()
