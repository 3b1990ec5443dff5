"""What detectors begin with: weights of torchvision, and runs of classifiers and detectors."""

from pathlib import Path
from typing import Any

import pytest
import torch

from torchfolio import open_data
from torchfolio.errors import RequestError
from torchfolio.networks.build import build
from torchfolio.networks.weights import load_weights
from torchfolio.training.start import prepare

QUICK: dict[str, Any] = {"epochs": 1, "batch_size": 8, "threads": 1, "workers": 0, "device": "cpu"}


def bare(network: str, **arguments: Any) -> Any:
    """Return a network without values."""
    with torch.device("meta"):
        return build(network, **arguments)


@pytest.mark.parametrize(
    ("classifier", "detector", "body"),
    [
        ("resnet50", "fasterrcnn_resnet50_fpn", "backbone.body."),
        ("darknet53", "yolov3", "backbone."),
    ],
)
def test_a_run_of_a_classifier_is_the_backbone(classifier: str, detector: str, body: str) -> None:
    """All of the backbone is taken, and nothing but the backbone; what is left is the classes."""
    network = bare(detector, num_classes=3)
    report = load_weights(network, bare(classifier, num_classes=5).state_dict())
    assert set(report.loaded) == {k for k in network.state_dict() if k.startswith(body)}
    assert {name.removeprefix(body).partition(".")[0] for name in report.ignored} == {"fc"}


@pytest.mark.parametrize(
    ("detector", "head"), [("yolov3_tiny", {"heads.0.out", "heads.1.out"}), ("yolov1", {"fc2"})]
)
def test_a_detector_without_a_classifier_begins_with_a_run_of_its_own(
    detector: str, head: set[str]
) -> None:
    network = bare(detector, num_classes=3)
    report = load_weights(network, bare(detector, num_classes=5).state_dict())
    assert {name.rpartition(".")[0] for name in report.new} == head
    assert not report.ignored
    with pytest.raises(RequestError, match=f"It begins with weights of {detector} .of any classes"):
        load_weights(network, bare("resnet18").state_dict())


def test_weights_of_torchvision_for_coco_bring_what_they_want(tmp_path: Path) -> None:
    network, data, file = "fasterrcnn_resnet50_fpn", open_data("digit-boxes"), tmp_path / "coco.pth"
    shapes = {name: value.shape for name, value in bare(network).state_dict().items()}
    values = {k: torch.tensor(0.5).expand(v) for k, v in shapes.items() if "num_batches" not in k}
    torch.save(values, file)
    settings = QUICK | {"weights": str(file), "image_size": 64}
    start = prepare(network, data, settings)
    assert "frozen_norm=true, norm_eps=0.0, as the weights want (--set overrules)" in start.lines
    assert start.recipe.network["set"] == {"frozen_norm": True, "norm_eps": 0.0}
    assert start.recipe.task["normalize"] == "imagenet"
    settings["set"] = {"frozen_norm": False, "norm_eps": 1e-5}
    start = prepare(network, data, settings | {"normalize": "none"})
    assert start.recipe.network["set"] == settings["set"]
    assert start.recipe.task["normalize"] == "none"
    assert not any("as the weights want" in line for line in start.lines)
