"""The settings of object detection."""

from dataclasses import dataclass
from typing import Literal

from torchfolio.options import option


@dataclass(frozen=True)
class DetectionOptions:
    """Settings of object detection."""

    image_size: int | None = option(
        None, "Side of the square that pictures are fitted into, in pixels.", low=1
    )
    channels: Literal[1, 3] | None = option(
        None, "1 (grey) or 3 (colour); the data's unless given."
    )
    augment: Literal["none", "flip", "scale", "mosaic"] = option(
        "scale",
        "Random changes of picture and boxes: mirrored; and scaled, stretched and moved; and four "
        "pictures in one.",
    )
    jitter: float = option(
        0.3, "By what share sides are scaled and stretched at random.", low=0, high=0.9
    )
    multi_scale: bool = option(
        False, "Another size for every batch of training, from 10/13 to 19/13 of the square."
    )
    mirror: bool = option(True, "Mirror left to right.")
    colour: float = option(
        0.0, "Strength of random brightness, contrast and saturation.", low=0, high=1
    )
    normalize: str = option("none", "none, standard, imagenet, or LOW:HIGH.")
    anchors: Literal["paper", "data"] = option(
        "paper", "Shapes that boxes are told from: the paper's, or k-means of the training boxes."
    )


@dataclass(frozen=True)
class DetectionAnswerOptions:
    """Settings of the answers of object detection."""

    threshold: float | None = option(
        None, "The least score of a box; that with the best F1 on validation data unless given.",
        low=0, high=1,
    )  # fmt: skip
    most: int = option(100, "Boxes of a picture, at most.", low=1)
    forms: str = option(
        "", "Beside drawn boxes: coco (coco.json) or yolo (NAME.txt), or both: coco,yolo."
    )
