"""What hiding a place of a picture changes: occlusion, by captum.

Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, arXiv 1311.2901,
Section 4.2: a square hides one place after another, and the probability of the class is watched.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from torchfolio.evaluation.explain.heat import Heat

LEAST = 1e-6  # a fall of the probability that may be rounding


def square(side: int) -> tuple[int, int]:
    """Return the side of the hiding square and its stride, for a picture of a side in pixels.

    A seventh of the picture's side and half of that: 32 and 16 for 224, 4 and 2 for 28, so that a
    picture is asked about some two hundred times.
    """
    hidden = max(1, round(side / 7))
    return hidden, max(1, hidden // 2)


def occlusion(
    ask: Callable[[Tensor], Tensor], images: Tensor, targets: Tensor, hidden: Tensor, at_once: int
) -> list[Heat]:
    """Return how far hiding each place lowers the probability of a class, for each picture.

    ``ask`` gives the probabilities (batch, classes) of ``images`` (batch, channels, height, width),
    and is given ``at_once`` of them; ``targets`` (batch,) are class indices; ``hidden`` (1,
    channels, height, width) is what a hidden place shows. Squares that overlap are averaged, and
    places whose hiding raises the probability count as 0, as do all where none lowers it by 1e-6.
    """
    heats = []
    for image, target in zip(images, targets.tolist(), strict=True):
        lowered = np.maximum(drops(ask, image, target, hidden, at_once), 0)
        largest = float(lowered.max()) if lowered.max() > LEAST else 0.0
        values = lowered / largest if largest else np.zeros_like(lowered)
        heats.append(
            Heat(values.astype(np.float32), "0", f"{100 * largest:.3g} percentage points less")
        )
    return heats


def drops(
    ask: Callable[[Tensor], Tensor], image: Tensor, target: int, hidden: Tensor, at_once: int
) -> NDArray[np.float32]:
    """Return by how much hiding each place lowers a probability, below 0 where it raises it.

    Shape: (channels, height, width) -> (height, width)
    """
    from captum.attr import Occlusion  # type: ignore[import-untyped]

    channels, height, width = image.shape
    side, stride = square(min(height, width))
    found = Occlusion(ask).attribute(
        image[None],
        sliding_window_shapes=(channels, side, side),
        strides=(channels, stride, stride),
        baselines=hidden,
        target=target,
        perturbations_per_eval=at_once,
    )
    return found[0, 0].float().cpu().numpy()
