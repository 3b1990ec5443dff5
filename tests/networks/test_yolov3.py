"""YOLOv3: the gradients of the authors' code, their weight files, boxes by hand."""

import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from torchfolio.errors import FolioError, RequestError
from torchfolio.networks.weights import load_weights, read_weights
from torchfolio.networks.yolov3 import ANCHORS, STRIDES, TINY_ANCHORS, YOLOv3


def small(classes: int = 2, tiny: bool = True) -> YOLOv3:
    torch.manual_seed(0)
    return YOLOv3(num_classes=classes, tiny=tiny)


def test_maps_have_strides_of_32_16_and_8() -> None:
    with torch.device("meta"):
        answers = YOLOv3()(torch.zeros(2, 3, 416, 320))
        tiny = YOLOv3(tiny=True)(torch.zeros(2, 3, 416, 320))
    assert [tuple(each.shape) for each in answers] == [
        (2, 3, 13, 10, 85), (2, 3, 26, 20, 85), (2, 3, 52, 40, 85),
    ]  # fmt: skip
    assert [tuple(each.shape) for each in tiny] == [(2, 3, 13, 10, 85), (2, 3, 26, 20, 85)]


@pytest.mark.parametrize(("tiny", "parameters", "statistics"), [
    (False, 61_949_149, 52_608), (True, 8_852_366, 6_368),
])  # fmt: skip
def test_numbers_are_those_of_the_authors_files(
    tiny: bool, parameters: int, statistics: int
) -> None:
    with torch.device("meta"):
        network = YOLOv3(tiny=tiny)
    assert sum(each.numel() for each in network.parameters()) == parameters
    buffers = sum(each.numel() for name, each in network.named_buffers() if "running" in name)
    assert buffers == statistics
    taken = sum(
        getattr(layer, part).numel()
        for layer in network.convolutions()
        for part in ("weight", "bias", "running_mean", "running_var")
        if getattr(layer, part, None) is not None
    )
    assert taken == parameters + statistics  # their file has all of it, but for its header


def test_a_box_is_a_shifted_place_and_a_scaled_anchor() -> None:
    network = small()
    answers = [torch.zeros(1, 3, 2, 3, 7), torch.zeros(1, 3, 4, 6, 7)]
    answers[0][0, 1, 1, 2, :4] = torch.tensor([0.0, math.log(3), math.log(2), 0.0])
    left, top, right, bottom = network.box(answers[0], 0)[0, 1, 1, 2].tolist()
    width, height = TINY_ANCHORS[0][1]
    assert (right + left) / 2 == pytest.approx((2 + 0.5) * 32)
    assert (bottom + top) / 2 == pytest.approx((1 + 0.75) * 32)
    assert right - left == pytest.approx(2 * width)
    assert bottom - top == pytest.approx(height)
    boxes, objects, classes = network.boxes(answers)
    assert boxes.shape == (1, 3 * 6 + 3 * 24, 4)
    assert objects.shape == (1, 90)
    assert classes.shape == (1, 90, 2)
    assert torch.all(objects == 0.5)


def authors_gradients(
    answers: list[np.ndarray], targets: list[tuple[np.ndarray, np.ndarray]], anchors: np.ndarray
) -> list[np.ndarray]:
    """The negated ``delta`` of forward_yolo_layer, written as loops after its description."""
    found = []
    for place, answer in enumerate(answers):
        batch, _, rows, columns, size = answer.shape
        high, wide = rows * STRIDES[place], columns * STRIDES[place]
        delta = np.zeros_like(answer)
        sigmoid = 1 / (1 + np.exp(-answer))

        def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
            w = min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2)
            h = min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2)
            both = max(w, 0) * max(h, 0)
            return both / (a[2] * a[3] + b[2] * b[3] - both)

        for b in range(batch):
            truths = [
                ((x1 + x2) / 2 / wide, (y1 + y2) / 2 / high, (x2 - x1) / wide, (y2 - y1) / high)
                for x1, y1, x2, y2 in targets[b][0]
            ]
            for n, j, i in np.ndindex(3, rows, columns):
                w, h = anchors[3 * place + n]
                t = answer[b, n, j, i]
                box = (
                    (sigmoid[b, n, j, i, 0] + i) / columns, (sigmoid[b, n, j, i, 1] + j) / rows,
                    math.exp(t[2]) * w / wide, math.exp(t[3]) * h / high,
                )  # fmt: skip
                best = max((overlap(box, truth) for truth in truths), default=0)
                delta[b, n, j, i, 4] = 0 if best > 0.7 else 0 - sigmoid[b, n, j, i, 4]
            for truth, label in zip(truths, targets[b][1], strict=True):
                shapes = [
                    overlap((0, 0, w / wide, h / high), (0, 0, *truth[2:])) for w, h in anchors
                ]
                best = int(np.argmax(shapes))
                if best // 3 != place:
                    continue
                n, i, j = best % 3, int(truth[0] * columns), int(truth[1] * rows)
                scale = 2 - truth[2] * truth[3]
                said, t = sigmoid[b, n, j, i], answer[b, n, j, i]
                wanted = (
                    truth[0] * columns - i, truth[1] * rows - j,
                    math.log(truth[2] * wide / anchors[best][0]),
                    math.log(truth[3] * high / anchors[best][1]),
                )  # fmt: skip
                delta[b, n, j, i, :2] = scale * (np.array(wanted[:2]) - said[:2])
                delta[b, n, j, i, 2:4] = scale * (np.array(wanted[2:]) - t[2:4])
                delta[b, n, j, i, 4] = 1 - said[4]
                if delta[b, n, j, i, 5:].any():  # another object has this place already
                    delta[b, n, j, i, 5 + label] = 1 - said[5 + label]
                else:
                    onehot = np.eye(size - 5)[label]
                    delta[b, n, j, i, 5:] = onehot - said[5:]
        found.append(-delta / batch)
    return found


@pytest.mark.parametrize("tiny", [True, False])
def test_gradients_are_those_of_the_authors_code(tiny: bool) -> None:
    network = small(3, tiny)
    draw = np.random.default_rng(0)
    targets = []
    for count in (5, 0, 9):
        centre, size = draw.uniform(8, 90, (count, 2)), np.exp(draw.uniform(2, 4.5, (count, 2)))
        boxes = np.hstack([centre - size / 2, centre + size / 2])
        targets.append((boxes, draw.integers(0, 3, count)))
    targets[0][0][1] = targets[0][0][0]  # two objects at one place, of two classes
    targets[0][1][:2] = (0, 2)
    sizes = [(3, 3), (6, 6)] if tiny else [(3, 3), (6, 6), (12, 12)]
    answers = [draw.normal(0, 1, (3, 3, *size, 8)) for size in sizes]
    anchors = np.array(TINY_ANCHORS if tiny else ANCHORS, float).reshape(-1, 2)
    leaves = [torch.tensor(each, dtype=torch.float32, requires_grad=True) for each in answers]
    given = [(torch.tensor(b, dtype=torch.float32), torch.tensor(label)) for b, label in targets]
    network.loss(leaves, given).backward()
    wanted = authors_gradients([each.astype(np.float64) for each in answers], targets, anchors)
    for leaf, gradient in zip(leaves, wanted, strict=True):
        assert leaf.grad is not None
        assert leaf.grad.numpy() == pytest.approx(gradient, abs=2e-5)


def test_an_answer_that_overlaps_an_object_well_is_not_told_to_be_silent() -> None:
    network = small(1)
    answers = [torch.zeros(1, 3, 3, 3, 6, requires_grad=True), torch.zeros(1, 3, 6, 6, 6)]
    width, height = TINY_ANCHORS[0][0]
    box = torch.tensor([[48 - width / 2, 48 - height / 2, 48 + width / 2, 48 + height / 2]]) + 3.0
    network.loss(answers, [(box, torch.tensor([0]))]).backward()
    gradient = answers[0].grad
    assert gradient is not None
    assert gradient[0, 0, 1, 1, 4] == -0.5  # it answers for the object
    assert gradient[0, 1, 1, 1, 4] == 0.5  # 81x82 and 135x169 overlap by 0.29


def darknet(network: YOLOv3) -> torch.Tensor:
    """Return the numbers of a network in the order of the authors' files."""
    layers = list(network.convolutions())
    numbers: list[torch.Tensor] = []
    for place, layer in enumerate(layers):
        if not isinstance(layer, torch.nn.Conv2d):
            continue
        if layer.bias is None:
            norm = layers[place + 1]
            numbers += [norm.bias, norm.weight, norm.running_mean, norm.running_var]
        else:
            numbers.append(layer.bias)
        numbers.append(layer.weight)
    return torch.cat([each.detach().reshape(-1) for each in numbers])


def test_a_file_of_the_authors_is_read_layer_by_layer(tmp_path: Path) -> None:
    network = small()
    flat = darknet(network)
    wanted = {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
    heads = {
        "new.weights": struct.pack("<iiiq", 0, 2, 5, 32013312),
        "old.weights": struct.pack("<iiii", 0, 1, 0, 7),
    }
    for name, head in heads.items():
        (tmp_path / name).write_bytes(head + flat.numpy().astype("<f4").tobytes())
        other = small()
        report = load_weights(other, read_weights(tmp_path / name), strict=True)
        assert report.loaded == list(wanted)
        assert all(torch.equal(other.state_dict()[key], value) for key, value in wanted.items())
    content = (tmp_path / "new.weights").read_bytes()
    (tmp_path / "cut.weights").write_bytes(content[:-3])
    with pytest.raises(FolioError, match="is a file of Darknet's and is cut short"):
        read_weights(tmp_path / "cut.weights")


def test_a_file_may_end_after_a_layer_or_be_of_other_classes() -> None:
    network, other = small(), YOLOv3(num_classes=11, tiny=True)
    flat = darknet(network)
    first = network.adapted({"darknet": flat[: 4 * 16 + 16 * 27]})
    assert first.keys() == {
        f"backbone.stages.0.{name}"
        for name in ("0.weight", "1.bias", "1.weight", "1.running_mean", "1.running_var")
    }
    with pytest.raises(RequestError, match=r"ends within backbone\.stages\.1"):
        load_weights(network, {"darknet": flat[: 4 * 16 + 16 * 27 + 5]})
    with pytest.raises(RequestError, match="2 numbers more than the network"):
        load_weights(network, {"darknet": torch.cat([flat, flat[:2]])})
    report = load_weights(network, {"darknet": darknet(other)})
    assert set(report.new) == {
        f"heads.{place}.out.{part}" for place in range(2) for part in ("weight", "bias")
    }
    assert torch.equal(
        network.heads[1].conv[0].weight, other.heads[1].conv[0].weight
    )  # which stands behind the first head
