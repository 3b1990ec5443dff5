"""The colours of figures and report, in light and in dark.

The series colours follow Okabe and Ito, "Color Universal Design", 2008 (blue, vermilion, bluish
green, reddish purple, orange, sky blue), darkened on paper and lightened on black so that each has
a contrast of at least 3:1 with its background (WCAG 2.1, 1.4.11), and text one of at least 4.5:1.
"""

# name: (light, dark). The light values differ from one another: a figure is drawn with them, and
# each becomes ``var(--name, light value)`` in its SVG.
COLOURS = {
    "paper": ("#fcfbf8", "#171614"),
    "raised": ("#f4f1ea", "#211f1c"),
    "ink": ("#24211d", "#ebe6dc"),
    "muted": ("#6a645a", "#a8a195"),
    "rule": ("#d9d3c6", "#3b3832"),
    "series-1": ("#1763a6", "#6aaee6"),
    "series-2": ("#c14a12", "#f08a52"),
    "series-3": ("#0b7a5b", "#3fbf95"),
    "series-4": ("#8e4585", "#d592c8"),
    "series-5": ("#966300", "#dfaa3c"),
    "series-6": ("#2f7f96", "#6cc7de"),
    "on-strong": ("#fffffe", "#fffffe"),
}
LIGHT = {name: pair[0] for name, pair in COLOURS.items()}
PAPER, INK, MUTED = LIGHT["paper"], LIGHT["ink"], LIGHT["muted"]
RULE, ON_STRONG = LIGHT["rule"], LIGHT["on-strong"]
SERIES = [LIGHT[f"series-{number}"] for number in range(1, 7)]

# Of pictures inside figures, which cannot follow the scheme: laid over the paper by opacity.
RIGHT, WRONG = (0x24, 0x72, 0xB8), (0xCE, 0x56, 0x1A)


def variables(dark: bool = False) -> str:
    """Return the colours as CSS declarations: ``--ink: #24211d; ...``."""
    return " ".join(f"--{name}: {pair[dark]};" for name, pair in COLOURS.items())
