import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from torchfolio.cli.app import run


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["show", *arguments]) == 0
    return capsys.readouterr().out


def test_resnet50_agrees_with_the_facts(capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(shown(capsys, "resnet50", "--json"))
    assert (answer["name"], answer["year"]) == ("resnet50", 2015)
    assert (answer["parameters"], answer["macs"]) == (25_557_032, 4_089_184_256)
    layers = answer["layers"]
    assert sum(layer["parameters"] for layer in layers) == 25_557_032
    assert sum(layer["macs"] for layer in layers) == 4_089_184_256
    assert (layers[0]["name"], layers[0]["output"]) == ("conv1", [64, 112, 112])


def test_the_table_fits_a_terminal_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = shown(capsys, "resnet110_b")
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "layer1.1 to layer1.17" in text
    assert "1,730,714" in text


def test_the_multiples_that_images_must_have_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(shown(capsys, "vit_s_32").split())
    assert "from 3x32x32 on, in multiples of 32" in text
    assert "multiples" not in shown(capsys, "resnet18")


def test_an_input_changes_shapes_and_multiply_adds_only(capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(shown(capsys, "resnet18", "--input", "3x64x32", "--json"))
    assert answer["input"] == [3, 64, 32]
    assert answer["parameters"] == 11_689_512
    assert answer["layers"][0]["output"] == [64, 32, 16]
    assert answer["layers"][0]["macs"] == 64 * 3 * 49 * 32 * 16


def test_channels_classes_and_arguments_reach_the_network(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["--input", "2x3x5", "--num-classes", "4", "--set", "widths=[7, 6]"]
    answer = json.loads(shown(capsys, "mlp", *flags, "--set", "activation=tanh", "--json"))
    assert [layer["parameters"] for layer in answer["layers"]] == [
        30 * 7 + 7, 0, 7 * 6 + 6, 0, 6 * 4 + 4
    ]  # fmt: skip
    assert answer["layers"][1]["kind"] == "Tanh"


def test_an_image_size_may_be_given_as_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--set", "image_size=[4, 6]", "--set", "in_channels=3"]
    answer = json.loads(shown(capsys, "softmax_regression", *flags, "--json"))
    assert answer["input"] == [3, 4, 6]
    assert answer["parameters"] == 3 * 4 * 6 * 10 + 10


def test_the_diagram_is_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "new" / "lenet.svg"
    assert str(file) in shown(capsys, "lenet5", "--svg", str(file)).replace("\n", "")
    assert ET.parse(file).getroot().tag.endswith("svg")


def test_an_image_that_fits_no_memory_is_followed_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = json.loads(shown(capsys, "resnet18", "--input", "3x100000x100000", "--json"))
    first = answer["layers"][0]
    assert first["output"] == [64, 50_000, 50_000]
    assert first["macs"] == 64 * 3 * 49 * 50_000 * 50_000
    assert answer["parameters"] == 11_689_512


def test_a_diagram_that_cannot_be_written_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert run(["show", "lenet5", "--svg", str(tmp_path / "file" / "x.svg")]) == 1
    told = capsys.readouterr().err
    assert f"{tmp_path / 'file' / 'x.svg'} cannot be written: " in told
    assert "choose another folder" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenet5", "--input", "1x28x28"], "takes images of 1x32x32"),
        (["lenet5_original", "--input", "3x32x32"], "takes images of 1 channel"),
        (["resnet18", "--input", "224"], "--input takes CHANNELSxHEIGHTxWIDTH"),
        (["resnet18", "--input", "3x0x224"], "--input takes CHANNELSxHEIGHTxWIDTH"),
        (["resnet18", "--input", "3x1000001x9"], "each of its sizes should be 1,000,000 or less"),
        (["resnet18", "--input", "3x9223372036854775807x2"], "should be 1,000,000 or less"),
        (["maxout_conv_mnist", "--input", "1x9x9"], "the smallest is 16x16"),
        (["mlp", "--set", "widht=[3]"], "The nearest: widths"),
        (["mlp", "--set", "widths"], "--set takes KEY=VALUE"),
        (["mlp", "--set", "widths=[3]", "--set", "widths=[4]"], "gives 'widths' twice"),
        (["resnte18"], "The nearest: resnet18"),
    ],
)
def test_a_wrong_request_ends_with_status_2_and_says_why(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["show", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
