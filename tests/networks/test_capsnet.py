"""CapsNet: squashing, routing and losses by hand."""

import pytest
import torch

from torchfolio.errors import RequestError
from torchfolio.networks.build import build
from torchfolio.networks.capsnet import ClassCapsules, squash


def test_a_capsule_is_squashed_along_its_direction() -> None:
    found = squash(torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 0.1]]))
    # Equation 1: |s|^2 / (1 + |s|^2) along s
    assert found[0].tolist() == pytest.approx([25 / 26 * 0.6, 25 / 26 * 0.8])
    assert found[1].tolist() == [0, 0]
    assert found[2].tolist() == pytest.approx([0, 0.01 / 1.01], rel=1e-5)


def test_the_slope_of_an_empty_capsule_is_finite() -> None:
    capsules = torch.zeros(2, 8, requires_grad=True)
    squash(capsules).sum().backward()
    assert capsules.grad is not None
    assert capsules.grad.isfinite().all()


def test_routing_by_hand() -> None:
    """Two capsules of one pose, two classes: Procedure 1 with pen and paper."""
    layer = ClassCapsules(capsules=2, num_classes=2, routings=2, official=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[:, :, 0, 0] = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    x = torch.zeros(1, 2, 8)
    x[0, :, 0] = torch.tensor([2.0, 1.0])
    # votes for class 0: 2 and 1; for class 1: 2 and -1; at first every share is 1/2
    first = [1.5**3 / (1 + 1.5**2) / 1.5, 0.5**3 / (1 + 0.5**2) / 0.5]
    logits = [[2 * first[0], 1 * first[0]], [2 * first[1], -1 * first[1]]]
    shares = torch.tensor(logits).softmax(0)
    totals = [shares[0, 0] * 2 + shares[0, 1] * 1, shares[1, 0] * 2 - shares[1, 1] * 1]
    expected = [float(s * s / (1 + s * s)) for s in totals]
    found = layer(x)
    assert found[0, :, 0].tolist() == pytest.approx(expected, rel=1e-5)
    assert not found[0, :, 1:].any()


def test_the_margin_loss_by_hand() -> None:
    network = build("capsnet")
    lengths = torch.tensor([[0.5, 0.3, 0.05, *[0.0] * 7]])
    # Equation 4: (0.9 - 0.5)^2 + 0.5 (0.3 - 0.1)^2
    assert float(network.loss(lengths, torch.tensor([0]))) == pytest.approx(0.16 + 0.02)
    # the authors' code: half of it, and the mean over the ten classes
    official = build("capsnet_official").loss(lengths, torch.tensor([0]))
    assert float(official) == pytest.approx(0.18 / 2 / 10)


def test_the_reconstruction_counts_half_a_thousandth_of_its_squares() -> None:
    torch.manual_seed(0)
    network = build("capsnet").train()
    images, labels = torch.rand(2, 1, 28, 28), torch.tensor([3, 7])
    lengths, capsules, kept = network(images)
    drawn = network.reconstruct(capsules, labels)
    assert torch.equal(kept, images)
    assert drawn.shape == images.shape
    expected = network.loss(lengths, labels) + 0.0005 * (drawn - images).square().sum() / 2
    assert torch.allclose(network.loss((lengths, capsules, images), labels), expected)


def test_only_the_capsule_of_the_class_is_drawn() -> None:
    network = build("capsnet").eval()
    capsules = torch.randn(1, 10, 16)
    other = capsules.clone()
    other[:, 5] = 0
    one, same = (network.reconstruct(each, torch.tensor([3])) for each in (capsules, other))
    assert torch.equal(one, same)


def test_first_weights_of_the_official_form_are_cut_off_at_two_deviations() -> None:
    torch.manual_seed(0)
    network = build("capsnet_official")
    for name, weight in network.named_parameters():
        if name.endswith("bias"):
            assert (weight == torch.tensor(0.1)).all()
            continue
        deviation = 0.05 if name == "conv1.weight" else 0.1
        assert weight.abs().max() <= 2 * deviation
        # of a Gaussian cut off at two deviations 0.8796 is left
        assert float(weight.detach().std()) == pytest.approx(0.8796 * deviation, rel=0.02)


@torch.no_grad()
def test_each_dimension_moves_by_itself_in_steps_of_a_twentieth() -> None:
    torch.manual_seed(0)
    network = build("capsnet", num_classes=3, in_channels=3, image_size=(17, 19)).eval()
    capsules = 0.1 * torch.randn(3, 16)
    found = network.tweaked(capsules, 1)
    assert found.shape == (16, 11, 3, 17, 19)
    for dimension, step, change in ((0, 0, -0.25), (5, 3, -0.1), (15, 10, 0.25), (7, 5, 0.0)):
        moved = torch.zeros(1, 48)
        moved[0, 16:32] = capsules[1]
        moved[0, 16 + dimension] += change
        expected = network.decoder(moved).view(3, 17, 19)
        assert torch.allclose(found[dimension, step], expected, atol=1e-6)


def test_without_a_decoder_the_margin_loss_is_all() -> None:
    torch.manual_seed(0)
    network = build("capsnet_no_decoder").train()
    lengths, labels = network(torch.rand(2, 1, 28, 28)), torch.tensor([3, 7])
    assert lengths.shape == (2, 10)
    right = torch.nn.functional.one_hot(labels, 10).bool()
    margins = (0.9 - lengths[right]).clamp(min=0) ** 2
    others = (lengths[~right] - 0.1).clamp(min=0) ** 2
    expected = (margins.sum() + 0.5 * others.sum()) / 2
    assert torch.allclose(network.loss(lengths, labels), expected)
    with pytest.raises(RequestError, match="has no decoder and draws nothing"):
        network.reconstruct(torch.zeros(2, 10, 16), labels)


def test_images_of_another_size_than_it_was_built_for_are_refused() -> None:
    network = build("capsnet", image_size=(28, 20))
    message = r"capsnet takes images of 1x28x20 .* and no other size; these are 1x20x28\. Resize"
    with pytest.raises(RequestError, match=message):
        network(torch.rand(1, 1, 20, 28))


def test_probabilities_are_lengths_scaled() -> None:
    lengths = torch.tensor([[0.6, 0.2, 0.0]])
    found = build("capsnet", num_classes=3).probabilities(lengths)
    assert found[0].tolist() == pytest.approx([0.75, 0.25, 0])


def test_several_things_have_a_term_each_in_the_margin_loss() -> None:
    lengths = torch.tensor([[0.5, 0.3, 0.05], [0.95, 0.2, 0.6]])
    there = torch.tensor([[1, 1, 0], [0, 0, 0]])
    # Equation 4: (0.9 - 0.5)^2 + (0.9 - 0.3)^2 of the first, and of the second, which is empty,
    # half of (0.95 - 0.1)^2 + (0.2 - 0.1)^2 + (0.6 - 0.1)^2
    expected = (0.16 + 0.36 + 0.5 * (0.7225 + 0.01 + 0.25)) / 2
    network = build("capsnet", num_classes=3)
    assert float(network.loss(lengths, there)) == pytest.approx(expected)
    assert float(network.loss(lengths, there.float())) == pytest.approx(expected)
    one = torch.tensor([0, 2])
    alone = torch.nn.functional.one_hot(one, 3)
    assert torch.equal(network.loss(lengths, one), network.loss(lengths, alone))


def test_the_capsules_of_all_things_are_drawn_together() -> None:
    network = build("capsnet", num_classes=4).eval()
    capsules = torch.randn(1, 4, 16)
    other = capsules.clone()
    other[:, 3] = 0
    there = torch.tensor([[1, 0, 1, 0]])
    one, same = (network.reconstruct(each, there) for each in (capsules, other))
    assert torch.equal(one, same)
    other[:, 2] = 0
    assert not torch.equal(one, network.reconstruct(other, there))


def test_a_thing_is_as_probable_as_its_capsule_is_long() -> None:
    lengths = torch.tensor([[0.6, 0.2, 0.9]])
    assert torch.equal(build("capsnet", num_classes=3).presences(lengths), lengths)
