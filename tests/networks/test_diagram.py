from xml.etree import ElementTree as ET

import pytest

from torchfolio.networks.build import build
from torchfolio.networks.catalogue import find_card
from torchfolio.networks.diagram import WIDTH, draw
from torchfolio.networks.summary import summarise

SVG = "{http://www.w3.org/2000/svg}"


def drawing(name: str) -> ET.Element:
    shape = (3, 64, 64) if name == "resnet50" else find_card(name).input
    return ET.fromstring(draw(summarise(build(name), shape), name))


def words(root: ET.Element) -> list[str]:
    return [each.text or "" for each in root.iter(f"{SVG}text")]


def test_the_layers_stand_from_image_to_class_scores() -> None:
    texts = words(drawing("lenet5_original"))
    expected = [
        "image", "conv 5×5, 6, tanh", "subsampling, tanh", "connection table 5×5, 16, tanh",
        "subsampling, tanh", "conv 5×5, 120, tanh", "linear, 84, tanh", "radial basis, 10",
        "class scores",
    ]  # fmt: skip
    assert [text for text in texts if text in expected] == expected
    assert "60,000 parameters, 325,680 multiply-adds" in texts


def test_norms_and_activations_stand_behind_their_layer() -> None:
    texts = words(drawing("mlp_bn"))
    assert texts.count("linear, 100, norm, sigmoid") == 3
    assert "linear, 10" in texts


def test_repeated_blocks_are_drawn_once_with_their_number() -> None:
    texts = words(drawing("resnet50"))
    assert [text for text in texts if text.startswith("× ")] == ["× 2", "× 3", "× 5", "× 2"]
    assert texts.count("conv 3×3, 256, norm, relu") == 1
    assert texts.count("identity") == 4
    assert texts.count("conv 1×1, /2") == 3  # projections


def test_a_shortcut_without_parameters_says_so() -> None:
    assert words(drawing("resnet20")).count("no parameters") == 2
    plain = words(drawing("resnet20_plain"))
    assert "+" not in plain
    assert "identity" not in plain


@pytest.mark.parametrize(
    "name", ["resnet20", "resnet50", "maxout_conv_mnist", "softmax_regression"]
)
def test_everything_is_inside_the_drawing(name: str) -> None:
    root = drawing(name)
    height = float(root.get("height", "0"))
    for each in root.iter(f"{SVG}rect"):
        if each.get("class") != "paper":
            right = float(each.get("x", "0")) + float(each.get("width", "0"))
            lower = float(each.get("y", "0")) + float(each.get("height", "0"))
            assert 0 < right <= WIDTH
            assert 0 < lower <= height


def test_the_drawing_follows_a_dark_theme_and_is_safe_xml() -> None:
    text = draw(summarise(build("lenet5"), (1, 32, 32)), "<lenet & co>")
    assert "prefers-color-scheme: dark" in text
    assert ET.fromstring(text).find(f"{SVG}title").text == "Diagram of <lenet & co>"
    assert "<script" not in text
