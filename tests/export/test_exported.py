"""``folio predict FILE``: rows, flags, errors and status as with the run, without torch."""

import csv
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import torchfolio
from torchfolio import FolioError, RequestError, Run
from torchfolio.cli.app import run as folio
from torchfolio.data.readers import open_dataset
from torchfolio.export.exported import Exported

SETTINGS: dict[str, Any] = {
    "device": "cpu", "threads": 1, "workers": 0, "report": False, "epochs": 1
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on colour photographs of two kinds, its files, and pictures to ask."""
    folder = tmp_path_factory.mktemp("exported")
    draw = np.random.default_rng(0)
    for kind, tint in (("蚂蚁", (60, 10, 10)), ("bee", (10, 10, 60))):
        (folder / "photos" / kind).mkdir(parents=True)
        for number in range(24):
            noise = draw.integers(0, 150, (60, 80, 3)) + tint
            Image.fromarray(noise.astype(np.uint8)).save(folder / "photos" / kind / f"{number}.jpg")
    run = torchfolio.train(
        "softmax_regression", folder / "photos", out=folder / "run", image_size=28, **SETTINGS
    )
    run.export("onnx", folder / "net.onnx")
    run.export("torch", folder / "net.pt2")
    asked = folder / "asked"
    asked.mkdir()
    for number in range(40):
        size = (50 + 3 * number, 200 - 4 * number)
        noise = draw.integers(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(noise).save(asked / f"{number:02}.jpg")
    Image.fromarray(draw.integers(0, 256, (30, 30)).astype(np.uint8)).save(asked / "grey.png")
    (asked / "no picture.png").write_text("text", encoding="utf-8")
    (asked / "cut off.jpg").write_bytes((asked / "00.jpg").read_bytes()[:700])
    return folder


def rows_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[Any], int]:
    status = folio(["predict", *arguments, "--json"])
    return json.loads(capsys.readouterr().out), status


def assert_alike(mine: list[Any], theirs: list[Any]) -> None:
    assert [row.keys() for row in mine] == [row.keys() for row in theirs]
    for one, other in zip(mine, theirs, strict=True):
        assert [each["class"] for each in one["top"]] == [each["class"] for each in other["top"]]
        for key in ("input", "prediction", "error"):
            assert one[key] == other[key]
        numbers = [each["probability"] for each in one["top"]]
        assert numbers == pytest.approx([each["probability"] for each in other["top"]], abs=1e-5)


@pytest.mark.parametrize("file", ["net.onnx", "net.pt2"])
@pytest.mark.parametrize("flags", [[], ["--top", "1"], ["--top", "9", "--device", "cpu"]])
def test_the_rows_are_those_of_the_run(
    file: str, flags: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = [str(folder / "asked"), "no such file.png"]
    mine, status = rows_of(capsys, str(folder / file), *inputs, *flags)
    theirs, expected = rows_of(capsys, str(folder / "run"), *inputs, *flags)
    assert status == expected == 1
    assert len(mine) == 44
    assert sum(row["error"] is not None for row in mine) == 3
    assert_alike(mine, theirs)


def test_lines_tables_and_pictures_are_those_of_the_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {}
    for name in ("net.onnx", "run"):
        arguments = [str(folder / name), str(folder / "asked" / "0*.jpg")]
        assert folio(["predict", *arguments]) == 0
        lines = capsys.readouterr().out.splitlines()
        out, drawn = tmp_path / f"{name}.csv", tmp_path / f"{name} drawn"
        flags = ["--out", str(out), "--pictures", str(drawn), "--quiet"]
        assert folio(["predict", *arguments, *flags]) == 0
        capsys.readouterr()
        with out.open(encoding="utf-8", newline="") as file:
            table = [[cell[:6] for cell in row] for row in csv.reader(file)]
        pictures = {each.name: each.read_bytes() for each in drawn.iterdir()}
        told[name] = (lines, [row[:5] for row in table], pictures)
    assert told["net.onnx"] == told["run"]
    assert len(told["run"][2]) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top", "0"], "top in the settings is 0; it should be 1 or more"),
        (["--tpo", "2"], "Unknown option: --tpo"),
        (["--device", "cuda"], "answers on the CPU; device is 'cuda'. Leave --device out."),
        (["--out", "a.txt"], "it should end in .csv or .json"),
    ],
)
def test_wrong_flags_are_refused_as_with_a_run(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = str(folder / "asked" / "00.jpg")
    assert folio(["predict", str(folder / "net.onnx"), asked, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_files_that_answer_nothing_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Run(folder / "run").export("safetensors", tmp_path / "w.safetensors")
    for name, message in (
        ("w.safetensors", "holds weights alone"),
        ("none.onnx", "There is no file"),
        ("rubbish.onnx", "rubbish.onnx"),
    ):
        if name == "rubbish.onnx":
            (tmp_path / name).write_bytes(b"rubbish")
        status = folio(["predict", str(tmp_path / name), str(folder / "asked")])
        assert status in (1, 2)
        assert message in capsys.readouterr().err


def test_the_help_of_a_file_has_the_flags_of_its_task(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folio(["predict", str(folder / "net.onnx"), "--help"]) == 0
    assert "How many classes to name, with probabilities. [default: 3]" in capsys.readouterr().out


@pytest.fixture(scope="module")
def further(folder: Path) -> Path:
    """Beside the run on photographs, one of several labels and an ensemble, and their files."""
    photos = sorted((folder / "photos").rglob("*.jpg"))
    rows = [
        f"{path.relative_to(folder)},{int(path.parent.name == 'bee')},{number % 2}"
        for number, path in enumerate(photos)
    ]
    (folder / "labels.csv").write_text("\n".join(["path,bee,odd", *rows]), encoding="utf-8")
    labels = torchfolio.train(
        "softmax_regression", folder / "labels.csv", out=folder / "labels", image_size=28,
        **SETTINGS,
    )  # fmt: skip
    torchfolio.train("lenet5", folder / "photos", out=folder / "lenet", **SETTINGS)
    both = torchfolio.ensemble(
        [folder / "run", folder / "lenet"], out=folder / "both", device="cpu", report=False
    )
    labels.export("onnx", folder / "labels.onnx")
    both.export("onnx", folder / "both.onnx")
    return folder


@pytest.mark.parametrize(("file", "run"), [("net", "run"), ("labels", "labels"), ("both", "both")])
def test_torch_is_not_imported(file: str, run: str, further: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from torchfolio.cli.app import run\n"
        "status = run(['predict', *sys.argv[1:]])\n"
        "loaded = {'torch', 'torchvision', 'onnx', 'captum'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "sys.exit(status)\n"
    )
    photos = further / "photos"
    for out in (
        ["--json"],
        ["--pictures", str(tmp_path / "drawn"), "--out", str(tmp_path / "o.csv")],
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, str(further / f"{file}.onnx"), str(photos), *out],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        if out == ["--json"]:
            mine = json.loads(done.stdout)
            theirs = list(Run(further / run).predict([row["input"] for row in mine]))
            assert [row["prediction"] for row in mine] == [row["prediction"] for row in theirs]
    assert len(list((tmp_path / "drawn").iterdir())) == 48


def test_python_takes_paths_and_arrays_and_keeps_their_order(folder: Path) -> None:
    file, run = Exported(folder / "net.onnx"), Run(folder / "run")
    inputs: list[Any] = [np.asarray(Image.open(path)) for path in sorted(folder.glob("asked/0*"))]
    inputs += [folder / "asked" / "grey.png", np.zeros((9, 9), np.uint8), np.zeros(3), 7]
    mine, theirs = list(file.predict(inputs, top=2)), list(run.predict(inputs, top=2))
    assert_alike(mine, theirs)
    assert [row["error"] is None for row in mine] == [True] * 12 + [False] * 2
    assert list(file.predict([])) == []
    with pytest.raises(RequestError, match="no setting in the settings named 'tpo'"):
        file.predict(inputs, tpo=2)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 41, 130])
def test_every_item_is_asked_once_in_order_by_as_many_threads_as_there_are(
    threads: int, count: int, folder: Path
) -> None:
    file = Exported(folder / "net.onnx")
    asked: list[tuple[int, bool]] = []
    names = set()

    class Engine:
        def __init__(self) -> None:
            self.threads = threads

        def run(self, arrays: list[np.ndarray], alone: bool) -> np.ndarray:
            names.add(threading.current_thread().name)
            asked.append((len(arrays[0]), alone))
            return arrays[0][:, 0, 0, :2].astype(np.float32)

    file.engine = Engine()  # type: ignore[assignment]

    def read(item: int) -> Any:
        return f"no {item}" if item % 5 == 4 else [np.full((3, 28, 28), item, np.uint8)]

    found = list(file.outputs(read, range(count), most=16))
    assert [item for item, _, _ in found] == list(range(count))
    for item, _, each in found:
        assert each == f"no {item}" if item % 5 == 4 else each.tolist() == [item, item]
    assert sum(size for size, _ in asked) == sum(item % 5 != 4 for item in range(count))
    assert max(size for size, _ in asked) <= 16
    assert {alone for _, alone in asked} == {threads == 1 or count == 1}
    assert len(names) <= threads


def test_an_error_of_a_batch_is_the_callers(folder: Path) -> None:
    file = Exported(folder / "net.onnx")

    def read(item: int) -> Any:
        return [np.zeros((3, 28, 28 if item != 30 else 27), np.uint8)]

    with pytest.raises(FolioError, match=r"net\.onnx could not be computed"):
        list(file.outputs(read, range(20, 31), most=1))


def test_a_folder_that_is_named_like_a_file_is_still_a_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    shutil.copytree(folder / "run", tmp_path / "run.onnx")
    rows, status = rows_of(capsys, str(tmp_path / "run.onnx"), str(folder / "asked" / "00.jpg"))
    assert status == 0
    assert rows[0]["prediction"] in ("蚂蚁", "bee")


def test_digits_of_a_dataset_are_told_as_by_the_run(tmp_path: Path) -> None:
    run = torchfolio.train("lenet5", "digits", out=tmp_path / "run", **SETTINGS)
    file = Exported(run.export("onnx")["file"])
    records = open_dataset("digits").records
    arrays = [records.pixels(index)[..., 0] for index in range(20)]
    assert_alike(list(file.predict(arrays)), list(run.predict(arrays)))
