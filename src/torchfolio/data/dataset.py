"""What a reader recognises behind a path: records, splits, and what they are."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Progress = Callable[[int, int], None]


class Records(Protocol):
    """The examples of a dataset, held in columns and read by index.

    Ten million rows are ten million entries of a few arrays, never ten million objects.
    ``in_memory`` says that reading an example is a copy, not the decoding of a file.
    """

    in_memory: bool

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Return how a person finds this example again: a path, or a file and a row."""
        ...

    def digests(self) -> NDArray[np.uint64]:
        """Return a number an example; equal numbers mean equal content (exact duplicates)."""
        ...

    def facts(self, indices: Indices) -> dict[str, Any]:
        """Return the facts (sizes, channels, columns) of some examples: of a training split."""
        ...


@dataclass(frozen=True)
class Problem:
    """Something wrong with one example: where, and what; a ``note`` where nothing is left out."""

    path: str
    problem: str
    note: bool = False


@dataclass
class Dataset:
    """Records, the splits that the data bring, and what the data are.

    ``kind`` names the problem that the data pose ("image-classification"); a task says which
    kinds it takes. ``given`` holds the records of each split that the data set aside ("train",
    "val", "test"); data without splits have everything in "train". ``labels`` is the class of
    each record where there are classes, ``groups`` the group, ``times`` the moment: what splits
    are stratified by, kept together by and ordered by. Where a record may have several labels,
    ``classes`` are their names, ``targets`` (records, labels) says with 1 and 0 which it has, and
    ``labels`` is ``None``. ``facts`` are plain values (sizes, channels, columns) of all records,
    which ``data.json`` keeps; a task plans with ``records.facts`` of the training split, so that
    test data choose nothing. ``reading`` is a sentence on how the data were understood, where
    they could have been understood otherwise.
    """

    kind: str
    name: str
    path: str
    reader: str
    records: Records
    given: dict[str, Indices]
    fingerprint: str
    classes: tuple[str, ...] = ()
    labels: Indices | None = None
    groups: NDArray[Any] | None = None
    times: NDArray[Any] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    reader_options: dict[str, Any] = field(default_factory=dict)
    targets: NDArray[np.uint8] | None = None
    reading: str = ""

    def __len__(self) -> int:
        return len(self.records)

    def truth(self, index: int) -> str:
        """Return in words what a record is: its class, or its labels."""
        if self.targets is not None:
            found = [self.classes[each] for each in np.flatnonzero(self.targets[index])]
            return ", ".join(found) or "no label"
        return "" if self.labels is None else self.classes[self.labels[index]]


@dataclass(frozen=True)
class NoOptions:
    """The options of a reader or task that has none."""


class Reader(ABC):
    """Recognises one layout of data and reads it as a dataset.

    A reader is a class in ``torchfolio.data.readers``; ``Options`` is a dataclass of its own
    flags. ``recognise`` looks at names only (no file is decoded) and answers in one sentence
    what it sees, or ``None``; the first reader in :data:`torchfolio.data.readers.READERS` that
    answers reads, unless ``--reader`` names another.
    """

    name: ClassVar[str]
    reads: ClassVar[str]  # what it reads, for error messages: "a folder for each class"
    kind: ClassVar[str]
    Options: ClassVar[type] = NoOptions

    def __init__(self, options: Any = None) -> None:
        self.options = options if options is not None else self.Options()

    @classmethod
    @abstractmethod
    def recognise(cls, path: Path) -> str | None:
        """Return what this reader sees at a path, or ``None`` if it is not its layout."""

    @classmethod
    def kind_of(cls, path: Path, settings: Mapping[str, Any]) -> str:
        """Return the kind of the data at a path, before they are read.

        ``settings`` hold the reader's options among others; most readers read one kind only.
        """
        return cls.kind

    @abstractmethod
    def read(
        self, path: Path, *, on_error: str = "skip", progress: Progress | None = None
    ) -> Dataset:
        """Read the data. ``on_error`` is "skip" (report and leave out) or "stop" (raise).

        ``progress(done, total)`` is called while files are read.
        """


def concatenate(parts: Sequence[Indices]) -> Indices:
    """Return several index arrays as one."""
    arrays = [np.asarray(part, np.int64) for part in parts]
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)
