"""Keras 3, on the backend that ``KERAS_BACKEND`` names: compile and fit.

Arrays are given as arrays, as Keras's examples do; photographs, and pictures that are changed at
random, by a DataLoader, which ``fit`` takes on every backend
(``keras.utils.image_dataset_from_directory`` needs TensorFlow).
"""

from typing import Any

import keras
import numpy as np

from benchmarks.data import VAL_SHARE
from benchmarks.peers.keras_networks import make_network
from benchmarks.peers.request import Request, answer, first_step


class FirstStep(keras.callbacks.Callback):  # type: ignore[misc]
    """Marks the first training step."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        first_step()


def read_mnist(request: Request, name: str) -> tuple[Any, Any]:
    """Return a split of MNIST: float32 (count, size, size, 1) in [0, 1], and labels."""
    base = f"{request.data}/MNIST/raw/{name}"
    labels = np.fromfile(f"{base}-labels-idx1-ubyte", np.uint8)[8:]
    pictures = np.fromfile(f"{base}-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 28, 28, 1)
    border = (request.size - 28) // 2
    pictures = np.pad(pictures, ((0, 0), (border, border), (border, border), (0, 0)))
    return pictures.astype("float32") / 255, labels


def channels_last(examples: list[Any]) -> tuple[Any, Any]:
    """Put examples together: pictures (batch, height, width, channels), and labels."""
    from torch.utils.data import default_collate

    images, labels = default_collate(examples)
    return images.permute(0, 2, 3, 1).contiguous(), labels


def make_loss(request: Request) -> Any:
    """Return the loss; the one that takes labels as numbers knows no smoothing."""
    if not request.label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    smoothed = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=request.label_smoothing
    )
    return lambda labels, logits: smoothed(keras.ops.one_hot(labels, 10), logits)


def main() -> None:
    """Train, validate after every epoch, test at the end."""
    request = Request.read()
    keras.utils.set_random_seed(request.seed)
    if request.precision == "bf16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    fit: dict[str, Any]
    test: tuple[Any, ...]
    if request.kind == "mnist" and request.augment == "none":
        pictures, labels = read_mnist(request, "train")
        fit = {"x": pictures, "y": labels, "batch_size": request.batch_size}
        fit |= {"validation_split": VAL_SHARE}
        test = read_mnist(request, "t10k")
        count = len(test[0])
        steps = -(-round(len(pictures) * (1 - VAL_SHARE)) // request.batch_size)
    else:
        from benchmarks.peers.torch_data import make_loaders

        loaders = make_loaders(request, channels_last)
        fit = {"x": loaders["train"], "validation_data": loaders["val"]}
        test, count = (loaders["test"],), len(loaders["test"].dataset)  # type: ignore[arg-type]
        steps = len(loaders["train"])
    rate: Any = request.lr
    if request.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(request.lr, request.epochs * steps)
    if request.optimizer == "adam":
        optimizer = keras.optimizers.Adam(rate)
    else:
        optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    model = make_network(request.network, request.size, request.start)
    model.compile(
        loss=make_loss(request),
        optimizer=optimizer,
        metrics=["accuracy"],
    )
    model.fit(**fit, epochs=request.epochs, callbacks=[FirstStep()], verbose=2)
    _, accuracy = model.evaluate(*test, verbose=2)
    answer(accuracy, count, "keras", keras.backend.backend())


if __name__ == "__main__":
    main()
