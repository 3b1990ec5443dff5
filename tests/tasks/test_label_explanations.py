"""What the answers of several labels a picture rest on: which label, by which score, as drawn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_labels import LABELS, Fixed, labelled, prepared
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.data.dataset import Dataset
from torchfolio.errors import RequestError
from torchfolio.evaluation.explain.occlusion import occlusion
from torchfolio.evaluation.report import Gallery
from torchfolio.networks.catalogue import find_card
from torchfolio.tasks import image_explanations
from torchfolio.tasks.base import Context, Parts
from torchfolio.tasks.explanation_pictures import Explained
from torchfolio.tasks.image_explanations import Explainer, likeliest
from torchfolio.tasks.multilabel_classification import MultilabelClassification
from torchfolio.tasks.multilabel_report import pictures_section

CONTEXT = Context(device=torch.device("cpu"), batch_size=16, workers=0)
ASKED: dict[str, Any] = {"method": None, "label": None, "layer": None}


def ready(
    name: str, count: int = 12, **options: Any
) -> tuple[MultilabelClassification, Parts, Dataset]:
    """A task prepared for a network, the network with its initial weights, and the data."""
    torch.manual_seed(0)
    side = options.get("image_size", 32)
    data = labelled(count, side=side, channels=find_card(name).input[0])
    task = prepared(data, name, **options)
    parts = task.parts(find_card(name))
    for layer in parts.network.modules():
        if isinstance(layer, nn.Linear) and not layer.weight.any():
            nn.init.normal_(layer.weight)
    parts.network.eval()
    return task, parts, data


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words below each picture that is drawn."""
    found: list[list[str]] = []

    def draw(explained: Explained, path: Path) -> None:
        found.append(list(explained.lines))

    monkeypatch.setattr(image_explanations, "draw_explanation", draw)
    return found


def answering(scores: Any) -> tuple[MultilabelClassification, Parts, list[Any]]:
    """A task with a network of these scores, and the pictures that it has them for."""
    data = labelled(len(scores), channels=1)
    task = prepared(data, "softmax_regression", normalize="none")
    pixels = [data.records.pixels(place) for place in range(len(scores))]  # type: ignore[attr-defined]
    table = np.resize(scores, (256, 3))  # for what the first pixel shows where it is hidden
    return task, Parts(network=Fixed(table).eval()), pixels


def logits(probabilities: Any) -> Any:
    return np.log(np.asarray(probabilities) / (1 - np.asarray(probabilities)))


# Which label


def test_the_likeliest_of_the_labels_given_is_explained_or_of_all_where_none_is() -> None:
    probabilities = np.array([[0.9, 0.8, 0.7], [0.4, 0.3, 0.2], [0.1, 0.2, 0.3]])
    given = np.array([[False, True, True], [False, False, False], [False, True, False]])
    assert likeliest(probabilities, given).tolist() == [1, 0, 1]


def test_rows_have_the_labels_given_and_the_one_explained(
    told: list[list[str]], tmp_path: Path
) -> None:
    task, parts, pixels = answering(logits([[0.7, 0.6, 0.1], [0.3, 0.2, 0.1]]))
    task.state["thresholds"] = [0.75, 0.5, 0.05]
    first, second = task.explain(parts, pixels, CONTEXT, tmp_path, **ASKED)
    assert list(first) == [
        "input", "prediction", "probability", "method", "layer", "class", "picture", "error",
    ]  # fmt: skip
    assert first["prediction"] == ["sunset", "people"]
    assert first["probability"] == pytest.approx({"beach": 0.7, "sunset": 0.6, "people": 0.1})
    assert (first["class"], first["method"], first["layer"]) == ("sunset", "occlusion", None)
    assert task.briefly(first) == "sunset 60.0%, people 10.0%"
    assert second["class"] == "people"
    task.state["thresholds"] = [0.9, 0.9, 0.9]
    [none] = task.explain(parts, pixels[1:], CONTEXT, tmp_path, **ASKED)
    assert (none["prediction"], none["class"]) == ([], "beach")
    assert told == [
        ["sunset 60.0%, people 10.0%", "Occlusion: what hiding a place takes from sunset."],
        ["people 10.0%", "Occlusion: what hiding a place takes from people."],
        ["no label", "Occlusion: what hiding a place takes from beach (30.0%)."],
    ]


def test_another_label_is_explained_where_it_is_named(
    told: list[list[str]], tmp_path: Path
) -> None:
    task, parts, pixels = answering(logits([[0.7, 0.6, 0.1]]))
    for label in LABELS:
        [row] = task.explain(parts, pixels, CONTEXT, tmp_path, **ASKED | {"label": label})
        assert row["class"] == label
        assert row["prediction"] == ["beach", "sunset"]
    named = [lines[1].removeprefix("Occlusion: what hiding a place takes from ") for lines in told]
    assert named == ["beach.", "sunset.", "people (10.0%)."]


def test_an_input_that_cannot_be_read_has_its_error(told: list[list[str]], tmp_path: Path) -> None:
    task, parts, pixels = answering(logits([[0.7, 0.6, 0.1]]))
    gone, good = task.explain(parts, ["gone.png", pixels[0]], CONTEXT, tmp_path, **ASKED)
    assert gone["error"] == "There is no file gone.png."
    assert (gone["prediction"], gone["class"], gone["picture"]) == (None, None, None)
    assert good["error"] is None
    assert len(told) == 1


# Which score


def test_grad_cam_weighs_the_maps_by_the_labels_own_score() -> None:
    task, parts, data = ready("resnet20")
    network, kept = parts.network, {}
    images = task.pictures.fitted(data, np.arange(3))

    def keep(module: nn.Module, inputs: object, maps: Tensor) -> None:
        maps.retain_grad()
        kept["maps"] = maps

    hook = network.layer3.register_forward_hook(keep)
    targets = torch.tensor([2, 0, 1])
    scores = network(task.pictures.normalised(images))
    scores.gather(1, targets[:, None]).sum().backward()
    hook.remove()
    maps = kept["maps"]
    assert maps.grad is not None
    heat = (maps.grad.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).clamp_min(0)
    wide = F.interpolate(heat.detach(), (32, 32), mode="bilinear", align_corners=False)[:, 0]
    assert wide.amax((1, 2)).count_nonzero() >= 2
    for found, each in zip(Explainer(task, network, CONTEXT)(images, targets), wide, strict=True):
        expected = each / each.max() if each.any() else each  # nothing may speak for a label
        assert found.values == pytest.approx(expected.numpy(), abs=1e-4)


def test_occlusion_asks_for_the_labels_own_probability() -> None:
    task, parts, data = ready("softmax_regression", image_size=32)
    images, targets = task.pictures.fitted(data, np.arange(2)), torch.tensor([0, 2])
    explainer = Explainer(task, parts.network, CONTEXT)
    found = explainer(images, targets)
    by_hand = occlusion(
        lambda some: parts.network(some).double().sigmoid(),
        task.pictures.normalised(images), targets, explainer.hidden(images), 3,
    )  # fmt: skip
    for one, other in zip(found, by_hand, strict=True):
        assert one.values == pytest.approx(other.values, abs=1e-5)
        assert one.high == other.high


def test_of_capsules_it_is_the_length() -> None:
    task, parts, data = ready("capsnet", image_size=17)
    images = task.pictures.normalised(task.pictures.fitted(data, np.arange(2)))
    lengths = parts.network.capsules(images).norm(dim=2)
    assert torch.allclose(Explainer(task, parts.network, CONTEXT).ask(images).float(), lengths)


# What is refused


def test_what_a_run_does_not_have_is_refused(tmp_path: Path) -> None:
    task, parts, _ = ready("resnet20")
    out = tmp_path / "out"
    with pytest.raises(RequestError, match=r"no label of this run named 'beech'. The nearest: bea"):
        task.explain(parts, [], CONTEXT, out, **ASKED | {"label": "beech"})
    task, parts, _ = ready("vit_ti_16", image_size=32)
    with pytest.raises(RequestError, match=r"whatever the label. Leave the label out, or take occ"):
        task.explain(parts, [], CONTEXT, out, **ASKED | {"label": "beach"})
    assert not out.exists()
    explainer = Explainer(task, parts.network, CONTEXT)
    assert explainer.caption().endswith("what the class token has read, whatever the label.")


# The report


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("softmax_regression", "Occlusion: what hiding a place takes from the label."),
        ("resnet20", "Grad-CAM at layer3: what speaks for the label."),
        ("vit_ti_16", "Attention rollout: what the class token has read, whatever the label."),
    ],
)
def test_the_report_explains_by_the_networks_own_method(name: str, caption: str) -> None:
    task, parts, data = ready(name, 30, **({"image_size": 32} if name == "vit_ti_16" else {}))
    probabilities = np.random.default_rng(0).random((30, 3)).astype(np.float32)
    section = pictures_section(task, parts, data, np.arange(30), probabilities, CONTEXT)
    titles = [block.title for block in section.blocks]
    assert titles == ["Worst misses", "Worst false alarms", "Where it looks"]
    gallery = section.blocks[-1]
    assert isinstance(gallery, Gallery)
    assert gallery.caption == f"{caption} The brighter, the more."
    assert [each.good for each in gallery.items] == [True] * 6 + [False] * 6
    assert gallery.items[0].caption.startswith("rightly ")
