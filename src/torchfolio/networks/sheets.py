"""Pictures that a network draws, which its page offers to the report."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Sheet:
    """Pictures in named rows and columns.

    ``pictures`` (rows, columns, channels, height, width) are as the network takes images. A name
    may have two lines; an empty one is left out.
    """

    title: str
    caption: str
    rows: Sequence[str]
    columns: Sequence[str]
    pictures: Tensor
