"""The pictures that a network's page offers to the report: its method ``sheets``, where it has one.

It takes images as the network does (batch, channels, height, width), the classes that are right
(batch,) and the names of all classes, and returns :class:`~torchfolio.networks.sheets.Sheet`.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from torchfolio.evaluation.figures import picture_sheet
from torchfolio.evaluation.report import Figure, Section

if TYPE_CHECKING:
    from torchfolio.tasks.picture_training import PictureTraining


def page_sections(
    task: "PictureTraining", network: nn.Module, images: Tensor, labels: Tensor
) -> list[Section]:
    """Return the section of what a network draws of some pictures, or none.

    ``images`` are as they are stored, ``labels`` (batch,) the right classes; both on the network's
    device.
    """
    own = getattr(network, "sheets", None)
    if own is None or not len(images):
        return []
    with torch.no_grad():
        sheets = own(task.pictures.normalised(images), labels, task.state["classes"])
    figures = [
        Figure(
            sheet.title,
            picture_sheet(task.pictures.pixels(sheet.pictures), sheet.rows, sheet.columns),
            sheet.caption,
        )
        for sheet in sheets
    ]
    return [Section("Drawn by the network", figures)] if figures else []
