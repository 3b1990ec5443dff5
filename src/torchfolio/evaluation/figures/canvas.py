"""A figure of fixed pixels, made without pyplot and written as a small SVG for light and dark.

Text stays text and takes the font of the page. Widths of words are estimated here, because the
font that a browser will use is not known; so labels have room in any script.
"""

import hashlib
import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from torchfolio.evaluation.theme import COLOURS, INK, LIGHT, MUTED, RULE

TEXT = 11.0  # pixels
SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "torchfolio",
    "text.parse_math": False,  # a class may be named $x$
    "font.size": TEXT,
    "font.family": ["DejaVu Sans"],  # comes with matplotlib; only estimates sizes
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.labelsize": TEXT,
    "axes.edgecolor": RULE,
    "axes.linewidth": 1.0,
    "axes.unicode_minus": False,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.major.pad": 5.0,
    "ytick.major.pad": 6.0,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "lines.solid_capstyle": "round",
}


class Canvas:
    """A drawing of a size in pixels; ``svg`` is set when the block of :func:`drawing` ends."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        self.figure.patch.set_visible(False)
        self.svg = ""

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes at pixels from the upper left, with no frame but the lower and left line."""
        bottom = self.height - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(box)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        axes.patch.set_visible(False)
        return axes

    def text(self, x: float, y: float, words: str, **settings: object) -> None:
        """Write words at pixels from the upper left, centred in height."""
        place = (x / self.width, 1 - y / self.height)
        style: dict[str, object] = {"va": "center_baseline", "ha": "left", "fontsize": TEXT}
        self.figure.text(*place, words, **style | settings)  # type: ignore[arg-type]

    def legend(self, entries: Sequence[tuple[str, str]], left: float, top: float) -> None:
        """Write names with a dash of their colour, in rows from the upper left."""
        x = left
        for name, colour in entries:
            room = 26 + width_of(name)
            if x > left and x + room > self.width:
                x, top = left, top + 16
            line = [x / self.width, (x + 14) / self.width], [1 - top / self.height] * 2
            self.figure.add_artist(_line(*line, colour))
            self.text(x + 19, top, name, color=INK)
            x += room + 8


def _line(x: list[float], y: list[float], colour: str):  # type: ignore[no-untyped-def]
    from matplotlib.lines import Line2D

    return Line2D(x, y, color=colour, linewidth=2.5)


@contextmanager
def drawing(label: str, width: float, height: float) -> Iterator[Canvas]:
    """Give a canvas to draw on; afterwards it holds the SVG, read aloud as ``label``."""
    with rc_context(SETTINGS), warnings.catch_warnings():  # type: ignore[arg-type]
        # The browser's fonts have the glyphs that matplotlib's own has not.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        canvas = Canvas(width, height)
        yield canvas
        stream = io.StringIO()
        kept_out = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas.figure.savefig(stream, format="svg", transparent=True, metadata=kept_out)
    canvas.svg = tidy(stream.getvalue(), label)


def width_of(words: str, size: float = TEXT) -> float:
    """Estimate the width of words in pixels: wide (Chinese) characters are as wide as high."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in words)
    return size * (wide + 0.57 * (len(words) - wide))


def shorten(words: str, room: float, size: float = TEXT) -> str:
    """Cut words to a width in pixels, with an ellipsis where something is lost."""
    words = " ".join(words.split()) or "(no name)"
    if width_of(words, size) <= room:
        return words
    while words and width_of(words + "…", size) > room:
        words = words[:-1]
    return words.rstrip() + "…"


def tidy(svg: str, label: str) -> str:
    """Return matplotlib's SVG smaller, for any background, safe to stand beside others on a page.

    Colours become CSS variables, repeated styles classes, names unique to the figure; the size
    becomes a view box, the fonts those of the page.
    """
    root = ElementTree.fromstring(svg.encode())
    mark = "f" + hashlib.sha256(f"{label}{svg}".encode()).hexdigest()[:8]
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{SVG}metadata", f"{SVG}style") or callable(child.tag):
                parent.remove(child)
    used = set(re.findall(r"(?:#|url\(#)([\w-]+)", svg))
    styles: dict[str, int] = {}
    for element in root.iter():
        _rename(element, used, mark)
        if style := element.get("style"):
            element.set("style", style := _restyle(style))
            styles[style] = styles.get(style, 0) + 1
    names = {
        style: f"{mark}-{number}"
        for number, style in enumerate(each for each, count in styles.items() if count > 1)
    }
    for element in root.iter():
        if (style := element.get("style")) in names:
            del element.attrib["style"]
            element.set("class", names[style])
    _unwrap(root)
    sheet = "".join(f".{name}{{{style}}}" for style, name in names.items())
    if sheet:
        ElementTree.SubElement(root, f"{SVG}style").text = sheet
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", label)
    root.set("style", "font-family:inherit;stroke-linejoin:round;overflow:visible")
    ElementTree.register_namespace("", SVG.strip("{}"))
    ElementTree.register_namespace("xlink", XLINK.strip("{}"))
    text = ElementTree.tostring(root, encoding="unicode")
    return re.sub(r">\s+<", "><", text)


def _rename(element: ElementTree.Element, used: set[str], mark: str) -> None:
    """Drop a name that nothing refers to; make the others unique; round coordinates."""
    for name, value in list(element.attrib.items()):
        if name == "id":
            if value in used:
                element.set("id", f"{mark}{value}")
            else:
                del element.attrib["id"]
        elif name == f"{XLINK}href":
            del element.attrib[name]
            element.set("href", f"#{mark}{value[1:]}" if value.startswith("#") else value)
        elif name == "clip-path":
            element.set(name, value.replace("url(#", f"url(#{mark}"))
        elif name == "transform" and value.startswith("rotate(-0 "):
            del element.attrib[name]
        elif name in ("d", "x", "y", "points"):
            element.set(name, " ".join(re.sub(r"-?\d+\.\d+", _rounded, value).split()))


def _rounded(number: re.Match[str]) -> str:
    """Return a coordinate to a tenth of a pixel."""
    return f"{float(number[0]):.1f}".removesuffix(".0")


def _restyle(style: str) -> str:
    """Turn colours into variables and matplotlib's fonts into a size."""
    style = re.sub(
        r"font: (?:(\w+) )?([\d.]+)px [^;]+",
        lambda found: (
            f"font-size:{float(found[2]):g}px" + (f";font-weight:{found[1]}" if found[1] else "")
        ),
        style,
    )
    style = re.sub(r"font-family: ?[^;]+;? ?", "", style)
    for name, value in LIGHT.items():
        style = style.replace(value, f"var(--{name},{value})")
    return style.replace("; ", ";").replace(": ", ":")


def _unwrap(parent: ElementTree.Element) -> None:
    """Replace groups that say nothing by what they hold."""
    for child in list(parent):
        _unwrap(child)
        if child.tag == f"{SVG}g" and not child.attrib:
            place = list(parent).index(child)
            parent.remove(child)
            for offset, grandchild in enumerate(list(child)):
                parent.insert(place + offset, grandchild)
        elif child.tag == f"{SVG}defs" and len(child) == 0:
            parent.remove(child)


def standalone(svg: str) -> str:
    """Return a figure as a file of its own: the light colours, on paper, with a size."""
    for name, (light, _) in COLOURS.items():
        svg = svg.replace(f"var(--{name},{light})", light)
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    width, height = box.groups() if box else ("440", "300")
    svg = svg.replace("font-family:inherit", "font-family:system-ui,sans-serif", 1)
    size = f'width="{width}" height="{height}" '
    svg = svg.replace("viewBox=", f"{size}viewBox=", 1)
    first = svg.index(">") + 1
    sheet = f'<rect width="{width}" height="{height}" fill="{LIGHT["paper"]}"/>'
    return f'<?xml version="1.0" encoding="utf-8"?>\n{svg[:first]}{sheet}{svg[first:]}\n'
