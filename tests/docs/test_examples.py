"""Runs the examples of the README, the guides and the networks' pages as they are written.

Shell blocks go through the command in this process, which spares the imports. Trainings that do not
say how long they take get one epoch, only those of the README write a report, and those of the
networks' pages get a part of the digits: some networks are large. Commands that need what a test
has not, a network or data that would be downloaded, are passed over. ``folio verify`` has tests of
its own.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from markdown_blocks import ROOT, SHELL, Block, blocks
from PIL import Image

from torchfolio.cli.app import VERBS
from torchfolio.cli.app import run as run_command
from torchfolio.data.downloads import SOURCES
from torchfolio.data.readers import READERS, open_dataset
from torchfolio.run import train
from torchfolio.tasks.registry import TASKS, find_task

GUIDES = [page for page in sorted((ROOT / "docs" / "guides").glob("*.md")) if page.stem != "verify"]
PAGES = [page for page in sorted((ROOT / "docs" / "networks").glob("*.md")) if page.stem != "index"]
FILES = [ROOT / "README.md", *GUIDES, *PAGES]
# flags of torchrun and of Slurm, which the guide on several processes names
TORCHRUN = {
    "nproc-per-node",
    "nnodes",
    "rdzv-id",
    "rdzv-backend",
    "rdzv-endpoint",
    "shutdown-timeout",
}
ENDURANCE = {"go-on", "sample"}  # of the command that make endurance calls
SLURM = {"nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "signal"}
# Of the pictures that pages name.
FEW = {"digits": "few", "digit-scenes": "few-scenes", "digit-boxes": "few-boxes"}
FLAG = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]*)")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the data that the examples name."""
    write_pictures(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCHFOLIO_CACHE", str(tmp_path / "cache"))
    return tmp_path


def write_pictures(folder: Path) -> None:
    """Write the pictures that the examples name: digits, enlarged, as other things."""
    digits = open_dataset("digits")
    places = {
        "photos/ant": (0, 24), "photos/bee": (1, 24), "more-photos/ant": (0, 12),
        "more-photos/bee": (1, 12), "holiday": (0, 3),
    }  # fmt: skip
    places |= {f"few/{label}": (label, 20) for label in range(10)}
    for place, (label, count) in places.items():
        (folder / place).mkdir(parents=True)
        for number, index in enumerate(np.flatnonzero(digits.labels == label)[:count]):
            pixels = digits.records.pixels(int(index))[..., 0]
            Image.fromarray(pixels).resize((64, 64)).save(folder / place / f"{number}.png")
    scenes = open_dataset("digit-scenes")
    for kind in ("images", "masks"):
        (folder / "few-scenes" / kind).mkdir(parents=True)
    for index in range(12):
        name, picture = f"{index}.png", scenes.records.pixels(index)[..., 0]
        Image.fromarray(picture).save(folder / "few-scenes" / "images" / name)
        Image.fromarray(scenes.records.masks.get(index)).save(
            folder / "few-scenes" / "masks" / name
        )
    write_boxes(folder / "few-boxes")


def write_boxes(folder: Path) -> None:
    """Write the first scenes of digits with their boxes, as YOLO's text files."""
    boxed = open_dataset("digit-boxes")
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    (folder / "classes.txt").write_text("\n".join(boxed.classes), encoding="utf-8")
    for index in range(12):
        picture = boxed.records.pixels(index)[..., 0]
        Image.fromarray(picture).save(folder / "images" / f"{index}.png")
        height, width = picture.shape
        truth = boxed.records.objects[index]
        lines = [
            f"{label} {(x0 + x1) / 2 / width} {(y0 + y1) / 2 / height} "
            f"{(x1 - x0) / width} {(y1 - y0) / height}"
            for (x0, y0, x1, y1), label in zip(truth.boxes, truth.labels, strict=True)
        ]
        (folder / "labels" / f"{index}.txt").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run for the examples that begin with one."""
    folder = tmp_path_factory.mktemp("trained")
    write_pictures(folder)
    return train("lenet5", folder / "photos", out=folder / "run", epochs=2, report=False).path


def folio_commands(block: Block) -> Iterator[list[str]]:
    """Give the commands of a shell block that a test can run, trainings shortened."""
    for words in block.commands():
        if words[0] != "folio" or set(words) & set(SOURCES):
            continue
        if words[1] == "train" and not {"--epochs", "--dry-run", "--help"} & set(words):
            words = [*words, "--epochs", "1"]
        if words[1] == "train" and block.file.name != "README.md":
            words = [*words, "--no-report"]
        if block.file in PAGES:
            words = [FEW.get(word, word) for word in words]
        yield words


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_examples_run(
    file: Path, folder: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {}
    text = file.read_text(encoding="utf-8")
    if "runs/photos" in text and "--out runs/photos" not in text:
        shutil.copytree(trained, folder / "runs" / "photos")
    for block in blocks(file):
        if block.language == "python":
            exec(compile(block.code, block.where, "exec"), names)
        elif block.language == "toml":  # a file that the text before it names
            name = re.findall(r"`([\w-]+\.toml)`", block.before)[-1]
            (folder / name).write_text(block.code, encoding="utf-8")
        elif block.language in SHELL:
            for words in folio_commands(block):
                status = run_command(words[1:])
                told = capsys.readouterr().err
                assert status == 0, f"{block.where}: {' '.join(words)} exits with {status}\n{told}"


def test_both_readmes_have_the_same_code() -> None:
    english, chinese = (
        [(block.language, block.code) for block in blocks(ROOT / name)]
        for name in ("README.md", "README.zh.md")
    )
    assert english == chinese


def test_every_flag_and_verb_that_is_named_exists(capsys: pytest.CaptureFixture[str]) -> None:
    known = {"version", "help"} | TORCHRUN | SLURM | ENDURANCE
    for verb in VERBS:
        words = ["train", "lenet5", "digits"] if verb == "train" else [verb]
        assert run_command([*words, "--help"]) == 0
        known |= set(FLAG.findall(capsys.readouterr().out))
    kinds = [reader.Options for reader in READERS.values()]  # the help of digits shows its own
    kinds += [find_task(name).AnswerOptions for name in TASKS]
    kinds += [find_task(name).Options for name in TASKS]  # the help of lenet5 shows its own
    known |= {each.name.replace("_", "-") for kind in kinds for each in fields(kind)}
    for file in (*FILES, ROOT / "README.zh.md"):
        text = file.read_text(encoding="utf-8")
        ours = "\n".join(line for line in text.splitlines() if "pip install" not in line)
        assert set(FLAG.findall(ours)) <= known, file.name
        assert set(re.findall(r"(?<!\w)folio ([a-z]+)\b", ours)) <= set(VERBS), file.name


def test_the_files_that_the_readme_links_to_exist() -> None:
    for name in ("README.md", "README.zh.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
        assert links
        assert [link for link in links if not (ROOT / link).exists()] == [], name


def test_the_table_of_the_guide_on_data_has_every_reader() -> None:
    guide = (ROOT / "docs" / "guides" / "data.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z-]+)` \|", guide, re.MULTILINE)) == READERS.keys()
