"""Follows each recipe of CONTRIBUTING.md in a copy of the tree, as it is written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_blocks import ROOT, SHELL, Block, blocks

RECIPES = ("Add a network", "Add a reader", "Add a task", "Add a verb")
PROGRAMS = {"folio": ["torchfolio"], "pytest": ["pytest", "-p", "no:cacheprovider"]}


def copy_tree(target: Path) -> None:
    """Copy what the recipes touch."""
    ignored = shutil.ignore_patterns("__pycache__", "runs")
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, target / name, ignore=ignored)
    shutil.copyfile(ROOT / "pyproject.toml", target / "pyproject.toml")


def last_path(text: str) -> str:
    """Return the last file of the project that a paragraph names in backticks."""
    return re.findall(r"`((?:src|tests|docs)/[\w./]+)`", text)[-1]


def apply(block: Block, file: Path) -> None:
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
    text = file.read_text(encoding="utf-8")
    changed, count = re.subn(f"^{found}", replaced, text, count=1, flags=re.MULTILINE)
    assert count == 1, f"{block.where}: {file} has no such place:\n{block.code}"
    file.write_text(changed, encoding="utf-8")


def run(arguments: list[str], tree: Path, where: str) -> None:
    """Run a module of Python in the copy; it must succeed."""
    environment = os.environ | {
        "PYTHONPATH": str(tree / "src"),
        "TORCHFOLIO_CACHE": str(tree / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=tree, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{where}: {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_works_as_it_is_written(recipe: str, tmp_path: Path) -> None:
    copy_tree(tmp_path)
    touched: list[str] = []
    for block in blocks(ROOT / "CONTRIBUTING.md", recipe):
        if block.language in SHELL:
            for program, *rest in block.commands():
                run([*PROGRAMS[program], *rest], tmp_path, block.where)
            continue
        if block.before != "and:":
            touched.append(last_path(block.before))
        target = tmp_path / touched[-1]
        if block.language == "diff":
            apply(block, target)
        elif "Append" in block.before:
            text = target.read_text(encoding="utf-8")
            target.write_text(f"{text}\n{block.code}", encoding="utf-8")
        else:
            assert not target.exists(), f"{block.where}: {touched[-1]} exists"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.code, encoding="utf-8")
    modules = [name for name in touched if name.endswith(".py")]
    assert modules
    for check in (["check"], ["format", "--check"]):
        run(["ruff", *check, "--no-cache", *modules], tmp_path, recipe)
