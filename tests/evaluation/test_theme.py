"""The palette keeps the contrasts of WCAG 2.1 in both schemes."""

import pytest

from torchfolio.evaluation.theme import COLOURS, RIGHT


def luminance(colour: str) -> float:
    """WCAG 2.1, relative luminance."""
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.1, contrast ratio."""
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_and_lines_can_be_seen(scheme: int) -> None:
    of = {name: pair[scheme] for name, pair in COLOURS.items()}
    for paper in (of["paper"], of["raised"]):
        assert contrast(of["ink"], paper) >= 7
        assert contrast(of["muted"], paper) >= 4.5
        for number in range(1, 7):
            assert contrast(of[f"series-{number}"], paper) >= 3


def test_white_can_be_read_on_a_right_answer() -> None:
    assert contrast("#fffffe", "#{:02x}{:02x}{:02x}".format(*RIGHT)) >= 4.5


def test_light_colours_differ() -> None:
    lights = [light for light, _ in COLOURS.values()]
    assert len(set(lights)) == len(lights)
