"""YOLO: the paper's Equation 3 by loops, boxes by hand."""

import math

import numpy as np
import pytest
import torch

from torchfolio.networks.build import build
from torchfolio.networks.yolov1 import YOLOv1, overlaps

CLASSES, ROWS, COLUMNS = 3, 2, 3
SIZE = (ROWS * 64, COLUMNS * 64)


def network() -> YOLOv1:
    with torch.device("meta"):  # of which the layers are not used
        found: YOLOv1 = build("yolov1", num_classes=CLASSES, image_size=SIZE)
    return found


def test_numbers_are_those_of_the_paper() -> None:
    with torch.device("meta"):
        found = YOLOv1()
        answers = found(torch.zeros(2, 3, 448, 448))
    assert answers.shape == (2, 7, 7, 30)
    assert sum(isinstance(each, torch.nn.Conv2d) for each in found.modules()) == 24
    assert found.fc1.in_features == 7 * 7 * 1024


def test_boxes_lie_in_their_cells() -> None:
    answers = torch.zeros(1, ROWS, COLUMNS, 10 + CLASSES)
    answers[0, 1, 2, 5:10] = torch.tensor([0.5, 0.25, 0.5**0.5, 0.25**0.5, 0.8])
    answers[0, 1, 2, 10:] = torch.tensor([0.1, 1.0, 2.0])
    box = network().boxes(answers)[0, 1, 2, 1].tolist()
    width, height = 0.5 * SIZE[1], 0.25 * SIZE[0]
    middle = (2.5 * 64, 1.25 * 64)
    assert box == pytest.approx(
        [middle[0] - width / 2, middle[1] - height / 2, middle[0] + width / 2,
         middle[1] + height / 2]
    )  # fmt: skip
    [boxes], [scores] = network().scored(answers)
    assert boxes.shape == (ROWS * COLUMNS * 2, 4)
    assert boxes[-1].tolist() == pytest.approx(box)
    assert scores[-1].tolist() == pytest.approx([0.08, 0.8, 1.0])  # 1.6 is no probability
    assert scores[:-1].any() == False  # noqa: E712


def test_overlaps_are_told_pair_by_pair() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 0, 0]])
    others = torch.tensor([[5.0, 0, 15, 10], [20, 20, 30, 30], [0, 0, 0, 0]])
    assert overlaps(boxes, others).tolist() == pytest.approx([1 / 3, 0, 0])


def equation_3(answers: np.ndarray, targets: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """The paper's loss, term by term; the mean over pictures."""
    total = 0.0
    for picture, (boxes, labels) in enumerate(targets):
        held = {}
        for box, label in zip(boxes, labels, strict=True):
            x, y = (box[0] + box[2]) / 2 / 64, (box[1] + box[3]) / 2 / 64
            held.setdefault((int(y), int(x)), (box, label, x, y))
        for row, column in np.ndindex(ROWS, COLUMNS):
            said = answers[picture, row, column]
            each = said[:10].reshape(2, 5)
            if (row, column) not in held:
                total += 0.5 * (each[:, 4] ** 2).sum()
                continue
            box, label, x, y = held[row, column]
            wanted = np.array(
                [x - column, y - row, math.sqrt((box[2] - box[0]) / SIZE[1]),
                 math.sqrt((box[3] - box[1]) / SIZE[0])]
            )  # fmt: skip
            shared = []
            for one in each:
                cx, cy = (one[0] + column) * 64, (one[1] + row) * 64
                w, h = one[2] ** 2 * SIZE[1], one[3] ** 2 * SIZE[0]
                across = min(cx + w / 2, box[2]) - max(cx - w / 2, box[0])
                down = min(cy + h / 2, box[3]) - max(cy - h / 2, box[1])
                both = max(0, across) * max(0, down)
                shared.append(both / (w * h + (box[2] - box[0]) * (box[3] - box[1]) - both))
            best = int(np.argmax(shared))
            if max(shared) == 0:
                best = int(np.argmin(((each[:, :4] - wanted) ** 2).sum(1)))
            total += 5 * ((each[best, :4] - wanted) ** 2).sum()
            total += (each[best, 4] - shared[best]) ** 2
            total += 0.5 * each[1 - best, 4] ** 2
            total += ((said[10:] - np.eye(CLASSES)[label]) ** 2).sum()
    return total / len(targets)


def test_the_loss_is_equation_3() -> None:
    draw = np.random.default_rng(0)
    targets = []
    for count in (4, 0, 2):
        centre = draw.uniform(10, np.array(SIZE[::-1]) - 10, (count, 2))
        size = draw.uniform(8, 60, (count, 2))
        boxes = np.hstack([centre - size / 2, centre + size / 2])
        targets.append((boxes, draw.integers(0, CLASSES, count)))
    targets[0][0][1] = targets[0][0][0] + 1  # in the same cell
    answers = draw.normal(0.3, 0.4, (3, ROWS, COLUMNS, 10 + CLASSES))
    answers[2, :, :, :2] += 9  # boxes far from any object
    answers[2, :, :, 5:7] += 9
    given = [(torch.tensor(b, dtype=torch.float32), torch.tensor(label)) for b, label in targets]
    found = network().loss(torch.tensor(answers, dtype=torch.float32), given)
    assert found.item() == pytest.approx(equation_3(answers, targets), rel=1e-5)
