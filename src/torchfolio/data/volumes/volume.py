"""A volume as an array in one fixed orientation, and the way back into its file's own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from torchfolio.errors import DataError, RequestError

Axis = Literal["axial", "coronal", "sagittal"]
AXES: tuple[Axis, ...] = ("sagittal", "coronal", "axial")  # what the places of an index cut
ORIENTATION = ("L", "P", "S")  # where the first, second and third index lead, as in DICOM
COARSE = 1.5  # spacings: an axis this much coarser than the others is that of the slices
# Windows of CT in Hounsfield units: centre and width in usual clinical practice.
WINDOWS = {
    "soft-tissue": (-150.0, 250.0),
    "lung": (-1350.0, 150.0),
    "bone": (-500.0, 1300.0),
    "brain": (0.0, 80.0),
}
LOWEST = -500.0  # Hounsfield units: what only CT goes below
CUT = (0.5, 99.5)  # per cent of the values that become black, and that do not become white


@dataclass(frozen=True)
class Volume:
    """An array (x, y, z) whose indices lead to the patient's left, back and head.

    ``spacing`` is in millimetres, 1 where the file does not say. ``save(values, path)`` writes
    classes (uint8) or probabilities (float32) of this shape as a file with the geometry of this
    one, whose name ends in ``suffix``.
    """

    array: NDArray[Any]
    spacing: tuple[float, float, float]
    save: Callable[[NDArray[np.uint8] | NDArray[np.float32], Path], None]
    suffix: str
    affine: NDArray[np.float64] | None = None


def slices(array: NDArray[Any], axis: Axis) -> int:
    """Return how many slices a volume has along an axis."""
    return int(array.shape[AXES.index(axis)])


def cut(array: NDArray[Any], axis: Axis, place: int) -> NDArray[Any]:
    """Return one slice (rows, columns) as it is usually shown: head or front on top."""
    if axis == "axial":
        return array[:, :, place].T
    return array[:, place, ::-1].T if axis == "coronal" else array[place, :, ::-1].T


def put(array: NDArray[Any], axis: Axis, place: int, pixels: NDArray[Any]) -> None:
    """Write one slice, as :func:`cut` gives it, into a volume."""
    cut(array, axis, place)[...] = pixels


def spacing_of(spacing: tuple[float, float, float], axis: Axis) -> tuple[float, float]:
    """Return how far rows and columns of slices lie apart."""
    x, y, z = spacing
    return {"axial": (y, x), "coronal": (z, x), "sagittal": (z, y)}[axis]


def usual_axis(spacings: NDArray[np.float64]) -> Axis:
    """Return the axis that volumes were taken along: one much coarser than both others, or axial.

    ``spacings`` (volumes, 3); the median volume decides.
    """
    median = np.median(spacings, axis=0)
    coarsest, second = int(median.argmax()), float(np.sort(median)[1])
    return AXES[coarsest] if median[coarsest] >= COARSE * second else "axial"


def read_window(text: str) -> tuple[float, float] | None:
    """Return the values that become black and white; none for "auto". Raises ``RequestError``."""
    if text == "auto":
        return None
    if text in WINDOWS:
        return WINDOWS[text]
    low, colon, high = text.partition(":")
    try:
        found = float(low), float(high)
    except ValueError:
        found = (0.0, 0.0)
    if not colon or not found[0] < found[1]:
        raise RequestError(
            f"window is {text!r}; it should be auto, {', '.join(WINDOWS)}, or LOW:HIGH such as "
            "-150:250."
        )
    return found


def own_window(array: NDArray[Any]) -> tuple[float, float]:
    """Return the window of a volume by its values: soft tissue for CT, else its own range."""
    if array.min() < LOWEST:
        return WINDOWS["soft-tissue"]
    low, high = np.percentile(array, CUT).tolist()
    return (low, high) if low < high else (low, low + 1.0)


def shaded(pixels: NDArray[Any], window: tuple[float, float]) -> NDArray[np.float32]:
    """Return values from 0 to 1: black at the window's low end, white at its high one."""
    low, high = window
    return ((pixels.astype(np.float32) - low) / (high - low)).clip(0, 1)


def finite(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array without values that are no numbers: those become the smallest."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return array
    good = array[np.isfinite(array)]
    if not good.size:
        raise DataError("holds no number at all")
    return np.where(np.isfinite(array), array, good.min())
