import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from torchfolio.cli.app import run
from torchfolio.data.dataset import Dataset, Reader
from torchfolio.data.readers import READERS
from torchfolio.data.readers.pictures import array_dataset
from torchfolio.options import option


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHFOLIO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Twelve cats and twelve dogs, one dog twice, and a file that is no picture."""
    random = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (tmp_path / "pets" / kind).mkdir(parents=True)
        for index in range(12):
            pixels = random.integers(0, 256, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / kind / f"{index}.png")
    dog = tmp_path / "pets" / "dog"
    (dog / "again.png").write_bytes((dog / "0.png").read_bytes())
    (dog / "bad.png").write_bytes(b"")
    return tmp_path / "pets"


def document(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_json_has_the_keys_of_the_design(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(pets), "--json"]) == 0
    told = document(capsys)
    assert told["kind"] == "image-classification"
    assert told["classes"] == ["cat", "dog"]
    assert told["splits"] == {"train": 17, "val": 4, "test": 4}
    assert {(each["path"], each["problem"]) for each in told["problems"]} == {
        ("dog/bad.png", "empty file (0 bytes)"),
        ("dog/again.png", "the same picture as dog/0.png"),
    }
    assert told["counts"]["cat"]["train"] + told["counts"]["dog"]["train"] == 17


def test_a_person_reads_counts_rule_and_problems(
    pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", str(pets)]) == 0
    text = capsys.readouterr().out
    assert "25 pictures in 2 classes, read by image-folder" in text
    assert "16 x 16 pixels (height x width), colour, 8 bits" in text
    assert "stratified by class, 1 exact duplicate beside the original" in text
    assert "files that cannot be read (1)\n  dog/bad.png: empty file (0 bytes)" in text
    assert "exact duplicates (1)\n  dog/again.png: the same picture as dog/0.png" in text


def test_good_data_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "digits", "--val-split", "0.25", "--test-split", "0.25", "--json"]) == 0
    assert document(capsys)["splits"] == {"train": 899, "val": 449, "test": 449}


def test_data_that_cannot_be_trained_on_still_exit_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one" / "cat").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "one" / "cat" / "1.png")
    assert run(["check", str(tmp_path / "one"), "--json"]) == 0
    told = document(capsys)
    assert told["splits"] == {"train": 1, "val": 0, "test": 0}
    problems = [each["problem"] for each in told["problems"] if each["kind"] == "split"]
    assert "has one class only, 'cat'" in problems[0]


def test_a_network_says_what_is_too_small(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(pets), "--network", "lenet5", "--json"]) == 0
    problems = [each["problem"] for each in document(capsys)["problems"]]
    assert any(
        "smaller than the 32 x 32 pixels that the network needs" in each for each in problems
    )


def test_fix_writes_a_clean_copy(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "clean"
    assert run(["check", str(pets), "--fix", str(target), "--json"]) == 0
    assert document(capsys)["fixed"] == {"folder": str(target), "kept": 24, "removed": 2}
    assert run(["check", str(target), "--json"]) == 0
    assert [each["kind"] for each in document(capsys)["problems"]] == ["note"]
    assert run(["check", str(pets), "--fix", str(target)]) == 2
    assert "exists and is not an empty folder" in capsys.readouterr().err


def test_what_cannot_be_written_is_refused_before_anything_is_read(
    pets: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("the data were read")

    monkeypatch.setattr("torchfolio.data.readers.open_dataset", read)
    assert run(["check", str(pets), "--fix", str(pets)]) == 2
    assert "exists and is not an empty folder. Give a new one" in capsys.readouterr().err
    (tmp_path / "file").write_text("", encoding="utf-8")
    for flag in ("--fix", "--html"):
        assert run(["check", str(pets), flag, str(tmp_path / "file" / "new")]) == 1
        told = capsys.readouterr().err
        assert f"{tmp_path / 'file'} is a file. Choose another {flag}." in told


def test_the_page_stands_alone_and_tells_all(pets: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run(["check", str(pets), "--html", str(page), "--quiet"]) == 0
    text = page.read_text(encoding="utf-8")
    for words in ("Data: pets", "dog/bad.png", "empty file (0 bytes)", "dog/again.png"):
        assert words in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text


def test_reader_options_are_flags(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{kind}/{index}.png,x,{kind}" for kind in ("cat", "dog") for index in range(12)]
    (pets / "t.csv").write_text("a,b,c\n" + "\n".join(lines), encoding="utf-8")
    file = str(pets / "t.csv")
    assert run(["check", file]) == 2
    assert "Name it with --label-column" in capsys.readouterr().err
    assert run(["check", file, "--label-column", "c", "--json"]) == 0
    assert document(capsys)["classes"] == ["cat", "dog"]
    assert run(["check", str(pets / "cat"), "--reader", "cifar", "--labels", "coarse"]) == 1


@dataclass(frozen=True)
class SideOptions:
    """Settings of a reader that nobody has listed anywhere else."""

    side: int = option(8, "Height and width of the pictures.", low=1)


class Sides(Reader):
    """A file ``sides`` whose letters are the classes of grey pictures, ten of each."""

    name = "sides"
    reads = "a file named sides"
    kind = "image-classification"
    Options = SideOptions

    @classmethod
    def recognise(cls, path: Path) -> str | None:
        return "sides" if path.name == "sides" else None

    def read(self, path: Path, *, on_error: str = "skip", progress: Any = None) -> Dataset:
        letters = sorted(path.read_text(encoding="utf-8"))
        labels = np.repeat(np.arange(len(letters)), 10)
        size = (len(labels), self.options.side, self.options.side, 1)
        array = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
        parts = {"train": (array, labels, [("sides", len(labels))])}
        return array_dataset(reader=self, path=path, parts=parts, classes=letters)


@pytest.fixture
def sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(READERS, "sides", Sides)
    (tmp_path / "sides").write_text("ab", encoding="utf-8")
    return str(tmp_path / "sides")


def test_the_flags_of_a_new_reader_appear_by_themselves(
    sides: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, side in (([], 8), (["--side", "16"], 16), (["--side=24"], 24)):
        assert run(["check", *arguments, sides, "--json"]) == 0
        assert document(capsys)["facts"]["size_max"] == [side, side]
    assert run(["check", sides, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Reader sides" in text
    assert "Height and width of the pictures. [default: 8]" in text
    assert run(["check", sides, "--side", "0"]) == 2
    assert "side in the reader sides is 0; it should be 1 or more" in capsys.readouterr().err


def test_flags_of_another_reader_are_unknown(
    sides: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "digits", "--side", "16"]) == 2
    assert "Unknown option: --side" in capsys.readouterr().err
    assert run(["check", str(tmp_path), "--reader=sides", "--help"]) == 0
    assert "--side" in capsys.readouterr().out


def test_help_for_data_that_are_not_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "mnist", "--download", "--help"]) == 0  # and fetches nothing
    assert "folio check DATA --help" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere"], 2, "There is no file or folder 'nowhere'"),
        (["digits", "--val-split", "2"], 2, "--val-split is 2.0"),
        (["digits", "--network", "lenet6"], 2, "lenet5"),
        (["mnist"], 2, "Add --download"),
        (["digits", "--valsplit", "2"], 2, "val-split"),
    ],
)
def test_wrong_requests_exit_with_their_status(
    arguments: list[str],
    status: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["check", *arguments]) == status
    assert message in capsys.readouterr().err


def test_on_error_stop_stops(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(pets), "--on-error", "stop"]) == 1
    assert "1 bad file:\n  dog/bad.png: empty file" in capsys.readouterr().err


def test_help_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from torchfolio.cli.app import run; run(['check', '--help'])\n"
        "assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--fix" in done.stdout


def test_check_does_not_import_torch(pets: Path) -> None:
    code = (
        "import sys; from torchfolio.cli.app import run\n"
        f"assert run(['check', {str(pets)!r}, '--quiet']) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_boxes_are_counted_by_objects_and_pictures_and_no_copy_is_offered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(30):
        picture = tmp_path / "images" / f"{number}.png"
        label = tmp_path / "labels" / f"{number}.txt"
        for each in (picture, label):
            each.parent.mkdir(exist_ok=True)
        values = np.random.default_rng(number).integers(0, 255, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(values).save(picture)
        label.write_text("0 .5 .5 .2 .2\n0 .3 .3 .1 .1\n0 .5\n")
    assert run(["check", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert re.search(r"objects of +train", told)
    assert re.search(r"class 0 +\d+ +\d+ +\d+ +60\n", told)
    assert re.search(r"all pictures +\d+ +\d+ +\d+ +30\n", told)
    assert "--html FILE" in told
    assert "--fix" not in told


@pytest.mark.parametrize("reader", ["digit-scenes", "digit-boxes"])
def test_a_copy_of_masks_or_boxes_is_refused_before_they_are_looked_through(
    reader: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def inspect(*_: object, **__: object) -> None:
        raise AssertionError("the data were looked through")

    monkeypatch.setattr("torchfolio.data.check_masks.inspect_masks", inspect)
    monkeypatch.setattr("torchfolio.data.check_boxes.inspect_boxes", inspect)
    assert run(["check", reader, "--fix", str(tmp_path / "clean"), "--json"]) == 2
    told = capsys.readouterr()
    assert json.loads(told.out).keys() == {"error"}
    assert "these have masks or boxes. Leave it out to see what is in them." in told.err
