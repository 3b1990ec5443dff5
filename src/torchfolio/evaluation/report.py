"""The report: one HTML file that needs no network, made of a few kinds of block.

Blocks know nothing of tasks. Everything in them is text and is escaped, but for the SVG of a
figure, which is checked to hold neither a script nor anything to load. The page carries a content
security policy that forbids both.
"""

import base64
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from torchfolio.checkpoint import write_text
from torchfolio.errors import FolioError
from torchfolio.evaluation.theme import variables

Cell = str | int | float | None

PICTURE_SIDE = 320  # pixels; larger pictures are shrunk
PICTURE_BYTES = 60_000  # larger ones are encoded again
MOST_PICTURES = 60  # of one gallery
MOST_ROWS = 2000  # of one table


@dataclass(frozen=True)
class KeyFigure:
    """One number that matters: what it is, its value, its interval and a remark, as text."""

    label: str
    value: str
    interval: str = ""
    note: str = ""


@dataclass(frozen=True)
class KeyFigures:
    """The numbers that matter. In a first section without a title, the first number is large."""

    figures: Sequence[KeyFigure]


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first column names the rows.

    ``align`` is "left" or "right" for each column; by default numbers stand right. What follows a
    new line in a cell is printed small. Up to four columns and 16 rows, a table may stand beside
    a figure.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    align: Sequence[str] = ()


@dataclass(frozen=True)
class Figure:
    """A drawing. Small neighbours stand side by side where there is room, unless ``wide``."""

    title: str
    svg: str
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture: PNG, JPEG or WebP bytes, or uint8 (height, width[, 3 or 4]).

    ``good`` marks it as right or wrong; a new line in the caption is kept.
    """

    image: bytes | NDArray[np.uint8]
    caption: str = ""
    good: bool | None = None


@dataclass(frozen=True)
class Gallery:
    """Pictures in a grid; of very many the first 60 are shown, and the rest counted.

    ``pairs`` are twice as wide as high.
    """

    title: str
    items: Sequence[Picture]
    caption: str = ""
    pairs: bool = False


@dataclass(frozen=True)
class Text:
    """Paragraphs of plain text."""

    title: str
    paragraphs: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Text that keeps its lines: a command, a file."""

    title: str
    text: str


Block = KeyFigures | Table | Figure | Gallery | Text | Code


@dataclass(frozen=True)
class Section:
    """Blocks under a heading. A first section without a title opens the page."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Report:
    """A page: title, what it is about in a line, sections, and a line at the end."""

    title: str
    subtitle: str
    sections: Sequence[Section]
    footer: str = ""


def write_report(path: Path, report: Report) -> None:
    """Write the report as one HTML file, atomically."""
    write_text(path, render(report))


def render(report: Report) -> str:
    """Return the report as one HTML document."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [
        {"title": section.title, "name": f"s{number}", "shelves": list(_shelves(section.blocks))}
        for number, section in enumerate(report.sections, 1)
    ]
    return environment.get_template("report.html.j2").render(
        report=report,
        sections=sections,
        light=variables(),
        dark=variables(dark=True),
    )


def _shelves(blocks: Sequence[Block]) -> Iterator[dict[str, Any]]:
    """Turn blocks into what the template prints; small neighbours share a shelf."""

    def place(numbered: tuple[int, Block]) -> int:
        number, block = numbered
        return -1 if _is_small(block) else number

    for _, group in groupby(enumerate(blocks), place):
        yield {"blocks": [_plain(block) for _, block in group]}


def _is_small(block: Block) -> bool:
    """Whether a block can stand beside another: a figure that is not wide, a narrow table."""
    if isinstance(block, Table):
        return len(block.columns) <= 4 and len(block.rows) <= 16
    return isinstance(block, Figure) and not block.wide


def _plain(block: Block) -> dict[str, Any]:
    """Return what the template prints of a block."""
    from markupsafe import Markup

    printed = {"kind": type(block).__name__.lower(), **vars(block)}
    match block:
        case Table():
            numeric = [_numeric(row[index] for row in block.rows) for index in range(_width(block))]
            printed["align"] = block.align or [
                "right" if each and index else "left" for index, each in enumerate(numeric)
            ]
            printed["rows"] = [[show(cell) for cell in row] for row in block.rows[:MOST_ROWS]]
            printed["left_out"] = max(0, len(block.rows) - MOST_ROWS)
            printed["tall"] = len(block.rows) > 20
        case Figure():
            width = _check_svg(block)
            printed["svg"] = Markup(block.svg)
            printed["widest"] = round(1.08 * width)
            # On a phone a figure shrinks to 70 %, and then scrolls; a wide one sooner.
            printed["narrowest"] = round((0.85 if width > 480 else 0.7) * width)
        case Gallery():
            printed["pictures"] = [
                {"source": data_uri(each.image), "caption": each.caption, "good": each.good}
                for each in block.items[:MOST_PICTURES]
            ]
            printed["left_out"] = max(0, len(block.items) - MOST_PICTURES)
            printed["pairs"] = block.pairs
    return printed


def _width(table: Table) -> int:
    """Return the number of columns, or say which row has another."""
    count = len(table.columns)
    for number, row in enumerate(table.rows, 1):
        if len(row) != count:
            raise FolioError(
                f"Row {number} of the table {table.title!r} has {len(row)} cells: expected {count}."
            )
    return count


def _numeric(cells: Iterator[Cell]) -> bool:
    """Whether a column holds numbers (and intervals of numbers) only."""
    texts = [cell for cell in cells if cell is not None and cell != ""]
    pattern = r"[-−+]?\d[\d\s., –−()]*( ?[%×a-zA-Z/]{0,4})?"
    return bool(texts) and all(
        not isinstance(cell, str) or re.fullmatch(pattern, cell) for cell in texts
    )


def show(cell: Cell) -> str:
    """Return a cell as text: four significant digits, thin spaces in thousands, – for nothing."""
    if cell is None or (isinstance(cell, float) and not isfinite(cell)):
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int | np.integer):
        return f"{int(cell):,}".replace(",", "\u202f")
    if isinstance(cell, float | np.floating):
        return f"{cell:.4g}"
    return cell


def percent(share: float, digits: int = 1) -> str:
    """Return a share as text in per cent: 0.9871 is ``98.7 %``."""
    return f"{100 * share:.{digits}f}\u202f%" if isfinite(share) else "–"


def data_uri(image: bytes | NDArray[np.uint8]) -> str:
    """Return a picture as a data URI; larger ones are shrunk to 320 pixels."""
    from PIL import Image

    if isinstance(image, bytes) and len(image) <= PICTURE_BYTES:
        for mark, kind in ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"RIFF", "webp")):
            if image.startswith(mark):
                return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
    opened = (
        Image.open(io.BytesIO(image))
        if isinstance(image, bytes)
        else Image.fromarray(np.ascontiguousarray(image))
    )
    opened.thumbnail((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    kind = "png" if max(opened.size) <= 64 or opened.mode in ("RGBA", "LA", "P") else "jpeg"
    if kind == "png":
        opened.save(stream, "PNG", optimize=True)
    else:
        opened.convert("RGB").save(stream, "JPEG", quality=88, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def _check_svg(figure: Figure) -> float:
    """Return the width of a drawing in pixels; refuse one that runs or loads anything."""
    try:
        root = ElementTree.fromstring(figure.svg)
    except ElementTree.ParseError as error:
        raise FolioError(f"The figure {figure.title!r} is not SVG: {error}.") from error
    for element in root.iter():
        tag = str(element.tag).rpartition("}")[2].lower()
        links = [value for name, value in element.attrib.items() if name.endswith("href")]
        calls = [name for name in element.attrib if name.lower().startswith("on")]
        outside = [link for link in links if not link.startswith(("#", "data:image/"))]
        if tag in ("script", "foreignobject") or outside or calls:
            raise FolioError(
                f"The figure {figure.title!r} holds <{tag}> {' '.join(outside + calls)}: a figure "
                "may neither run nor load anything. Draw it with torchfolio.evaluation.figures."
            )
    box = root.get("viewBox", "0 0 440 300").split()
    return float(box[2])
