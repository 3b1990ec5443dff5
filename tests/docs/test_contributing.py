"""Follows each recipe of CONTRIBUTING.md in a copy of the tree, as it is written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_blocks import ROOT, Block, blocks

RECIPES = ("Add a network", "Add a reader", "Add a task", "Add a verb")
PROGRAMS = {"folio": ["-m", "torchfolio"], "pytest": ["-m", "pytest", "-p", "no:cacheprovider"]}


def copy_tree(target: Path) -> None:
    """Copy what the recipes touch."""
    ignored = shutil.ignore_patterns("__pycache__", "runs")
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, target / name, ignore=ignored)
    shutil.copyfile(ROOT / "pyproject.toml", target / "pyproject.toml")


def last_path(text: str) -> str:
    """Return the last file of the project that a paragraph names in backticks."""
    return re.findall(r"`((?:src|tests|docs)/[\w./]+)`", text)[-1]


def apply(block: Block, tree: Path, path: str) -> None:
    """Change a file as a diff block says; a line ``...`` stands for any lines."""
    lines = block.code.splitlines()
    found = ""
    replaced = ""
    skips = 0
    for line in lines:
        sign, content = line[:1], line[1:]
        if line == " ...":
            skips += 1
            found += r"((?:.*\n)*?)"
            replaced += f"\\{skips}"
            continue
        if sign in " -":
            found += re.escape(content) + r"\n"
        if sign in " +":
            replaced += content.replace("\\", r"\\") + "\n"
    text = (tree / path).read_text(encoding="utf-8")
    changed, count = re.subn(f"^{found}", replaced, text, count=1, flags=re.MULTILINE)
    assert count == 1, f"{block.where}: {path} has no such place:\n{block.code}"
    (tree / path).write_text(changed, encoding="utf-8")


def run(words: list[str], tree: Path, where: str) -> None:
    """Run one command in the copy; it must succeed."""
    environment = os.environ | {
        "PYTHONPATH": str(tree / "src"),
        "TORCHFOLIO_CACHE": str(tree / "cache"),
    }
    command = [sys.executable, *PROGRAMS[words[0]], *words[1:]]
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{where}: {' '.join(words)}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_works_as_it_is_written(recipe: str, tmp_path: Path) -> None:
    copy_tree(tmp_path)
    path = ""
    ran = 0
    for block in blocks(ROOT / "CONTRIBUTING.md", recipe):
        if block.language in ("python", "toml", "diff") and block.before != "and:":
            path = last_path(block.before)
        target = tmp_path / path
        if block.language == "diff":
            apply(block, tmp_path, path)
        elif block.language == "toml" and "Append" in block.before:
            text = target.read_text(encoding="utf-8")
            target.write_text(f"{text}\n{block.code}", encoding="utf-8")
        elif block.language in ("python", "toml"):
            assert not target.exists(), f"{block.where}: {path} exists"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.code, encoding="utf-8")
        else:
            for words in block.commands():
                run(words, tmp_path, block.where)
                ran += 1
    assert ran


def test_the_examples_are_formatted_and_without_lint(tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    package = tmp_path / "src" / "torchfolio"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()  # makes it our own package to the sorting of imports
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    for recipe in RECIPES:
        for block in blocks(ROOT / "CONTRIBUTING.md", recipe):
            if block.language == "python":
                target = tmp_path / last_path(block.before)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.code, encoding="utf-8")
    for arguments in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "--no-cache", "."],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
