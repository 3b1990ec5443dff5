"""Rows of results in a file of ``docs/results``: a list, in which a newer row replaces an older."""

import json
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Key = Callable[[Row], Hashable]


def read(file: Path) -> list[Row]:
    """Return the rows of a file as they stand there, none where there is no file."""
    rows: list[Row] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    return rows


def ordered(file: Path, key: Key, keys: list[Any]) -> list[Row]:
    """Return the rows of a file in the order of ``keys``, without those that are none of them."""
    places = {each: place for place, each in enumerate(keys)}
    return sorted((r for r in read(file) if key(r) in places), key=lambda r: places[key(r)])


def add(file: Path, known: list[Row], row: Row, key: Key) -> None:
    """Write the rows that are known and one more: in the place of the one before, else behind."""
    rows = list(known)
    places = [place for place, each in enumerate(rows) if key(each) == key(row)]
    if places:
        rows[places[0]] = row
    else:
        rows.append(row)
    file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
