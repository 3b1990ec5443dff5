import json

import pytest
from torch import nn

from torchfolio.cli.app import run
from torchfolio.cli.verify import chosen
from torchfolio.errors import RequestError
from torchfolio.networks.catalogue import list_networks
from torchfolio.verification import Verification, judge
from torchfolio.verification import verify as right


def test_a_network_that_agrees_exits_0_and_says_against_what(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["verify", "lenet5_original"]) == 0
    text = capsys.readouterr().out
    assert "passed  lenet5_original: 60,000 parameters, 325,680 multiply-adds" in text
    assert "our own calculation of its equations (nothing can be installed)" in text
    assert "(tolerance 1e-05)" in text


def test_verbose_shows_every_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "lenet5", "--verbose"]) == 0
    text = capsys.readouterr().out
    for layer in ("c1", "c3", "c5", "f6", "output"):
        assert f"\n        {layer} " in text


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "softmax-regression", "mlp", "--json"]) == 0
    output = capsys.readouterr()
    found = json.loads(output.out)
    assert [each["name"] for each in found] == ["softmax_regression", "mlp"]
    assert all(each["passed"] and each["max_difference"] <= 1e-5 for each in found)
    assert "torch" in found[0]["reference"]


def test_a_network_that_differs_exits_1_and_names_the_layer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(name: str, **arguments: object) -> nn.Module:
        from torchfolio.networks.build import build as right_build

        network = right_build(name)
        if name == "resnet20":
            network.get_submodule("layer1.0.conv2").padding_mode = "reflect"
        return network

    monkeypatch.setattr(judge, "build", build)
    assert run(["verify", "resnet20", "lenet5_original", "--quiet"]) == 1
    text = capsys.readouterr().out
    assert "FAILED  resnet20" in text
    assert "wrong: layer1.0.conv2: the output differs" in text
    assert "passed  lenet5_original" in text
    assert "1 of 2 networks passed; failed: resnet20" in text


def test_an_unknown_network_exits_2_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "lenet6"]) == 2
    assert "The nearest: lenet5" in capsys.readouterr().err


def test_names_are_exact_before_they_are_parts() -> None:
    assert chosen(("resnet20",)) == ["resnet20"]
    assert chosen(("resnet20*", "lenet5")) == ["lenet5", "resnet20", "resnet20_b", "resnet20_plain"]
    assert chosen(()) == list_networks()
    assert "maxout_mlp" in chosen(("maxout",))
    with pytest.raises(RequestError, match="no network"):
        chosen(("lenet5", "nothing"))


def test_the_python_interface_gives_the_same_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "mlp", "--json", "--quiet"]) == 0
    verdict = right("mlp")
    assert isinstance(verdict, Verification)
    assert json.loads(capsys.readouterr().out) == [verdict.as_json()]
