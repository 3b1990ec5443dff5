"""YOLO: boxes and classes of all objects by one network of convolutions and two dense layers.

Redmon, Divvala, Girshick, Farhadi, "You Only Look Once: Unified, Real-Time Object Detection",
CVPR 2016, arXiv 1506.02640. Layers: Figure 3 and Section 2.1; loss: Equation 3.

Differences: none known. The paper does not say where its convolutions pad (here each keeps the size
of the maps), how they start (here as PyTorch's), nor whose class a cell with two objects has (here
the first one's).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.layers.sizes import require_size

# Figure 3: maps and side of each convolution; "pool" halves the maps, "/2" a stride of two.
LAYERS = (
    "64x7/2", "pool", "192x3", "pool",
    "128x1", "256x3", "256x1", "512x3", "pool",
    "256x1", "512x3", "256x1", "512x3", "256x1", "512x3", "256x1", "512x3",
    "512x1", "1024x3", "pool",
    "512x1", "1024x3", "512x1", "1024x3", "1024x3", "1024x3/2", "1024x3", "1024x3",
)  # fmt: skip
STRIDE = 64  # pixels of a cell
BOXES = 2  # of a cell
COORDINATES, NOTHING = 5.0, 0.5  # weights of boxes, and of those that hold no object

Targets = Sequence[tuple[Tensor, Tensor]]  # of each picture: boxes (objects, 4), classes (objects,)


class YOLOv1(nn.Module):
    """Shape: (batch, in_channels, height, width) -> (batch, rows, columns, 2 * 5 + num_classes).

    A cell gives of each of two boxes x and y of its centre in the cell, the roots of its width and
    height as shares of the picture, and how sure it is; then the score of each class (Section 2).
    ``image_size`` is (height, width), multiples of 64; 448 in the paper.
    """

    class_modules = ("fc2",)
    step = STRIDE
    begins_with = ("yolov1",)  # whose weights fit
    least_score, most_overlap = 0.001, 0.5  # of answers that are kept; of two of one class

    def __init__(
        self, num_classes: int = 20, in_channels: int = 3, image_size: tuple[int, int] = (448, 448)
    ) -> None:
        super().__init__()
        self.num_classes, self.in_channels = num_classes, in_channels
        self.grid = (image_size[0] // STRIDE, image_size[1] // STRIDE)
        self.features = nn.Sequential()
        channels = in_channels
        for layer in LAYERS:
            if layer == "pool":
                self.features.append(nn.MaxPool2d(2, 2))
                continue
            width, _, kernel = layer.partition("x")
            side, _, stride = kernel.partition("/")
            self.features.append(
                nn.Conv2d(channels, int(width), int(side), int(stride or 1), padding=int(side) // 2)
            )
            self.features.append(nn.LeakyReLU(0.1, inplace=True))
            channels = int(width)
        cells = self.grid[0] * self.grid[1]
        self.fc1 = nn.Linear(channels * cells, 4096)
        self.dropout = nn.Dropout(0.5)
        self.fc2 = nn.Linear(4096, cells * (5 * BOXES + num_classes))

    def forward(self, images: Tensor) -> Tensor:
        height, width = (side * STRIDE for side in self.grid)
        require_size("YOLO", images, self.in_channels, height, width)
        x = self.features(images).flatten(1)
        x = self.fc2(self.dropout(F.leaky_relu(self.fc1(x), 0.1)))
        return x.view(images.shape[0], *self.grid, -1)

    def boxes(self, answers: Tensor) -> Tensor:
        """Return the boxes (batch, rows, columns, 2, 4): left, top, right, bottom in pixels."""
        rows, columns = self.grid
        said = answers[..., : 5 * BOXES].reshape(*answers.shape[:3], BOXES, 5)
        row = torch.arange(rows, device=answers.device).view(rows, 1, 1)
        column = torch.arange(columns, device=answers.device).view(1, columns, 1)
        x, y = (said[..., 0] + column) * STRIDE, (said[..., 1] + row) * STRIDE
        half_w = said[..., 2].square() * columns * STRIDE / 2
        half_h = said[..., 3].square() * rows * STRIDE / 2
        return torch.stack([x - half_w, y - half_h, x + half_w, y + half_h], -1)

    def scored(self, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Return all boxes (batch, boxes, 4) and the score of each class (batch, boxes, classes).

        A score is how sure a box is times the score of the class (Equation 1).
        """
        answers = answers.float()
        sure = answers[..., 4 : 5 * BOXES : 5]  # (batch, rows, columns, 2)
        scores = sure[..., None] * answers[..., None, 5 * BOXES :]
        return self.boxes(answers).flatten(1, 3), scores.clamp(0, 1).flatten(1, 3)

    def loss(self, answers: Tensor, targets: Targets) -> Tensor:
        """Return Equation 3 of each picture, the mean over pictures.

        In a cell with an object, that box is responsible which overlaps it most, or, where none
        does, whose numbers are nearest; it is to be as sure as its overlap.
        """
        answers = answers.float()
        rows, columns = self.grid
        picture, row, column, truth, label = self.cells(targets, answers)
        said = answers[picture, row, column]  # (objects, outputs)
        each = said[:, : 5 * BOXES].reshape(-1, BOXES, 5)
        centre = (truth[:, :2] + truth[:, 2:]) / 2 / STRIDE
        size = (truth[:, 2:] - truth[:, :2]) / STRIDE
        share = size / size.new_tensor([columns, rows])
        wanted = torch.cat([centre - torch.stack([column, row], 1), share.sqrt()], 1)
        with torch.no_grad():
            shared = overlaps(self.boxes(answers)[picture, row, column], truth[:, None])
            apart = (each[..., :4] - wanted[:, None]).square().sum(-1)
            fit = torch.where(shared.amax(1, keepdim=True) > 0, shared, -apart)
            best = fit.argmax(1)
        place = torch.arange(len(best), device=best.device)
        own = each[place, best]
        classes = F.one_hot(label, self.num_classes).to(answers.dtype)
        held = torch.zeros(*answers.shape[:3], BOXES, dtype=torch.bool, device=answers.device)
        held[picture, row, column, best] = True
        total = COORDINATES * (own[:, :4] - wanted).square().sum()
        total = total + (own[:, 4] - shared[place, best]).square().sum()
        total = total + (said[:, 5 * BOXES :] - classes).square().sum()
        sure = answers[..., 4 : 5 * BOXES : 5]
        total = total + NOTHING * (sure.square() * ~held).sum()
        return total / len(targets)

    def cells(self, targets: Targets, like: Tensor) -> tuple[Tensor, ...]:
        """Return the objects that cells answer for: picture, row, column, box and class of each.

        Of several whose centre lies in one cell, it is the first.
        """
        rows, columns = self.grid
        found: list[tuple[Tensor, ...]] = []
        for number, (truth, label) in enumerate(targets):
            centre = (truth[:, :2] + truth[:, 2:]) / 2 / STRIDE
            column = centre[:, 0].long().clamp(0, columns - 1)
            row = centre[:, 1].long().clamp(0, rows - 1)
            where = row * columns + column
            first = ~(where[:, None] == where[None]).tril(-1).any(1)
            picture = torch.full_like(row[first], number)
            found.append(
                (picture, row[first], column[first], truth[first].to(like.dtype), label[first])
            )
        return tuple(torch.cat(each) for each in zip(*found, strict=True))


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the intersection over union of boxes (..., 4) with others (..., 4), pair by pair."""
    low = torch.maximum(boxes[..., :2], others[..., :2])
    high = torch.minimum(boxes[..., 2:], others[..., 2:])
    both = (high - low).clamp_min(0).prod(-1)
    areas = [(each[..., 2:] - each[..., :2]).prod(-1) for each in (boxes, others)]
    return both / (areas[0] + areas[1] - both).clamp_min(1e-9)
