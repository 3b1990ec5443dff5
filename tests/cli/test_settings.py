import pytest

from torchfolio.cli.settings import parse_set
from torchfolio.errors import RequestError


def test_values_are_read_as_toml_and_else_as_text() -> None:
    settings = ["widths=[512, 256]", "dropout=0.5", "untied=true", "form=plain", "stride-in='1x1'"]
    assert parse_set([*settings, "empty=", "odd=a = b", "text=x # y"]) == {
        "widths": [512, 256],
        "dropout": 0.5,
        "untied": True,
        "form": "plain",
        "stride_in": "1x1",
        "empty": "",
        "odd": "a = b",
        "text": "x # y",
    }


def test_pythons_spelling_of_true_and_false_is_taken() -> None:
    assert parse_set(["aux_logits=False", "untied=True"]) == {"aux_logits": False, "untied": True}


def test_nothing_given_is_no_setting() -> None:
    assert parse_set(None) == {}
    assert parse_set([]) == {}


@pytest.mark.parametrize("setting", ["widths", "=3", " = 3"])
def test_a_setting_without_key_or_value_is_refused(setting: str) -> None:
    with pytest.raises(RequestError, match="--set takes KEY=VALUE"):
        parse_set([setting])


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(RequestError, match="gives 'stride_in' twice"):
        parse_set(["stride-in=1x1", "stride_in=3x3"])
