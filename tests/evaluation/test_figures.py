"""Figures: what they show, that they are small, and that they stand on any page."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import rcParams
from PIL import Image

from torchfolio.evaluation import figures
from torchfolio.evaluation.calibration import reliability
from torchfolio.evaluation.figures.canvas import shorten, width_of
from torchfolio.evaluation.intervals import Interval
from torchfolio.evaluation.ranking import Curve
from torchfolio.evaluation.theme import COLOURS

NAMES = ["猫", "<script>alert(1)</script>", "$x_1$", "_background_", "a & b", "船" * 30]
RANDOM = np.random.default_rng(0)


def curves(count: int) -> list[Curve | None]:
    x = np.linspace(0, 1, 100)
    return [Curve(x, x ** (1 / (2 + number)), 0.5 + number / 1000) for number in range(count)]


def confusion(count: int) -> np.ndarray:
    table = RANDOM.integers(0, 9, (count, count))
    return table + np.diag(RANDOM.integers(50, 99, count))


def scores(count: int) -> list[Interval]:
    return [Interval(0.5 + number / 9999, 0.4, 0.7) for number in range(count)]


def names(count: int) -> list[str]:
    return [NAMES[index] if index < len(NAMES) else f"class {index}" for index in range(count)]


def discs(rows: int, columns: int, side: int) -> np.ndarray:
    """Soft discs that grow along the rows: (rows, columns, side, side)."""
    place = np.linspace(-1, 1, side)
    distance = np.hypot(place, place[:, None])
    sizes = np.linspace(0.2, 1, rows * columns).reshape(rows, columns, 1, 1)
    return np.round(255 / (1 + np.exp(12 * (distance - sizes)))).astype(np.uint8)


FIGURES = {
    "learning": lambda: figures.learning_curve(
        {"training": [2.0, 1.0, 0.5], "validation": [2.1, 1.2, None]}, ylabel="loss", best=2
    ),
    "learning, 3000 epochs": lambda: figures.learning_curve(
        {"training": list(RANDOM.random(3000)), "validation": list(RANDOM.random(3000))},
        ylabel="loss",
    ),
    "learning, one epoch": lambda: figures.learning_curve({"training": [1.0]}, ylabel="loss"),
    "learning, nothing finite": lambda: figures.learning_curve(
        {"training": [float("nan")], "validation": [None]}, ylabel="loss", best=1
    ),
    "confusion of 6": lambda: figures.confusion_matrix(confusion(6), names(6)),
    "confusion of 30": lambda: figures.confusion_matrix(confusion(30), names(30)),
    "confusion of 100": lambda: figures.confusion_matrix(confusion(100), names(100)),
    "confusion of 1000": lambda: figures.confusion_matrix(
        np.diag(RANDOM.integers(1, 9, 1000)) + (RANDOM.random((1000, 1000)) < 0.015), names(1000)
    ),
    "labels together": lambda: figures.labels_together(confusion(6), names(6)),
    "labels together, one of them nowhere": lambda: figures.labels_together(
        np.array([[3, 0], [0, 0]]), names(2)
    ),
    "100 labels together": lambda: figures.labels_together(confusion(100), names(100)),
    "precision and recall of labels": lambda: figures.precision_recall_curves(
        curves(9), names(9), what="labels"
    ),
    "reliability of labels": lambda: figures.reliability_diagram(
        reliability(RANDOM.random(500), RANDOM.random(500) < 0.5),
        measured="share with the label",
        given="probability",
        right="with the label",
    ),
    "roc of 2": lambda: figures.roc_curves(curves(2), names(2)),
    "roc of 6": lambda: figures.roc_curves(curves(6), names(6)),
    "roc of 999": lambda: figures.roc_curves(curves(999), names(999)),
    "roc of absent classes": lambda: figures.roc_curves([None, None, None], names(3)),
    "precision and recall": lambda: figures.precision_recall_curves(curves(6), names(6)),
    "reliability": lambda: figures.reliability_diagram(
        reliability(RANDOM.random(500), RANDOM.random(500) < 0.5)
    ),
    "scores of 6": lambda: figures.class_scores(scores(6), names(6), xlabel="F1"),
    "scores of 1000": lambda: figures.class_scores(scores(1000), names(1000), xlabel="F1"),
    "scores of none": lambda: figures.class_scores(
        [Interval(float("nan"), float("nan"), float("nan"))], ["cat"], xlabel="F1"
    ),
    "sheet of 16 by 11": lambda: figures.picture_sheet(
        discs(16, 11, 28)[..., None],
        [str(number) for number in range(16)],
        ["-0.25", *[""] * 4, "0", *[""] * 4, "+0.25"],
    ),
    "sheet of 3 by 6": lambda: figures.picture_sheet(
        np.stack([discs(3, 6, 224)] * 3, -1),
        ["picture", "as it is", "as answered"],
        [f"is {name}\nsaid {name}" for name in NAMES],
    ),
    "balance": lambda: figures.class_balance({"train": [5] * 6, "test": [2] * 6}, names(6)),
    "balance of 1000": lambda: figures.class_balance({"train": list(range(1000))}, names(1000)),
    "filters in colour": lambda: figures.first_layer_filters(RANDOM.normal(size=(64, 3, 11, 11))),
    "filters in grey": lambda: figures.first_layer_filters(RANDOM.normal(size=(6, 1, 5, 5))),
    "filters of a point": lambda: figures.first_layer_filters(np.zeros((7, 16, 1, 1))),
}


class Drawn(dict[str, str]):
    """Draws each figure once, when a test first asks for it."""

    def __missing__(self, name: str) -> str:
        self[name] = FIGURES[name]()
        return self[name]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return Drawn()


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_small_and_legal_and_loads_nothing(drawn: Drawn, name: str) -> None:
    svg = drawn[name]
    assert len(svg.encode()) < (120_000 if name.startswith("sheet") else 60_000)
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label")
    for element in root.iter():
        assert not element.tag.endswith("script")
        link = element.get("href", "#")
        assert link.startswith(("#", "data:image/png;base64,"))
    plain = re.sub(r"base64,[^\"]*", "", svg)
    assert "nan" not in plain.lower()
    assert "font-family:inherit" in plain
    assert plain.count("font-family") == 1


@pytest.mark.parametrize("name", FIGURES)
def test_every_colour_follows_the_scheme(drawn: Drawn, name: str) -> None:
    known = {light for light, _ in COLOURS.values()}
    plain = re.sub(r"base64,[^\"]*", "", drawn[name])
    assert set(re.findall(r"#[0-9a-f]{6}\b", plain)) <= known
    # and each only as what a variable falls back to
    without = re.sub(r"var\(--[\w-]+,#[0-9a-f]{6}\)", "", plain)
    assert not re.findall(r"(?:fill|stroke):\s*#", without)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.text]


def test_names_of_any_kind_stand_as_they_are(drawn: Drawn) -> None:
    for name in ("confusion of 6", "scores of 6", "balance"):
        found = texts(drawn[name])
        for word in ("猫", "$x_1$", "_background_", "a & b"):
            assert word in found, (name, word)
        assert any(word.startswith("<script>") for word in found)
        assert "<script" not in drawn[name]
    assert any("_background_" in word for word in texts(drawn["roc of 6"]))


def test_long_names_are_cut_to_their_room() -> None:
    assert shorten("short", 100) == "short"
    assert shorten("船" * 30, 110) == "船" * 9 + "…"  # 11 pixels each, the ellipsis six
    assert shorten("two\nlines", 100) == "two lines"
    assert shorten("", 100) == "(no name)"
    assert width_of("船") == 11


def test_a_confusion_of_pixels_prints_per_cent_of_the_true_class() -> None:
    """3 of 4 million are 75 %; of a class without pixels nothing is printed."""
    table = np.array([[3_000_000, 1_000_000, 0], [1, 199, 0], [0, 0, 0]])
    found = texts(figures.pixel_confusion(table, ["ant", "bee", "cat"]))
    assert sorted(each for each in found if each.isdigit()) == ["100", "25", "75"]


def test_a_confusion_matrix_prints_its_counts() -> None:
    table = np.array([[70, 3], [0, 41]])
    found = texts(figures.confusion_matrix(table, ["ant", "bee"]))
    assert {"70", "3", "41"} <= set(found)
    assert "0" not in found
    assert {"true", "predicted"} <= set(found)


def test_a_learning_curve_marks_its_best_epoch(drawn: Drawn) -> None:
    assert "best: epoch 2" in texts(drawn["learning"])


def test_a_loss_over_decades_is_drawn_on_a_logarithmic_scale() -> None:
    found = texts(figures.learning_curve({"training": [10, 1, 0.1]}, ylabel="loss"))
    assert {"0.1", "1", "10"} <= set(found)


def test_two_classes_have_one_roc_curve(drawn: Drawn) -> None:
    # the second's: area 0.501
    legend = [word for word in texts(drawn["roc of 2"]) if "·" in word]
    assert len(legend) == 1
    assert legend[0].endswith("0.501")


def test_two_labels_mirror_nothing(drawn: Drawn) -> None:
    found = texts(figures.roc_curves(curves(2), names(2), what="labels"))
    assert len([word for word in found if "·" in word]) == 2
    many = texts(drawn["precision and recall of labels"])
    assert any(word.startswith("mean of 9 labels") for word in many)


def test_labels_together_print_how_many_have_both() -> None:
    table = np.array([[70, 12, 0], [12, 41, 3], [0, 3, 5]])
    found = texts(figures.labels_together(table, ["sea", "sky", "sun"]))
    assert {"70", "12", "41", "3", "5", "with", "also with"} <= set(found)
    assert "0" not in found


def test_calibration_has_the_words_that_it_is_given(drawn: Drawn) -> None:
    found = texts(drawn["reliability of labels"])
    assert {"share with the label", "probability", "with the label"} <= set(found)
    assert not {"accuracy", "confidence", "right"} & set(found)


def test_many_classes_are_drawn_as_mean_and_the_three_lowest(drawn: Drawn) -> None:
    legend = [word for word in texts(drawn["roc of 999"]) if "·" in word]
    # areas 0.500, 0.501, ... 1.498
    assert [word.rpartition(" ")[2] for word in legend] == ["0.999", "0.500", "0.501", "0.502"]
    assert legend[0].startswith("mean of 999 classes")


def embedded(svg: str) -> np.ndarray:
    data = re.search(r"base64,\s*([^\"]+)", svg)
    assert data is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))))


def test_filters_are_stored_as_their_weights() -> None:
    weights = np.zeros((2, 1, 2, 2))
    weights[0] = [[[1, -1], [0, 0.5]]]
    svg = figures.first_layer_filters(weights)
    picture = embedded(svg)
    # zero is mid-grey (127.5), the largest weight white, its negative black
    assert picture[:2, :2, 0].tolist() == [[255, 0], [128, 191]]
    assert picture[:2, 2, 3].tolist() == [0, 0]  # the gap is clear
    assert (picture[:2, 3:, 0] == 128).all()


def test_a_sheet_has_every_picture_in_its_place_and_the_names() -> None:
    pictures = RANDOM.integers(0, 256, (2, 3, 14, 14, 3)).astype(np.uint8)
    svg = figures.picture_sheet(pictures, ["up", "down"], ["is 猫\nsaid b", "", "c"])
    sheet = embedded(svg)
    assert sheet.shape == (2 * 14 + 1, 3 * 14 + 2, 4)
    assert (sheet[15:29, 30:44, :3] == pictures[1, 2]).all()
    assert (sheet[:14, :14, :3] == pictures[0, 0]).all()
    assert (sheet[14, :, 3] == 0).all()  # the gaps are clear
    assert (sheet[:, [14, 29], 3] == 0).all()
    assert {"up", "down", "is 猫", "said b", "c"} <= set(texts(svg))


def test_large_pictures_are_shrunk_in_a_sheet() -> None:
    noise = RANDOM.integers(0, 256, (4, 5, 100, 200, 3)).astype(np.uint8)
    sheet = embedded(figures.picture_sheet(noise, list("abcd"), list("12345")))
    shown = int((sheet[..., 3] == 255).sum())
    assert 130_000 < shown <= 140_000
    grey = discs(16, 11, 28)[..., None]
    assert (
        embedded(figures.picture_sheet(grey, ["x"] * 16, [""] * 11))[:28, :28, 0]
        == grey[0, 0, ..., 0]
    ).all()


def test_figures_do_not_disturb_one_another_on_a_page(drawn: Drawn) -> None:
    seen: set[str] = set()
    for name in FIGURES:
        svg = drawn[name]
        own = set(re.findall(r'\bid="([^"]+)"', svg)) | set(re.findall(r"\.([\w-]+)\{", svg))
        assert not own & seen
        seen |= own


def test_a_figure_is_the_same_each_time_and_leaves_no_setting_behind() -> None:
    before = dict(rcParams)
    first, again = FIGURES["learning"](), FIGURES["learning"]()
    assert first == again
    assert dict(rcParams) == before


def test_a_standalone_file_has_a_size_and_plain_colours(drawn: Drawn) -> None:
    file = figures.standalone(drawn["reliability"])
    root = ElementTree.fromstring(file.encode())
    assert float(root.get("width", 0)) == 440
    assert "var(" not in file
    assert "inherit" not in file
