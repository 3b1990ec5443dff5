"""Where a table has one class a row, and where several labels: the rule, on nasty tables."""

from pathlib import Path
from typing import Any

import pytest

from torchfolio.data.label_table import (
    Labelling,
    find_labelling,
    find_separator,
    joined_names,
    read_answers,
    split_names,
)
from torchfolio.data.text_table import Table
from torchfolio.errors import DataError, RequestError


def table(**columns: Any) -> Table:
    """A table of cells; a text is a column of its words, a row each."""
    cells = {
        name: text.split() if isinstance(text, str) else text for name, text in columns.items()
    }
    rows = len(next(iter(cells.values())))
    cells = {"path": [f"{row}.png" for row in range(rows)]} | cells
    return Table(Path("t.csv"), cells, list(range(2, rows + 2)))


def labelling(table: Table, **options: Any) -> Labelling:
    return find_labelling(table, {"path"}, **options)


def labels(table: Table, **options: Any) -> list[set[str]]:
    """The labels of each row."""
    found = read_answers(table, labelling(table, **options))
    assert found.targets is not None
    return [
        {name for name, there in zip(found.names, row, strict=True) if there}
        for row in found.targets.tolist()
    ]


# Columns of yes and no


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        ("1", "0"), ("1.0", "0.0"), ("1", "-1"), ("yes", "no"), ("Y", "N"), ("TRUE", "False"),
        ("t", "f"), ("是", "否"), ("有", "无"), ("x", ""), ("X", ""), ("1", ""), ("yes", ""),
    ],
)  # fmt: skip
def test_two_columns_of_yes_and_no_are_labels(yes: str, no: str) -> None:
    found = table(beach=[yes, no, yes, no], sunset=[no, yes, yes, no])
    assert labelling(found).form == "marks"
    assert labels(found) == [{"beach"}, {"sunset"}, {"beach", "sunset"}, set()]


def test_labels_stand_in_the_order_of_the_table() -> None:
    found = table(sunset="1 0 1", beach="0 0 1", people="1 0 0")
    assert labelling(found).columns == ("sunset", "beach", "people")
    assert read_answers(found, labelling(found)).names == ("sunset", "beach", "people")


def test_columns_of_numbers_are_no_labels() -> None:
    found = labelling(table(age="34 56 23 34", beach="1 0 1 0", sunset="1 1 0 0", faces="0 1 2 0"))
    assert found.columns == ("beach", "sunset")
    assert found.reading.endswith("(--label-columns); not read: 'age', 'faces'")


def test_columns_of_free_text_are_no_labels() -> None:
    found = table(
        beach="1 0 1 1", sunset="0 0 1 0", title=["one", "two", "three", "four"], source="a a a a"
    )
    assert labelling(found).columns == ("beach", "sunset")


def test_a_mark_without_a_blank_says_nothing() -> None:
    with pytest.raises(RequestError, match="which of 'path', 'a', 'b' is the class"):
        labelling(table(a="0 1 0 1", b="x x x x"))


def test_words_of_two_pairs_are_no_yes_and_no() -> None:
    with pytest.raises(RequestError, match="which of"):
        labelling(table(first="1 no 1 no", second="x y t f"))


def test_rows_that_say_yes_once_each_are_classes_in_columns() -> None:
    found = table(cat="1 0 0 0", dog="0 1 0 1", owl="0 0 1 0")
    assert labelling(found).form == "one-hot"
    assert read_answers(found, labelling(found)).classes == ["cat", "dog", "owl", "dog"]
    assert "(--label-columns 'cat,dog,owl' reads labels)" in labelling(found).reading
    asked = labelling(found, columns="cat,dog,owl")
    assert (asked.form, asked.several) == ("marks", True)
    # one picture without a class, or with two, and they are labels
    assert labelling(table(cat="1 0 0", dog="0 1 0")).form == "marks"
    assert labelling(table(cat="1 0 1", dog="0 1 1")).form == "marks"


def test_a_column_of_words_beside_them_is_for_the_person_to_decide() -> None:
    found = table(colour="red blue red blue", beach="1 0 1 1", sunset="0 0 1 0")
    with pytest.raises(RequestError) as error:
        labelling(found)
    assert "which of 'path', 'colour', 'beach', 'sunset' is the class?" in str(error.value)
    assert "with --label-columns 'beach,sunset'" in str(error.value)
    assert labelling(found, columns="beach,sunset").form == "marks"
    assert labelling(found, column="colour").form == "class"


def test_two_columns_of_words_need_a_name() -> None:
    found = table(hair="long short long short", color="red blue red blue")
    with pytest.raises(RequestError, match="Name it with --label-column, or columns"):
        labelling(found)
    assert labelling(table(breed="pug dachs pug", color="red blue red")).columns == ("breed",)


def test_a_single_column_of_yes_and_no_is_two_classes() -> None:
    for name in ("smoker", "label"):
        found = table(**{name: "0 1 0 1"})
        assert labelling(found).form == "class"
        assert read_answers(found, labelling(found)).classes == ["0", "1", "0", "1"]
    with pytest.raises(RequestError, match="which of"):  # with others it might be anything
        labelling(table(smoker="0 1 0 1", age="30 40 50 60"))


def test_a_column_called_label_goes_before_columns_of_yes_and_no() -> None:
    found = labelling(table(label="cat dog cat", occluded="0 1 0", cut="1 1 0"))
    assert (found.form, found.columns) == ("class", ("label",))


def test_named_columns_are_labels_whatever_else_there_is() -> None:
    found = table(**{"label": "a b c", "sun, set": "1 0 1", "Beach": "no yes no", "b_c": "0 0 0"})
    asked = labelling(found, columns='"sun, set", beach')
    assert asked.columns == ("sun, set", "Beach")
    assert labels(found, columns='"sun, set", beach') == [{"sun, set"}, {"Beach"}, {"sun, set"}]
    assert labelling(found, **{"columns": asked.settings()["label_columns"]}) == asked
    with pytest.raises(RequestError, match=r"no column in t\.csv named 'sunset'"):
        labelling(found, columns="sunset,beach")
    with pytest.raises(RequestError, match="the label column 'Beach' is named twice"):
        labelling(found, columns="beach,Beach")
    with pytest.raises(RequestError, match="the label column 'path' holds something else"):
        labelling(found, columns="path,beach")
    with pytest.raises(RequestError, match="names no column"):
        labelling(found, columns=" , ")
    with pytest.raises(RequestError, match="'label' and the label columns 'beach' cannot both be"):
        labelling(found, column="label", columns="beach")


def test_a_cell_that_is_neither_yes_nor_no_is_told() -> None:
    found = table(a=["1", "0", "?", "1"], b=["0", "", "1", "-1"], c=["1", "", "", "1"])
    answers = read_answers(found, labelling(found, columns="a,b,c"))
    assert answers.wrong == {
        1: "no 'b'",  # b has words of no, so a blank says nothing; c has none, so it says no
        2: "'?' in 'a' is neither yes nor no",
        3: "'-1' in 'b' is neither yes nor no",
    }
    assert answers.targets is not None
    assert answers.targets[0].tolist() == [1, 0, 1]


# Lists in a cell


@pytest.mark.parametrize("separator", ["|", ";"])
def test_a_bar_or_a_semicolon_parts_labels_wherever_one_stands(separator: str) -> None:
    cells = [f"beach{separator}sunset", f" people {separator} beach ", "", f"{separator}sunset"]
    found = table(labels=cells)
    assert labelling(found).separator == separator
    assert labels(found) == [{"beach", "sunset"}, {"beach", "people"}, set(), {"sunset"}]
    assert labelling(found).settings() == {"label_column": "labels", "separator": separator}


COMBINED = ["a", "b", "c", "a,b", "b,c", "a,c", "a,b,c"]


def test_a_comma_parts_labels_where_they_come_again_and_again() -> None:
    found = table(what=[*COMBINED, "c,a"])
    assert labelling(found).form == "list"
    assert labels(found)[3:5] == [{"a", "b"}, {"b", "c"}]
    assert "parted by ','" in labelling(found).reading


@pytest.mark.parametrize(
    "names",
    [
        ["tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark, white shark"],
        ["Paris, France", "Lyon, France", "Berlin, Germany", "Rome, Italy"],
        [f"{city}, France" for city in "ABCDEFGHIJKLMNOP"],
        ["tabby, tabby cat", "dog"],
        # as many words as names: two colours of two sizes are four classes all the same
        ["red, small", "red, large", "blue, small", "blue, large"],
    ],
)
def test_a_comma_may_be_part_of_a_name(names: list[str]) -> None:
    found = table(label=names * 3)
    assert labelling(found).form == "class"
    assert read_answers(found, labelling(found)).classes == names * 3
    commas = sum("," in name for name in names)
    told = "1 class holds a comma" if commas == 1 else f"{commas} classes hold a comma"
    assert told in labelling(found).reading
    assert labelling(found, separator=",").form == "list"


def test_a_space_parts_labels_under_a_plural_alone() -> None:
    cells = [text.replace(",", " ") for text in COMBINED]
    assert labelling(table(tags=cells)).separator == " "
    assert labels(table(tags=cells))[-1] == {"a", "b", "c"}
    assert labelling(table(breed=cells)).form == "class"
    names = ["golden retriever", "golden fish", "black cat", "white cat"]
    assert labelling(table(labels=names)).form == "class"
    assert labelling(table(breed=cells), separator="space").form == "list"


def test_a_separator_that_is_named_overrules() -> None:
    found = table(label=["a|b", "b;a", "a b"])
    assert labels(found, separator=";") == [{"a|b"}, {"a", "b"}, {"a b"}]
    assert labels(found, separator="SPACE")[2] == {"a", "b"}
    none = labelling(found, separator="none")
    assert none.form == "class"
    assert read_answers(found, none).classes == ["a|b", "b;a", "a b"]
    lone = table(label=["a", "b", ""])  # nothing is parted, and yet it is a list of labels
    assert labels(lone, separator="|") == [{"a"}, {"b"}, set()]


def test_a_label_counts_once_and_in_one_unicode_form() -> None:
    assert labels(table(tags=["é|e\u0301|é", "狗|猫"])) == [{"é"}, {"狗", "猫"}]


def test_a_column_without_any_label_is_an_error() -> None:
    with pytest.raises(DataError, match="the column 'labels' is blank"):
        read_answers(found := table(labels=["", " "]), labelling(found, separator="|"))


def test_a_blank_cell_is_no_class() -> None:
    found = table(label=["a", " ", "b"])
    assert read_answers(found, labelling(found)).wrong == {1: "no class"}


def test_too_many_labels_are_refused_before_they_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torchfolio.data.label_table.LARGEST", 8)
    found = table(labels=["a|b|c", "d", "a"])
    with pytest.raises(DataError, match=r"4 labels in 3 rows .* --separator"):
        read_answers(found, labelling(found))


def test_names_with_commas_and_quotes_come_back() -> None:
    names = ['a "b", c', "d", "e,f"]
    assert split_names(joined_names(names)) == names


def test_separators_are_sought_in_their_order() -> None:
    assert find_separator({"a|b;c", "d"}, plural=False) == "|"
    assert find_separator({"a;b, c", "d"}, plural=False) == ";"
    assert find_separator({"a", "b"}, plural=True) is None
