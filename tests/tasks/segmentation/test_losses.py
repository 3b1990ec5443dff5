import numpy as np
import pytest
import torch
from torch.nn import functional as F

from torchfolio.tasks.segmentation import losses
from torchfolio.tasks.segmentation.options import SegmentationOptions
from torchfolio.tasks.segmentation.task import SemanticSegmentation


def task(**options: object) -> SemanticSegmentation:
    state = {"classes": ["a", "b", "c"], "train_pixels": [60, 30, 10]}
    return SemanticSegmentation(SegmentationOptions(**options), state)  # type: ignore[arg-type]


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 3, 4, 5, generator=random)
    masks = torch.randint(0, 3, (2, 4, 5), generator=random)
    masks[0, 0, :3] = 255
    return scores, masks.to(torch.uint8)


def test_cross_entropy_is_that_of_torch_over_the_pixels_that_count() -> None:
    scores, masks = drawn()
    found = task(loss="cross-entropy").criterion(scores, masks)
    wanted = F.cross_entropy(scores, masks.long(), ignore_index=255)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)


def test_balanced_weights_are_pixels_over_classes_times_count() -> None:
    scores, masks = drawn()
    chosen = task(class_weights="balanced")
    weights = chosen.class_weights(scores)
    assert weights.tolist() == pytest.approx([100 / 180, 100 / 90, 100 / 30])
    each = F.cross_entropy(scores, masks.long(), weights, ignore_index=255, reduction="sum")
    counted = int((masks != 255).sum())
    assert chosen.criterion(scores, masks).item() == pytest.approx(each.item() / counted, rel=1e-6)


def test_a_class_that_training_lacks_weighs_ten_at_most() -> None:
    chosen = task(class_weights="balanced")
    chosen.state["train_pixels"] = [1000, 1, 0]
    assert chosen.class_weights(torch.zeros(1)).tolist() == pytest.approx([1001 / 3000, 10, 10])


def test_focal_loss_of_a_hand_calculation() -> None:
    scores = torch.tensor([[[[2.0]], [[0.0]]]])
    truth = torch.zeros(1, 1, 1, dtype=torch.long)
    p = 1 / (1 + np.exp(-2.0))
    found = losses.focal(scores, truth, torch.ones(1, 1, 1), 2.0)
    assert found.item() == pytest.approx((1 - p) ** 2 * -np.log(p), rel=1e-5)


def test_focal_loss_without_exponent_is_cross_entropy() -> None:
    scores, masks = drawn()
    found = task(loss="focal", focal_gamma=0.0).criterion(scores, masks)
    wanted = task().criterion(scores, masks)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)


def test_dice_loss_of_a_hand_calculation() -> None:
    probabilities = torch.tensor([0.8, 0.4, 0.5])  # of the second class, at three pixels
    scores = torch.stack([torch.zeros(3), (probabilities / (1 - probabilities)).log()])
    truth, counted = torch.tensor([[[1, 0, 1]]]), torch.tensor([[[1.0, 1.0, 0.0]]])
    second = (2 * 0.8 + 1) / (0.8 + 0.4 + 1 + 1)
    first = (2 * 0.6 + 1) / (0.2 + 0.6 + 1 + 1)
    found = losses.dice(scores[None, :, None], truth, counted)
    assert found.item() == pytest.approx(1 - (first + second) / 2, rel=1e-5)


def test_sums_are_sums() -> None:
    scores, masks = drawn()
    both = task(loss="cross-entropy + dice").criterion(scores, masks)
    each = [task(loss=name).criterion(scores, masks) for name in ("cross-entropy", "dice")]
    assert both.item() == pytest.approx(sum(each).item(), rel=1e-6)


def test_pixels_that_do_not_count_have_no_gradient() -> None:
    scores, masks = drawn()
    for name in losses.NAMES:
        leaf = scores.clone().requires_grad_()
        task(loss=name).criterion(leaf, masks).backward()
        assert leaf.grad is not None
        assert leaf.grad[0, :, 0, :3].abs().max() == 0
        assert leaf.grad[1].abs().min() > 0


@pytest.mark.parametrize("name", losses.NAMES)
def test_where_nothing_counts_the_loss_is_finite(name: str) -> None:
    scores, masks = drawn()
    assert torch.isfinite(task(loss=name).criterion(scores, torch.full_like(masks, 255)))


def test_borders_weigh_more() -> None:
    scores, masks = drawn()
    borders = torch.zeros(2, 4, 5)
    borders[1, 2, 3] = 10
    plain, more = task().criterion(scores, masks), task().criterion(scores, masks, borders)
    each = F.cross_entropy(scores, masks.long(), ignore_index=255, reduction="none")
    counted = int((masks != 255).sum())
    assert (more - plain).item() == pytest.approx(10 * each[1, 2, 3].item() / counted, rel=1e-5)
