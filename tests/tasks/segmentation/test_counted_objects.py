"""Which objects are counted in the masks of a split, and what is said where none are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from discs import write_discs, write_touching
from PIL import Image

import torchfolio
from torchfolio import Run, open_data
from torchfolio.cli.app import run as folio
from torchfolio.data.mask_rules import is_background
from torchfolio.networks.catalogue import find_card
from torchfolio.tasks.base import Context
from torchfolio.tasks.segmentation.objects import not_counted
from torchfolio.tasks.segmentation.options import SegmentationOptions
from torchfolio.tasks.segmentation.report import evaluate, shown_places
from torchfolio.tasks.segmentation.scenes import Scenes
from torchfolio.tasks.segmentation.task import SemanticSegmentation

TINY: dict[str, Any] = {
    "set": {"depth": 1, "width": 2}, "epochs": 1, "batch_size": 8, "device": "cpu", "threads": 1,
    "workers": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    "name", ["background", "Background", "_background_", "None", "class 0", "value 0", "Void", "BG"]
)
def test_a_background_is_known_by_its_name(name: str) -> None:
    assert is_background(name)


@pytest.mark.parametrize("name", ["road", "class 1", "value 128", "foreground", "#000000"])
def test_other_classes_are_no_background(name: str) -> None:
    assert not is_background(name)


@pytest.mark.parametrize(
    ("classes", "pixels", "why"),
    [
        (["Background", "Tumour"], [90, 10], ""),
        (["none", "tumour"], [90, 10], ""),
        (["skin", "lesion"], [90, 10], ""),
        (["class 0", "class 1", "class 2"], [1, 2, 3], ""),
        (["background", "foreground"], [10, 90], ""),  # as it is named
        (["skin", "lesion"], [10, 90], "lesion has more than half of the training pixels, so skin"),
        (["sky", "road", "car"], [8, 1, 1], "sky, the first class, is no background. Name it"),
        (["background", *map(str, range(12))], [1] * 13, "these are more than 12 classes"),
    ],
)
def test_objects_are_counted_before_a_background(
    classes: list[str], pixels: list[int], why: str
) -> None:
    told = not_counted(classes, pixels)
    assert why in told
    assert bool(why) == told.startswith("Objects are not counted: ")


@pytest.mark.parametrize(
    ("classes", "weight"),
    [(["a", "b"], 10), (["class 0", "class 1", "class 2"], 10), (["sky", "road", "car"], 0)],
)
def test_gaps_weigh_more_by_the_same_rule(classes: list[str], weight: float) -> None:
    scenes = Scenes(SegmentationOptions(border_weight=10), {"classes": classes})
    assert scenes.border_weight == weight


def object_blocks(root: Path) -> Any:
    """The table and the text on objects, as a network that knows nothing is evaluated."""
    data, card, every = open_data(root), find_card("unet"), np.arange(4)
    task = SemanticSegmentation(SegmentationOptions())
    task.prepare(card, data, every)
    parts = task.parts(card, depth=1, width=2)
    parts.network.eval()
    found = evaluate(task, parts, data, every, Context(torch.device("cpu")))
    return found.sections[-1].blocks


@pytest.mark.parametrize("kind", ["numbers", "files"])
def test_objects_that_the_files_tell_are_counted_where_they_touch(
    kind: str, tmp_path: Path
) -> None:
    """Two squares that touch in each of four pictures, and, where they are numbered, 80 dots."""
    root = write_touching(tmp_path, kind)
    table, text = object_blocks(root)
    assert table.rows[0][:2] == ["foreground", "328" if kind == "numbers" else "8"]
    assert "Objects of masks are those that the files tell apart" in text.paragraphs[0]


def test_objects_that_no_file_tells_are_groups_of_pixels(tmp_path: Path) -> None:
    """Two squares that touch, and one by itself, in one file a picture."""
    mask = np.zeros((40, 40), np.uint8)
    mask[4:10, 4:10] = mask[4:10, 10:16] = mask[30:36, 30:36] = 255
    for number in range(4):
        for folder, pixels in (("images", np.full_like(mask, 90 + number)), ("masks", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    table, text = object_blocks(tmp_path)
    assert table.rows[0][:2] == ["foreground", "8"]
    assert text.paragraphs[0].startswith("An object is a group of pixels that touch, also at")


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run on discs before a background of another name, and pictures of which three have none."""
    root = tmp_path_factory.mktemp("data")
    write_discs(root / "known", 12)
    write_discs(root / "other", 5, empty=3, seed=1)
    run = torchfolio.train(
        "unet", root / "known", out=root / "run", mask_values="0=none 255=tumour", **TINY
    )
    return run, root / "other"


def test_any_two_classes_have_figures_of_objects(named: tuple[Run, Path]) -> None:
    run, _ = named
    assert run.metrics["details"]["classes"] == ["none", "tumour"]
    assert {"object_recall", "false_alarms", "area_error"} <= run.metrics["metrics"].keys()
    assert "What they lie before is none." in (run.path / "report.html").read_text("utf-8")


def test_the_rule_for_empty_masks_is_printed_where_there_are_some(
    named: tuple[Run, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run, other = named
    rule = "Where a mask holds none only ({} of these pictures)"
    assert rule.format("none") in (run.path / "report.html").read_text("utf-8")
    assert folio(["evaluate", str(run.path), str(other)]) == 0
    assert rule.format("3") in capsys.readouterr().out
    (page,) = (run.path / "evaluations").glob("*/report.html")
    assert rule.format("3") in page.read_text("utf-8")
    assert folio(["evaluate", str(run.path), "--split", "train", "--no-report"]) == 0
    assert "Where a mask holds" not in capsys.readouterr().out


def test_why_objects_are_not_counted_is_printed_and_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = write_discs(tmp_path / "data", 12), tmp_path / "run"
    for path in (root / "masks").iterdir():
        with Image.open(path) as image:
            pixels = np.array(image)
        pixels[:5, :5] = 128
        Image.fromarray(pixels).save(path)
    arguments = ["--set", "depth=1", "--set", "width=2", "--epochs", "1", "--threads", "1"]
    arguments += ["--mask-values", "0=sky 128=sun 255=moon", "--out", str(out)]
    assert folio(["train", "unet", str(root), *arguments]) == 0
    why = "Objects are not counted: sky, the first class, is no background."
    assert why in capsys.readouterr().out
    assert why in (out / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("count", "wanted"),
    [
        (6, {"All, the worst first": [0, 1, 2, 3, 4, 5]}),
        (7, {"Worst": [0, 1], "Around the median": [2, 3], "Best": [6, 5]}),
        (13, {"Worst": [0, 1, 2, 3], "Around the median": [4, 5, 6, 7], "Best": [12, 11, 10, 9]}),
    ],
)
def test_no_picture_is_shown_twice(count: int, wanted: dict[str, list[int]]) -> None:
    found = shown_places(np.arange(count))
    assert {name: places.tolist() for name, places in found.items()} == wanted
    many = np.concatenate(list(shown_places(np.arange(100)).values())).tolist()
    assert len(set(many)) == len(many) == 18
