"""The rows that answers are, as tables hold them."""

from typing import Any, Protocol


class Shows(Protocol):
    """What shows rows as lines and as columns: a task, or the answers of an exported file."""

    def line(self, row: dict[str, Any]) -> str: ...

    def cells(self, row: dict[str, Any]) -> dict[str, Any] | list[dict[str, Any]]: ...


def plain_values(row: dict[str, Any]) -> dict[str, Any]:
    """Return what of a row fits the cells of a table: all but lists, mappings and its picture."""
    return {
        key: value
        for key, value in row.items()
        if key != "picture" and not isinstance(value, list | tuple | dict)
    }
