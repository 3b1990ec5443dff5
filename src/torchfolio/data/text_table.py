"""Tables in text: CSV and TSV of any usual separator and encoding, as columns of text."""

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from io import StringIO
from itertools import islice
from pathlib import Path, PurePosixPath

from torchfolio.errors import DataError, normalise, unknown

SEPARATORS = (",", "\t", ";", "|")
ENCODINGS = ("utf-8-sig", "gb18030")
PROBE = 2**16  # bytes that the separator and the encoding are judged by, in a quick look


@dataclass
class Table:
    """Columns of text by name, and the line of the file where each row ends."""

    file: Path
    columns: dict[str, list[str]]
    lines: list[int] = field(default_factory=list)

    def place(self, row: int) -> str:
        """Return where a row is, for a message."""
        return f"line {self.lines[row]} of {self.file.name}"


def read_table(file: Path, values: Collection[str], rows: int | None = None) -> Table:
    """Read a table, or its first rows.

    The first line is a header unless one of its cells ends in one of ``values`` (suffixes that
    only data have); then the columns are called 1, 2, 3. Blank lines are passed over; a row
    that is too short is filled with empty cells. Encoding: UTF-8, UTF-16 with its mark, or
    GB 18030.
    """
    try:
        with file.open("rb") as source:
            data = source.read(-1 if rows is None else PROBE)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from error
    text = decode(file, data, cut=rows is not None and len(data) == PROBE)
    separator = _separator(text)
    try:
        records = _records(text, separator, None if rows is None else rows + 1)
    except csv.Error as error:
        raise DataError(f"{file} is no table of text ({error}).") from error
    if not records:
        raise DataError(f"{file} is empty: a table with a row for each example was expected.")
    width = max(len(cells) for _, cells in records)
    head = [cell.strip() for cell in records[0][1]]
    if any(PurePosixPath(cell).suffix.lower() in values for cell in head):
        head = [str(number) for number in range(1, width + 1)]
    else:
        records = records[1:]
    head += [str(number) for number in range(len(head) + 1, width + 1)]
    names = [name or str(number) for number, name in enumerate(head, 1)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{file} has two columns named {twice!r}. Give each a name of its own.")
    columns: dict[str, list[str]] = {name: [] for name in names}
    for _, cells in records:
        for number, name in enumerate(names):
            columns[name].append(cells[number] if number < len(cells) else "")
    return Table(file, columns, [line for line, _ in records])


def find_column(table: Table, name: str) -> str:
    """Return the column of a name; case, hyphen and underscore do not matter."""
    spellings = {normalise(each): each for each in table.columns}
    if name in table.columns:
        return name
    if normalise(name) in spellings:
        return spellings[normalise(name)]
    raise unknown(f"column in {table.file.name}", name, table.columns)


def read_text(file: Path) -> str:
    """Return the text of a file, as :func:`decode` reads it; raise ``DataError``."""
    try:
        return decode(file, file.read_bytes())
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from error


def decode(file: Path, data: bytes, cut: bool = False) -> str:
    """Return the text of a file's bytes; raise ``DataError`` for what is none.

    Encoding: UTF-8, UTF-16 with its mark, or GB 18030. ``cut`` says that they are the first ones
    only.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return data.decode("utf-16", "ignore" if cut else "strict")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{file} begins as UTF-16 and is none from byte {error.start:,} on: it is damaged "
                "or cut off. Save it as UTF-8."
            ) from error
    if cut:  # end with a whole line, so that no character is cut in two
        data = data[: data.rfind(b"\n") + 1] or data
    for encoding in ENCODINGS:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError(f"{file} is neither UTF-8 nor GB 18030 text. Save it as UTF-8.")


def _separator(text: str) -> str:
    """Return the separator that gives most of the first rows the same number of cells."""
    best, most = ",", (0, 0)
    for separator in SEPARATORS:
        try:
            widths = [len(cells) for _, cells in _records(text, separator, 20)]
        except csv.Error:
            continue
        common = max(set(widths), key=widths.count, default=0)
        if common > 1 and (score := (widths.count(common), common)) > most:
            best, most = separator, score
    return best


def _records(text: str, separator: str, limit: int | None) -> list[tuple[int, list[str]]]:
    reader = csv.reader(_lines(text), delimiter=separator)
    rows = ((reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells))
    return list(islice(rows, limit))


def _lines(text: str) -> Iterator[str]:
    """Give lines, parted by line feeds and carriage returns alone (not by Unicode's others)."""
    return StringIO(text, newline=None)
