"""The code blocks of our Markdown files, and the text before each."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = ("sh", "console")


@dataclass(frozen=True)
class Block:
    """One block: its language, its code, the paragraph before it, and the line where it begins."""

    file: Path
    line: int
    language: str
    code: str
    before: str

    @property
    def where(self) -> str:
        return f"{self.file.relative_to(ROOT).as_posix()}:{self.line}"

    def commands(self) -> list[list[str]]:
        """Return the commands of a shell block as words, continued lines joined.

        In a console block they follow a ``$``. Commands with a comment ``# needs ...`` are left
        out: they take what a test does not have.
        """
        lines = self.code.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        words = [shlex.split(line, comments=True) for line in lines if "# needs" not in line]
        return [each for each in words if each]


def blocks(file: Path, heading: str | None = None) -> Iterator[Block]:
    """Give the blocks of a file, or of the part below one heading of the second level."""
    text = file.read_text(encoding="utf-8")
    start, end = 0, len(text)
    if heading is not None:
        start = text.index(f"\n## {heading}\n") + 1
        following = text.find("\n## ", start)
        end = len(text) if following < 0 else following
    behind = start
    for match in FENCE.finditer(text, start, end):
        before = text[behind : match.start()].strip()
        line = text.count("\n", 0, match.start()) + 1
        yield Block(file, line, match["language"], match["code"], before)
        behind = match.end()
