from typing import Any

import pytest

from torchfolio.cli.flags import (
    flag_parameters,
    flag_value,
    positional_tokens,
    run_verb,
    with_signature,
)
from torchfolio.errors import RequestError
from torchfolio.tasks.image_classification import ImageOptions


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        (["a", "--reader", "idx"], "idx"),
        (["--reader=idx", "a"], "idx"),
        (["--READER", "idx"], "idx"),
        (["--reader"], None),
        (["reader", "idx"], None),
        (["--read", "idx"], None),
    ],
)
def test_the_value_of_a_flag_is_found_before_the_flags_are_known(
    tokens: list[str], found: str | None
) -> None:
    assert flag_value(tokens, "reader") == found


def test_a_hyphen_in_a_flag_is_an_underscore_in_its_name() -> None:
    assert flag_value(["--path-column", "a"], "path_column") == "a"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("run a b", ["run", "a", "b"]),
        ("--top 3 run a --json b", ["run", "a", "b"]),
        ("--top=3 run -", ["run", "-"]),
        ("run --no-json a", ["run", "a"]),
        ("run --json -- --top -x", ["run", "--top", "-x"]),
    ],
)
def test_what_is_neither_a_flag_nor_its_value_is_positional(line: str, found: list[str]) -> None:
    assert positional_tokens(line.split(), {"json"}) == found


def test_hyphens_and_underscores_are_the_same_in_choices() -> None:
    found: list[dict[str, Any]] = []

    def verb(**settings: Any) -> None:
        found.append(settings)

    flags = flag_parameters(ImageOptions, "Task")
    for tokens in (["--augment", "crop_flip", "--channels", "3"], ["--class-weights=BALANCED"]):
        run_verb("try", with_signature(verb, flags, ""), tokens)
    assert (found[0]["augment"], found[0]["channels"]) == ("crop-flip", 3)
    assert found[1]["class_weights"] == "balanced"
    for value in ("crop", "2"):
        name = "--augment" if value == "crop" else "--channels"
        with pytest.raises(RequestError, match=f"{name} is .*; it should be one of: "):
            run_verb("try", with_signature(verb, flags, ""), [name, value])
