"""A table of picture files and their classes, or their labels."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from torchfolio.data.dataset import Dataset, Problem, Progress, Reader
from torchfolio.data.folders import (
    SPLIT_OF,
    SPLITS,
    descend,
    entries,
    files_ending,
    listing,
    nfc,
    stop_on,
)
from torchfolio.data.images import SUFFIXES
from torchfolio.data.label_table import (
    LABELS,
    Answers,
    Labelling,
    find_labelling,
    named_column,
    quoted,
    read_answers,
    says_yes_or_no,
    split_names,
)
from torchfolio.data.readers.image_folder import walk
from torchfolio.data.readers.pictures import SEVERAL, picture_dataset
from torchfolio.data.scan import IGNORED, scan
from torchfolio.data.text_table import Table, find_column, read_table
from torchfolio.errors import DataError, RequestError
from torchfolio.options import option, plain, read_options

TABLES = (".csv", ".tsv")
PATHS = ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "img")
SPLIT_NAMES = ("split", "subset", "partition", "set")


@dataclass(frozen=True)
class ImageTableOptions:
    """Which columns of the table hold what."""

    path_column: str | None = option(None, "Column of the pictures' paths.")
    label_column: str | None = option(None, "Column of the classes, or of lists of labels.")
    label_columns: str | None = option(
        None, "Columns that say yes or no of a label each: NAME,NAME."
    )
    separator: str | None = option(
        None, "What parts the labels in a cell: | ; , space, or none: a cell is one class."
    )
    split_column: str | None = option(None, "Column that says train, val or test.")
    group_column: str | None = option(None, "Column whose equal values stay on one side.")


class ImageTable(Reader):
    """A CSV or TSV with a path in each row, and a class or several labels.

    Paths are relative to the table's folder. Without a header row the columns are called 1, 2, 3.
    Whether a picture has one class or several labels: :mod:`torchfolio.data.label_table`. Record:
    path of the image, and index of its class or its labels.
    """

    name: ClassVar[str] = "image-table"
    reads: ClassVar[str] = "a CSV or TSV of picture files and their classes or labels"
    kind: ClassVar[str] = "image-classification"
    Options: ClassVar[type] = ImageTableOptions

    @classmethod
    def recognise(cls, path: Path) -> str | None:
        file = find_table(path)
        if file is None:
            return None
        table = read_table(file, SUFFIXES, rows=100)
        column = path_column(table)
        if column is None:
            return None
        if path.is_dir():  # a folder of pictures may hold a table that means something else
            classes = named_column(table, LABELS, {column})
            marks = sum(map(says_yes_or_no, table.columns.values()))
            if classes is None and marks < 2 and len(entries(file.parent)[0]) > 1:
                return None
            if not any(locate(file.parent, value) for value in table.columns[column][:10]):
                return None
        return f"a table of pictures: {file.name}, paths in {column!r}"

    @classmethod
    def kind_of(cls, path: Path, settings: Mapping[str, Any]) -> str:
        own = {each.name: settings.get(each.name) for each in fields(ImageTableOptions)}
        reader = cls(read_options(ImageTableOptions, own, "the reader image-table"))
        table = read_table(found_table(path), SUFFIXES)
        return SEVERAL if reader._labelling(table, reader._columns(table)).several else cls.kind

    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        file = found_table(path)
        table = read_table(file, SUFFIXES)
        columns = self._columns(table)
        labelling = self._labelling(table, columns)
        answers = read_answers(table, labelling)
        rows, names, problems = [], [], []
        for row, value in enumerate(table.columns[columns["path"]]):
            found = locate(file.parent, value.strip())
            if found is None:
                problems.append(Problem(value, f"no such file ({table.place(row)})"))
            elif row in answers.wrong:
                problems.append(Problem(found, f"{answers.wrong[row]} ({table.place(row)})"))
            else:
                rows.append(row)
                names.append(found)
        scanned = scan(file.parent, names, self.name, progress)
        for row, name, error in zip(rows, names, scanned.errors, strict=True):
            if error:
                text = "no picture" if error == IGNORED else error
                problems.append(Problem(name, f"{text} ({table.place(row)})"))
        stop_on(problems, on_error, path)
        if path.is_dir():
            told = [*names, *(each.path for each in problems)]
            problems += overlooked(path, file, told)
        groups = table.columns[columns["group"]] if "group" in columns else None
        keep = np.array([not error for error in scanned.errors], bool)
        dataset = picture_dataset(
            reader=self,
            path=path,
            root=file.parent,
            scan=scanned,
            keep=keep,
            **self._answers(answers, labelling, rows, keep),
            split_names=np.array(self._splits(table, columns.get("split"), rows), object),
            problems=problems,
            groups=np.array([groups[row] for row in rows]) if groups is not None else None,
        )
        dataset.reading = labelling.reading
        dataset.reader_options = plain(self.options) | labelling.settings()
        return dataset

    def _answers(
        self, answers: Answers, labelling: Labelling, rows: list[int], keep: NDArray[np.bool_]
    ) -> dict[str, Any]:
        """Return the classes or labels of some rows, as ``picture_dataset`` takes them.

        Of lists, labels that only rows left out have are no labels.
        """
        if answers.targets is None:
            classes = answers.classes or []
            return {"class_names": np.array([classes[row] for row in rows], object)}
        targets, names = answers.targets[rows], np.array(answers.names, object)
        found = targets[keep].any(0)
        if keep.any() and not found.any():
            raise DataError(
                f"No picture that can be read has a label in {quoted(labelling.columns)}: there is "
                "nothing to learn. Mend the files or the table, or name other columns."
            )
        if labelling.form == "list":
            targets, names = targets[:, found], names[found]
        return {"labels": (names.tolist(), targets)}

    def _columns(self, table: Table) -> dict[str, str]:
        """Return the column of each role but the labels', as asked for or as found."""
        found = {}
        options = self.options
        for role in ("path", "split", "group"):
            asked = getattr(options, f"{role}_column")
            if asked is not None:
                found[role] = find_column(table, asked)
        taken = set(found.values()) | asked_labels(table, options)
        path = found.get("path") or path_column(table, taken)
        if path is None:
            raise RequestError(
                f"{table.file} has no column of picture paths among {_list(table)}. Name it with "
                "--path-column."
            )
        found["path"] = path
        if "split" not in found:
            split = split_column(table, taken | {path})
            if split is not None:
                found["split"] = split
        return found

    def _labelling(self, table: Table, columns: Mapping[str, str]) -> Labelling:
        """Return where the classes or labels are, as asked for or as found."""
        options = self.options
        return find_labelling(
            table,
            set(columns.values()),
            column=options.label_column,
            columns=options.label_columns,
            separator=options.separator,
        )

    def _splits(self, table: Table, column: str | None, rows: list[int]) -> list[str]:
        if column is None:
            return ["train"] * len(rows)
        splits = []
        for row in rows:
            text = table.columns[column][row].strip().lower()
            if text and text not in SPLIT_OF:
                known = ", ".join(name for names in SPLITS.values() for name in names)
                raise DataError(
                    f"{table.place(row)}: the split is {text!r} in the column {column!r}; "
                    f"it is one of {known}, or empty (train). Correct that cell."
                )
            splits.append(SPLIT_OF.get(text, "train"))
        return splits


def found_table(path: Path) -> Path:
    """Return the table at a path, or say that there is none."""
    file = find_table(path)
    if file is None:
        raise DataError(f"{path} is no table, or holds several: {ImageTable.reads} was expected.")
    return file


def find_table(path: Path) -> Path | None:
    """Return the table at a path: the file itself, or the only one in a folder."""
    if path.is_file():
        return path if path.suffix.lower() in (*TABLES, ".txt") else None
    if not path.is_dir():
        return None
    files = files_ending(descend(path), TABLES)
    return files[0] if len(files) == 1 else None


def overlooked(folder: Path, file: Path, named: Iterable[str]) -> list[Problem]:
    """Return what to tell of the pictures in a folder that its table does not name."""

    def spelt(path: str) -> str:  # as a table may spell it on a system that does not care
        return nfc(os.path.normpath(path)).lower()

    known = {spelt(f"{file.parent}{os.sep}{name}") for name in named}
    left = [
        name.removeprefix("./")
        for name in walk(folder, folder)
        if PurePosixPath(name).suffix.lower() in SUFFIXES
        and spelt(f"{folder}{os.sep}{name}") not in known
    ]
    if not left:
        return []
    text = f"pictures that {file.name} does not name, left out ({len(left):,}): {listing(left)}"
    return [Problem(".", f"{text} (--reader image-folder reads class folders instead)")]


def asked_labels(table: Table, options: ImageTableOptions) -> set[str]:
    """Return the columns that a person named as those of classes or labels."""
    names = [] if options.label_column is None else [options.label_column]
    if options.label_columns is not None:
        names += split_names(options.label_columns)
    return {find_column(table, name) for name in names}


def path_column(table: Table, taken: set[str] | None = None) -> str | None:
    """Return the column whose values mostly end like pictures."""
    best, most = None, 0.0
    for name, values in table.columns.items():
        if taken and name in taken:
            continue
        ends = [PurePosixPath(value.strip()).suffix.lower() in SUFFIXES for value in values[:100]]
        share = sum(ends) / max(1, len(ends)) + (0.01 if name.lower() in PATHS else 0)
        if share > max(most, 0.5):
            best, most = name, share
    return best


def split_column(table: Table, taken: set[str]) -> str | None:
    """Return the column that is called split and holds mostly names of splits."""
    for name, values in table.columns.items():
        if name.lower() in SPLIT_NAMES and name not in taken:
            known = [text in SPLIT_OF for value in values if (text := value.strip().lower())]
            if sum(known) > len(known) / 2:
                return name
    return None


def locate(folder: Path, value: str) -> str | None:
    """Return a file's path relative to the table's folder, if it is there."""
    for form in dict.fromkeys((value, value.replace("\\", "/"))):
        # Of 200,000 rows, paths would take longer to make than files to find.
        if form and os.path.isfile(os.path.join(folder, form)):  # noqa: PTH113, PTH118
            return form
    return None


def _list(table: Table) -> str:
    return ", ".join(repr(name) for name in table.columns)
