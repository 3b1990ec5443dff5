"""Images to the size a network takes, and augmentation.

Pictures are (channels, height, width), uint8 or, from deeper sources, float32 in [0, 1]; batches
have the batch in front. What is random is drawn by :mod:`torchfolio.data.draws`: each row of
``numbers`` belongs to one example.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from torchfolio.data.fitting import placement, sizes_of_shorter

Draws = NDArray[np.float64]


def resize(pictures: Tensor, height: int, width: int) -> Tensor:
    """Resize (..., channels, height, width) bilinearly with antialiasing; the type is kept."""
    if pictures.shape[-2:] == (height, width):
        return pictures
    batch = pictures.unsqueeze(0) if pictures.ndim == 3 else pictures
    resized = F.interpolate(batch, size=(height, width), mode="bilinear", antialias=True)
    return resized.squeeze(0) if pictures.ndim == 3 else resized


def resize_shorter(pictures: Tensor, shorter: int, longest: int | None = None) -> Tensor:
    """Resize the shorter side to ``shorter``; what exceeds ``longest`` is cut off evenly."""
    height, width = pictures.shape[-2:]
    cut, size = sizes_of_shorter(height, width, shorter, longest)
    return resize(crop_centre(pictures, *cut), *size)


def crop_centre(picture: Tensor, height: int, width: int) -> Tensor:
    """Cut the middle out of (..., height, width)."""
    top = (picture.shape[-2] - height) // 2
    left = (picture.shape[-1] - width) // 2
    return picture[..., top : top + height, left : left + width]


def pad_to(picture: Tensor, height: int, width: int, value: float) -> Tensor:
    """Pad (..., height, width) evenly on all sides with one value."""
    down, across = height - picture.shape[-2], width - picture.shape[-1]
    if down == 0 and across == 0:
        return picture
    top, left = down // 2, across // 2
    return F.pad(picture, (left, across - left, top, down - top), value=value)


def fit(pictures: Tensor, size: int, how: str, fill: float) -> Tensor:
    """Return a picture, or a batch of equal sizes, as ``size`` x ``size``.

    ``how`` is as in :func:`torchfolio.data.fitting.placement`.
    """
    cut, sides = placement(pictures.shape[-2], pictures.shape[-1], size, how)
    found = resize(crop_centre(pictures, *cut), *sides)
    inside = crop_centre(found, min(size, sides[0]), min(size, sides[1]))
    return pad_to(inside, size, size, fill)


def source_box(height: int, width: int, size: int, how: str) -> tuple[float, float, float, float]:
    """Return where the square that :func:`fit` gives lies in a picture: top, left, height, width.

    In the picture's pixels. Where the picture is padded the box reaches beyond it, where it is cut
    it lies inside.
    """
    if how == "pad" and max(height, width) <= size:
        return -((size - height) // 2), -((size - width) // 2), size, size
    if how == "squash" or height == width == size:
        return 0, 0, height, width
    if how in ("whole", "pad"):
        scale = size / max(height, width)
        rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
        down, across = height / rows, width / columns  # pixels of the picture for one
        top, left = -((size - rows) // 2) * down, -((size - columns) // 2) * across
    else:
        shorter = round(size * 8 / 7)
        (tall, wide), (rows, columns) = sizes_of_shorter(height, width, shorter, shorter)
        down, across = tall / rows, wide / columns
        top = (height - tall) // 2 + (rows - size) // 2 * down
        left = (width - wide) // 2 + (columns - size) // 2 * across
    return top, left, size * down, size * across


def shift(images: Tensor, pixels: int, fill: float, numbers: Draws) -> Tensor:
    """Move each image by up to ``pixels`` in both directions. ``numbers``: (batch, 2)."""
    offsets = np.floor(numbers * (2 * pixels + 1)).astype(np.int64)  # 0 .. 2 pixels
    padded = F.pad(images, (pixels,) * 4, value=fill)
    return windows(padded, offsets, images.shape[-2], images.shape[-1])


def windows(images: Tensor, offsets: NDArray[np.int64], height: int, width: int) -> Tensor:
    """Cut one window out of each image, at its (top, left) of ``offsets`` (batch, 2)."""
    pixels = images.numpy()
    cut = np.empty((*pixels.shape[:2], height, width), pixels.dtype)
    for row, (top, left) in enumerate(offsets.tolist()):
        cut[row] = pixels[row, :, top : top + height, left : left + width]
    return torch.from_numpy(cut)


def flip(images: Tensor, numbers: Draws) -> Tensor:
    """Mirror every other image left to right, on average, in place. ``numbers``: (batch,)."""
    pixels = images.numpy()
    for row in np.flatnonzero(numbers < 0.5).tolist():
        pixels[row] = pixels[row, :, :, ::-1].copy()
    return images


def random_crop(
    picture: Tensor, size: int, numbers: NDArray[np.float64], scale: tuple[float, float]
) -> Tensor:
    """Cut a random window out of a picture and resize it to ``size`` x ``size``."""
    top, left, tall, wide = random_window(picture.shape[1], picture.shape[2], numbers, scale)
    return resize(picture[:, top : top + tall, left : left + wide], size, size)


def jitter_colour(images: Tensor, strength: float, numbers: Draws) -> Tensor:
    """Change brightness, contrast and saturation by random factors around 1.

    Each factor lies in [1 - strength, 1 + strength]; contrast turns about the image's mean grey,
    saturation about each pixel's (Krizhevsky et al., 2012, Section 4.1, vary colour along its
    principal components; this is the form in use now). ``numbers``: (batch, 3). The type is kept.
    """
    top = 255.0 if images.dtype == torch.uint8 else 1.0
    factors = torch.from_numpy(1 + strength * (2 * numbers - 1)).float()[:, :, None, None, None]
    brightness, contrast, saturation = factors.unbind(1)  # (batch, 1, 1, 1) each
    changed = images.float() * brightness
    if images.shape[1] == 3:
        weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
        grey = (changed * weights).sum(1, keepdim=True)
        changed = grey + (changed - grey) * saturation
    # The mean in whole numbers: a sum of floats would depend on the company in the batch.
    units = 2.0**20 / top
    total = (changed * units).round_().long().sum((1, 2, 3), keepdim=True)
    mean = (total.double() / (units * changed[0].numel())).float()
    changed = (mean + (changed - mean) * contrast).clamp_(0, top)
    return changed.round_().to(images.dtype) if images.dtype == torch.uint8 else changed


def random_window(
    height: int, width: int, numbers: NDArray[np.float64], scale: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of a random crop, as in Szegedy et al., 2015, Section 6.

    The area is a share of the picture's within ``scale``, the aspect ratio lies between 3/4 and
    4/3; a crop that does not fit is shrunk until it does. ``numbers``: four in [0, 1).
    """
    area = height * width * (scale[0] + (scale[1] - scale[0]) * numbers[0])
    ratio = math.exp((2 * numbers[1] - 1) * math.log(4 / 3))
    tall, wide = math.sqrt(area / ratio), math.sqrt(area * ratio)
    shrink = min(1.0, height / tall, width / wide)
    tall, wide = max(1, int(tall * shrink)), max(1, int(wide * shrink))
    return int(numbers[2] * (height - tall + 1)), int(numbers[3] * (width - wide + 1)), tall, wide


def rand_augment(picture: Tensor, numbers: NDArray[np.float64], fill: float) -> Tensor:
    """Apply two random operations at magnitude 9 of 30 (Cubuk et al., 2019, Section 4).

    The operations and their ranges are those of torchvision's ``RandAugment``; ``numbers``: two
    for each operation.
    """
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as V

    level = 9 / 30
    height, width = picture.shape[-2:]
    for choice, sign_number in numbers.reshape(-1, 2):
        sign = 1 if sign_number < 0.5 else -1
        colour = max(0.0, 1 + sign * 0.9 * level)
        name = OPERATIONS[int(choice * len(OPERATIONS))]
        geometry: dict[str, Any] = {"angle": 0.0, "translate": [0, 0], "scale": 1.0}
        geometry |= {"shear": [0.0, 0.0], "center": None}
        if name == "shear-x":
            geometry |= {"shear": [math.degrees(math.atan(0.3 * level * sign)), 0.0]}
            geometry |= {"center": [0, 0]}  # the corner stays, as in Pillow and torchvision
        elif name == "shear-y":
            geometry |= {"shear": [0.0, math.degrees(math.atan(0.3 * level * sign))]}
            geometry |= {"center": [0, 0]}
        elif name == "translate-x":
            geometry["translate"] = [int(150 / 331 * width * level * sign), 0]
        elif name == "translate-y":
            geometry["translate"] = [0, int(150 / 331 * height * level * sign)]
        elif name == "rotate":
            geometry["angle"] = -30.0 * level * sign
        elif name == "brightness":
            picture = V.adjust_brightness(picture, colour)
        elif name == "saturation":
            picture = V.adjust_saturation(picture, colour) if len(picture) == 3 else picture
        elif name == "contrast":
            picture = V.adjust_contrast(picture, colour)
        elif name == "sharpness":
            picture = V.adjust_sharpness(picture, colour)
        elif name == "posterize" and picture.dtype == torch.uint8:
            picture = V.posterize(picture, bits=8 - round(4 * level))
        elif name == "solarize":
            top = 255.0 if picture.dtype == torch.uint8 else 1.0
            picture = V.solarize(picture, threshold=top * (1 - level))
        elif name == "autocontrast":
            picture = V.autocontrast(picture)
        elif name == "equalize" and picture.dtype == torch.uint8:
            picture = V.equalize(picture)
        if name in GEOMETRIC:
            picture = V.affine(
                picture,
                **geometry,
                interpolation=InterpolationMode.BILINEAR,
                fill=[fill] * len(picture),
            )
    return picture


GEOMETRIC = ("shear-x", "shear-y", "translate-x", "translate-y", "rotate")
OPERATIONS = (
    "identity",
    *GEOMETRIC,
    "brightness",
    "saturation",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
