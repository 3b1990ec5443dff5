"""YOLOv3 and its small form: the boxes and classes of all objects in one pass.

Redmon, Farhadi, "YOLOv3: An Incremental Improvement", 2018, arXiv 1804.02767. Layers: Darknet-53,
and the authors' yolov3.cfg and yolov3-tiny.cfg; so are the constants of training.

Differences: batch norm has 1e-5 within the root, as the authors' code for GPUs; their code for CPUs
adds 1e-6 to the root. An answer that overlaps an object by more than 0.7 is not told that it holds
none, as in the files; the paper says 0.5 (Section 2.1). Their code adds up gradients and never
computes a loss; this one has those gradients.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import box_iou

from torchfolio.networks.darknet import Body53, Convolution, layers_of
from torchfolio.networks.darknet_files import numbers_by_layer

# Width and height of the anchors in pixels, three for each size of maps, the smallest maps first.
ANCHORS = (
    ((116, 90), (156, 198), (373, 326)),
    ((30, 61), (62, 45), (59, 119)),
    ((10, 13), (16, 30), (33, 23)),
)
TINY_ANCHORS = (
    ((81, 82), (135, 169), (344, 319)),
    ((10, 14), (23, 27), (37, 58)),
)
STRIDES = (32, 16, 8)  # pixels for one place of the maps
IGNORED = 0.7  # overlap with an object, above which an answer need not say that it holds none

Anchors = tuple[tuple[tuple[float, float], ...], ...]
Targets = Sequence[tuple[Tensor, Tensor]]  # of each picture: boxes (objects, 4), classes (objects,)


class TinyDarknet(nn.Module):
    """The convolutions of yolov3-tiny.cfg, a pool after each but the last.

    Shape: (batch, in_channels, height, width) -> maps of strides 32 and 16 with 1024 and 256
    channels
    """

    widths = (1024, 256)

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        channels = in_channels
        for width in (16, 32, 64, 128, 256, 512, 1024):
            self.stages.append(Convolution(channels, width, 3))
            channels = width

    def forward(self, images: Tensor) -> list[Tensor]:
        x, found = images, []
        for place, stage in enumerate(self.stages):
            x = stage(x)
            found.append(x)
            if place < 5:
                x = F.max_pool2d(x, 2)
            elif place == 5:  # a pool of 2x2 with a stride of 1 keeps the size
                x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 2, 1)
        return [found[6], found[4]]


class Head(nn.Module):
    """What answers at one size of maps: it reads the maps and gives boxes, and maps to hand on.

    Shape: (batch, in_channels, height, width) -> (batch, outputs, height, width) and
    (batch, width / 2, height, width)
    """

    def __init__(self, in_channels: int, width: int, outputs: int, reads: int) -> None:
        super().__init__()
        half, channels = width // 2, in_channels
        self.read = nn.Sequential()
        for place in range(reads):
            maps, size = (width, 3) if place % 2 else (half, 1)
            self.read.append(Convolution(channels, maps, size))
            channels = maps
        self.conv = Convolution(channels, width, 3)
        self.out = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.read(x)
        return self.out(self.conv(maps)), maps


class YOLOv3(nn.Module):
    """Shape: (batch, in_channels, height, width) -> answers of each size of maps, smallest first.

    An answer is (batch, 3, rows, columns, 5 + num_classes): for each of three anchors t_x, t_y,
    t_w, t_h, the logit of an object, and that of each class (Section 2.1). Height and width are
    multiples of ``step``; 416 in the paper.
    """

    class_modules = ("heads",)
    step = 32
    least_score, most_overlap = 0.005, 0.45  # of answers that are kept; of two of one class

    def __init__(self, num_classes: int = 80, in_channels: int = 3, tiny: bool = False) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.begins_with = ("yolov3_tiny",) if tiny else ("yolov3", "darknet53")  # whose fit
        self.anchors: Anchors = TINY_ANCHORS if tiny else ANCHORS  # pixels
        self.backbone = TinyDarknet(in_channels) if tiny else Body53(in_channels)
        outputs = 3 * (5 + num_classes)
        self.heads, self.laterals = nn.ModuleList(), nn.ModuleList()
        carried = 0  # maps that come from the smaller size
        for place, width in enumerate(self.backbone.widths):
            if place:
                self.laterals.append(Convolution(2 * carried, carried, 1))
            if tiny:
                self.heads.append(Head(carried + width, (512, 256)[place], outputs, (1, 0)[place]))
                carried = 128
            else:
                self.heads.append(Head(carried + width, width, outputs, 5))
                carried = width // 4

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        below: Tensor | None = None
        for place, (maps, head) in enumerate(zip(self.backbone(images), self.heads, strict=True)):
            x = maps
            if below is not None:
                below = self.laterals[place - 1](below)
                x = torch.cat([F.interpolate(below, scale_factor=2, mode="nearest"), maps], 1)
            scores, below = head(x)
            batch, _, rows, columns = scores.shape
            scores = scores.view(batch, 3, 5 + self.num_classes, rows, columns)
            found.append(scores.permute(0, 1, 3, 4, 2))
        return tuple(found)

    def boxes(self, answers: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return all boxes (batch, boxes, 4), objectness (batch, boxes) and class probabilities.

        Boxes are left, top, right, bottom in pixels of the network's picture.
        """
        boxes, objects, classes = [], [], []
        for place, answer in enumerate(answers):
            boxes.append(self.box(answer, place).flatten(1, 3))
            objects.append(answer[..., 4].sigmoid().flatten(1))
            classes.append(answer[..., 5:].sigmoid().flatten(1, 3))
        return torch.cat(boxes, 1), torch.cat(objects, 1), torch.cat(classes, 1)

    def box(self, answer: Tensor, place: int) -> Tensor:
        """Return the boxes of one answer (batch, 3, rows, columns, 4), in pixels.

        b_x = sigmoid(t_x) + c_x and b_w = p_w exp(t_w) (Section 2.1).
        """
        rows, columns = answer.shape[2:4]
        row = torch.arange(rows, device=answer.device)[:, None].expand(rows, columns)
        column = torch.arange(columns, device=answer.device)[None, :].expand(rows, columns)
        cell = torch.stack([column, row], -1)  # (rows, columns, 2)
        centre = (answer[..., :2].sigmoid() + cell) * STRIDES[place]
        half = answer[..., 2:4].exp() * self.sizes(answer, place) / 2
        return torch.cat([centre - half, centre + half], -1)

    def sizes(self, like: Tensor, place: int) -> Tensor:
        """Return the anchors of one size of maps (3, 1, 1, 2): width and height in pixels."""
        return like.new_tensor(self.anchors[place])[:, None, None]

    def scored(self, answers: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return all boxes (batch, boxes, 4) and the score of each class (batch, boxes, classes).

        A score is the probability of an object times that of the class (Section 2.1).
        """
        boxes, objects, classes = self.boxes([each.float() for each in answers])
        return boxes, objects[..., None] * classes

    @property
    def anchor_shape(self) -> tuple[int, int]:
        """How many sizes of maps there are, and anchors of each."""
        return len(self.anchors), len(self.anchors[0])

    def set_anchors(self, anchors: Sequence[Sequence[tuple[float, float]]]) -> None:
        """Take other anchors: width and height in pixels, for each size of maps, smallest first."""
        self.anchors = tuple(tuple(each) for each in anchors)

    def loss(self, answers: Sequence[Tensor], targets: Targets) -> Tensor:
        """Return the sum over all answers of a picture, the mean over pictures.

        Of an object, the anchor whose shape overlaps it most is to answer, at the place of its
        centre: centre by cross-entropy, width and height by squared error, both weighted by 2 less
        the object's share of the picture, so that small ones count as well (the files).
        """
        total = answers[0].new_zeros((), dtype=torch.float32)
        for place, answer in enumerate(answers):
            answer = answer.float()
            picture, anchor, box, label = self.assigned(place, targets, answer)
            rows, columns = answer.shape[2:4]
            centre = (box[:, :2] + box[:, 2:]) / 2 / STRIDES[place]  # in places of the maps
            column = centre[:, 0].long().clamp(0, columns - 1)
            row = centre[:, 1].long().clamp(0, rows - 1)
            where = ((picture * 3 + anchor) * rows + row) * columns + column
            # Of several objects for one answer the last counts, and the classes of all.
            _, group = torch.unique(where, return_inverse=True)
            order = torch.arange(len(where), device=where.device)
            last = order.new_zeros(int(group.max()) + 1 if len(group) else 0)
            last = last.scatter_reduce(0, group, order, "amax")
            size = box[:, 2:] - box[:, :2]
            shape = (size / self.sizes(answer, place)[anchor, 0, 0]).clamp_min(1e-6).log()
            area = rows * columns * STRIDES[place] ** 2
            weight = (2 - size.prod(1) / area)[last, None]
            said = answer[picture, anchor, row, column][last]  # (objects, 5 + num_classes)
            offset = centre - torch.stack([column, row], 1)
            total = (
                total
                + (
                    weight
                    * F.binary_cross_entropy_with_logits(
                        said[:, :2], offset[last], reduction="none"
                    )
                ).sum()
            )
            total = total + (weight * (said[:, 2:4] - shape[last]).square() / 2).sum()
            classes = answer.new_zeros(len(last), self.num_classes)
            classes[group, label] = 1
            total = total + F.binary_cross_entropy_with_logits(
                said[:, 5:], classes, reduction="sum"
            )
            held = torch.zeros(answer.shape[:4], dtype=torch.bool, device=answer.device)
            held[picture, anchor, row, column] = True
            asked = held | ~self.near(answer, place, targets)
            objects = F.binary_cross_entropy_with_logits(
                answer[..., 4], held.to(answer.dtype), reduction="none"
            )
            total = total + (objects * asked).sum()
        return total / len(targets)

    def assigned(
        self, place: int, targets: Targets, like: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the objects that one size of maps answers for.

        That is, of each its picture, its anchor, its box and its class (objects, ...).
        """
        anchors = torch.cat(
            [self.sizes(like, each).flatten(0, 2) for each in range(len(self.heads))]
        )
        pictures, chosen, boxes, labels = [], [], [], []
        for number, (box, label) in enumerate(targets):
            size = (box[:, 2:] - box[:, :2])[:, None].to(like.dtype)  # (objects, 1, 2)
            both = torch.minimum(size, anchors).prod(2)
            best = (both / (size.prod(2) + anchors.prod(1) - both)).argmax(1)
            own = best // 3 == place
            pictures.append(torch.full_like(best[own], number))
            chosen.append(best[own] % 3)
            boxes.append(box[own].to(like.dtype))
            labels.append(label[own])
        return torch.cat(pictures), torch.cat(chosen), torch.cat(boxes), torch.cat(labels)

    @torch.no_grad()
    def near(self, answer: Tensor, place: int, targets: Targets) -> Tensor:
        """Return which answers overlap an object by more than 0.7 (batch, 3, rows, columns)."""
        found = torch.zeros(answer.shape[:4], dtype=torch.bool, device=answer.device)
        boxes = self.box(answer, place)
        for number, (truth, _) in enumerate(targets):
            if len(truth):
                shared = box_iou(boxes[number].flatten(0, 2), truth.to(boxes.dtype)).amax(1)
                found[number] = (shared > IGNORED).view(found.shape[1:])
        return found

    def convolutions(self) -> Iterator[nn.Module]:
        """Give the convolutions in the order of the authors' files, each before its batch norm."""
        parts: list[nn.Module] = [self.backbone]
        for place, head in enumerate(self.heads):
            parts += [head] if not place else [self.laterals[place - 1], head]
        return layers_of(*parts)

    def adapted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights with the numbers of one of the authors' files under our names."""
        return numbers_by_layer(self, weights, 3)
