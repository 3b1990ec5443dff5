"""YOLOv2: the gradients of the authors' code, their order of maps, their weight files."""

import math

import numpy as np
import pytest
import torch

from torchfolio.errors import RequestError
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import find_card
from torchfolio.networks.darknet_files import KEY
from torchfolio.networks.weights import load_weights, told_arguments
from torchfolio.networks.yolov2 import ANCHORS, VOC_ANCHORS, YOLOv2, folded


@pytest.fixture(scope="module")
def network() -> YOLOv2:
    torch.manual_seed(0)
    return YOLOv2(num_classes=3)


@pytest.mark.parametrize(("classes", "parameters"), [(80, 50_962_889), (20, 50_655_389)])
def test_numbers_are_those_of_the_authors_files(classes: int, parameters: int) -> None:
    with torch.device("meta"):
        network = YOLOv2(classes)
    assert sum(each.numel() for each in network.parameters()) == parameters
    statistics = sum(each.numel() for name, each in network.named_buffers() if "running" in name)
    assert statistics == 20_672


def test_maps_are_folded_as_by_the_authors_code() -> None:
    channels, height, width = 8, 4, 6
    maps = torch.arange(channels * height * width, dtype=torch.float32)
    flat, wanted = maps.tolist(), [0.0] * len(maps)
    for c in range(channels):  # reorg_cpu with forward = 0
        for h in range(height):
            for w in range(width):
                offset, own = divmod(c, channels // 4)
                row, column = 2 * h + offset // 2, 2 * w + offset % 2
                source = column + 2 * width * (row + 2 * height * own)
                wanted[w + width * (h + height * c)] = flat[source]
    found = folded(maps.view(1, channels, height, width))
    assert found.shape == (1, 32, 2, 3)
    assert found.flatten().tolist() == wanted
    apart = torch.nn.functional.pixel_unshuffle(maps.view(1, channels, height, width), 2)
    assert not torch.equal(found, apart)


def test_boxes_are_told_from_anchors(network: YOLOv2) -> None:
    answers = torch.zeros(1, 5, 2, 3, 8)
    answers[0, 1, 1, 2, :4] = torch.tensor([0.0, math.log(3), math.log(2), 0])
    left, top, right, bottom = network.box(answers)[0, 1, 1, 2].tolist()
    assert (left + right) / 2 == pytest.approx((2 + 0.5) * 32)
    assert (top + bottom) / 2 == pytest.approx((1 + 0.75) * 32)
    assert right - left == pytest.approx(2 * ANCHORS[1][0] * 32)
    assert bottom - top == pytest.approx(ANCHORS[1][1] * 32)
    [boxes], [scores] = network.scored(answers)
    assert boxes.shape == (30, 4)
    assert torch.allclose(scores, torch.full((30, 3), 0.5 / 3))
    voc = build("yolov2", num_classes=20, voc=True)
    assert voc.anchors[0] == (VOC_ANCHORS[0][0] * 32, VOC_ANCHORS[0][1] * 32)


def authors_gradient(
    answers: np.ndarray, targets: list[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """The negated ``delta`` of forward_region_layer, written as loops after its description."""
    batch, anchors, rows, columns, _ = answers.shape
    delta = np.zeros_like(answers)
    sigmoid = 1 / (1 + np.exp(-answers))
    softmax = np.exp(answers[..., 5:]) / np.exp(answers[..., 5:]).sum(-1, keepdims=True)

    def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
        w = min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2)
        h = min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2)
        both = max(w, 0) * max(h, 0)
        return both / (a[2] * a[3] + b[2] * b[3] - both)

    for b in range(batch):
        truths = [
            tuple(np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]) / 32)
            for x1, y1, x2, y2 in targets[b][0]
        ]  # in places of the maps

        def box(n: int, j: int, i: int, b: int = b) -> tuple[float, ...]:
            t, s = answers[b, n, j, i], sigmoid[b, n, j, i]
            w, h = ANCHORS[n]
            return s[0] + i, s[1] + j, math.exp(t[2]) * w, math.exp(t[3]) * h

        for n, j, i in np.ndindex(anchors, rows, columns):
            said = sigmoid[b, n, j, i, 4]
            best = max((overlap(box(n, j, i), truth) for truth in truths), default=0)
            delta[b, n, j, i, 4] = 0 if best > 0.6 else -said * said * (1 - said)
        for truth, label in zip(truths, targets[b][1], strict=True):
            shapes = [overlap((0, 0, *each), (0, 0, *truth[2:])) for each in ANCHORS]
            n, i, j = int(np.argmax(shapes)), int(truth[0]), int(truth[1])
            scale = 2 - truth[2] * truth[3] / (rows * columns)
            t, s = answers[b, n, j, i], sigmoid[b, n, j, i]
            for axis, wanted in enumerate((truth[0] - i, truth[1] - j)):
                slope = s[axis] * (1 - s[axis])
                delta[b, n, j, i, axis] = scale * (wanted - s[axis]) * slope
            for axis in (0, 1):
                wanted = math.log(truth[2 + axis] / ANCHORS[n][axis])
                delta[b, n, j, i, 2 + axis] = scale * (wanted - t[2 + axis])
            shared = overlap(box(n, j, i), truth)
            delta[b, n, j, i, 4] = 5 * (shared - s[4]) * s[4] * (1 - s[4])
            delta[b, n, j, i, 5:] = np.eye(answers.shape[-1] - 5)[label] - softmax[b, n, j, i]
    return -delta / batch


def test_gradients_are_those_of_the_authors_code(network: YOLOv2) -> None:
    draw = np.random.default_rng(0)
    targets = []
    for count in (6, 0, 9):
        centre, size = draw.uniform(8, 90, (count, 2)), np.exp(draw.uniform(2, 4.5, (count, 2)))
        boxes = np.hstack([centre - size / 2, centre + size / 2])
        targets.append((boxes, draw.integers(0, 3, count)))
    targets[0][0][1] = targets[0][0][0]  # two objects at one place, of two classes
    targets[0][1][:2] = (0, 2)
    answers = draw.normal(0, 1, (3, 5, 3, 3, 8))
    leaf = torch.tensor(answers, dtype=torch.float32, requires_grad=True)
    given = [(torch.tensor(b, dtype=torch.float32), torch.tensor(label)) for b, label in targets]
    network.loss(leaf, given).backward()
    assert leaf.grad is not None
    assert leaf.grad.numpy() == pytest.approx(authors_gradient(answers, targets), abs=2e-5)


def test_a_file_of_the_authors_is_read_layer_by_layer(network: YOLOv2) -> None:
    layers = list(network.convolutions())
    sides = [each.weight.shape for each in layers if isinstance(each, torch.nn.Conv2d)]
    assert [tuple(each) for each in sides[-5:]] == [
        (1024, 1024, 3, 3), (1024, 1024, 3, 3), (64, 512, 1, 1), (1024, 1280, 3, 3),
        (40, 1024, 1, 1),
    ]  # fmt: skip
    numbers = []
    for layer, after in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, torch.nn.Conv2d):
            if layer.bias is None:
                numbers += [after.bias, after.weight, after.running_mean, after.running_var]
            else:
                numbers.append(layer.bias)
            numbers.append(layer.weight)
    flat = torch.cat([each.detach().flatten() for each in numbers])
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in YOLOv2(num_classes=3).state_dict().items()}
    found = network.adapted({KEY: flat})
    assert {k: v.shape for k, v in found.items()} == {
        k: v for k, v in shapes.items() if "num_batches" not in k
    }
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in found.items())
    other = YOLOv2(num_classes=9)
    report = load_weights(other, {KEY: flat})
    assert report.new == ["out.weight", "out.bias"]


def test_a_file_of_the_size_of_the_authors_for_voc_brings_its_anchors() -> None:
    """The parameters of yolov2-voc.cfg and the statistics of its batch norm."""
    numbers = torch.empty(50_655_389 + 20_672, device="meta")
    card = find_card("yolov2")
    assert told_arguments(card, {KEY: numbers}, {}) == {"voc": True}
    assert told_arguments(card, {KEY: numbers[1:]}, {}) == {}
    assert told_arguments(card, {}, {"voc": True}) == {"voc": True}  # of a run
    assert told_arguments(find_card("yolov3"), {KEY: numbers}, {}) == {}


def test_a_run_of_darknet19_is_its_backbone(network: YOLOv2) -> None:
    weights = {
        name: torch.full_like(value, 0.5) if value.is_floating_point() else value
        for name, value in build("darknet19", num_classes=5).state_dict().items()
    }
    other = YOLOv2(num_classes=3)
    report = load_weights(other, weights)
    assert all(name.startswith("stages.") for name in report.loaded)
    assert (other.stages[0][0][0].weight == 0.5).all()
    few = {name: value for name, value in weights.items() if not name.startswith("stages.5")}
    with pytest.raises(RequestError, match="parameters of its stages"):
        load_weights(other, few)
