"""What the rounds of a workload do not depend on is what its command does not load."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.process import ROOT
from benchmarks.workloads.base import NOT_LOADED, NOT_OF_CLASSES

SOURCE = ROOT / "src" / "torchfolio"
QUICK = ("--epochs", "1", "--quiet", "--json", "--out", "run")
SMALL = ("--set", "depth=1", "--set", "width=4")


def loaded(arguments: tuple[str, ...], folder: Path) -> set[Path]:
    """Return the files of ours that a command loads."""
    call = [sys.executable, "-X", "importtime", "-m", "torchfolio", *arguments]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True)
    names = set(re.findall(r"^import time:.*\| +torchfolio\.([\w.]+)$", done.stderr, re.MULTILINE))
    return {SOURCE / f"{name.replace('.', '/')}.py" for name in names}


@pytest.mark.parametrize(
    ("arguments", "apart"),
    [
        (("--help",), NOT_OF_CLASSES),
        (("list",), NOT_OF_CLASSES),
        (("train", "mlp", "digits", *QUICK), NOT_OF_CLASSES),
        (("train", "unet", "digit-scenes", *SMALL, *QUICK), NOT_LOADED),
    ],
    ids=["help", "list", "classes", "masks"],
)  # fmt: skip
def test_what_lies_apart_is_not_loaded(
    arguments: tuple[str, ...], apart: tuple[str, ...], tmp_path: Path
) -> None:
    files = loaded(arguments, tmp_path)
    if arguments[0] == "train":
        Image.new("RGB", (32, 32)).save(tmp_path / "grey.png")
        files |= loaded(("predict", "run", "grey.png", "--json"), tmp_path)
        assert SOURCE / "training" / "loop.py" in files
    assert files
    for each in apart:
        assert (SOURCE / each).exists(), each
        assert not [file for file in files if file.is_relative_to(SOURCE / each)]
        assert (SOURCE / each).with_suffix(".py") not in files
