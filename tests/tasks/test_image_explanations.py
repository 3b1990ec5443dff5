"""How a run's answers are explained: the method, what is drawn, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import CLASSES, pictures, prepared
from PIL import Image
from torch import nn

from torchfolio.errors import FolioError, RequestError
from torchfolio.evaluation.explain.heat import Heat, overlay
from torchfolio.evaluation.explain.occlusion import occlusion
from torchfolio.evaluation.report import Figure, Gallery
from torchfolio.networks.catalogue import cards, find_card
from torchfolio.tasks.base import Context, Parts, Task
from torchfolio.tasks.explanation_pictures import Explained, draw_explanation
from torchfolio.tasks.image_classification import ImageClassification
from torchfolio.tasks.image_classification_report import pictures_sections
from torchfolio.tasks.image_explanations import Explainer, explain
from torchfolio.tasks.page_pictures import page_sections
from torchfolio.tasks.registry import TASKS, find_task

CONTEXT = Context(device=torch.device("cpu"), batch_size=16, workers=0)


def ready(name: str, **options: Any) -> tuple[ImageClassification, Parts, Any]:
    """A task prepared for a network, the network with its initial weights, and the data."""
    torch.manual_seed(0)
    side = options.get("image_size", 32)
    data = pictures(12, side=side, channels=find_card(name).input[0])
    task = prepared(data, name, **options)
    parts = task.parts(find_card(name))
    for layer in parts.network.modules():
        if isinstance(layer, nn.Linear) and not layer.weight.any():
            nn.init.normal_(layer.weight, std=0.1)  # not so large that one class takes all
    parts.network.eval()
    return task, parts, data


@pytest.mark.parametrize(
    ("name", "method", "layer"),
    [
        ("softmax_regression", "occlusion", None),
        ("mlp_bn", "occlusion", None),
        ("maxout_mlp", "occlusion", None),
        ("lenet5_original", "grad-cam", "c3"),
        ("lenet5", "grad-cam", "c3"),
        ("resnet20", "grad-cam", "layer3"),
        ("capsnet", "grad-cam", "primarycaps.conv2d"),
        ("vit_ti_16", "rollout", None),
    ],
)
def test_every_network_has_a_method_of_its_own(name: str, method: str, layer: str | None) -> None:
    task, parts, data = ready(name, **({"image_size": 32} if name == "vit_ti_16" else {}))
    explainer = Explainer(task, parts.network, CONTEXT)
    assert (explainer.method, explainer.layer) == (method, layer)
    images = task.pictures.fitted(data, np.arange(4))
    side = task.state["size"]
    for heat in explainer(images, torch.tensor([0, 1, 2, 0])):
        assert heat.values.shape == (side, side)
        assert np.isfinite(heat.values).all()
        assert 0 <= heat.values.min() <= heat.values.max() <= 1


# A small form of each family, and a small size.
OCCLUDED = {
    "softmax_regression": 28, "mlp_plain": 9, "maxout_mlp": 9, "lenet_caffe": 28, "lenet5": 32,
    "resnet20": 8, "alexnet": 63, "googlenet": 32, "densenet40_k12": 8,
    "mobilenet_v1_0.25": 32, "capsnet": 17, "vit_ti_16": 16, "cifar_quick": 8, "vgg11_bn": 32,
    "darknet19": 32,
}  # fmt: skip
LARGE = ("alexnet", "googlenet", "vgg11_bn", "darknet19")
QUARTERS = ("vgg11_bn", "darknet19")  # by the usual squares they would take half a minute


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[pytest.mark.slow] if each in LARGE else []) for each in OCCLUDED],
)
def test_occlusion_explains_every_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in QUARTERS:
        monkeypatch.setattr(
            "torchfolio.evaluation.explain.occlusion.square", lambda side: (side // 2, side // 2)
        )
    task, parts, data = ready(name, image_size=OCCLUDED[name])
    images = task.pictures.fitted(data, np.arange(3))
    for layer in parts.network.modules():
        if isinstance(layer, nn.BatchNorm2d):  # so that scores follow the pictures
            layer.momentum = 1.0
    with torch.no_grad():
        parts.network.train()(task.pictures.normalised(images))
    explainer = Explainer(task, parts.network.eval(), CONTEXT, "Occlusion")
    one = images[:1].expand_as(images)  # what changes its answer lowers one of the classes
    heats = explainer(one, torch.tensor([0, 1, 2]))
    assert max(heat.values.max() for heat in heats) == 1


def test_every_family_is_among_those_whose_places_are_hidden() -> None:
    classifiers = [card for card in cards().values() if "image-classification" in card.tasks]
    families = {card.family for card in classifiers}
    assert {find_card(each).family for each in OCCLUDED} == families


def test_places_are_hidden_by_the_padding_value_or_by_mean_grey() -> None:
    task, parts, data = ready("softmax_regression", image_size=32)  # nothing to resize
    assert task.state["resize"] == "pad"
    task.state["fill"] = 200.0
    images = task.pictures.fitted(data, np.arange(2))
    explainer = Explainer(task, parts.network, CONTEXT)
    expected = (200 / 255 - task.state["mean"]) / task.state["std"]
    hidden = explainer.hidden(images)
    assert torch.allclose(hidden, expected.expand(1, 1, 32, 32), atol=1e-5)
    task.state["resize"] = "crop"
    assert (explainer.hidden(images) == 0).all()
    task.state["resize"] = "pad"
    found = explainer(images, torch.tensor([0, 2]))
    taken = task.pictures.normalised(images)
    by_hand = occlusion(
        lambda some: parts.network(some).double().softmax(1),
        taken, torch.tensor([0, 2]), hidden, 3,
    )  # fmt: skip
    assert found[0].values == pytest.approx(by_hand[0].values, abs=1e-5)


def test_the_score_of_a_class_is_the_length_of_its_capsule() -> None:
    task, parts, data = ready("capsnet")
    images = task.pictures.fitted(data, np.arange(2))
    network, kept = parts.network, {}

    def keep(module: nn.Module, inputs: object, maps: torch.Tensor) -> None:
        maps.retain_grad()
        kept["maps"] = maps

    hook = network.primarycaps.conv2d.register_forward_hook(keep)
    network.capsules(task.pictures.normalised(images))[:, 1].norm(dim=1).sum().backward()
    hook.remove()
    maps = kept["maps"]
    assert maps.grad is not None
    heat = (maps.grad.mean((2, 3), keepdim=True) * maps).sum(1).clamp_min(0).detach().numpy()
    found = Explainer(task, network, CONTEXT)(images, torch.tensor([1, 1]))
    for each, expected in zip(found, heat, strict=True):
        # the cells look at 8, 10, ... 18 of 28 pixels
        assert each.values[8:19:2, 8:19:2] == pytest.approx(expected / expected.max(), abs=1e-4)


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("resnet20", {"method": "rollout"}, "has no attention.*this network's own is grad-cam"),
        ("softmax_regression", {"method": "grad_cam"}, "no convolution that leaves a map"),
        ("softmax_regression", {"layer": "linear"}, "A layer is for grad-cam; this is occlusion"),
        ("resnet20", {"layer": "layer4"}, "no layer with a map named 'layer4'. The nearest: layer"),
        ("resnet20", {"layer": "linear"}, "no layer with a map named 'linear'"),
        ("resnet20", {"method": "gradcam"}, "no method named 'gradcam'. The nearest: grad-cam"),
        ("resnet20", {"label": "cats"}, "no class of this run named 'cats'. The nearest: cat"),
    ],
)
def test_what_a_run_does_not_have_is_refused(
    name: str, asked: dict[str, str], message: str, tmp_path: Path
) -> None:
    task, parts, _ = ready(name)
    given = {"method": None, "label": None, "layer": None} | asked
    with pytest.raises(RequestError, match=message):
        task.explain(parts, [], CONTEXT, tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_rollout_has_no_class_and_grad_cam_takes_other_layers(tmp_path: Path) -> None:
    task, parts, _ = ready("vit_ti_16", image_size=32)
    with pytest.raises(RequestError, match="shows what was read, whatever the class"):
        explain(task, parts, [], CONTEXT, tmp_path, None, "cat", None)
    assert Explainer(task, parts.network, CONTEXT, "grad-cam").layer == "conv_proj"
    task, parts, _ = ready("resnet20")
    assert Explainer(task, parts.network, CONTEXT, layer="layer2.1").layer == "layer2.1"


def test_tasks_without_features_or_explanations_name_those_that_have_them(tmp_path: Path) -> None:
    """An ensemble has none of its own: its members have."""
    given = {"method": None, "label": None, "layer": None}
    having = {name for name in TASKS if find_task(name).vectors is not Task.vectors}
    assert having == {name for name in TASKS if find_task(name).explain is not Task.explain}
    told = " and ".join(sorted(having - {"image-ensemble"}))
    for name in TASKS.keys() - having:
        task: Any = object.__new__(find_task(name))
        with pytest.raises(RequestError, match=f"^{name} has no features; {told} have"):
            task.vectors(Parts(), [], CONTEXT, None)
        with pytest.raises(RequestError, match=f"^The answers of {name} .*; those of {told} can"):
            task.explain(Parts(), [], CONTEXT, tmp_path, **given)


def test_rows_say_what_was_answered_explained_and_drawn(tmp_path: Path) -> None:
    task, parts, data = ready("resnet20")
    picture = data.records.pixels(3)
    Image.fromarray(picture).save(tmp_path / "ein Bild 图.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG but not really")
    inputs = [tmp_path / "ein Bild 图.png", tmp_path / "broken.png", picture, "gone.png", 7]
    out = tmp_path / "new" / "out"
    given = {"method": None, "label": None, "layer": None}
    rows = list(task.explain(parts, inputs, CONTEXT, out, **given))
    answering = task.answering(parts, CONTEXT)
    [expected] = task.answer(answering, inputs[:1], CONTEXT, task.AnswerOptions())
    good, broken, array, gone, number = rows
    assert list(good) == [
        "input", "prediction", "probability", "method", "layer", "class", "picture", "error",
    ]  # fmt: skip
    assert good["prediction"] == expected["prediction"] == good["class"]
    assert good["probability"] == pytest.approx(expected["probability"])
    assert (good["method"], good["layer"], good["error"]) == ("grad-cam", "layer3", None)
    assert good["picture"] == str(out / "ein Bild 图.png")
    assert array["picture"] == str(out / "array.png")
    assert (array["input"], array["probability"]) == ("array 32x32x3 uint8", good["probability"])
    assert Image.open(good["picture"]).tobytes() == Image.open(array["picture"]).tobytes()
    assert "broken.png" in broken["error"]
    assert gone["error"] == "There is no file gone.png."
    assert "int is no picture" in number["error"]
    assert [row["picture"] for row in (broken, gone, number)] == [None] * 3
    again = list(task.explain(parts, inputs[:1], CONTEXT, out, **given))
    assert again[0]["picture"] == str(out / "ein Bild 图-2.png")  # nothing is overwritten


def test_another_class_is_explained_where_it_is_named(tmp_path: Path) -> None:
    task, parts, data = ready("softmax_regression")
    picture = data.records.pixels(3)
    found = {}
    for label in (None, *CLASSES):
        given = {"method": None, "label": label, "layer": None}
        [row] = task.explain(parts, [picture[..., 0]], CONTEXT, tmp_path, **given)
        assert row["class"] == (label or row["prediction"])
        with Image.open(row["picture"]) as drawn:  # 32 pixels tenfold, twice, with 8 in between
            found[label] = drawn.crop((328, 0, 648, 320)).tobytes()
    assert found[None] == found[row["prediction"]]
    assert len(set(found.values())) == 3


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    task, parts, _ = ready("softmax_regression")
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FolioError, match=r"cannot be made: it is a file. Choose another --out"):
        explain(task, parts, [], CONTEXT, tmp_path / "file", None, None, None)


# Drawing


def size_of(path: Path) -> tuple[int, int]:
    """The width and height of a picture file."""
    with Image.open(path) as picture:
        return picture.size


def corner(size: int = 8) -> Heat:
    """Heat in the upper left quarter only."""
    values = np.zeros((size, size), np.float32)
    values[: size // 2, : size // 2] = 1
    return Heat(values, "nothing", "most")


def test_a_photograph_is_drawn_at_its_own_resolution(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (400, 600, 3)).astype(np.uint8)
    explained = Explained(picture, corner(), (0, 0, 400, 600), ["bee  97.3%", "Grad-CAM"])
    draw_explanation(explained, tmp_path / "out.png")
    drawn = np.asarray(Image.open(tmp_path / "out.png"))
    assert drawn.shape[1] == 600
    assert drawn.shape[0] > 808  # a wide one lies above the same with heat; the words below
    assert (drawn[:400] == picture).all()
    heat = drawn[408:808]
    assert (heat[250:, 350:] == overlay(picture, np.zeros((400, 600)))[250:, 350:]).all()
    assert (heat[:150, :250] == overlay(picture, np.ones((400, 600)))[:150, :250]).all()


def test_small_pictures_are_enlarged_and_large_ones_shrunk(tmp_path: Path) -> None:
    small = np.random.default_rng(0).integers(0, 256, (28, 28, 3)).astype(np.uint8)
    draw_explanation(Explained(small, corner(), (-2, -2, 32, 32), ["3"]), tmp_path / "small.png")
    drawn = np.asarray(Image.open(tmp_path / "small.png"))
    assert drawn.shape[1] == 2 * 336 + 8  # twelve times, beside the same with heat
    assert (drawn[:336:12, :336:12] == small).all()
    large = np.zeros((3000, 100, 3), np.uint8)
    draw_explanation(Explained(large, corner(), (0, 0, 3000, 100), ["x"]), tmp_path / "large.png")
    assert size_of(tmp_path / "large.png")[1] > 2048
    strip = np.zeros((1, 5000, 3), np.uint8)
    draw_explanation(Explained(strip, corner(), (0, 0, 1, 5000), ["x"]), tmp_path / "strip.png")
    assert size_of(tmp_path / "strip.png")[0] == 2048


def test_what_was_cut_off_before_the_network_is_pale(tmp_path: Path) -> None:
    picture = np.zeros((400, 400, 3), np.uint8)
    cut = Explained(picture, corner(), (100, 100, 200, 200), ["bee"])
    draw_explanation(cut, tmp_path / "cut.png")
    heat = np.asarray(Image.open(tmp_path / "cut.png"))[:400, 408:808]
    assert (heat[:100] == round(0.7 * 255)).all()
    assert (heat[:, 300:] == round(0.7 * 255)).all()
    assert (heat[220:300, 220:300] == 0).all()  # seen and cold
    assert (heat[110:180, 110:180] == overlay(picture[:1, :1], np.ones((1, 1)))[0, 0]).all()
    whole = Explained(picture, corner(), (0, 0, 400, 400), ["bee"])
    draw_explanation(whole, tmp_path / "whole.png")
    assert (
        size_of(tmp_path / "cut.png")[1] > size_of(tmp_path / "whole.png")[1]
    )  # a line says what is pale


def test_very_long_words_and_any_script_fit(tmp_path: Path) -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    lines = ["a very long name of a class " * 9, "猫 и кошка " * 30]
    draw_explanation(Explained(picture, corner(), (0, 0, 40, 40), lines), tmp_path / "out.png")
    drawn = np.asarray(Image.open(tmp_path / "out.png"))
    assert (drawn[320:, -4:] == 255).all()  # nothing runs into the edge
    assert (drawn[320:] < 200).any()


# The report


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("softmax_regression", "Occlusion: what hiding a place takes from the answer."),
        ("resnet20", "Grad-CAM at layer3: what speaks for the answer."),
        ("vit_ti_16", "Attention rollout: what the class token has read, whatever the class."),
    ],
)
def test_the_report_explains_by_the_networks_own_method(name: str, caption: str) -> None:
    task, parts, data = ready(name, **({"image_size": 32} if name == "vit_ti_16" else {}))
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), len(data))
    split = np.arange(len(data))
    [section] = pictures_sections(task, parts, data, split, probabilities, CONTEXT)
    gallery = section.blocks[-1]
    assert isinstance(gallery, Gallery)
    assert gallery.title == "Where it looks"
    assert gallery.caption.startswith(caption)
    wrong = int((probabilities.argmax(1) != data.labels).sum())
    assert [each.good for each in gallery.items][: min(wrong, 6)] == [False] * min(wrong, 6)
    assert any(each.good for each in gallery.items)


@pytest.mark.parametrize("name", ["capsnet", "capsnet_official"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_a_page_draws_of_itself_is_in_the_report(name: str, channels: int) -> None:
    torch.manual_seed(0)
    data = pictures(12, side=17, channels=channels)
    task = prepared(data, name, image_size=17, normalize="0:1")
    parts = task.parts(find_card(name))
    parts.network.eval()
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), len(data))
    sections = pictures_sections(task, parts, data, np.arange(12), probabilities, CONTEXT)
    assert [section.title for section in sections] == ["Pictures", "Drawn by the network"]
    titles = [block.title for block in sections[1].blocks]
    assert "Right answers drawn again" in titles or "Mistakes drawn again" in titles
    assert all(isinstance(block, Figure) for block in sections[1].blocks)


def test_pages_without_pictures_have_no_such_section() -> None:
    task, parts, data = ready("resnet20")
    images = task.pictures.fitted(data, np.arange(2))
    assert page_sections(task, parts.network, images, torch.tensor([0, 1])) == []


@pytest.mark.parametrize("normalize", ["standard", "0:1", "-1:1", "pixel-mean"])
def test_pixels_undo_the_normalisation(normalize: str) -> None:
    data = pictures(6)
    task = prepared(data, normalize=normalize)
    stored = task.pictures.fitted(data, np.arange(6))
    found = task.pictures.pixels(task.pictures.normalised(stored))
    assert (found == stored.movedim(1, 3).numpy()).all()
    far = 100 * torch.ones(1, 3, 32, 32)
    assert (task.pictures.pixels(far) == 255).all()
    assert (task.pictures.pixels(-far) == 0).all()
