import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from torchfolio.data.dataset import NoOptions
from torchfolio.errors import FolioError, RequestError
from torchfolio.networks.catalogue import cards, find_card
from torchfolio.tasks.image_classification import ImageOptions
from torchfolio.tasks.registry import TASKS, find_task
from torchfolio.training.optimizers import OPTIMIZERS, allowed_settings, canonical
from torchfolio.training.recipes import Recipe, fit_batch, recipe_table, resolve, sort_settings

RECIPE: dict[str, Any] = {
    "source": "Nobody 2000",
    "training": {"epochs": 7, "batch_size": 128, "reference_batch": 256},
    "optimizer": {"network": {"name": "sgd", "lr": 0.1, "momentum": 0.9}},
    "task": {"augment": "shift"},
}


def resolved(
    settings: dict[str, Any] | None = None,
    examples: int = 100_000,
    table: dict[str, Any] | None = None,
) -> Recipe:
    sections = sort_settings(settings or {}, ImageOptions, NoOptions)
    return resolve(
        find_card("resnet20"),
        {"path": "x"},
        "image-classification",
        ImageOptions,
        sections,
        examples,
        (RECIPE if table is None else table, "[paper] of test.toml"),
    )


def test_a_value_comes_from_the_person_else_the_recipe_else_the_default() -> None:
    recipe = resolved({"epochs": 3, "label-smoothing": 0.2, "nesterov": True})
    assert recipe.training.epochs == 3
    assert recipe.training.batch_size == 128
    assert recipe.training.schedule == "constant"
    assert recipe.task["augment"] == "shift"
    assert recipe.task["label_smoothing"] == 0.2
    assert recipe.optimizers["network"]["nesterov"] is True
    assert recipe.optimizers["network"]["momentum"] == 0.9
    assert recipe.notes[0] == "recipe: [paper] of test.toml (Nobody 2000)"


@pytest.mark.parametrize(
    ("examples", "size"), [(100_000, 128), (6_400, 128), (6_399, 64), (1_257, 16), (10, 16)]
)
def test_small_data_have_smaller_batches(examples: int, size: int) -> None:
    # halved until an epoch has 50 updates, not below 16: 1,257 / 32 = 39, / 16 = 78
    recipe = resolved(examples=examples)
    assert recipe.training.batch_size == size
    assert any(f"128 -> {size}" in note for note in recipe.notes) == (size < 128)


def test_a_batch_is_never_halved_below_sixteen() -> None:
    table = RECIPE | {"training": {"batch_size": 60}}
    assert resolved(examples=10, table=table).training.batch_size == 16
    table = RECIPE | {"training": {"batch_size": 8}}
    assert resolved(examples=10, table=table).training.batch_size == 8


def test_the_rate_is_scaled_with_the_batch() -> None:
    # 0.1 is for 256: 0.1 * 128 / 256
    assert resolved().optimizers["network"]["lr"] == pytest.approx(0.05)
    assert resolved({"batch_size": 32}).optimizers["network"]["lr"] == pytest.approx(0.0125)
    assert resolved({"batch_size": 512}).optimizers["network"]["lr"] == 0.1
    assert resolved({"lr": 0.3}).optimizers["network"]["lr"] == 0.3
    assert resolved().training.reference_batch is None
    adam = RECIPE | {"optimizer": {"network": {"name": "AdamW", "lr": 0.1}}}
    root = 0.1 * (64 / 256) ** 0.5
    scaled = resolved({"batch_size": 64}, table=adam).optimizers["network"]["lr"]
    assert scaled == pytest.approx(root)


def test_a_batch_that_does_not_fit_the_memory_is_halved_and_the_rate_with_it() -> None:
    """Of 128, 2 MiB each, 32 fit into 64 MiB: 0.1 * (128 / 256) * (32 / 128)."""
    recipe = resolved()
    line = fit_batch(recipe, 2 * 2**20, 64 * 2**20, 256)
    assert recipe.training.batch_size == 32
    assert recipe.optimizers["network"]["lr"] == pytest.approx(0.0125)
    assert line == (
        "batch size 128 -> 32: an example takes up to 2 MiB in training, and half of a process's "
        "memory is 64 MiB"
    )
    assert fit_batch(recipe, 2 * 2**20, 64 * 2**20, 256).startswith("batch size 32: ")
    assert recipe.optimizers["network"]["lr"] == pytest.approx(0.0125)
    fit_batch(recipe, 2**30, 2**20, 256)
    assert recipe.training.batch_size == 1


@pytest.mark.parametrize(("reference", "rate"), [(None, 0.05), (64, 0.025), (16, 0.05)])
def test_a_rate_follows_a_halved_batch_as_its_reference_says(
    reference: int | None, rate: float
) -> None:
    """From 0.05 at 128, to 32: a rate for 64 is halved, one for 16 was never raised."""
    recipe = resolved()
    fit_batch(recipe, 2 * 2**20, 64 * 2**20, reference)
    assert recipe.training.batch_size == 32
    assert recipe.optimizers["network"]["lr"] == pytest.approx(rate)


def test_of_a_batch_in_pieces_one_piece_has_to_fit() -> None:
    recipe = resolved()
    line = fit_batch(recipe, 2 * 2**20, 32 * 2**20, 256, pieces=4)
    assert recipe.training.batch_size == 64
    assert line.startswith("batch size 128 -> 64, 16 at a time: ")
    fit_batch(recipe, 2**30, 2**20, 256, pieces=4)
    assert recipe.training.batch_size == 4


def test_another_optimizer_has_torchs_defaults_and_the_same_one_the_recipes() -> None:
    assert resolved({"optimizer": "Adam"}).optimizers["network"] == {"name": "adam"}
    assert resolved({"optimizer": "SGD"}).optimizers["network"]["lr"] == pytest.approx(0.05)
    found = resolved({"optimizer": "L-BFGS", "lr": 0.5}).optimizers["network"]
    assert canonical(found.pop("name")) == "lbfgs"
    assert found == {"lr": 0.5}


def test_the_recipe_of_a_run_is_taken_as_it_stands(tmp_path: Path) -> None:
    first = resolved({"batch_size": 512, "lr": 0.3, "minutes": 5.0}, examples=1000)
    path = tmp_path / "recipe.toml"
    path.write_text(tomli_w.dumps(first.as_toml()), encoding="utf-8")
    table, _ = recipe_table(find_card("resnet20"), str(path))
    again = resolved(examples=1000, table=table)
    assert again.training == first.training
    assert again.optimizers == first.optimizers
    assert again.task == first.task
    assert again.network == first.network


def test_recipes_survive_toml() -> None:
    recipe = resolved({"minutes": 5.0, "set": {"width": 3}, "lr": 1e-5, "patience": 2})
    table = tomllib.loads(tomli_w.dumps(recipe.as_toml()))
    again = Recipe.from_toml(table, "recipe.toml")
    assert again.training == recipe.training
    assert again.optimizers == {"network": {"name": "sgd", "lr": 1e-5, "momentum": 0.9}}
    assert again.network == recipe.network
    assert again.task == recipe.task


def test_a_budget_without_epochs_ends_by_time() -> None:
    assert resolved({"minutes": 1.0}).training.epochs == 1_000_000
    assert resolved({"minutes": 1.0, "epochs": 4}).training.epochs == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, r"epochs in the settings is 0; it should be 1 or more"),
        ({"lr": -1.0}, r"lr in the settings is -1\.0; it should be 0 or more"),
        ({"lr": "fast"}, "lr in the settings is 'fast'"),
        ({"label_smoothing": 2.0}, "label_smoothing in the settings is 2"),
        ({"augment": "crop"}, "augment in the settings is 'crop'; it should be one of: none"),
        ({"epoch": 3}, r"no setting named 'epoch'.*The nearest: epochs"),
    ],
)
def test_wrong_settings_are_the_persons(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        resolved(settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainig": {}}, r"no section in \[paper\] of test\.toml named 'trainig'.*training"),
        (
            {"training": {"epoch": 1}},
            r"no setting in \[training\] of \[paper\] of test\.toml named",
        ),
        ({"training": {"epochs": 0}}, r"epochs in \[training\] of \[paper\] of test\.toml is 0"),
        ({"task": {"augmentation": 1}}, r"no setting in \[task\] of .* named 'augmentation'"),
        (
            {"optimizer": {"netwrok": {}}},
            r"no part in \[optimizer\] of .* named 'netwrok'.*network",
        ),
    ],
)
def test_wrong_recipes_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        resolved(table=RECIPE | change)


def test_recipe_files_that_cannot_be_read(tmp_path: Path) -> None:
    card = find_card("resnet20")
    with pytest.raises(RequestError, match="paper, modern or a TOML file that exists"):
        recipe_table(card, "papre")
    broken = tmp_path / "broken.toml"
    broken.write_text("[training\nepochs = 3", encoding="utf-8")
    with pytest.raises(RequestError, match=r"broken\.toml is not TOML"):
        recipe_table(card, str(broken))
    with pytest.raises(RequestError, match="format version 99; this release reads 1"):
        Recipe.from_toml({"format_version": 99}, "recipe.toml")
    with pytest.raises(RequestError, match=r"recipe\.toml lacks its section \[data\]"):
        Recipe.from_toml({"format_version": 1, "network": {}}, "recipe.toml")


def test_paths_become_text() -> None:
    sections = sort_settings({"weights": Path("a") / "b.pth"}, ImageOptions, NoOptions)
    assert sections["network"]["weights"] == str(Path("a/b.pth"))


def test_no_setting_has_two_homes() -> None:
    import dataclasses

    from torchfolio.data.readers import READERS
    from torchfolio.data.splits import SplitOptions
    from torchfolio.training.options import TrainingOptions
    from torchfolio.training.recipes import DataOptions, NetworkOptions, OptimizerOptions

    shared = [NetworkOptions, DataOptions, SplitOptions, TrainingOptions, OptimizerOptions]
    for reader in READERS.values():
        task = next(each for each in map(find_task, TASKS) if reader.kind in each.kinds)
        names = [
            each.name
            for kind in (*shared, task.Options, reader.Options)
            for each in dataclasses.fields(kind)
        ]
        assert len(names) == len(set(names)), reader


@pytest.mark.parametrize("name", sorted(cards()))
def test_every_recipe_of_the_catalogue_is_one(name: str) -> None:
    card = find_card(name)
    task = find_task(card.tasks[0])
    sections = sort_settings({}, task.Options, NoOptions)
    for which in ("paper", "modern"):
        try:
            sheet = recipe_table(card, which)
        except RequestError:
            assert which == "modern"
            continue
        recipe = resolve(card, {}, task.name, task.Options, sections, 60_000, sheet)
        section = dict(recipe.optimizers["network"])
        kind = canonical(section.pop("name"))
        section.pop("decay_norms", None)
        assert set(section) <= set(allowed_settings(kind))
        assert kind in OPTIMIZERS
        assert recipe.notes


def test_one_name_in_two_sections_is_refused() -> None:
    @dataclass(frozen=True)
    class Clashing:
        epochs: int = 1

    with pytest.raises(FolioError, match=r"epochs is a setting of \[task\] and of \[training\]"):
        sort_settings({}, Clashing, NoOptions)
