import math
import tomllib
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from torchfolio.errors import RequestError
from torchfolio.options import convert, option, plain, read_options


@dataclass(frozen=True)
class Example:
    count: int = option(3, "How many.", low=1, high=10)
    rate: float = option(0.5, "How fast.", low=0)
    limit: float | None = option(None, "At most.", low=0)
    shape: Literal["round", "crop-flip"] = option("round", "Which.")
    channels: Literal[1, 3] | None = option(None, "1 or 3.")
    cuts: tuple[float, ...] = option((0.5,), "Where.")
    name: str = option("x", "Who.")
    quick: bool = option(False, "Whether.")
    more: dict[str, Any] | None = option(None, "What else.")  # noqa: RUF009


def read(**values: Any) -> Example:
    return read_options(Example, values, "[example]")


def test_what_is_left_out_has_its_default() -> None:
    assert read() == Example()
    assert [each.metadata["help"] for each in fields(Example)][:2] == ["How many.", "How fast."]


def test_values_take_the_type_of_their_field() -> None:
    made = read(count=np.int64(4), rate=1, limit=np.float32(0.5), cuts=[1, 0.25], channels=3)
    assert made == Example(count=4, rate=1.0, limit=0.5, cuts=(1.0, 0.25), channels=3)
    assert [type(made.count), type(made.rate), type(made.limit)] == [int, float, float]
    assert [type(each) for each in made.cuts] == [float, float]
    assert read(limit=None).limit is None
    assert read(more={"widths": [512]}).more == {"widths": [512]}


def test_hyphen_and_underscore_are_the_same() -> None:
    @dataclass
    class Two:
        batch_size: int = option(1, "")

    assert read_options(Two, {"batch-size": 4}, "x").batch_size == 4
    assert read(shape="crop_flip").shape == "crop-flip"
    assert read(shape="Crop-Flip").shape == "crop-flip"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, r"count in \[example\] is 0; it should be 1 or more"),
        ({"count": 11}, "count in .* is 11; it should be 10 or less"),
        ({"rate": -0.1}, r"rate in .* is -0\.1; it should be 0 or more"),
        ({"rate": math.nan}, "rate in .* is nan; it should be a finite number"),
        ({"limit": math.inf}, "limit in .* is inf; it should be a finite number"),
        ({"count": 2.0}, r"count in .* is 2\.0; it should be of type int"),
        ({"count": True}, "count in .* is True; it should be of type int"),
        ({"rate": "fast"}, "rate in .* is 'fast'; it should be of type float"),
        ({"rate": None}, "rate in .* is None; it should be of type float"),
        ({"limit": "x"}, "limit in .* is 'x'; it should be of type float"),
        ({"shape": "oval"}, "shape in .* is 'oval'; it should be one of: round, crop-flip"),
        ({"channels": 2}, "channels in .* is 2; it should be one of: 1, 3"),
        ({"channels": True}, "channels in .* is True; it should be one of: 1, 3"),
        ({"cuts": 0.5}, r"cuts in .* is 0\.5; it should be of type tuple"),
        ({"cuts": ["a"]}, "cuts in .* is 'a'; it should be of type float"),
        ({"name": 3}, "name in .* is 3; it should be of type str"),
        ({"quick": 1}, "quick in .* is 1; it should be of type bool"),
        ({"more": [1]}, r"more in .* is \[1\]; it should be of type dict"),
        ({"cuont": 3}, r"no setting in \[example\] named 'cuont'.*The nearest: count"),
    ],
)
def test_wrong_values_say_what_was_expected(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read(**values)


def test_ranges_include_their_ends() -> None:
    assert read(count=1).count == 1
    assert read(count=10, rate=0).rate == 0.0


def test_any_takes_anything() -> None:
    marker = object()
    assert convert(marker, Any, "x") is marker


@given(
    st.integers(1, 10),
    st.floats(0, allow_infinity=False),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4),
    st.sampled_from(["round", "crop-flip"]),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
)
def test_options_survive_toml(
    count: int, rate: float, cuts: list[float], shape: str, name: str
) -> None:
    made = read(count=count, rate=rate, cuts=cuts, shape=shape, name=name)
    text = tomli_w.dumps(plain(made))
    assert read_options(Example, tomllib.loads(text), "x") == made


def test_none_is_left_out_of_plain_values() -> None:
    assert plain(Example()) == {
        "count": 3,
        "rate": 0.5,
        "shape": "round",
        "cuts": [0.5],
        "name": "x",
        "quick": False,
    }
