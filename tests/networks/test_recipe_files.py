import re
import tomllib
from pathlib import Path

import pytest
import torch

from torchfolio.networks.build import build
from torchfolio.networks.catalogue import cards, find_card, recipe_file
from torchfolio.tasks.image_classification import ImageOptions
from torchfolio.tasks.registry import find_task
from torchfolio.training.optimizers import make_optimizer
from torchfolio.training.recipes import recipe_table, resolve

FILES = sorted({recipe_file(card) for card in cards().values()})
SECTIONS = ("network", "data", "split", "reader", "task", "training", "optimizer")


def network_of(path: Path) -> str:
    """Return the smallest network that a recipe file is for."""
    mine = [card for card in cards().values() if recipe_file(card) == path]
    return min(mine, key=lambda card: card.parameters).name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_recipe_is_one_that_the_loop_takes(path: Path) -> None:
    card = find_card(network_of(path))
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    assert "paper" in table
    for which in table:
        sheet = recipe_table(card, which)
        nothing: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
        task = find_task(card.tasks[0])
        recipe = resolve(card, {}, task.name, task.Options, nothing, 50_000, sheet)
        with torch.device("meta"):
            network = build(card.name, **recipe.network["set"])
        make_optimizer("network", network, recipe.optimizers["network"])
        assert recipe.notes
        assert table[which]["source"]
        assert table[which]["note"].endswith(".")


def test_no_recipe_file_is_without_a_network() -> None:
    assert sorted(FILES[0].parent.glob("*.toml")) == FILES


NUMBERS = {"half a": 0.5, "one": 1, "two": 2}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_a_note_says_of_passes_and_warm_up_is_what_is_done(path: Path) -> None:
    for which, sheet in tomllib.loads(path.read_text(encoding="utf-8")).items():
        note, training = sheet["note"], sheet["training"]
        for words in re.findall(r"after (half a|\w+) pass(?:es)? of warm-up", note):
            assert float(NUMBERS.get(words, words)) == training["warmup"], which
        told = "warm-up" in note or "warmed up" in note or "first pass" in note
        assert told == (training.get("warmup", 0) > 0), which
        if "passes" in note:
            assert str(training["epochs"]) in re.findall(r"\d+", note), which


def test_rates_fall_as_far_as_the_notes_say() -> None:
    sheet = tomllib.loads(recipe_file(find_card("capsnet")).read_text(encoding="utf-8"))["paper"]
    training = sheet["training"]
    assert "falling to a tenth in five steps" in sheet["note"]
    assert len(training["milestones"]) == 5
    assert training["gamma"] ** 5 == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2"])
def test_mobilenets_rate_is_the_papers_by_the_root_of_its_machines(name: str) -> None:
    sheet = tomllib.loads(recipe_file(find_card(name)).read_text(encoding="utf-8"))["paper"]
    # Sandler et al. 2018, Section 6.1: 0.045, 16 machines, batches of 96
    assert sheet["optimizer"]["network"]["lr"] == pytest.approx(0.045 / 16**0.5, rel=0.12)
    assert "at 0.01 for batches of 96" in sheet["note"]
    recipe = recipe_table(find_card(name), "paper")
    nothing: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    card, options = find_card(name), ImageOptions
    found = resolve(card, {}, "image-classification", options, nothing, 50_000, recipe)
    assert found.training.batch_size == 64
    assert found.optimizers["network"]["lr"] == pytest.approx(0.01 * (64 / 96) ** 0.5)


@pytest.mark.parametrize("which", ["paper", "modern"])
def test_vgg_with_batch_norm_has_torchvisions_rate_scaled_warmed_up_and_bounded(which: str) -> None:
    """By the rate alone the loss of VGG-11 on MNIST rises from 2.8 to 7, and stays at chance."""
    card = find_card("vgg11_bn")
    nothing: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    sheet = recipe_table(card, which)
    found = resolve(card, {}, "image-classification", ImageOptions, nothing, 50_000, sheet)
    # torchvision's reference: 0.1 for 8 processes of 32 pictures each
    assert found.optimizers["network"]["lr"] == pytest.approx(0.1 * 64 / (8 * 32))
    assert found.training.warmup >= 1
    assert found.training.grad_clip == 5
    assert "no longer than 5" in sheet[0]["note"]


def test_the_papers_settings_are_the_papers() -> None:
    table = tomllib.loads(recipe_file(find_card("resnet20")).read_text(encoding="utf-8"))["paper"]
    training, optimizer = table["training"], table["optimizer"]["network"]
    # He et al. 2016, Section 4.2: batch 128, 0.1 divided at 32k and 48k of 64k updates
    assert (training["batch_size"], training["gamma"]) == (128, 0.1)
    assert training["milestones"] == [32 / 64, 48 / 64]
    assert (optimizer["lr"], optimizer["momentum"], optimizer["weight_decay"]) == (0.1, 0.9, 1e-4)
