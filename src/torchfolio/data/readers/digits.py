"""The handwritten digits that come with the package."""

from importlib import resources
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset, Progress, Reader
from torchfolio.data.readers.pictures import array_dataset

NAME = "digits"


class Digits(Reader):
    """The 1,797 digits of the test part of UCI's Optical Recognition set, at 32x32.

    Each value (0 to 16) counts the ink in a 4x4 block of the 32x32 bitmap that was scanned;
    :func:`enlarge` goes back to that size. Licence and citation: ``data/digits/NOTICE``.
    """

    name: ClassVar[str] = NAME
    reads: ClassVar[str] = "the built-in handwritten digits, by the name 'digits'"
    kind: ClassVar[str] = "image-classification"

    @classmethod
    def recognise(cls, path: Path) -> str | None:
        return None  # opened by its name, never by a path

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        values, labels = read_digits()
        pictures = enlarge(values)[..., None]
        return array_dataset(
            reader=self,
            path=NAME,
            parts={"train": (pictures, labels, [(NAME, len(labels))])},
            classes=[str(digit) for digit in range(10)],
        )


def read_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the ink of each digit (1797, 8, 8), 0 to 16, and which digit it is."""
    with (
        resources.files("torchfolio.data").joinpath("digits/digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        return archive["images"], archive["labels"].astype(np.int64)


def enlarge(values: NDArray[np.uint8], factor: int = 4) -> NDArray[np.uint8]:
    """Enlarge (count, 8, 8), values 0 to 16, to (count, 32, 32), values 0 to 255.

    Bilinear: a value stands at the centre of its block, and between centres the nearest two
    are mixed in proportion to their distance; outside the outer centres the value stays.
    """
    size = values.shape[1]
    centres = (np.arange(size * factor) + 0.5) / factor - 0.5
    position = np.clip(centres, 0, size - 1)
    weights = np.maximum(0.0, 1 - np.abs(position[:, None] - np.arange(size)))  # (32, 8)
    large = weights @ values.astype(np.float64) @ weights.T
    return np.rint(large * (255 / 16)).astype(np.uint8)
