"""What a verb prints: text for people, or one JSON document with everything else on stderr."""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.console import Console

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document.")]
Quiet = Annotated[
    bool, Parameter(name="--quiet", negative="", help="Print results and errors only.")
]


@dataclass
class Output:
    """Where a verb writes. ``say`` is for progress, ``show`` for the result a person reads."""

    json: bool = False
    quiet: bool = False

    @cached_property
    def stdout(self) -> "Console":
        """The console for results."""
        from rich.console import Console

        return Console(soft_wrap=True, highlight=False)

    @cached_property
    def stderr(self) -> "Console":
        """The console for progress and errors."""
        from rich.console import Console

        return Console(stderr=True, soft_wrap=True, highlight=False)

    @property
    def in_terminal(self) -> bool:
        """Whether stderr is a terminal; where it plainly is none, rich is not even imported."""
        return ("stderr" in vars(self) or sys.stderr.isatty()) and self.stderr.is_terminal

    def say(self, text: Any = "") -> None:
        """Print progress; on stderr under ``--json``, nowhere under ``--quiet``."""
        if not self.quiet:
            (self.stderr if self.json else self.stdout).print(text, markup=False)

    def show(self, renderable: Any = "") -> None:
        """Print the result for a person; nothing under ``--json``."""
        if not self.json:
            self.stdout.print(renderable, markup=False)

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[int] = ()
    ) -> None:
        """Print aligned columns; in a terminal, lines are cut at its width."""
        if self.json:
            return
        table = [[str(cell) for cell in row] for row in (header, *rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for row in table:
            cells = [
                cell.rjust(size) if place in right else cell.ljust(size)
                for place, (cell, size) in enumerate(zip(row, widths, strict=True))
            ]
            sys.stdout.write("  ".join(cells).rstrip()[:width] + "\n")

    def error(self, message: str) -> None:
        """Print an error on stderr."""
        print(f"error: {message}", file=sys.stderr)

    def document(self, value: Any) -> None:
        """Print the JSON document, under ``--json``."""
        if self.json:
            json.dump(value, sys.stdout, ensure_ascii=False, indent=2, default=_plain)
            sys.stdout.write("\n")


def _plain(value: Any) -> Any:
    """Turn numpy values, paths and sets into what JSON knows."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)
