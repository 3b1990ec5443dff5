"""What CapsNet's decoder draws of a run's pictures, for its report.

After Figures 3 and 4 of Sabour et al., 2017.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from torchfolio.evaluation.figures import picture_sheet
from torchfolio.evaluation.report import Figure, Section
from torchfolio.networks.capsnet import LAST_POSE, TWEAK, TWEAKS, CapsNet

if TYPE_CHECKING:
    from torchfolio.tasks.picture_training import PictureTraining

SHOWN_CLASSES = 4  # whose dimensions the report moves


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


def page_sections(
    task: "PictureTraining",
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    name: str = "",
) -> list[Section]:
    """Return the section of what a network draws of some pictures; none of one that draws nothing.

    ``images`` are as they are stored, ``labels`` (batch,) the right classes; both on the network's
    device. ``name`` is the network's, where it is one of several.
    """
    if not isinstance(network, CapsNet) or network.decoder is None or not len(images):
        return []
    figures = [
        Figure(
            f"{sheet.title}, {name}" if name else sheet.title,
            picture_sheet(task.pictures.pixels(sheet.pictures), sheet.rows, sheet.columns),
            sheet.caption,
        )
        for sheet in sheets(
            network, task.pictures.normalised(images), labels, task.state["classes"]
        )
    ]
    return [Section(f"Drawn by {name or 'the network'}", figures)]


@torch.no_grad()
def sheets(network: CapsNet, images: Tensor, labels: Tensor, classes: Sequence[str]) -> list[Sheet]:
    """Return mistakes and right answers drawn again, and capsules moved in each dimension.

    ``images`` are as the network takes them, ``labels`` (batch,) the right classes, ``classes`` the
    names of all.
    """
    capsules = network.capsules(images)
    answers = torch.linalg.vector_norm(capsules, dim=-1).argmax(1)
    as_they_are, as_answered = (network.reconstruct(capsules, each) for each in (labels, answers))
    drawn = torch.stack([images, as_they_are, as_answered])
    right = answers == labels
    found = []
    if not right.all():
        pairs = zip(labels[~right].tolist(), answers[~right].tolist(), strict=True)
        names = [f"is {classes[label]}\nsaid {classes[answer]}" for label, answer in pairs]
        caption = "From the capsule of the true class, and from that of the answer (Figure 3)."
        rows = ["picture", "as it is", "as answered"]
        found.append(Sheet("Mistakes drawn again", caption, rows, names, drawn[:, ~right]))
    known = labels[right].tolist()
    if known:
        names = [classes[label] for label in known]
        caption, rows = "From the capsule of the class (Figure 3).", ["picture", "drawn"]
        found.append(Sheet("Right answers drawn again", caption, rows, names, drawn[:2, right]))
    for label in list(dict.fromkeys(known))[:SHOWN_CLASSES]:
        moved = network.tweaked(capsules[right][known.index(label)], label)
        far = TWEAK * TWEAKS
        caption = f"Each dimension moved by itself, by up to {far:g} (Figure 4)."
        rows = [str(number + 1) for number in range(LAST_POSE)]
        names = [f"{-far:g}", *[""] * (TWEAKS - 1), "0", *[""] * (TWEAKS - 1), f"{far:+g}"]
        found.append(Sheet(f"Capsule of {classes[label]}", caption, rows, names, moved))
    return found
