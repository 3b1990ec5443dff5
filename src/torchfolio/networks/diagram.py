"""A network drawn as an SVG: from the image at the top to the class scores at the bottom.

Equal blocks are drawn once, with their number. Colours follow the reader's light or dark theme.
"""

from dataclasses import dataclass
from xml.etree import ElementTree as ET

from torchfolio.networks.blocks import Block, blocks
from torchfolio.networks.summary import Layer, Summary

WIDTH = 720
CENTRE = 360  # of the layers
BOX, HEIGHT = 232, 32  # width and height of a layer
GAP = 12  # between the layers of a block
SPACE = 28  # between blocks
PADDING = 16  # of a block around its layers
LANE = 112  # left of the layers, where a shortcut runs
RIGHT = CENTRE + BOX / 2 + PADDING + 16  # where the shapes are written

# The class of a layer, which its colour follows; what is not here is of the class "other".
KINDS = {
    "Conv2d": "conv",
    "ConnectionTable": "conv",
    "MaxoutConv": "conv",
    "Linear": "linear",
    "Maxout": "linear",
    "MaxPool2d": "pool",
    "AvgPool2d": "pool",
    "AdaptiveAvgPool2d": "pool",
    "Subsampling": "pool",
}
# Layers that are written behind the one before them instead of drawn.
BRIEF = {
    "BatchNorm1d": "norm",
    "BatchNorm2d": "norm",
    "ReLU": "relu",
    "LeakyReLU": "leaky relu",
    "ELU": "elu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Dropout": "dropout",
}

STYLE = """
svg { --paper: #ffffff; --ink: #1d2430; --faint: #667085; --line: #98a2b3; --card: #f5f7fa;
  --edge: #d5dae1; --conv: #d6e6fb; --conv-edge: #5b93d6; --pool: #fbe3cb; --pool-edge: #d98f45;
  --linear: #d5efdc; --linear-edge: #4fa269; --other: #e7dff6; --other-edge: #8e75c4;
  --end: #ffffff; --end-edge: #98a2b3; }
@media (prefers-color-scheme: dark) {
  svg { --paper: #12161d; --ink: #e8ecf2; --faint: #98a3b3; --line: #66728a; --card: #1b212b;
    --edge: #343d4b; --conv: #1d3a5c; --conv-edge: #5b93d6; --pool: #51371c; --pool-edge: #d98f45;
    --linear: #1d4429; --linear-edge: #4fa269; --other: #392d55; --other-edge: #9f87d8;
    --end: #12161d; --end-edge: #66728a; } }
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--ink); }
.title { font-size: 20px; font-weight: 650; } .middle { text-anchor: middle; }
.right { text-anchor: end; } .faint { fill: var(--faint); font-size: 12px; }
.times { font-size: 16px; font-weight: 650; }
.paper { fill: var(--paper); } .card { fill: var(--card); stroke: var(--edge); }
.conv { fill: var(--conv); stroke: var(--conv-edge); }
.pool { fill: var(--pool); stroke: var(--pool-edge); }
.linear { fill: var(--linear); stroke: var(--linear-edge); }
.other { fill: var(--other); stroke: var(--other-edge); }
.end { fill: var(--end); stroke: var(--end-edge); }
.line { fill: none; stroke: var(--line); stroke-width: 1.5; }
.head { fill: var(--line); } .small { font-size: 11px; } .gap { fill: var(--card); }
.plus { fill: var(--paper); stroke: var(--line); stroke-width: 1.5; }
"""


@dataclass
class Figure:
    """What is drawn for a block: its layers from top to bottom, those of its shortcut beside them.

    A layer is (label, class). ``names`` are the block's and, where it is repeated, the last one's.
    """

    names: list[str]
    layers: list[tuple[str, str]]
    side: list[tuple[str, str]]
    times: int
    shortcut: bool
    reshaped: bool  # the shortcut has another shape at its end
    activation: str  # after the addition
    output: tuple[int, ...]


def draw(summary: Summary, title: str) -> str:
    """Return a diagram of a network as the text of an SVG file."""
    canvas = Canvas()
    canvas.write(32, 36, title, "title")
    counts = f"{summary.parameters:,} parameters, {summary.macs:,} multiply-adds"
    canvas.write(32, 62, counts, "faint")
    canvas.ending("image", summary.input)
    found = figures(summary)
    for figure in found:
        if figure.shortcut or len(figure.layers) > 1:
            canvas.block(figure)
        else:
            canvas.single(figure)
    canvas.ending("class scores", found[-1].output)
    return canvas.finish(title)


def figures(summary: Summary) -> list[Figure]:
    """Return what is drawn, in order."""
    result: list[Figure] = []
    shape: tuple[int, ...] = summary.input
    for block in blocks(summary):
        shown = [layer for layer in block.layers if layer.output]
        main = [layer for layer in shown if not beside(block, layer)]
        if not main:
            continue
        if len(main) == 1 and main[0].kind in BRIEF and result:
            result[-1].layers[-1] = joined(*result[-1].layers[-1], main[0])
            continue
        names = [block.name, *[repeat.name for repeat in block.repeats[-1:]]]
        output = main[-1].output
        side = labels([layer for layer in shown if beside(block, layer)], short=True)
        times = 1 + len(block.repeats)
        reshaped = output != shape
        result.append(
            Figure(
                names, labels(main), side, times, block.shortcut, reshaped, block.activation, output
            )
        )
        shape = output
    return result


def beside(block: Block, layer: Layer) -> bool:
    """Say whether a layer is on the shortcut of its block."""
    name = layer.name.removeprefix(f"{block.name}.")
    return block.shortcut and name.startswith(("downsample.", "shortcut."))


def labels(layers: list[Layer], short: bool = False) -> list[tuple[str, str]]:
    """Return the label and class of each layer; norms and activations join the one before.

    ``short`` leaves the channels, norms and activations out.
    """
    result: list[tuple[str, str]] = []
    for layer in layers:
        if layer.kind in BRIEF and result:
            if not short:
                result[-1] = joined(*result[-1], layer)
            continue
        window, _, stride = layer.detail.partition("/")
        words = layer.words.removesuffix(layer.detail).strip()
        kind = KINDS.get(layer.kind, "other")
        parts = [f"{words} {window.replace('x', '×')}".strip()]
        if kind != "pool" and not short:
            parts.append(str(layer.output[0]))
        if stride:
            parts.append(f"/{stride}")
        if layer.activation and not short:
            parts.append(layer.activation)
        result.append((", ".join(parts), kind))
    return result


def joined(label: str, kind: str, layer: Layer) -> tuple[str, str]:
    """Return a label with a norm or activation behind it, and its class."""
    return ", ".join(filter(None, [label, BRIEF[layer.kind], layer.activation])), kind


class Canvas:
    """The drawing so far; ``y`` is where the next thing is drawn, ``last`` where the last ended."""

    def __init__(self) -> None:
        self.root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img"})
        self.y = 92.0
        self.last: float | None = None

    def add(self, tag: str, kind: str, **attributes: object) -> ET.Element:
        """Add an element."""
        values = {key: str(value) for key, value in attributes.items()}
        return ET.SubElement(self.root, tag, values | {"class": kind})

    def write(self, x: float, y: float, words: str, kind: str = "") -> None:
        """Write words whose middle is at the height ``y``."""
        self.add("text", kind, x=x, y=y + 4.5).text = words

    def box(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """Draw a rounded rectangle."""
        self.add("rect", kind, x=x, y=y, width=width, height=height, rx=7)

    def arrow(self, start: float, end: float) -> None:
        """Draw the arrow between two layers."""
        self.add("path", "line", d=f"M{CENTRE},{start} V{end - 6}")
        self.add("path", "head", d=f"M{CENTRE},{end} l-4,-7 h8 z")

    def layer(self, label: str, kind: str, y: float) -> None:
        """Draw one layer."""
        self.box(CENTRE - BOX / 2, y, BOX, HEIGHT, kind)
        self.write(CENTRE, y + HEIGHT / 2, label, "middle")

    def arrive(self) -> None:
        """Draw the arrow from what is above."""
        if self.last is not None:
            self.arrow(self.last, self.y)

    def leave(self, height: float) -> None:
        """Go on below something of this height."""
        self.last = self.y + height
        self.y = self.last + SPACE

    def ending(self, label: str, shape: tuple[int, ...]) -> None:
        """Draw the image or the class scores."""
        self.arrive()
        self.layer(label, "end", self.y)
        self.write(RIGHT, self.y + HEIGHT / 2, times(shape), "faint")
        self.leave(HEIGHT)

    def single(self, figure: Figure) -> None:
        """Draw a layer by itself."""
        self.arrive()
        self.layer(*figure.layers[0], self.y)
        self.write(32, self.y + HEIGHT / 2, figure.names[0], "faint")
        self.write(RIGHT, self.y + HEIGHT / 2, times(figure.output), "faint")
        self.leave(HEIGHT)

    def block(self, figure: Figure) -> None:
        """Draw the layers of a block on a card, with their shortcut and how often they come."""
        self.arrive()
        top, bottom = (
            PADDING + (8 if figure.shortcut else 0),
            PADDING + (22 if figure.shortcut else 0),
        )
        inner = len(figure.layers) * (HEIGHT + GAP) - GAP
        height = top + inner + bottom
        left = CENTRE - BOX / 2 - PADDING - (LANE if figure.shortcut else 0)
        width = CENTRE + BOX / 2 + PADDING - left
        for behind in range(min(figure.times, 3) - 1, -1, -1):
            self.box(left + 5 * behind, self.y + 5 * behind, width, height, "card")
        y = self.y + top
        if figure.shortcut:
            self.add("path", "line", d=f"M{CENTRE},{self.y} V{y}")
            self.shortcut(figure, self.y + 10, y + inner + 14)
        for number, (label, kind) in enumerate(figure.layers):
            if number:
                self.arrow(y - GAP, y)
            self.layer(label, kind, y)
            y += HEIGHT + GAP
        middle = self.y + height / 2
        self.write(32, middle - (8 if figure.times > 1 else 0), figure.names[0], "faint")
        if figure.times > 1:
            self.write(32, middle + 8, f"to {figure.names[-1]}", "faint")
            self.write(WIDTH - 32, middle, f"× {figure.times}", "times right")
        self.write(RIGHT, y - GAP - HEIGHT / 2, times(figure.output), "faint")
        self.leave(height)

    def shortcut(self, figure: Figure, start: float, end: float) -> None:
        """Draw a shortcut from one height to the addition at another."""
        x = CENTRE - BOX / 2 - LANE / 2 - 4
        corner = 8
        self.add(
            "path",
            "line",
            d=f"M{CENTRE},{start} H{x + corner} q{-corner},0 {-corner},{corner} "
            f"V{end - corner} q0,{corner} {corner},{corner} H{CENTRE - 9}",
        )
        self.add("path", "line", d=f"M{CENTRE},{end - 14} V{end + 24}")
        self.add("circle", "plus", cx=CENTRE, cy=end, r=9)
        self.write(CENTRE, end - 0.5, "+", "middle")
        self.write(CENTRE + 16, end, figure.activation, "small")
        middle = (start + end) / 2
        if figure.side:
            for number, (label, kind) in enumerate(figure.side):
                y = middle + (number - len(figure.side) / 2) * (HEIGHT + GAP) + GAP / 2
                self.box(x - LANE / 2 + 6, y, LANE - 12, HEIGHT, kind)
                self.write(x, y + HEIGHT / 2, label, "middle small")
        elif figure.reshaped:
            self.label(x, middle, "no parameters")
        else:
            self.label(x, middle, "identity")

    def label(self, x: float, y: float, words: str) -> None:
        """Write words across a line."""
        self.box(x - LANE / 2 + 8, y - 9, LANE - 16, 18, "gap")
        self.write(x, y, words, "middle small")

    def finish(self, title: str) -> str:
        """Return the drawing as text."""
        height = self.y - SPACE + 32
        size = {"viewBox": f"0 0 {WIDTH} {height:g}", "width": str(WIDTH), "height": f"{height:g}"}
        self.root.attrib.update(size)
        paper = {"class": "paper", "width": "100%", "height": "100%"}
        self.root.insert(0, ET.Element("rect", paper))
        for tag, words in (("style", STYLE), ("title", f"Diagram of {title}")):
            self.root.insert(0, ET.Element(tag))
            self.root[0].text = words
        ET.indent(self.root)
        return ET.tostring(self.root, encoding="unicode") + "\n"


def times(shape: tuple[int, ...]) -> str:
    """Return a shape as text: "64 × 56 × 56"."""
    return " × ".join(str(size) for size in shape)
