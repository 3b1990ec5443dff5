"""Values that a person gives as ``KEY=VALUE``."""

import tomllib
from typing import Any

from torchfolio.errors import RequestError


def parse_set(settings: list[str] | None) -> dict[str, Any]:
    """Return the settings ``KEY=VALUE`` as Python values, keys with underscores.

    A value is read as TOML ("0.5", "true", "[512, 512]", "'text'") or is Python's True or False;
    what is neither is text, so that "relu" needs no quotes. Raises ``RequestError`` for one without
    a key or a ``=``.
    """
    result: dict[str, Any] = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise RequestError(f"--set takes KEY=VALUE, as in --set dropout=0.5, not {setting!r}.")
        if key in result:
            raise RequestError(f"--set gives {key!r} twice. Give it once.")
        result[key] = parse_value(value.strip())
    return result


def parse_value(text: str) -> Any:
    """Return a value as TOML reads it, else the text itself."""
    text = {"True": "true", "False": "false"}.get(text, text)
    if "\n" in text or "#" in text:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
