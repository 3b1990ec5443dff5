"""The settings of semantic segmentation."""

from dataclasses import dataclass
from typing import Literal

from torchfolio.options import option


@dataclass(frozen=True)
class SegmentationOptions:
    """Settings of semantic segmentation."""

    image_size: int | None = option(
        None,
        "Shorter side of the median picture once all are scaled by the same factor.",
        low=1,
    )
    crop: int | None = option(None, "Side of training crops in pixels, after scaling.", low=1)
    channels: Literal[1, 3] | None = option(
        None, "1 (grey) or 3 (colour); the data's unless given."
    )
    augment: Literal["none", "flip", "scale", "elastic"] = option(
        "flip",
        "Random changes, alike of picture and mask: mirrored; and scaled by 0.5 to 2; and bent.",
    )
    rotate: float | None = option(
        None,
        "Turn by up to so many degrees either way; 15 and quarter turns with elastic, else 0.",
        low=0,
        high=180,
    )
    mirror: bool | None = option(
        None, "Mirror left to right, with elastic also top to bottom; on unless given."
    )
    colour: float = option(
        0.0, "Strength of random brightness, contrast and saturation.", low=0, high=1
    )
    normalize: str = option("standard", "standard, imagenet, none, or LOW:HIGH.")
    rare: float | None = option(
        None,
        "Share of training crops around a pixel of a class drawn at random; more for rare ones.",
        low=0,
        high=1,
    )
    loss: str = option("cross-entropy", "cross-entropy, focal, dice, or a sum: cross-entropy+dice.")
    focal_gamma: float = option(2.0, "Exponent of the focal loss.", low=0)
    class_weights: Literal["none", "balanced"] = option(
        "none", "Weigh pixels by the rarity of their class, N / (classes * count), at most 10."
    )
    border_weight: float = option(
        0.0,
        "What pixels in narrow gaps between objects weigh more; 10 in the paper of U-Net.",
        low=0,
    )


@dataclass(frozen=True)
class SegmentationAnswerOptions:
    """Settings of the answers of semantic segmentation."""

    probabilities: bool = option(
        False,
        "Beside drawn masks, write the probability of each class: NAME_probabilities.npz, or a "
        "volume a class.",
    )
