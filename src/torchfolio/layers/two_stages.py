"""Detection in two stages: one proposes boxes, the other says what is in them.

Ren, He, Girshick, Sun, "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal
Networks", NeurIPS 2015, arXiv 1506.01497, Section 3. Constants are torchvision's, where a network
has no others.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # of a box's centre and size, as the second stage learns them
LARGEST = math.log(1000 / 16)  # how much larger than its anchor a box may be, as a logarithm

Targets = Sequence[tuple[Tensor, Tensor]]  # of each picture: boxes (objects, 4), classes (objects,)


class Outputs(NamedTuple):
    """What the two stages say of a batch, and in training what they should have said.

    The first says of each anchor by ``objects`` (batch, anchors) whether there is an object, and by
    ``shifts`` (batch, anchors, 4) how its box differs: hence ``proposals`` (proposals, 4) of each
    picture. The second gives them ``scores`` (all proposals, classes + 1), the first class is none,
    and ``deltas`` (all proposals, classes + 1, 4). ``size`` is that of the pictures. With targets
    ``first`` is the loss of the first stage, and ``labels`` (all proposals,) and ``wanted`` (all
    proposals, 4) are what the second should say.
    """

    objects: Tensor
    shifts: Tensor
    proposals: list[Tensor]
    scores: Tensor
    deltas: Tensor
    size: tuple[int, int]
    first: Tensor | None = None
    labels: Tensor | None = None
    wanted: Tensor | None = None


class TwoStages(nn.Module, ABC):
    """What both forms of Faster R-CNN share; a form says what maps, heads and anchors are.

    With targets the stages also learn, from anchors and proposals that are drawn at random in
    training; otherwise the first ones are taken, and what they say is no answer: true boxes are
    among them.
    """

    needs_targets = True
    least_score, most_overlap = 0.05, 0.5  # of answers that are kept; of two of one class
    found, nothing = 0.7, 0.3  # overlap from which an anchor is to propose; below which it is not
    anchors_drawn, proposals_drawn = 256, 512  # of a picture, that learn
    before = (2000, 1000)  # of a size of maps, the best answers: in training and afterwards
    kept = (2000, 1000)  # of a picture, the proposals
    proposal_overlap = 0.7  # of two proposals, at most
    smallest = 1e-3  # pixels: the side of a proposal, at least
    betas = (1 / 9, 1 / 9)  # of both stages: below which the smooth L1 loss is a square
    beyond = True  # whether anchors that reach beyond the picture learn

    @abstractmethod
    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps that are looked at, the largest first."""

    @abstractmethod
    def anchors(self, maps: list[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """Return the anchors of each size of maps (anchors, 4), in pixels."""

    @abstractmethod
    def proposing(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of objects (batch, anchors) and shifts (batch, anchors, 4) of maps."""

    @abstractmethod
    def regions(self, maps: list[Tensor], proposals: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Return what maps say of each proposal (all proposals, channels, 7, 7)."""

    @abstractmethod
    def naming(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores (proposals, classes + 1) and deltas (proposals, classes + 1, 4)."""

    def forward(
        self, images: Tensor, targets: Targets | None = None, *, answers: bool = False
    ) -> Outputs | tuple[Outputs, Outputs]:
        """Return what both stages say; with ``targets`` of what they should learn from.

        With ``answers`` also, and first, what they say without targets, from the same maps.
        """
        size = images.shape[-2], images.shape[-1]
        maps = self.maps(images)
        anchors = self.anchors(maps, size)
        said = [self.proposing(each) for each in maps[: len(anchors)]]
        objects = torch.cat([logits for logits, _ in said], 1)
        shifts = torch.cat([boxes for _, boxes in said], 1)
        every, counts = torch.cat(anchors), [len(each) for each in anchors]
        with torch.no_grad():
            boxes = decoded(shifts.to(every.dtype), every, (1.0, 1.0, 1.0, 1.0))
            proposals = [
                self.proposed(box, logit, counts, size)
                for box, logit in zip(boxes, objects.to(every.dtype), strict=True)
            ]
        if targets is None:
            return Outputs(objects, shifts, proposals, *self.named(maps, proposals, size), size)
        first = self.proposal_loss(objects.float(), shifts.float(), every, size, targets)
        chosen = [self.told(box, *truth) for box, truth in zip(proposals, targets, strict=True)]
        learnt = [box for box, _, _ in chosen]
        labels = torch.cat([label for _, label, _ in chosen])
        wanted = torch.cat([truth for _, _, truth in chosen])
        scores, deltas = self.named(maps, learnt, size)
        told = Outputs(objects, shifts, learnt, scores, deltas, size, first, labels, wanted)
        if not answers:
            return told
        found = Outputs(objects, shifts, proposals, *self.named(maps, proposals, size), size)
        return found, told

    def named(
        self, maps: list[Tensor], proposals: list[Tensor], size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Return the scores and deltas of proposals, from maps of pictures of a size."""
        if maps[0].is_meta:  # where nothing is computed
            number = sum(map(len, proposals))
            return self.naming(maps[0].new_empty(number, maps[0].shape[1], 7, 7))
        return self.naming(self.regions(maps, proposals, size))

    def proposed(
        self, boxes: Tensor, logits: Tensor, counts: list[int], size: tuple[int, int]
    ) -> Tensor:
        """Return the best proposals of a picture (proposals, 4), the likeliest first.

        ``counts`` are the anchors of each size of maps, which are compared with their like alone.
        """
        before, most = (each[not self.training] for each in (self.before, self.kept))
        if boxes.is_meta:  # where nothing is computed: as many as there can be
            return boxes[:most]
        places, levels, start = [], [], 0
        for level, count in enumerate(counts):
            best = logits[start : start + count].topk(min(before, count))
            places.append(best.indices + start)
            levels.append(torch.full_like(best.indices, level))
            start += count
        place, level_of = torch.cat(places), torch.cat(levels)
        boxes, scores = clip_boxes_to_image(boxes[place], size), logits[place].sigmoid()
        large = ((boxes[:, 2:] - boxes[:, :2]) >= self.smallest).all(1)
        boxes, scores, level_of = boxes[large], scores[large], level_of[large]
        return boxes[batched_nms(boxes, scores, level_of, self.proposal_overlap)[:most]]

    def proposal_loss(
        self,
        objects: Tensor,
        shifts: Tensor,
        anchors: Tensor,
        size: tuple[int, int],
        targets: Targets,
    ) -> Tensor:
        """Return the loss of the first stage: object or not, and the boxes of those that are."""
        total, number = objects.new_zeros(()), 0
        within = (anchors == clip_boxes_to_image(anchors, size)).all(1)
        if self.beyond or not within.any():  # of a small picture all learn
            within = torch.ones_like(within)
        for picture, (boxes, _) in enumerate(targets):
            learns = anchors[within]
            label, taken = matched(learns, boxes, self.found, self.nothing, lowest=True)
            truth = boxes[taken] if len(boxes) else torch.zeros_like(learns)
            right, wrong = self.drawn(label, self.anchors_drawn, 0.5)
            chosen = torch.cat([right, wrong])
            logit, shift = objects[picture, within], shifts[picture, within]
            total = total + F.binary_cross_entropy_with_logits(
                logit[chosen], label[chosen].to(logit.dtype), reduction="sum"
            )
            wanted = encoded(truth[right], learns[right], (1.0, 1.0, 1.0, 1.0))
            total = total + F.smooth_l1_loss(
                shift[right], wanted, beta=self.betas[0], reduction="sum"
            )
            number += len(chosen)
        return total / max(1, number)

    @torch.no_grad()
    def told(
        self, proposals: Tensor, boxes: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the proposals of a picture that learn, their classes (0: none), and boxes."""
        proposals = torch.cat([proposals, boxes.to(proposals.dtype)])
        label, taken = matched(proposals, boxes, 0.5, 0.5, lowest=False)
        classes = classes[taken] + 1 if len(boxes) else torch.zeros_like(label)
        label = torch.where(label > 0, classes, 0)
        right, wrong = self.drawn(label, self.proposals_drawn, 0.25)
        chosen = torch.cat([right, wrong])
        truth = boxes[taken[chosen]] if len(boxes) else proposals[chosen]
        return proposals[chosen], label[chosen], encoded(truth, proposals[chosen], WEIGHTS)

    def drawn(self, labels: Tensor, number: int, share: float) -> tuple[Tensor, Tensor]:
        """Return some places of objects and some of none: at most ``share`` of ``number`` objects.

        Places below zero are neither. In training they are drawn at random.
        """
        right, wrong = torch.nonzero(labels > 0)[:, 0], torch.nonzero(labels == 0)[:, 0]
        if self.training:
            right = right[torch.randperm(len(right), device=right.device)]
            wrong = wrong[torch.randperm(len(wrong), device=wrong.device)]
        right = right[: int(number * share)]
        return right, wrong[: number - len(right)]

    def loss(self, outputs: Outputs, targets: Targets) -> Tensor:
        """Return the sum of the four losses (the paper's Equation 1 for both stages)."""
        del targets  # the outputs know them
        if outputs.first is None or outputs.labels is None or outputs.wanted is None:
            raise ValueError("the outputs are of images without targets")
        labels = outputs.labels
        right = torch.nonzero(labels > 0)[:, 0]
        said = outputs.deltas.float()[right, labels[right]]
        box = F.smooth_l1_loss(said, outputs.wanted[right], beta=self.betas[1], reduction="sum")
        names = F.cross_entropy(outputs.scores.float(), labels)
        return outputs.first + names + box / max(1, len(labels))

    def scored(self, outputs: Outputs) -> tuple[list[Tensor], list[Tensor]]:
        """Return the boxes (proposals, classes, 4) and scores (proposals, classes) of pictures."""
        counts = [len(each) for each in outputs.proposals]
        scores = torch.split(outputs.scores.float().softmax(1)[:, 1:], counts)
        deltas = torch.split(outputs.deltas.float()[:, 1:], counts)
        found = []
        for proposals, delta in zip(outputs.proposals, deltas, strict=True):
            boxes = decoded(delta.transpose(0, 1), proposals, WEIGHTS).transpose(0, 1)
            found.append(clip_boxes_to_image(boxes, outputs.size))
        return found, list(scores)


def placed(shapes: Tensor, maps: torch.Size, steps: tuple[int, int]) -> Tensor:
    """Return shapes (shapes, 4) around zero at each place of maps, ``steps`` (down, across) apart.

    Shape: (rows * columns * shapes, 4)
    """
    rows = torch.arange(maps[0], device=shapes.device) * steps[0]
    columns = torch.arange(maps[1], device=shapes.device) * steps[1]
    row, column = torch.meshgrid(rows, columns, indexing="ij")
    place = torch.stack([column, row, column, row], -1).reshape(-1, 1, 4)
    return (place + shapes).reshape(-1, 4)


def by_anchor(maps: Tensor, values: int) -> Tensor:
    """Return what maps say of each anchor.

    Shape: (batch, anchors * values, height, width) -> (batch, height * width * anchors, values)
    """
    batch, _, rows, columns = maps.shape
    each = maps.view(batch, -1, values, rows, columns)
    return each.permute(0, 3, 4, 1, 2).reshape(batch, -1, values)


def decoded(deltas: Tensor, boxes: Tensor, weights: Sequence[float]) -> Tensor:
    """Return boxes moved and scaled by what was learnt (the paper's Equation 2, undone).

    Shape: (..., boxes, 4), (boxes, 4) -> (..., boxes, 4)
    """
    size = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + size / 2
    deltas = deltas / deltas.new_tensor(weights)
    moved = deltas[..., :2] * size + centre
    half = deltas[..., 2:].clamp_max(LARGEST).exp() * size / 2
    return torch.cat([moved - half, moved + half], -1)


def encoded(boxes: Tensor, anchors: Tensor, weights: Sequence[float]) -> Tensor:
    """Return how boxes (boxes, 4) differ from their anchors (the paper's Equation 2)."""
    size, own = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
    centre, middle = boxes[:, :2] + size / 2, anchors[:, :2] + own / 2
    found = torch.cat([(centre - middle) / own, (size / own).log()], 1)
    return found * found.new_tensor(weights)


@torch.no_grad()
def matched(
    anchors: Tensor, boxes: Tensor, found: float, nothing: float, *, lowest: bool
) -> tuple[Tensor, Tensor]:
    """Return what each anchor should say, and the box that it overlaps most.

    1 from an overlap of ``found`` on, 0 below ``nothing``, -1 between. With ``lowest`` the anchors
    that overlap a box most say 1, however little that is (the paper's Section 3.1.2); a box that
    none overlaps lets none say so.
    """
    if not len(boxes) or not len(anchors):
        zeros = torch.zeros(len(anchors), dtype=torch.long, device=anchors.device)
        return zeros, zeros
    shared = box_iou(boxes.to(anchors.dtype), anchors)  # (boxes, anchors)
    best, taken = shared.max(0)
    labels = torch.where(best >= found, 1, torch.where(best < nothing, 0, -1))
    if lowest:
        most = (shared == shared.amax(1, keepdim=True)) & (shared > 0)
        labels[most.any(0)] = 1
    return labels, taken
