"""What a table says of its examples: one class each, or several labels, by a fixed rule.

1. ``--label-columns`` names columns that say yes or no of a label each.
2. ``--label-column``, else a column called as in :data:`LABELS`, else the only one left, holds the
   answer. Its cells are lists of labels if they have a separator: ``|`` or ``;`` wherever one
   stands; a comma, or under a name in the plural a space, only if there are at most half as many
   labels as different cells, for else they belong to names ("tench, Tinca tinca"). Without, each
   cell is a class. ``--separator`` says which, or that there is none.
3. Else two or more columns of yes and no are labels, unless another column holds words that could
   be classes: that is for the person to say. Where every row says yes exactly once, the columns
   are classes written one a column.
"""

import csv
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.folders import counted, listing, nfc
from torchfolio.data.text_table import Table, find_column
from torchfolio.errors import DataError, RequestError

LABELS = (
    "label", "labels", "class", "class_name", "classname", "category", "target", "y", "breed",
    "species", "diagnosis", "类别", "标签", "分类", "tags", "classes", "categories", "attributes",
)  # fmt: skip
PLURALS = ("labels", "tags", "classes", "categories", "attributes", "标签")
SEPARATORS = ("|", ";", ",", " ")
NAMED = {"space": " ", "comma": ",", "none": ""}  # separators that have a word
# Words of yes and no; a column takes both from one pair, else a column of grades might look so.
PAIRS = (
    ("1", "0"), ("1", "-1"), ("yes", "no"), ("y", "n"), ("true", "false"), ("t", "f"),
    ("是", "否"), ("有", "无"), ("x", ""),
)  # fmt: skip
YES = frozenset(yes for yes, _ in PAIRS)
HEAD = 1000  # rows that a quick look takes
LARGEST = 2**31  # examples x labels that are held in memory, a byte each


@dataclass(frozen=True)
class Labelling:
    """Where the answers of a table are: in which columns, in what form, and that in a sentence.

    ``form`` is "class" (one column, a class in each cell), "list" (one column, labels parted by
    ``separator``), "marks" (a column of yes and no for each label), or "one-hot" (such columns for
    classes).
    """

    form: Literal["class", "list", "marks", "one-hot"]
    columns: tuple[str, ...]
    reading: str
    separator: str = ""

    @property
    def several(self) -> bool:
        """Whether an example may have several labels."""
        return self.form in ("list", "marks")

    def settings(self) -> dict[str, str]:
        """Return the options by which other tables are read as this one."""
        if self.form == "marks":
            return {"label_columns": joined_names(self.columns)}
        if self.form == "list":
            return {"label_column": self.columns[0], "separator": self.separator}
        return {}


@dataclass(frozen=True)
class Answers:
    """What each row says: a class, or which labels it has; and what is wrong with some rows.

    ``classes`` are texts (rows,), ``targets`` zeros and ones (rows, labels) under ``names``: one of
    both. ``wrong`` has a text for each row that cannot be used.
    """

    classes: list[str] | None = None
    targets: NDArray[np.uint8] | None = None
    names: tuple[str, ...] = ()
    wrong: dict[int, str] = field(default_factory=dict)


def find_labelling(
    table: Table,
    taken: Collection[str],
    *,
    column: str | None = None,
    columns: str | None = None,
    separator: str | None = None,
) -> Labelling:
    """Return where the answers of a table are; ``taken`` are the columns that hold other things.

    ``column``, ``columns`` and ``separator`` are the options. Raises ``RequestError`` where the
    rule of this module does not decide.
    """
    if columns is not None:
        if column is not None:
            raise RequestError(
                f"{table.file}: the label column {column!r} and the label columns {columns!r} "
                "cannot both be. Name the one, with classes or lists of labels, or the others, "
                "with yes and no. (A run reads tables as its own, unless --reader is given.)"
            )
        return marks_named(table, taken, columns)
    found = find_column(table, column) if column is not None else answer_column(table, taken)
    if found is not None:
        return in_one_column(table, found, separator)
    left = [name for name in table.columns if name not in taken]
    marks = [name for name in left if says_yes_or_no(table.columns[name])]
    words = [name for name in left if name not in marks and could_be_classes(table.columns[name])]
    if len(marks) < 2 or words:
        names = ", ".join(repr(name) for name in table.columns)
        advice = joined_names(marks if len(marks) > 1 else ["ONE", "OTHER"])
        raise RequestError(
            f"{table.file}: which of {names} is the class? Name it with --label-column, or columns "
            f"that say yes or no of a label each with --label-columns '{advice}'."
        )
    rest = [name for name in left if name not in marks]
    beside = f"; not read: {quoted(rest)}" if rest else ""
    if is_one_hot(table, marks):
        reading = (
            f"one class a picture: of the columns {quoted(marks)} each row says yes to one "
            f"(--label-columns '{joined_names(marks)}' reads labels){beside}"
        )
        return Labelling("one-hot", tuple(marks), reading)
    return Labelling("marks", tuple(marks), told_marks(marks) + beside)


# In one column


def answer_column(table: Table, taken: Collection[str]) -> str | None:
    """Return the column that is called label, or the only one that is left."""
    left = [name for name in table.columns if name not in taken]
    return named_column(table, LABELS, taken) or (left[0] if len(left) == 1 else None)


def named_column(table: Table, names: Iterable[str], taken: Collection[str]) -> str | None:
    """Return the first column of one of the names."""
    free = {name.lower(): name for name in table.columns if name not in taken}
    return next((free[name] for name in names if name in free), None)


def in_one_column(table: Table, column: str, asked: str | None) -> Labelling:
    """Return whether one column holds classes or lists of labels."""
    cells = {text for cell in set(table.columns[column]) if (text := cell.strip())}
    plural = column.strip().lower() in PLURALS
    separator = find_separator(cells, plural) if asked is None else NAMED.get(asked.lower(), asked)
    if separator:
        named = repr(separator) if separator.strip() else "spaces"
        reading = (
            f"several labels a picture, in the column {column!r}, parted by {named} "
            "(--label-column, --separator)"
        )
        return Labelling("list", (column,), reading, separator)
    reading = f"one class a picture, in the column {column!r} (--label-column)"
    if asked is None:
        commas = sum("," in cell for cell in cells)
        if commas:
            told = "1 class holds" if commas == 1 else f"{commas:,} classes hold"
            reading += f"; {told} a comma, as a part of its name (--separator , reads lists)"
    return Labelling("class", (column,), reading)


def find_separator(cells: Collection[str], plural: bool) -> str | None:
    """Return what parts the labels in different cells, or ``None`` where each is one class."""
    for separator in SEPARATORS[:2]:
        if any(separator in cell for cell in cells):
            return separator
    for separator in SEPARATORS[2:] if plural else SEPARATORS[2:3]:
        if any(separator in cell for cell in cells):
            parts = {part for cell in cells for part in parted(cell, separator)}
            if 2 * len(parts) <= len(cells):
                return separator
    return None


def parted(cell: str, separator: str) -> list[str]:
    """Return the labels in a cell, each once; a space stands for any white space."""
    parts = cell.split() if separator == " " else cell.split(separator)
    return list(dict.fromkeys(text for part in parts if (text := nfc(part.strip()))))


# In a column each


def marks_named(table: Table, taken: Collection[str], names: str) -> Labelling:
    """Return the columns of yes and no that a person names."""
    asked = split_names(names)
    columns = [find_column(table, name) for name in asked]
    for name in columns:
        if name in taken or columns.count(name) > 1:
            what = "holds something else" if name in taken else "is named twice"
            raise RequestError(
                f"{table.file}: the label column {name!r} {what}. Name each label once, and no "
                "column of paths, splits or groups."
            )
    if not columns:
        raise RequestError(f"--label-columns {names!r} names no column: NAME,NAME was expected.")
    return Labelling("marks", tuple(columns), told_marks(columns))


def told_marks(columns: Sequence[str]) -> str:
    """Return how columns of yes and no are understood."""
    return f"several labels a picture, a column each: {quoted(columns)} (--label-columns)"


def split_names(text: str) -> list[str]:
    """Return the names in a text as CSV has them: a name with a comma stands in quotes."""
    rows = list(csv.reader(StringIO(text), skipinitialspace=True))
    return [name for row in rows for cell in row if (name := cell.strip())]


def joined_names(names: Sequence[str]) -> str:
    """Return names as :func:`split_names` reads them."""
    text = StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return text.getvalue()


def quoted(names: Sequence[str]) -> str:
    """Return the first names in quotes, and how many more there are."""
    return listing([repr(name) for name in names], 10)


def word(cell: str) -> str:
    """Return a cell as words of yes and no are compared: 1.0 is 1."""
    text = cell.strip().lower()
    return text.removesuffix(".0") if text in ("1.0", "0.0", "-1.0") else text


def pair_of(cells: Collection[str]) -> tuple[str, str]:
    """Return the pair of yes and no that has most of the cells."""
    words = [word(cell) for cell in cells]
    return max(PAIRS, key=lambda pair: sum(each in pair for each in words if each))


def says_yes_or_no(cells: Sequence[str]) -> bool:
    """Return whether a column is one of yes and no, to the last cell.

    It takes both words from one pair; blanks may stand among them, and must where x says yes.
    """
    words = {word(cell) for cell in set(cells)}
    said = words - {""}
    return bool(said) and any(
        said <= set(pair) and (pair[1] != "" or "" in words) for pair in PAIRS
    )


def could_be_classes(cells: Sequence[str]) -> bool:
    """Return whether a column holds words, several of them, that come again and again."""
    different = {text for cell in set(cells) if (text := cell.strip())}
    if not 2 <= len(different) <= len(cells) / 2:
        return False
    return not all(is_number(text) for text in different)


def is_number(text: str) -> bool:
    """Return whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_one_hot(table: Table, columns: Sequence[str]) -> bool:
    """Return whether every row says yes in exactly one of the columns.

    The first rows without a blank decide soon that it is not so, as they mostly do.
    """
    for row in zip(*(table.columns[name][:HEAD] for name in columns), strict=True):
        words = [word(cell) for cell in row]
        if all(words) and sum(each in YES for each in words) != 1:
            return False
    found = read_marks(table, columns)
    assert found.targets is not None
    times = np.delete(found.targets.sum(1, dtype=np.int64), list(found.wrong))
    return len(times) > 0 and bool((times == 1).all())


# Reading


def read_answers(table: Table, labelling: Labelling) -> Answers:
    """Read what each row says."""
    if labelling.form == "class":
        classes = [nfc(cell.strip()) for cell in table.columns[labelling.columns[0]]]
        wrong = {row: "no class" for row, text in enumerate(classes) if not text}
        return Answers(classes=classes, wrong=wrong)
    if labelling.form == "list":
        return read_lists(table, labelling.columns[0], labelling.separator)
    found = read_marks(table, labelling.columns)
    if labelling.form == "marks":
        return found
    assert found.targets is not None
    answers = [found.names[each] for each in found.targets.argmax(1)]
    return Answers(classes=answers, wrong=found.wrong)


def read_lists(table: Table, column: str, separator: str) -> Answers:
    """Read a list of labels from each cell; the labels are in alphabetical order.

    A blank cell is an example without any label.
    """
    cells = table.columns[column]
    lists = {cell: parted(cell, separator) for cell in set(cells)}
    names = tuple(sorted({name for parts in lists.values() for name in parts}))
    if not names:
        raise DataError(
            f"{table.file}: the column {column!r} is blank, and labels were expected there. Name "
            "another with --label-column."
        )
    place = {name: number for number, name in enumerate(names)}
    targets = zeros(len(cells), len(names))
    for row, cell in enumerate(cells):
        for name in lists[cell]:
            targets[row, place[name]] = 1
    return Answers(targets=targets, names=names)


def read_marks(table: Table, columns: Sequence[str]) -> Answers:
    """Read yes or no from a column for each label; the labels are in the table's order.

    A blank cell says no where its column has words of yes alone, and is an error elsewhere.
    """
    targets = zeros(len(table.columns[columns[0]]), len(columns))
    wrong: dict[int, str] = {}
    for number, column in enumerate(columns):
        cells = table.columns[column]
        different = set(cells)
        yes, no = pair_of(different)
        blank_is_no = not no or no not in {word(cell) for cell in different}
        values = {cell: value_of(word(cell), yes, no, blank_is_no) for cell in different}
        found = np.fromiter(map(values.__getitem__, cells), np.int8, len(cells))
        targets[:, number] = found == 1
        for row in np.flatnonzero(found < 0).tolist():
            text = cells[row].strip()
            told = f"{text!r} in {column!r} is neither yes nor no" if text else f"no {column!r}"
            wrong.setdefault(row, told)
    return Answers(targets=targets, names=tuple(nfc(each.strip()) for each in columns), wrong=wrong)


def value_of(text: str, yes: str, no: str, blank_is_no: bool) -> int:
    """Return 1 for yes, 0 for no, -1 for anything else."""
    if text == yes:
        return 1
    return 0 if (text == no if text else blank_is_no) else -1


def zeros(rows: int, labels: int) -> NDArray[np.uint8]:
    """Return a table of zeros (rows, labels), or say that it would be too large."""
    if rows * labels > LARGEST:
        raise DataError(
            f"{counted(labels, 'label')} in {counted(rows, 'row')} are more than fit into memory. "
            "Is it a column of labels? Name another with --label-column, or part its cells "
            "otherwise with --separator."
        )
    table: NDArray[Any] = np.zeros((rows, labels), np.uint8)
    return table
