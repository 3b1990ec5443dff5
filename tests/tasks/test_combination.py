"""The four combinations, against hand calculations."""

import pytest
import torch

from torchfolio.tasks.combination import LEAST, Stack, Vote, Weighted, combination

# two pictures, three classes, of three members
PROBABILITIES = torch.tensor(
    [
        [[0.6, 0.3, 0.1], [0.1, 0.5, 0.4]],
        [[0.5, 0.4, 0.1], [0.2, 0.3, 0.5]],
        [[0.0, 0.9, 0.1], [0.4, 0.1, 0.5]],
    ]
)


def test_the_mean_by_hand() -> None:
    found = combination("mean", 3, 3)(PROBABILITIES)
    expected = [[1.1 / 3, 1.6 / 3, 0.3 / 3], [0.7 / 3, 0.9 / 3, 1.4 / 3]]
    assert found.tolist() == [pytest.approx(row) for row in expected]


def test_the_weighted_mean_by_hand_and_equal_weights_at_first() -> None:
    weighted = combination("weighted", 3, 3)
    assert isinstance(weighted, Weighted)
    assert torch.allclose(weighted(PROBABILITIES), PROBABILITIES.mean(0))
    weighted.load_state_dict({"weights": torch.tensor([0.5, 0.5, 0.0])})
    expected = [[0.55, 0.35, 0.1], [0.15, 0.4, 0.45]]
    assert weighted(PROBABILITIES).tolist() == [pytest.approx(row) for row in expected]


def test_a_vote_is_the_majority_whatever_the_mean_says() -> None:
    found = combination("vote", 3, 3)(PROBABILITIES)
    # first picture: classes 0, 0, 1 though the mean is highest for 1; second: 1, 2, 2
    assert found.argmax(1).tolist() == [0, 2]
    mean = PROBABILITIES.mean(0)
    assert found[0].tolist() == pytest.approx(((torch.tensor([2, 1, 0]) + mean[0]) / 4).tolist())
    assert found.sum(1).tolist() == pytest.approx([1, 1])


def test_equal_votes_are_decided_by_the_mean() -> None:
    two = torch.tensor([[[0.7, 0.3]], [[0.2, 0.8]]])  # a vote each; the means are 0.45 and 0.55
    assert Vote()(two).argmax(1).tolist() == [1]
    four = torch.tensor([[[0.4, 0.3, 0.3]], [[0.4, 0.3, 0.3]], [[0, 0.51, 0.49]], [[0, 0.9, 0.1]]])
    assert Vote()(four).argmax(1).tolist() == [1]


def test_one_vote_more_beats_any_mean() -> None:
    certain = torch.tensor([1.0, 0.0])
    doubtful = torch.tensor([0.4999, 0.5001])
    members = torch.stack([certain] * 49 + [doubtful] * 50)[:, None]  # (99, 1, 2)
    assert Vote()(members).argmax(1).tolist() == [1]


def test_a_stack_that_is_not_fitted_is_the_normalised_geometric_mean() -> None:
    stack = combination("stack", 3, 3)
    assert isinstance(stack, Stack)
    geometric = PROBABILITIES.clamp_min(LEAST).log().mean(0).exp()
    expected = geometric / geometric.sum(1, keepdim=True)
    assert torch.allclose(stack(PROBABILITIES), expected, atol=1e-6)


def test_a_stack_reads_the_logarithms_of_the_first_member_first() -> None:
    stack = Stack(2, 2)
    weight = torch.tensor([[0.0, 0.0, 1.0, 0.0], [2.0, 0.0, 0.0, 0.0]])
    stack.load_state_dict({"linear.weight": weight, "linear.bias": torch.tensor([0.5, 0.0])})
    members = torch.tensor([[[0.25, 0.75]], [[0.6, 0.4]]])
    scores = torch.tensor([[0.6, 0.25**2]]).log() + torch.tensor([0.5, 0.0])
    assert torch.allclose(stack(members), scores.softmax(1))


def test_a_probability_of_zero_leaves_a_stack_finite() -> None:
    members = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]])
    found = Stack(2, 2)(members)
    assert found.isfinite().all()
    assert found.argmax(1).tolist() == [1]


@pytest.mark.parametrize("method", ["mean", "weighted", "vote", "stack"])
def test_every_combination_keeps_type_and_sum(method: str) -> None:
    found = combination(method, 3, 3)(PROBABILITIES)
    assert found.dtype == torch.float32
    assert found.shape == (2, 3)
    assert found.sum(1).tolist() == pytest.approx([1, 1])
