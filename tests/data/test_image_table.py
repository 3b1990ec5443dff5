from pathlib import Path

import pytest

from torchfolio.data.readers import open_dataset
from torchfolio.data.splits import SplitOptions, make_splits
from torchfolio.data.text_table import read_table
from torchfolio.errors import DataError, RequestError


@pytest.fixture
def folder(tmp_path: Path, draw) -> Path:
    for index in range(4):
        draw(tmp_path / "img" / f"{index}.png")
    return tmp_path


def write(folder: Path, text: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def labels_by_name(dataset) -> dict[str, str]:
    return {dataset.records.name(i): dataset.classes[k] for i, k in enumerate(dataset.labels)}


PLAIN = "path,label\nimg/0.png,dog\nimg/1.png,cat\nimg/2.png,dog\nimg/3.png,cat\n"
EXPECTED = {"img/0.png": "dog", "img/1.png": "cat", "img/2.png": "dog", "img/3.png": "cat"}


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("path,label\n", ""),
        PLAIN.replace("/", "\\"),
        PLAIN.replace("\n", "\n\n"),
        '"path","label"\n"img/0.png","dog"\n"img/1.png","cat"\n' + PLAIN[39:],
        "label,other,file\ndog,1,img/0.png\ncat,2,img/1.png\ndog,3,img/2.png\ncat,4,img/3.png\n",
        "file,what\nimg/0.png,dog\nimg/1.png,cat\nimg/2.png,dog\nimg/3.png,cat\n",
    ],
    ids=[
        "plain", "semicolon", "tab", "crlf", "no header", "backslash", "blank lines", "quotes",
        "by name", "two columns",
    ],
)  # fmt: skip
def test_paths_and_classes_are_found(folder: Path, text: str) -> None:
    for path in (write(folder, text), folder):
        dataset = open_dataset(path)
        assert dataset.reader == "image-table"
        assert labels_by_name(dataset) == EXPECTED
        assert dataset.problems == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_chinese_tables_are_read(folder: Path, draw, encoding: str) -> None:
    draw(folder / "图 片" / "一.png")
    write(folder, "文件,类别\n图 片/一.png,猫\nimg/0.png,狗\n", encoding=encoding)
    assert labels_by_name(open_dataset(folder)) == {"图 片/一.png": "猫", "img/0.png": "狗"}


def test_columns_can_be_named(folder: Path) -> None:
    text = "a,b,c,d\n" + "".join(f"img/{i}.png,img/{3 - i}.png,{i % 2},x\n" for i in range(4))
    file = write(folder, text)
    with pytest.raises(RequestError, match="which of 'a', 'b', 'c', 'd' is the class"):
        open_dataset(file)
    dataset = open_dataset(file, reader_options={"path_column": "b", "label_column": "C"})
    assert labels_by_name(dataset)["img/3.png"] == "0"
    with pytest.raises(RequestError, match=r"no column in labels\.csv named 'labl'"):
        open_dataset(file, reader_options={"label_column": "labl"})


def test_a_misspelt_column_names_the_nearest(folder: Path) -> None:
    with pytest.raises(RequestError, match=r"named 'lable'\. The nearest: label"):
        open_dataset(write(folder, PLAIN), reader_options={"label_column": "lable"})


def test_a_column_of_splits_sets_aside(folder: Path) -> None:
    file = write(
        folder,
        "path,label,split\nimg/0.png,a,train\nimg/1.png,b,Training\nimg/2.png,a,valid\n"
        "img/3.png,b,test\n",
    )
    given = {name: rows.tolist() for name, rows in open_dataset(file).given.items()}
    assert given == {"train": [0, 1], "val": [2], "test": [3]}
    text = file.read_text(encoding="utf-8").replace("valid", "holdout").replace("split", "part")
    with pytest.raises(DataError, match=r"line 4 of labels\.csv: the split is 'holdout'"):
        open_dataset(write(folder, text), reader_options={"split_column": "part"})


def test_a_wrong_cell_does_not_undo_a_column_of_splits(folder: Path) -> None:
    cells = "path,label,split\nimg/0.png,a,train\nimg/1.png,b,train\nimg/2.png,a,{}\nimg/3.png,b,{}"
    with pytest.raises(
        DataError, match=r"line 5 of labels\.csv: the split is 'tset'.* it is one of"
    ):
        open_dataset(write(folder, cells.format("test", "tset")))
    # half of the cells: a column that means something else
    dataset = open_dataset(write(folder, cells.format("even", "odd")))
    assert list(dataset.given) == ["train"]
    assert len(dataset) == 4


def test_groups_stay_on_one_side(folder: Path, draw) -> None:
    lines = ["path,label,patient"]
    for index in range(60):
        draw(folder / "img" / f"{index}.png")
        lines.append(f"img/{index}.png,{'ab'[index % 2]},p{index // 4}")
    file = write(folder, "\n".join(lines))
    dataset = open_dataset(file, reader_options={"group_column": "patient"})
    assert dataset.groups is not None
    splits = make_splits(dataset, SplitOptions(0.2, 0.2), 0)
    held = [set(dataset.groups[rows]) for rows in splits.indices.values()]
    assert not held[0] & held[1] | held[0] & held[2] | held[1] & held[2]
    assert [len(rows) for rows in splits.indices.values()] == [36, 12, 12]


def test_bad_rows_are_told_by_line(folder: Path) -> None:
    (folder / "img" / "2.png").write_bytes(b"x")
    file = write(folder, PLAIN + "img/9.png,dog\nimg/3.png,\n")
    dataset = open_dataset(file)
    assert len(dataset) == 3
    assert dataset.labels is not None
    assert set(dataset.labels) <= set(range(len(dataset.classes)))  # none that is not known
    assert {(each.path, each.problem) for each in dataset.problems} == {
        ("img/9.png", "no such file (line 6 of labels.csv)"),
        ("img/3.png", "no class (line 7 of labels.csv)"),
        ("img/2.png", "not a picture of a format that is read (line 4 of labels.csv)"),
    }
    with pytest.raises(DataError, match=r"3 bad files:\n  img/9\.png: no such file \(line 6"):
        open_dataset(file, on_error="stop")


def test_a_table_without_pictures_is_not_recognised(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not recognised"):
        open_dataset(write(tmp_path, "x,y\n1,2\n3,4\n"))
    with pytest.raises(RequestError, match="no column of picture paths among 'x', 'y'"):
        open_dataset(tmp_path / "labels.csv", reader="image-table")
    with pytest.raises(DataError, match="is empty: a table"):
        open_dataset(write(tmp_path, "\n"), reader="image-table")


def test_tables_keep_quoted_lines_and_short_rows(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, 'a,b\n"one\ntwo",2\nthree\n'), ())
    assert table.columns == {"a": ["one\ntwo", "three"], "b": ["2", ""]}
    assert table.lines == [3, 4]
    with pytest.raises(DataError, match="two columns named 'a'"):
        read_table(write(tmp_path, "a,a\n1,2\n"), ())
    (tmp_path / "bad.csv").write_bytes(b"a,b\n\xff\xff\xff,1\n")
    with pytest.raises(DataError, match="neither UTF-8 nor GB 18030"):
        read_table(tmp_path / "bad.csv", ())


def test_class_folders_win_over_a_table_without_a_column_of_classes(pets: Path) -> None:
    lines = [f"{kind}/{index}.png,{index}" for kind in ("cat", "dog") for index in range(3)]
    write(pets, "path,width\n" + "\n".join(lines))
    assert open_dataset(pets).reader == "image-folder"
    write(pets, "path,label\n" + "\n".join(lines))
    assert open_dataset(pets).reader == "image-table"
    assert open_dataset(pets, reader="image-folder").classes == ("cat", "dog")


def test_pictures_that_the_table_of_a_folder_does_not_name_are_told(pets: Path, draw) -> None:
    draw(pets / "loose.png")
    (pets / "notes.txt").write_text("n", encoding="utf-8")
    file = write(pets, "path,label\n.\\cat\\..\\cat/0.png,cat\ndog//1.png,dog\ncat/1.png,\n")
    (problem,) = [each for each in open_dataset(pets).problems if each.path == "."]
    assert problem.problem == (
        "pictures that labels.csv does not name, left out (5): loose.png, cat/2.png, cat/3.png, "
        "dog/0.png, dog/2.png (--reader image-folder reads class folders instead)"
    )
    assert [each.path for each in open_dataset(file).problems] == ["cat/1.png"]
    write(pets, "path,label\ncat/0.png,cat\n")
    with pytest.raises(DataError, match=r"one class only, 'cat'.*left out \(7\): loose"):
        make_splits(open_dataset(pets), SplitOptions(), 0)


def test_a_table_inside_wrappers_tells_what_it_does_not_name(tmp_path: Path, draw) -> None:
    for name in ("a.png", "b.png", "c.png"):
        draw(tmp_path / "outer" / "inner" / "pictures" / name)
    write(tmp_path / "outer" / "inner", "path,label\npictures/a.png,x\npictures/b.png,y\n")
    (problem,) = open_dataset(tmp_path).problems
    assert "left out (1): outer/inner/pictures/c.png" in problem.problem


def test_a_damaged_table_beside_class_folders_does_no_harm(pets: Path) -> None:
    (pets / "bad.csv").write_bytes(b"a,b\n\xff\xff\xff,1\n")
    assert open_dataset(pets).reader == "image-folder"
    with pytest.raises(DataError, match="neither UTF-8 nor GB 18030"):
        open_dataset(pets / "bad.csv")


def test_a_table_of_absent_files_is_an_error(public_data: Path) -> None:
    # its paths are relative to the folder beside it, not to its own
    with pytest.raises(DataError, match=r"ants/ants_000\.jpg: no such file \(line 2 of messy_fol"):
        open_dataset(public_data / "dirty_images" / "messy_folder.csv")


def test_a_table_in_utf_16_that_is_cut_off_is_named_and_does_no_harm(pets: Path) -> None:
    (pets / "bad.csv").write_bytes("path,label\ncat/0.png,猫\n".encode("utf-16")[:-1])
    assert open_dataset(pets).reader == "image-folder"
    with pytest.raises(DataError, match=r"bad\.csv begins as UTF-16 .* damaged or cut off\. Save"):
        open_dataset(pets / "bad.csv")
