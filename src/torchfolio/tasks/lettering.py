"""Fonts for words in pictures, in any script that an installed font has."""

from functools import cache
from typing import Any

FONTS_WITH_CHINESE = (
    "CJK", "PingFang", "Hiragino Sans GB", "YaHei", "SimHei", "WenQuanYi", "Arial Unicode",
)  # fmt: skip


def lettered(text: str, size: int = 18) -> tuple[str, Any]:
    r"""Return a text and a Pillow font of a size in pixels that has all its letters.

    Where no installed font has them, letters beyond ASCII become escapes such as ``\u732b``.
    """
    from PIL import ImageFont

    if not text.isascii():
        file = font_with(frozenset(text))
        if file is not None:
            return text, ImageFont.truetype(file, size)
        text = text.encode("ascii", "backslashreplace").decode()
    return text, ImageFont.load_default(size=size)


@cache
def font_with(letters: frozenset[str]) -> str | None:
    """Return the file of an installed font that has these letters, if there is one.

    The one that comes with matplotlib (Latin, Greek, Cyrillic) is asked first, then fonts that are
    known to have Chinese, then all others; of each kind upright ones of usual weight first.
    """
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    def rank(font: font_manager.FontEntry) -> tuple[bool, bool, bool, bool, str]:
        chinese = any(name in font.name for name in FONTS_WITH_CHINESE)
        slanted = font.style != "normal"
        heavy = str(font.weight) not in ("400", "normal", "regular", "book")
        return font.name != "DejaVu Sans", not chinese, slanted, heavy, font.fname

    for font in sorted(font_manager.fontManager.ttflist, key=rank):
        if "lastresort" in font.name.replace(" ", "").lower():  # a box for every letter there is
            continue
        try:
            known = FT2Font(font.fname).get_charmap()
        except (OSError, RuntimeError):  # removed since the list was made, or damaged
            continue
        if all(ord(letter) in known for letter in letters):
            return font.fname
    return None


def shortened(text: str, room: float, size: int) -> tuple[str, Any]:
    """Return a text with its font as :func:`lettered` does, cut with dots to a width in pixels."""
    text, font = lettered(text, size)
    if font.getlength(text) <= room:
        return text, font
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text.rstrip() + "...", font
