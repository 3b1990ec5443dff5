"""YOLOv2: boxes told from anchors, on one size of maps.

Redmon, Farhadi, "YOLO9000: Better, Faster, Stronger", CVPR 2017, arXiv 1612.08242. Layers:
Darknet-19, and the authors' yolov2.cfg and yolov2-voc.cfg; so are anchors and constants of
training.

Differences: batch norm has 1e-5 within the root, as the authors' code for GPUs. Their code adds up
gradients and never computes a loss; this one has those gradients, without the pull towards the
anchors in the first 12,800 pictures.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import box_iou

from torchfolio.networks.darknet import Convolution, layers_of, trunk
from torchfolio.networks.darknet_files import KEY, numbers_by_layer
from torchfolio.networks.yolov3 import Targets

STRIDE = 32  # pixels for one place of the maps
# Width and height of the anchors in places of the maps, by k-means of COCO's and VOC's boxes.
ANCHORS = (
    (0.57273, 0.677385), (1.87446, 2.06253), (3.33843, 5.47434), (7.88282, 3.52778),
    (9.77052, 9.16828),
)  # fmt: skip
VOC_ANCHORS = (
    (1.3221, 1.73145), (3.19275, 4.00944), (5.05587, 8.09892), (9.47112, 4.84053),
    (11.2364, 10.0071),
)  # fmt: skip
VOC_NUMBERS = 50_655_389 + 20_672  # of yolov2-voc.weights: parameters, statistics of batch norm
NEAR = 0.6  # overlap with an object, above which an answer need not say that it holds none
HELD = 5.0  # weight of saying that there is an object


class YOLOv2(nn.Module):
    """Shape: (batch, in_channels, height, width) -> answers (batch, 5, rows, columns, 5 + classes).

    An answer is t_x, t_y, t_w, t_h, the logit of an object, and the score of each class
    (Section 2). Height and width are multiples of ``step``; 416 in the paper.
    """

    class_modules = ("out",)
    body = ("stages",)
    begins_with = ("yolov2", "darknet19")  # whose weights fit
    step = STRIDE
    least_score, most_overlap = 0.005, 0.45  # of answers that are kept; of two of one class

    def __init__(self, num_classes: int = 80, in_channels: int = 3, voc: bool = False) -> None:
        super().__init__()
        self.num_classes = num_classes
        anchors = VOC_ANCHORS if voc else ANCHORS
        self.anchors = tuple((w * STRIDE, h * STRIDE) for w, h in anchors)  # pixels
        self.stages = trunk(in_channels)
        self.deep = nn.Sequential(Convolution(1024, 1024, 3), Convolution(1024, 1024, 3))
        self.passed = Convolution(512, 64, 1)
        self.conv = Convolution(4 * 64 + 1024, 1024, 3)
        self.out = nn.Conv2d(1024, len(self.anchors) * (5 + num_classes), 1)

    def forward(self, images: Tensor) -> Tensor:
        x, fine = images, images
        for place, stage in enumerate(self.stages):
            x = stage(F.max_pool2d(x, 2) if place else x)
            if place == 4:
                fine = x
        x = torch.cat([folded(self.passed(fine)), self.deep(x)], 1)
        x = self.out(self.conv(x))
        batch, _, rows, columns = x.shape
        return x.view(batch, len(self.anchors), -1, rows, columns).permute(0, 1, 3, 4, 2)

    def box(self, answers: Tensor) -> Tensor:
        """Return the boxes of answers (batch, 5, rows, columns, 4): left, top, right, bottom.

        In pixels: b_x = sigmoid(t_x) + c_x and b_w = p_w exp(t_w) (Section 2).
        """
        rows, columns = answers.shape[2:4]
        row = torch.arange(rows, device=answers.device)[:, None].expand(rows, columns)
        column = torch.arange(columns, device=answers.device)[None, :].expand(rows, columns)
        centre = (answers[..., :2].sigmoid() + torch.stack([column, row], -1)) * STRIDE
        half = answers[..., 2:4].exp() * self.sizes(answers) / 2
        return torch.cat([centre - half, centre + half], -1)

    def sizes(self, like: Tensor) -> Tensor:
        """Return the anchors (5, 1, 1, 2): width and height in pixels."""
        return like.new_tensor(self.anchors)[:, None, None]

    def scored(self, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Return all boxes (batch, boxes, 4) and the score of each class (batch, boxes, classes).

        A score is the probability of an object times that of the class.
        """
        answers = answers.float()
        scores = answers[..., 4:5].sigmoid() * answers[..., 5:].softmax(-1)
        return self.box(answers).flatten(1, 3), scores.flatten(1, 3)

    @property
    def anchor_shape(self) -> tuple[int, int]:
        """How many sizes of maps there are, and anchors of each."""
        return 1, len(self.anchors)

    def set_anchors(self, anchors: Sequence[Sequence[tuple[float, float]]]) -> None:
        """Take other anchors: width and height in pixels."""
        (self.anchors,) = (tuple(each) for each in anchors)

    def loss(self, answers: Tensor, targets: Targets) -> Tensor:
        """Return the sum over all answers of a picture, the mean over pictures.

        Of an object, the anchor whose shape overlaps it most is to answer, at the place of its
        centre: its box by squared error, weighted by 2 less the object's share of the picture; that
        it holds an object by the squared error to its overlap with it; its class by cross-entropy.
        All others are to say that they hold none, unless they overlap an object by more than 0.6.
        """
        answers = answers.float()
        rows, columns = answers.shape[2:4]
        boxes = self.box(answers)
        held = answers[..., 4].sigmoid()
        others = torch.ones_like(held, dtype=torch.bool)
        total = answers.new_zeros(())
        for number, (truth, label) in enumerate(targets):
            if not len(truth):
                continue
            truth = truth.to(answers.dtype)
            with torch.no_grad():
                shared = box_iou(boxes[number].flatten(0, 2), truth)
                others[number] &= (shared.amax(1) <= NEAR).view(others.shape[1:])
            centre = (truth[:, :2] + truth[:, 2:]) / 2 / STRIDE
            column = centre[:, 0].long().clamp(0, columns - 1)
            row = centre[:, 1].long().clamp(0, rows - 1)
            size = truth[:, 2:] - truth[:, :2]
            anchors = self.sizes(answers)[:, 0, 0]
            both = torch.minimum(size[:, None], anchors).prod(2)
            best = (both / (size.prod(1)[:, None] + anchors.prod(1) - both)).argmax(1)
            where = (best * rows + row) * columns + column
            last = ~(where[:, None] == where[None]).triu(1).any(1)  # of several for one answer
            anchor, row, column, where = best[last], row[last], column[last], where[last]
            said = answers[number, anchor, row, column]
            area = rows * columns * STRIDE**2
            weight = 2 - size[last].prod(1) / area
            offset = centre[last] - torch.stack([column, row], 1)
            shape = (size[last] / anchors[anchor]).clamp_min(1e-6).log()
            box = (said[:, :2].sigmoid() - offset).square().sum(1)
            box = box + (said[:, 2:4] - shape).square().sum(1)
            overlap = shared[where, torch.nonzero(last)[:, 0]]
            object_ = (held[number, anchor, row, column] - overlap).square()
            total = total + (weight * box + HELD * object_).sum() / 2
            total = total + F.cross_entropy(said[:, 5:], label[last], reduction="sum")
            others[number, anchor, row, column] = False
        total = total + (held.square() * others).sum() / 2
        return total / len(targets)

    def convolutions(self) -> Iterator[nn.Module]:
        """Give the convolutions in the order of the authors' files, each before its batch norm."""
        return layers_of(self.stages, self.deep, self.passed, self.conv, self.out)

    @staticmethod
    def told_by(weights: Mapping[str, Tensor], known: Mapping[str, Any]) -> dict[str, Any]:
        """Return which anchors weights want: VOC's, where a file has the size of the authors'."""
        if "voc" in known:  # a run of ours
            return {"voc": known["voc"]}
        return {"voc": True} if len(weights.get(KEY, ())) == VOC_NUMBERS else {}

    def adapted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights with the numbers of one of the authors' files under our names."""
        return numbers_by_layer(self, weights, len(self.anchors))


def folded(maps: Tensor) -> Tensor:
    """Return maps of half the height and width and four times as many, as the authors' code does.

    It takes (channels, height, width) for (channels / 4, 2 * height, 2 * width) and picks every
    second row and column; what it gives is taken for (4 * channels, height / 2, width / 2).
    """
    batch, channels, height, width = maps.shape
    seen = maps.reshape(batch, channels // 4, height, 2, width, 2)
    return seen.permute(0, 3, 5, 1, 2, 4).reshape(batch, 4 * channels, height // 2, width // 2)
