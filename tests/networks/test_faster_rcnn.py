"""Faster R-CNN: torchvision's answers, proposals and losses, with its weights."""

import math
import re
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models import detection as torchvision_detection
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops.misc import FrozenBatchNorm2d

from torchfolio.errors import RequestError
from torchfolio.layers.two_stages import decoded, encoded, matched, placed
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import find_card
from torchfolio.networks.faster_rcnn import FasterRCNN, FasterRCNNVGG16, vgg_anchors
from torchfolio.networks.weights import load_weights, told_arguments
from torchfolio.tasks.base import Parts
from torchfolio.tasks.detection.boxes import fitted
from torchfolio.tasks.detection.options import DetectionOptions
from torchfolio.tasks.detection.pictures import BoxBatch
from torchfolio.tasks.detection.task import ObjectDetection, kept

SIZE = (128, 160)


@pytest.fixture(scope="module")
def both() -> tuple[FasterRCNN, Any]:
    """Our network and torchvision's with the same weights, whose boxes spread."""
    torch.manual_seed(0)
    theirs: Any = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=5)
    with torch.no_grad():
        theirs.rpn.head.cls_logits.weight.mul_(30)
        theirs.rpn.head.bbox_pred.weight.mul_(5)
        theirs.roi_heads.box_predictor.cls_score.weight.mul_(20)
    ours: Any = build("fasterrcnn_resnet50_fpn", num_classes=4)
    ours.load_state_dict(theirs.state_dict())
    return ours.eval(), theirs.eval()


def images() -> Tensor:
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def targets() -> list[tuple[Tensor, Tensor]]:
    boxes = torch.tensor([[10.0, 12, 60, 70], [80, 30, 150, 120], [5, 80, 30, 110]])
    return [(boxes, torch.tensor([0, 3, 1])), (torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))]


def theirs_on(model: Any, pictures: Tensor, truth: Any = None) -> tuple[Any, Any, Any]:
    """Run torchvision's model without its scaling."""
    listed = ImageList(pictures, [SIZE] * len(pictures))
    maps = model.backbone(pictures)
    named = None
    if truth is not None:
        named = [{"boxes": box, "labels": label + 1} for box, label in truth]
    proposals, first = model.rpn(listed, maps, named)
    found, second = model.roi_heads(OrderedDict(maps), proposals, listed.image_sizes, named)
    return proposals, found, {**first, **second}


def test_names_and_numbers_are_torchvisions() -> None:
    with torch.device("meta"):
        ours = build("fasterrcnn_resnet50_fpn")
        theirs = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert sum(each.numel() for each in ours.parameters()) == 41_808_406
    frozen = build("fasterrcnn_resnet50_fpn", frozen_norm=True)
    assert sum(each.numel() for each in frozen.parameters()) == 41_755_286


@torch.no_grad()
def test_proposals_and_answers_are_torchvisions(both: tuple[FasterRCNN, Any]) -> None:
    ours, theirs = both
    proposals, found, _ = theirs_on(theirs, images())
    outputs = ours(images())
    for mine, other in zip(outputs.proposals, proposals, strict=True):
        assert torch.allclose(mine, other, atol=1e-3)
    said = kept(ours, outputs)
    for mine, other in zip(said, found, strict=True):
        assert len(mine) == len(other["labels"]) > 10
        assert torch.equal(torch.from_numpy(mine.labels), other["labels"] - 1)
        assert torch.allclose(torch.from_numpy(mine.boxes), other["boxes"], atol=1e-3)
        assert torch.allclose(torch.from_numpy(mine.scores), other["scores"], atol=1e-5)


def test_the_loss_is_the_sum_of_torchvisions_four(both: tuple[FasterRCNN, Any]) -> None:
    ours, theirs = both
    ours.train(), theirs.train()
    try:
        state = {name: each.clone() for name, each in theirs.state_dict().items()}
        torch.manual_seed(5)
        _, _, losses = theirs_on(theirs, images(), targets())
        assert len(losses) == 4
        theirs.load_state_dict(state)
        torch.manual_seed(5)
        found = ours.loss(ours(images(), targets()), targets())
        assert found.item() == pytest.approx(sum(losses.values()).item(), rel=1e-5)
        ours.load_state_dict(state)
    finally:
        ours.eval(), theirs.eval()


@torch.no_grad()
def test_weights_for_coco_bring_frozen_norms_without_an_epsilon() -> None:
    """torchvision sets it to 0 where it builds the network of its weights for COCO."""
    torch.manual_seed(0)
    backbone = resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d, trainable_layers=5
    )
    theirs: Any = torchvision_detection.FasterRCNN(backbone, 91).eval()
    overwrite_eps(theirs, 0.0)
    for name, value in theirs.named_buffers():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith("body.bn1.running_var"):  # some so small that an epsilon is seen
            value[::7] = 2e-5
    weights = theirs.state_dict()
    card = find_card("fasterrcnn_resnet50_fpn")
    told = told_arguments(card, weights, {})
    assert told == {"frozen_norm": True, "norm_eps": 0.0}
    # Trained on for other classes the epsilon is not known; ours of a run is; counts mean learning.
    fewer = weights | {"roi_heads.box_predictor.cls_score.weight": torch.zeros(4, 1024)}
    assert told_arguments(card, fewer, {}) == {"frozen_norm": True}
    assert told_arguments(card, fewer, told | {"proposals": 64}) == told
    counted = weights | {"backbone.body.bn1.num_batches_tracked": torch.tensor(7)}
    assert told_arguments(card, counted, {}) == {}
    ours: Any = build(card.name, **told).eval()
    assert not load_weights(ours, weights, strict=True).new
    found = ours(images()[:1])
    for layer in ours.modules():
        if isinstance(layer, FrozenBatchNorm2d):
            layer.eps = 1e-5
    other = ours(images()[:1])
    maps = theirs.backbone(images()[:1])
    logits, shifts = theirs.rpn.head(list(maps.values()))
    objects, _ = concat_box_prediction_layers(logits, shifts)
    assert torch.allclose(found.objects.flatten(), objects.flatten(), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found.objects, other.objects, rtol=1e-2, atol=1e-2)


def test_boxes_come_back_from_what_is_learnt_of_them() -> None:
    anchors = torch.tensor([[0.0, 0, 10, 20], [5, 5, 50, 30]])
    boxes = torch.tensor([[1.0, 2, 12, 18], [0, 0, 60, 40]])
    weights = (10.0, 10.0, 5.0, 5.0)
    assert torch.allclose(
        decoded(encoded(boxes, anchors, weights), anchors, weights), boxes, atol=1e-4
    )
    # Half a width to the right, twice as wide: 10 * 0.5 and 5 * log 2.
    moved = torch.tensor([[0.0, 0, 20, 20]])
    assert encoded(moved, anchors[:1], weights)[0].tolist() == pytest.approx(
        [5, 0, 3.4657, 0], abs=1e-4
    )


def test_anchors_that_overlap_a_box_most_propose_it_however_little_that_is() -> None:
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 8, 10], [20, 20, 30, 30], [40, 40, 50, 50]])
    boxes = torch.tensor([[0.0, 0, 10, 10], [28, 28, 60, 60]])
    labels, taken = matched(anchors, boxes, 0.7, 0.3, lowest=True)
    assert labels.tolist() == [1, 1, 0, 1]  # 8/10; nothing; the best of the second box: 100/1024
    assert taken.tolist()[:2] == [0, 0]
    assert matched(anchors, boxes, 0.7, 0.3, lowest=False)[0].tolist() == [1, 1, 0, 0]
    assert matched(anchors, boxes, 0.9, 0.3, lowest=False)[0].tolist() == [1, -1, 0, 0]
    assert matched(anchors, torch.zeros(0, 4), 0.7, 0.3, lowest=True)[0].tolist() == [0] * 4


def test_a_box_that_no_anchor_overlaps_lets_none_propose_it() -> None:
    """By hand: of the second box every overlap is 0, the largest as well as all others."""
    anchors = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 50, 50]])
    boxes = torch.tensor([[0.0, 0, 10, 10], [70, 70, 80, 80]])
    assert matched(anchors, boxes, 0.7, 0.3, lowest=True)[0].tolist() == [1, 0, 0]
    assert matched(anchors, boxes[1:], 0.7, 0.3, lowest=True)[0].tolist() == [0, 0, 0]


def test_an_object_at_the_edge_that_the_authors_anchors_leave_out_is_none_of_theirs() -> None:
    """In a square of 256 those within begin 8 pixels off the left: 8 + 16 * 4 - 128 / 2 = 8."""
    every = placed(torch.tensor(vgg_anchors((8, 16, 32))), torch.Size((16, 16)), (16, 16))
    within = every[(every >= 0).all(1) & (every <= 256).all(1)]
    assert within[:, 0].min().item() == 8
    cut = torch.tensor([[0.0, 100, 8, 130]])
    assert not matched(within, cut, 0.7, 0.3, lowest=True)[0].any()


def test_the_authors_anchors_are_those_that_their_code_prints() -> None:
    assert vgg_anchors((8, 16, 32)) == [  # its last pixels counted in
        (-84, -40, 100, 56), (-176, -88, 192, 104), (-360, -184, 376, 200),
        (-56, -56, 72, 72), (-120, -120, 136, 136), (-248, -248, 264, 264),
        (-36, -80, 52, 96), (-80, -168, 96, 184), (-168, -344, 184, 360),
    ]  # fmt: skip


def test_anchors_of_the_data_lie_in_the_middle_of_each_place() -> None:
    """Of the pyramid, the coarsest maps first: three shapes for each of five; VGG16 has nine."""
    with torch.device("meta"):
        pyramid, vgg = build("fasterrcnn_resnet50_fpn"), build("fasterrcnn_vgg16")
    assert (pyramid.anchor_shape, vgg.anchor_shape) == ((5, 3), (1, 9))
    shapes = [[(10.0 * each, 4.0 * each)] * 3 for each in (16, 8, 4, 2, 1)]
    pyramid.set_anchors(shapes)
    maps = [torch.zeros(1, 1, 64 // step, 64 // step) for step in (4, 8, 16, 32, 64)]
    found = pyramid.anchors(maps, (64, 64))
    assert [len(each) for each in found] == [3 * 256, 3 * 64, 3 * 16, 3 * 4, 3]
    assert found[0][3].tolist() == [4 - 5, -2, 4 + 5, 2]  # the second place, four pixels on
    assert found[4][0].tolist() == [-80, -32, 80, 32]
    vgg.set_anchors([[(6.0, 10.0)] * 8 + [(32.0, 16.0)]])
    (found,) = vgg.anchors([torch.zeros(1, 1, 2, 2)], (32, 32))
    assert found[0].tolist() == [8 - 3, 8 - 5, 8 + 3, 8 + 5]
    assert found[-1].tolist() == [24 - 16, 24 - 8, 24 + 16, 24 + 8]


def test_anchors_beyond_the_picture_do_not_learn_in_the_authors_form() -> None:
    class Bare(FasterRCNNVGG16):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)

    network = Bare().eval()
    anchors = torch.tensor([[-5.0, 0, 60, 60], [0, 0, 64, 64], [30, 30, 64, 65], [32, 32, 64, 64]])
    boxes = torch.tensor([[0.0, 0, 62, 62]])
    objects, shifts = torch.zeros(1, 4), torch.zeros(1, 4, 4)
    objects[0, 1], shifts[0, 1, 0] = 2.0, 0.5
    found = network.proposal_loss(objects, shifts, anchors, (64, 64), [(boxes, torch.tensor([0]))])
    # The second anchor is to say yes, the fourth (an overlap of 0.2) no; one is half a square off.
    wanted = encoded(boxes, anchors[1:2], (1.0, 1.0, 1.0, 1.0))[0]
    off = (shifts[0, 1] - wanted).abs()
    box = sum(float(4.5 * d * d if d < 1 / 9 else d - 1 / 18) for d in off)
    names = math.log(1 + math.exp(-2)) + math.log(2)
    assert found.item() == pytest.approx((names + box) / 2, rel=1e-5)


def test_weights_of_a_vgg16_fill_the_authors_form() -> None:
    with torch.device("meta"):
        network, vgg = build("fasterrcnn_vgg16"), build("vgg16")
    found = network.adapted(vgg.state_dict())
    own = {name: value.shape for name, value in network.state_dict().items()}
    taken = {name for name in found if name in own and found[name].shape == own[name]}
    new = {name.rpartition(".")[0] for name in own.keys() - taken}
    assert new == {"rpn_conv", "rpn_cls_score", "rpn_bbox_pred", "cls_score", "bbox_pred"}


@torch.no_grad()
def test_what_is_found_does_not_depend_on_the_truth(both: tuple[FasterRCNN, Any]) -> None:
    """A stage that is told the truth has it among its proposals: its answers would be given."""
    ours, _ = both
    task = ObjectDetection(DetectionOptions(), {"mean": torch.zeros(3, 1, 1), "std": torch.ones(1)})
    boxes, labels = ([each[part] for each in targets()] for part in (0, 1))
    placed = [fitted(*SIZE, max(SIZE))] * 2
    found = [
        task.predict(Parts(network=ours), BoxBatch(images(), moved, labels, placed, []))
        for moved in (boxes, [each + 11 for each in boxes])
    ]
    assert found[0].loss != found[1].loss
    for one, other in zip(found[0].detections, found[1].detections, strict=True):
        assert np.array_equal(one.boxes, other.boxes)
        assert np.array_equal(one.scores, other.scores)


@torch.no_grad()
def test_answers_and_loss_are_from_one_pass_over_the_pictures(
    both: tuple[FasterRCNN, Any],
) -> None:
    """What a pass for each gives, to the last bit."""
    ours, _ = both
    apart = ours(images()), ours(images(), targets())
    passes: list[int] = []
    hook = ours.backbone.register_forward_hook(lambda *given: passes.append(1))
    together = ours(images(), targets(), answers=True)
    hook.remove()
    assert passes == [1]
    for found, wanted in zip(together, apart, strict=True):
        for one, other in zip(found, wanted, strict=True):
            if isinstance(other, Tensor):
                assert torch.equal(one, other)
            elif isinstance(other, list):
                assert all(map(torch.equal, one, other))
            else:
                assert one == other  # the size, and what there is not
    assert torch.equal(ours.loss(together[1], targets()), ours.loss(apart[1], targets()))


def test_old_files_of_torchvision_have_other_names() -> None:
    with torch.device("meta"):
        network = build("fasterrcnn_resnet50_fpn")
    state = network.state_dict()
    old = {}
    for name, value in state.items():
        name = re.sub(r"(fpn\.\w+_blocks\.\d)\.0\.", r"\1.", name)
        old[name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")] = value
    assert old.keys() != state.keys()
    assert network.adapted(old).keys() == state.keys()
    with pytest.raises(RequestError, match="give frozen_norm=true besides"):
        build("fasterrcnn_resnet50_fpn", norm_eps=0.0)
