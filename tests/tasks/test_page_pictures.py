"""What CapsNet draws for the report: its mistakes, its right answers, its capsules moved."""

import pytest
import torch

from torchfolio.networks.build import build
from torchfolio.tasks.page_pictures import page_sections, sheets


@torch.no_grad()
@pytest.mark.parametrize("name", ["capsnet", "capsnet_official"])
def test_the_report_gets_what_is_drawn_of_mistakes_and_right_answers(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, num_classes=3, in_channels=3, image_size=(17, 17)).eval()
    images = torch.rand(6, 3, 17, 17)
    answers = network(images).argmax(1)
    labels = answers.clone()
    labels[1] = (answers[1] + 1) % 3
    classes = ["猫", "dog", "a/b"]
    mistakes, right, *moved = sheets(network, images, labels, classes)
    capsules = network.capsules(images)
    assert mistakes.title == "Mistakes drawn again"
    assert mistakes.columns == [f"is {classes[labels[1]]}\nsaid {classes[answers[1]]}"]
    assert torch.equal(mistakes.pictures[0, 0], images[1])
    by_label = network.reconstruct(capsules, labels)
    assert torch.allclose(mistakes.pictures[1, 0], by_label[1])
    assert torch.allclose(mistakes.pictures[2, 0], network.reconstruct(capsules, answers)[1])
    assert right.pictures.shape == (2, 5, 3, 17, 17)
    assert torch.allclose(right.pictures[1], by_label[[0, 2, 3, 4, 5]])
    shown = list(dict.fromkeys(labels[[0, 2, 3, 4, 5]].tolist()))
    assert [sheet.title for sheet in moved] == [f"Capsule of {classes[each]}" for each in shown]
    for sheet, label in zip(moved, shown, strict=True):
        assert len(sheet.rows) == 16
        assert len(sheet.columns) == 11
        assert sheet.pictures.shape == (16, 11, 3, 17, 17)
        first = next(place for place in (0, 2, 3, 4, 5) if labels[place] == label)
        assert torch.allclose(sheet.pictures[3, 5], by_label[first], atol=1e-6)  # not moved


@torch.no_grad()
def test_where_all_is_wrong_or_right_only_that_is_drawn() -> None:
    network = build("capsnet", num_classes=3, image_size=(17, 17)).eval()
    images = torch.rand(2, 1, 17, 17)
    answers = network(images).argmax(1)
    names = ["a", "b", "c"]
    [only] = sheets(network, images, (answers + 1) % 3, names)
    assert only.title == "Mistakes drawn again"
    assert sheets(network, images, answers, names)[0].title == "Right answers drawn again"


def test_without_a_decoder_nothing_is_drawn() -> None:
    network = build("capsnet_no_decoder", image_size=(17, 17)).eval()
    images, labels = torch.zeros(2, 1, 17, 17, dtype=torch.uint8), torch.tensor([0, 1])
    assert page_sections(None, network, images, labels) == []
