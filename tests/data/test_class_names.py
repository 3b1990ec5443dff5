"""Names of classes in files beside the data, and given by the person."""

from pathlib import Path

import pytest

from torchfolio.data.class_names import given_classes, named_classes
from torchfolio.data.mask_rules import understand
from torchfolio.data.masks import COLOUR
from torchfolio.data.masks import MaskFacts as Facts
from torchfolio.errors import DataError, RequestError


def named(root: Path, text: str) -> tuple[list[str], dict[int, str] | None]:
    (root / "labels.txt").write_text(text, encoding="utf-8")
    return named_classes(root)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("sky\nroad\n\n# a comment\ncar\n", ["sky", "road", "car"]),
        ("0 sky\n1: road\n2, car 4x4\n", ["sky", "road", "car 4x4"]),
        ("sky 0\nroad\t1\ncar, 2\n", ["sky", "road", "car"]),
        ("background\ngrade 2\ngrade 3\n", ["background", "grade 2", "grade 3"]),
        ("grade 1\ngrade 2\ngrade 3\n", ["grade 1", "grade 2", "grade 3"]),
        ("1 2 cells\n2 3 cells\n", ["2 cells", "3 cells"]),
        ("2 cells\n3 cells\n", ["2 cells", "3 cells"]),
        ("肝\n肿瘤 2\n", ["肝", "肿瘤 2"]),
        ("\ufeffsky\nroad\n", ["sky", "road"]),
    ],
)
def test_numbers_of_lines_are_no_part_of_names_and_others_are(
    tmp_path: Path, text: str, names: list[str]
) -> None:
    assert named(tmp_path, text) == (names, None)


@pytest.mark.parametrize(
    "text",
    [
        "64 0 128\tCar\n192 192 0\tgrade 2\n",
        "Car 64 0 128\ngrade 2 192 192 0\n",
        "# label:color_rgb:parts:actions\nCar:64,0,128::\ngrade 2:192,192,0::\n",  # CVAT
        "0 Car 64 0 128\n1 grade 2 192 192 0\n",
        "7 64 0 128 Car\n8 192 192 0 grade 2\n",
    ],
)
def test_colours_stand_before_or_behind_names(tmp_path: Path, text: str) -> None:
    names, table = named(tmp_path, text)
    assert names == ["Car", "grade 2"]
    assert table == {COLOUR + 0x400080: "Car", COLOUR + 0xC0C000: "grade 2"}


def test_two_colours_may_be_of_one_class(tmp_path: Path) -> None:
    names, table = named(tmp_path, "0 0 0 none\n255 0 0 car\n0 0 255 none\n")
    facts = Facts(1, 3, "colour", False, {0: 1, 0xFF0000: 1, 0xFF: 1})
    rule = understand([facts], names, table)
    assert rule.names == ("none", "car")
    assert dict(zip(rule.values, rule.classes, strict=True)) == {0: 0, 0xFF0000: 1, 0xFF: 0}


def test_classes_of_one_name_are_refused() -> None:
    for text, what in (("a,b, a", "'a' twice"), ("a,,b", "an empty name")):
        with pytest.raises(RequestError, match=what):
            given_classes(text)
    with pytest.raises(DataError, match="'a' is named twice"):
        understand([Facts(1, 3, "grey", False, {0: 1, 1: 1, 2: 1})], ["b", "a", "a"])
