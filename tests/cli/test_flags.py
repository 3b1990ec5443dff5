import pytest

from torchfolio.cli.flags import flag_value, positional_tokens


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
