"""The report: complete, closed to the network, and safe whatever a class is called."""

import base64
import io
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from torchfolio.errors import FolioError
from torchfolio.evaluation.report import (
    Code,
    Figure,
    Gallery,
    KeyFigure,
    KeyFigures,
    Picture,
    Report,
    Section,
    Table,
    Text,
    data_uri,
    percent,
    render,
    show,
    write_report,
)

EVIL = "<script>alert('猫')</script>\"><img src=x onerror=alert(1)>"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 30"><path d="M0 0 L1 1"/></svg>'
VOID = {"meta", "img", "br", "path", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags, text and what the page would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def text(self) -> str:
        return " ".join(self.words)


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (8, 8), np.uint8)


def everything(word: str) -> Report:
    """A report with every block, and a word wherever a word can stand."""
    return Report(
        word,
        word,
        [
            Section("", [KeyFigures([KeyFigure(word, word, word, word), KeyFigure("F1", "0.9")])]),
            Section(
                word,
                [
                    Table(word, [word, "n"], [[word, 1], [word, None]], word),
                    Figure(word, SVG, word),
                    Figure("", SVG),
                    Figure("wide", SVG, wide=True),
                    Gallery(word, [Picture(picture(), word, good) for good in (True, False, None)]),
                    Text(word, [word, word]),
                    Code(word, word),
                ],
            ),
            Section("Last", [Text("", ["end"])]),
        ],
        footer=word,
    )


def test_whatever_a_class_is_called_it_stays_text() -> None:
    html = render(everything(EVIL))
    page = Page(html)
    assert page.open == []
    assert not page.all("script")
    assert not any(name.startswith("on") for _, tag in page.tags for name in tag)
    assert len(page.all("img")) == 3
    assert page.text().count("alert('猫')") >= 18


def test_the_page_loads_nothing() -> None:
    page = Page(render(everything("word")))
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            target = attributes.get(name)
            assert target is None or target.startswith(("#", "data:image/")), (tag, target)
    for tag in ("script", "link", "iframe", "object", "embed"):
        assert not page.all(tag)
    styles = re.findall(r"<style>(.*?)</style>", render(everything("word")), re.S)
    assert "url(" not in "".join(styles)
    assert "@import" not in "".join(styles)
    policies = [tag["content"] for tag in page.all("meta") if tag.get("http-equiv")]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_every_link_of_the_contents_has_its_section() -> None:
    page = Page(render(everything("word")))
    names = [tag["id"] for tag in page.all("section")]
    assert [tag["href"] for tag in page.all("a")] == [f"#{name}" for name in names[1:]]


def test_headings_follow_one_another_and_pictures_have_words() -> None:
    page = Page(render(everything("word")))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(tag.get("alt") for tag in page.all("img"))
    assert page.all("html")[0]["lang"] == "en"
    assert "width=device-width" in str([tag.get("content") for tag in page.all("meta")])


def test_small_neighbours_share_a_shelf() -> None:
    html = render(Report("t", "", [Section("s", [Figure("a", SVG), Figure("b", SVG)])]))
    assert html.count('class="shelf many"') == 1
    wide = [Figure("a", SVG, wide=True), Figure("b", SVG)]
    assert 'class="shelf many"' not in render(Report("t", "", [Section("s", wide)]))


def test_numbers_stand_right_and_names_left() -> None:
    rows = [["cat", 1200, "98.1 %", 0.123456], ["dog", 7, None, float("nan")]]
    page = Page(render(Report("t", "", [Section("s", [Table("", list("abcd"), rows)])])))
    assert [tag["class"] for tag in page.all("th")[:4]] == ["left", "right", "right", "right"]
    words = [word for word in page.words if word.strip()]
    assert "1\u202f200" in words
    assert "0.1235" in words
    assert words.count("–") == 2


def test_cells_are_shown_with_four_digits() -> None:
    shown = [
        show(cell) for cell in (0.98765432, 12345, np.int64(7), None, True, "x", np.float32(2))
    ]
    assert shown == ["0.9877", "12\u202f345", "7", "–", "yes", "x", "2"]
    assert percent(0.98714, 2) == "98.71\u202f%"


def test_a_row_that_does_not_fit_is_named() -> None:
    table = Table("pairs", ["a", "b"], [[1, 2], [3]])
    with pytest.raises(FolioError, match="Row 2 of the table 'pairs' has 1 cells: expected 2"):
        render(Report("t", "", [Section("s", [table])]))


@pytest.mark.parametrize(
    "svg",
    [
        SVG.replace("<path", "<script>1</script><path"),
        SVG.replace("<path", '<path onclick="1"'),
        SVG.replace("<path", '<image href="https://example.org/x.png"/><path'),
        SVG.replace("<path", "<foreignObject/><path"),
        "<svg",
    ],
)
def test_a_figure_that_runs_or_loads_is_refused(svg: str) -> None:
    with pytest.raises(FolioError, match="The figure 'f'"):
        render(Report("t", "", [Section("s", [Figure("f", svg)])]))


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_small_pictures_are_kept_to_the_pixel() -> None:
    small = picture()
    uri = data_uri(small)
    assert uri.startswith("data:image/png;")
    assert (np.asarray(decoded(uri)) == small).all()
    stream = io.BytesIO()
    Image.fromarray(small).save(stream, "PNG")
    uri = data_uri(stream.getvalue())
    assert base64.b64decode(uri.partition(",")[2]) == stream.getvalue()


def test_large_pictures_are_shrunk() -> None:
    large = np.random.default_rng(0).integers(0, 255, (900, 1200, 3), np.uint8)
    found = decoded(data_uri(large))
    assert found.size == (320, 240)
    stream = io.BytesIO()
    Image.fromarray(large).save(stream, "PNG")
    assert decoded(data_uri(stream.getvalue())).size == (320, 240)
    assert len(data_uri(large)) < 100_000


def test_galleries_and_tables_are_bounded_and_say_so() -> None:
    gallery = Gallery("g", [Picture(picture()) for _ in range(75)])
    table = Table("t", ["n"], [[number] for number in range(2500)])
    page = Page(render(Report("t", "", [Section("s", [gallery, table])])))
    assert len(page.all("img")) == 60
    assert len(page.all("tr")) == 2001
    assert "And 15 pictures more." in page.text()
    assert "And 500 rows more." in page.text()


def test_a_report_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "run" / "report.html"
    write_report(path, everything("数字"))
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
