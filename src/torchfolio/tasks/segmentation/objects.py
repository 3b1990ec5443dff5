"""Objects in masks: whether classes are things before a background, and which pixels are whose."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchfolio.connected import objects
from torchfolio.data.mask_rules import is_background

MOST_CLASSES = 12  # whose objects are counted


def has_background(classes: Sequence[str]) -> bool:
    """Return whether objects lie before the first class: of two any, of more by its name."""
    return len(classes) == 2 or is_background(classes[0])


def walled(pixels: Sequence[int]) -> bool:
    """Return whether the classes are regions and the walls between them: cells and membranes.

    Of two classes, the second then has more than half of the training ``pixels``.
    """
    return len(pixels) == 2 and pixels[1] > pixels[0]


def not_counted(classes: Sequence[str], pixels: Sequence[int]) -> str:
    """Return why objects of these classes are not counted, in words; "" where they are.

    ``pixels`` are those of each class in training.
    """
    named = "Name it background by --class-names or --mask-values if it is."
    if len(classes) > MOST_CLASSES:
        return f"Objects are not counted: these are more than {MOST_CLASSES} classes."
    if not has_background(classes):
        return f"Objects are not counted: {classes[0]}, the first class, is no background. {named}"
    if walled(pixels) and not is_background(classes[0]):
        return (
            f"Objects are not counted: {classes[1]} has more than half of the training pixels, so "
            f"{classes[0]} is taken for the walls between regions. {named}"
        )
    return ""


def objects_of_files(masks: Any, index: int) -> NDArray[np.integer[Any]] | None:
    """Return the number of the object that each pixel of a mask is of (height, width), 0 for none.

    ``None`` where the files of ``masks`` do not tell.
    """
    return masks.objects(index) if hasattr(masks, "objects") else None


def object_numbers(
    masks: Any, index: int, foreground: NDArray[np.bool_]
) -> NDArray[np.integer[Any]]:
    """Return the number of the object that each pixel of a mask is of (height, width), 0 for none.

    Objects are those that the files of ``masks`` tell, which may touch; else groups of pixels that
    touch.
    """
    told = objects_of_files(masks, index)
    return objects(foreground)[0] if told is None else np.where(foreground, told, 0)
