"""Options: small dataclasses beside what they belong to, one field a setting.

The same field is a flag of the command, a key of a recipe and an argument in Python.
"""

import dataclasses
import math
import numbers
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from torchfolio.errors import RequestError, normalise, unknown

Options = TypeVar("Options")


def option(default: Any, help: str, *, low: float | None = None, high: float | None = None) -> Any:  # noqa: A002
    """Declare one setting: its default, its line of help, and the range of its values."""
    return dataclasses.field(default=default, metadata={"help": help, "low": low, "high": high})


def read_options(kind: type[Options], values: Mapping[str, Any], where: str) -> Options:
    """Build an options dataclass from plain values, each checked for name, type and range.

    Hyphens in names are underscores. ``where`` names the source in errors: "[training] of
    recipe.toml", "the settings".
    """
    fields = {each.name: each for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    ready = {}
    for given, value in values.items():
        name = normalise(given)
        if name not in fields:
            raise unknown(f"setting in {where}", given, fields)
        ready[name] = convert(value, hints[name], f"{name} in {where}")
        check_range(ready[name], fields[name].metadata, f"{name} in {where}")
    return kind(**ready)


def check_range(value: Any, metadata: Mapping[str, Any], where: str) -> None:
    """Say so if a number is not finite, or lies outside the range that its option declares."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    low, high = metadata.get("low"), metadata.get("high")
    if not math.isfinite(value):
        raise RequestError(f"{where} is {value}; it should be a finite number.")
    if low is not None and value < low:
        raise RequestError(f"{where} is {value}; it should be {low} or more.")
    if high is not None and value > high:
        raise RequestError(f"{where} is {value}; it should be {high} or less.")


def convert(value: Any, hint: Any, where: str) -> Any:
    """Return a plain value as the type a field declares, or say what it should have been."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        kinds = [each for each in get_args(hint) if each is not type(None)]
        for kind in kinds[:-1]:
            try:
                return convert(value, kind, where)
            except RequestError:
                continue
        return convert(value, kinds[-1], where)
    if origin is Literal:
        for choice in get_args(hint):
            same = isinstance(choice, str) and normalise(choice) == normalise(str(value))
            if same or (value == choice and not isinstance(value, bool)):
                return choice
        choices = ", ".join(str(each) for each in get_args(hint))
        raise RequestError(f"{where} is {value!r}; it should be one of: {choices}.")
    if origin is tuple:
        if isinstance(value, list | tuple):
            return tuple(convert(each, get_args(hint)[0], where) for each in value)
    elif hint is float:
        if isinstance(value, numbers.Real) and not isinstance(value, bool):
            return float(value)
    elif hint is int:
        if isinstance(value, numbers.Integral) and not isinstance(value, bool):
            return int(value)
    elif hint is Any or isinstance(value, origin or hint):
        return value
    name = getattr(hint, "__name__", str(hint))
    raise RequestError(f"{where} is {value!r}; it should be of type {name}.")


def plain(options: Any) -> dict[str, Any]:
    """Return the settings as values that TOML can hold; what is None is left out."""
    values = dataclasses.asdict(options)
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in values.items()
        if value is not None
    }
