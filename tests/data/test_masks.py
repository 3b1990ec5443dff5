from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from torchfolio.data.mask_rules import read_values, understand
from torchfolio.data.masks import COLOUR, IGNORE, MaskFacts, examine_mask, read_mask
from torchfolio.errors import DataError, RequestError


def encoded(pixels: Any, mode: str | None = None, form: str = "PNG", **more: Any) -> bytes:
    """Return pixels as the bytes of a file."""
    file = BytesIO()
    image = (
        pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels, np.uint8))
    )
    (image.convert(mode) if mode else image).save(file, form, **more)
    return file.getvalue()


def facts(*masks: Any) -> list[MaskFacts]:
    """Return what masks hold, given as pixels or as the bytes of files."""
    return [
        examine_mask(each if isinstance(each, bytes) else encoded(each), ".png") for each in masks
    ]


def classes(rule: Any, mask: Any) -> list[list[int]]:
    """Return the classes that a rule reads from a mask."""
    data = mask if isinstance(mask, bytes) else encoded(mask)
    return rule.classes_of(read_mask(data, ".png", rule.kind).values).tolist()


def test_two_values_are_background_and_foreground() -> None:
    for high in (1, 76, 255):
        mask = [[0, high], [high, 0]]
        rule = understand(facts(mask))
        assert rule.names == ("background", "foreground")
        assert classes(rule, mask) == [[0, 1], [1, 0]]


def test_one_bit_is_read_as_zero_and_255_beside_bytes_and_colours() -> None:
    pixels = np.array([[0, 255], [255, 0]], np.uint8)
    files = [
        encoded(Image.fromarray(pixels).convert("1", dither=Image.Dither.NONE)),
        encoded(pixels),
        encoded(np.stack([pixels] * 3, 2)),
    ]
    rule = understand(facts(*files))
    for file in files:
        assert classes(rule, file) == [[0, 1], [1, 0]]


def test_masks_without_any_object_are_background() -> None:
    rule = understand(facts([[0, 0]], [[0, 255]]))
    assert classes(rule, [[0, 0]]) == [[0, 0]]
    assert classes(understand(facts([[0, 0]])), [[0, 0]]) == [[0, 0]]


def test_whole_numbers_are_class_indices_and_255_is_ignored() -> None:
    rule = understand(facts([[0, 1, 2]], [[3, 255, 0]]))
    assert rule.names == ("class 0", "class 1", "class 2", "class 3")
    assert classes(rule, [[3, 255, 1]]) == [[3, IGNORE, 1]]


def test_a_class_called_void_is_ignored_and_the_others_are_numbered_without_it() -> None:
    rule = understand(facts([[0, 1, 2]]), ["void", "road", "sky"])
    assert rule.names == ("road", "sky")
    assert classes(rule, [[0, 1, 2]]) == [[IGNORE, 0, 1]]


def test_named_classes_need_not_all_occur() -> None:
    rule = understand(facts([[0, 3]]), ["sky", "car", "tree", "road"])
    assert classes(rule, [[0, 3]]) == [[0, 3]]


def test_a_few_scattered_values_are_a_class_each() -> None:
    rule = understand(facts([[0, 128, 255]]))
    assert rule.names == ("value 0", "value 128", "value 255")
    assert classes(rule, [[255, 128, 0]]) == [[2, 1, 0]]


def test_a_palette_gives_its_indices() -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 2]], np.uint8), "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    rule = understand(facts(encoded(image)))
    assert classes(rule, encoded(image)) == [[0, 1], [2, 2]]


def test_colours_are_classes_black_first_and_then_the_commonest() -> None:
    mask = [[[0, 0, 255], [255, 0, 0], [255, 0, 0], [0, 0, 0]]]
    rule = understand(facts(mask))
    assert rule.names == ("background", "#ff0000", "#0000ff")
    assert classes(rule, mask) == [[2, 1, 1, 0]]


def test_masks_with_loss_are_parted_between_their_two_values() -> None:
    drawn = np.zeros((64, 64, 3), np.uint8)
    drawn[16:48, 16:48] = (255, 0, 0)  # red: grey 76
    file = encoded(drawn, form="JPEG", quality=75)
    found = classes(understand(facts(file)), file)
    inner, outer = np.array(found)[20:44, 20:44], np.array(found)[:10]
    assert inner.min() == 1
    assert outer.max() == 0


def test_colours_with_loss_are_the_nearest_of_those_that_stand_out() -> None:
    drawn = np.zeros((96, 96, 3), np.uint8)
    drawn[:32], drawn[32:64], drawn[64:] = (0, 0, 170), (0, 85, 255), (255, 170, 0)
    file = encoded(drawn, form="JPEG", quality=90)
    rule = understand(facts(file))
    found = np.array(classes(rule, file))
    assert len(rule.names) == 3
    assert len({int(found[row, 5]) for row in (8, 48, 88)}) == 3
    assert (found[4:28] == found[8, 5]).all()


def test_one_colour_on_black_with_loss_is_foreground_on_background() -> None:
    drawn = np.zeros((64, 64, 3), np.uint8)
    drawn[8:40, 8:40] = (255, 0, 0)
    file = encoded(drawn, form="JPEG", quality=90)
    rule = understand(facts(file))
    assert rule.names == ("background", "foreground")
    drawn[44:60, 44:60] = (0, 0, 255)
    assert understand(facts(encoded(drawn, form="JPEG", quality=90))).names[0] == "background"


def test_a_transparent_picture_of_one_colour_is_a_mask_by_its_transparency() -> None:
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, 1:, 3] = 255
    rule = understand(facts(pixels))
    assert classes(rule, encoded(pixels)) == [[0, 1, 1]]


def test_numbers_of_objects_are_foreground() -> None:
    many = np.arange(100, dtype=np.uint8).reshape(10, 10)
    rule = understand(facts(many))
    assert classes(rule, [[0, 7, 99]]) == [[0, 1, 1]]
    assert "objects" in rule.reading


def test_what_values_are_can_be_said() -> None:
    rule = understand(facts([[0, 7, 9]]), table=read_values("0=ground 7=tree, 9=ignore"))
    assert rule.names == ("ground", "tree")
    assert classes(rule, [[0, 7, 9]]) == [[0, 1, IGNORE]]
    colours = read_values("#000000=none #ff0000=kidney")
    assert colours == {COLOUR: "none", COLOUR + 0xFF0000: "kidney"}
    leaf = read_values("#000000=ground #00ff00=leaf")  # no grey values, though below 65536
    rule = understand(facts(np.array([[[0, 0, 0], [0, 255, 0]]], np.uint8)), table=leaf)
    assert (rule.kind, rule.names) == ("colour", ("ground", "leaf"))


@pytest.mark.parametrize("text", ["0", "0=", "=a", "red=tumour", "#ff00=a", ""])
def test_what_values_are_must_be_said_in_pairs(text: str) -> None:
    with pytest.raises(RequestError, match="VALUE=CLASS"):
        read_values(text)


def test_a_value_without_class_is_named() -> None:
    rule = understand(facts([[0, 1, 2]]))
    with pytest.raises(DataError, match="holds 9 in 2 pixels"):
        classes(rule, [[9, 9, 0]])


def test_a_photograph_is_no_mask() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    with pytest.raises(DataError, match="colours, so it is no mask"):
        understand(facts(noise))


def test_names_that_are_too_few_are_refused() -> None:
    with pytest.raises(DataError, match="3 values"):
        understand(facts([[0, 100, 200]]), ["a", "b"])
    with pytest.raises(DataError, match="two are needed"):
        understand(facts([[0, 1]]), ["void", "a"])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_file_that_is_no_picture_is_an_error(suffix: str) -> None:
    with pytest.raises(DataError, match="not a picture"):
        examine_mask(b"no picture at all", suffix)


def test_what_several_kinds_of_files_hold_is_read_by_one_rule() -> None:
    """Kidneys: some masks are grey files, some coloured ones, all with loss."""
    red = np.zeros((32, 32, 3), np.uint8)
    red[8:24, 8:24, 0] = 255
    grey = np.zeros((32, 32), np.uint8)
    grey[8:24, 8:24] = 76
    files: Sequence[bytes] = [encoded(red, form="JPEG"), encoded(grey, form="JPEG")]
    rule = understand(facts(*files))
    for file in files:
        found = np.array(classes(rule, file))
        assert found[12:20, 12:20].min() == 1
        assert found[:4].max() == 0


def test_what_loss_leaves_around_edges_is_no_object() -> None:
    # Means of the groups: (13 * 20) / 920 and 255.
    facts = MaskFacts(10, 102, "grey", True, {0: 900, 13: 20, 255: 100})
    rule = understand([facts])
    assert rule.values == (127,)
    assert rule.classes_of(np.array([0, 13, 120, 130, 255], np.int32)).tolist() == [0, 0, 0, 1, 1]


def test_a_mask_that_was_resized_is_cut_halfway() -> None:
    values = {0: 5000, 255: 4000} | dict.fromkeys(range(10, 250, 12), 10)
    rule = understand([MaskFacts(100, 92, "grey", False, values)])
    assert rule.how == "threshold"
    assert 110 < rule.values[0] < 140
    few = {0: 9800, 85: 100, 170: 60, 255: 40}  # four classes, three of them rare
    rule = understand([MaskFacts(100, 100, "grey", False, few)])
    assert len(rule.names) == 4


def test_numbers_of_objects_go_from_one_on_and_class_indices_need_not() -> None:
    objects = [MaskFacts(9, 9, "grey", False, dict.fromkeys(range(n), 9)) for n in (80, 70)]
    assert understand(objects).names == ("background", "foreground")
    indices = [MaskFacts(9, 9, "grey", False, dict.fromkeys([0, 3, n], 9)) for n in range(4, 151)]
    assert len(understand(indices).names) == 151


def test_classes_are_not_named_by_how_much_they_cover() -> None:
    mask = np.zeros((9, 9, 3), np.uint8)
    mask[0, :3], mask[1, :] = (255, 0, 0), (0, 0, 255)
    with pytest.raises(DataError, match="Say which is which by --mask-values"):
        understand(facts(mask), ["background", "car", "road"])


def test_colours_with_loss_stay_colours_where_one_mask_is_black() -> None:
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[:32, :32], mask[32:, 32:] = (255, 0, 0), (0, 0, 255)
    files = [encoded(mask, form="JPEG"), encoded(np.zeros((64, 64), np.uint8), form="JPEG")]
    rule = understand(facts(*files))
    assert rule.kind == "colour"
    assert len(rule.names) == 3


def test_small_numbers_beside_255_are_classes_and_255_is_ignored() -> None:
    mask = [[0, 15, 255]]  # VOC with cats only
    for names in ((), ("background", "cat")):
        rule = understand(facts(mask), names)
        assert rule.names == (names or ("background", "foreground"))
        assert classes(rule, mask) == [[0, 1, IGNORE]]
        assert "255 is ignored" in rule.reading
    assert classes(understand(facts([[0, 15]], [[0, 255]])), [[255, 15]]) == [[IGNORE, 1]]


@pytest.mark.parametrize("names", [(), ("none", "edge", "cell")])
def test_three_grey_values_with_loss_are_three_classes(names: tuple[str, ...]) -> None:
    drawn = np.zeros((96, 96), np.uint8)
    drawn[16:80, 16:80] = 127
    drawn[32:64, 32:64] = 255
    file = encoded(drawn, form="JPEG", quality=75)
    rule = understand(facts(file), names)
    found = np.array(classes(rule, file))
    assert len(rule.names) == 3
    assert rule.names == (names or rule.names)
    truth = np.searchsorted([0, 127, 255], drawn)
    inner = np.ones_like(truth, bool)
    for edge in (16, 32, 64, 80):
        inner[edge - 2 : edge + 2], inner[:, edge - 2 : edge + 2] = False, False
    assert (found == truth)[inner].all()


def test_names_that_do_not_fit_grey_values_with_loss_are_refused() -> None:
    drawn = np.zeros((64, 64), np.uint8)
    drawn[16:48, 16:48] = 255
    with pytest.raises(DataError, match=r"2 values stand out in them \(0, 255\), for 3 classes"):
        understand(facts(encoded(drawn, form="JPEG")), ["a", "b", "c"])


def palette_file(pixels: Any) -> bytes:
    """Return a file with the first colours of VOC's palette: black, #800000, #008000."""
    image = Image.fromarray(np.asarray(pixels, np.uint8), "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    return encoded(image)


def test_a_palette_gives_its_colours_where_colours_are_named() -> None:
    file = palette_file([[0, 1], [2, 2]])
    table = read_values("#000000=none #008000=leaf #800000=root")
    rule = understand(facts(file), (), table)
    assert rule.names == ("none", "leaf", "root")
    assert not rule.stray(facts(file)[0])
    assert classes(rule, file) == [[0, 2], [1, 1]]
    beside = encoded(np.array([[[128, 0, 0], [0, 0, 0]]], np.uint8))  # the same, without palette
    rule = understand(facts(file, beside))
    assert len(rule.names) == 3
    assert classes(rule, beside)[0][0] == classes(rule, file)[0][1]


@pytest.mark.parametrize(
    ("names", "good", "bad"),
    [
        (("a", "b", "c"), [[0, 1, 2]], [[0, 1, 7]]),
        (("a", "b", "c", "d"), [[0, 1, 255]], [[0, 7, 2]]),
        (("a", "b"), [[0, 255, 255]], [[0, 128, 255]]),
        (("a", "b"), [[0, 255, 255]], [[0, 7, 255]]),
        (("a", "b", "c"), [[0, 100, 200]], [[0, 101, 200]]),
    ],
)
def test_one_mask_with_a_value_of_no_class_does_not_spoil_the_others(
    names: tuple[str, ...], good: list[list[int]], bad: list[list[int]]
) -> None:
    told = facts(good, good, bad)
    rule = understand(told, names)
    assert rule.names == names
    assert not rule.stray(told[0])
    wrong = next(value for value in sorted(bad[0]) if value not in good[0] and value > 2)
    assert f"the mask holds {wrong} in 1 pixel, which is of no class" in rule.stray(told[2])
    with pytest.raises(DataError, match=f"holds {wrong} in 1 pixel"):
        classes(rule, bad)


def test_255_is_a_class_where_the_number_beside_it_is_rare() -> None:
    told = facts(*[[[0, 0, 255]]] * 5, [[0, 1, 255]])
    assert understand(told).names == ("value 0", "value 1", "value 255")
    assert understand(told, [f"c{i}" for i in range(21)]).classes[-1] == IGNORE  # VOC's names
