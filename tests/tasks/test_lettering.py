"""Words in pictures: a font that has the letters, or escapes."""

import pytest

from torchfolio.tasks import lettering
from torchfolio.tasks.lettering import font_with, lettered, shortened


def test_ascii_needs_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(letters: frozenset[str]) -> str:
        raise AssertionError("fonts were looked at")

    monkeypatch.setattr(lettering, "font_with", search)
    assert lettered("a bee  97.3%")[0] == "a bee  97.3%"


def test_greek_and_russian_have_the_font_that_comes_with_matplotlib() -> None:
    file = font_with(frozenset("пчела μέλισσα"))
    assert file is not None
    assert file.endswith("DejaVuSans.ttf")
    text, font = lettered("пчела", 20)
    assert text == "пчела"
    assert font.size == 20
    assert font.getmask("п").getbbox() != font.getmask("ч").getbbox()


def test_letters_that_no_font_has_become_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert font_with(frozenset("\U0010fffd")) is None  # for private use
    monkeypatch.setattr(lettering, "font_with", lambda letters: None)
    assert lettered("猫 97%")[0] == "\\u732b 97%"
    assert lettered("\udce9")[0] == "\\udce9"  # a byte of a file name that is no UTF-8


def test_words_are_cut_to_their_room() -> None:
    text, font = shortened("a long name of a class", 80, 18)
    assert text.endswith("...")
    assert font.getlength(text) <= 80
    assert shortened("bee", 80, 18)[0] == "bee"
    assert shortened("bee", 1, 18)[0] == "..."
