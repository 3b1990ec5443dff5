"""Semantic segmentation from folders of pictures and masks to a run, its report and its answers."""

import csv
import json
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from discs import write_discs
from PIL import Image
from torch import nn

import torchfolio
from torchfolio import FolioError, RequestError, Run
from torchfolio.cli.app import run as folio
from torchfolio.networks.catalogue import find_card
from torchfolio.tasks.base import Context
from torchfolio.tasks.segmentation import report
from torchfolio.tasks.segmentation.asking import ask
from torchfolio.tasks.segmentation.task import SemanticSegmentation
from torchfolio.training import start
from torchfolio.training.processes import Processes
from torchfolio.training.recipes import recipe_table
from torchfolio.training.recording import Monitor

SMALL = {"set": {"depth": 2, "width": 8}, "device": "cpu", "threads": 1, "workers": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("圆 discs"), 30, empty=4)


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "run"
    return torchfolio.train("unet", folder, out=out, epochs=12, lr=0.004, batch_size=4, **SMALL)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_small_unet_finds_the_discs(trained: Run) -> None:
    metrics, baseline = trained.metrics["metrics"], trained.metrics["baseline"]
    assert metrics["dice"]["value"] > 0.85
    assert metrics["dice"]["low"] <= metrics["dice"]["value"] <= metrics["dice"]["high"]
    assert baseline["dice"]["value"] == 0
    assert metrics["pixel_accuracy"]["value"] > baseline["pixel_accuracy"]["value"]
    assert 0 <= metrics["object_recall"]["value"] <= 1
    assert trained.metrics["details"]["classes"] == ["background", "foreground"]


def test_a_plain_threshold_stands_beside_the_network(trained: Run) -> None:
    """Discs are 90 levels brighter than noise of deviation 20: half of that parts most pixels."""
    plain = trained.metrics["details"]["plain_threshold"]
    assert plain["above"]
    assert 100 < plain["level"] < 160
    assert 0.5 < plain["metrics"]["dice"] < 1
    page = (trained.path / "report.html").read_text(encoding="utf-8")
    assert f"grey from {plain['level']} on" in page


def test_figures_are_those_of_the_masks_that_the_run_wrote(trained: Run, folder: Path) -> None:
    rows = rows_of(trained.path / "predictions" / "test.csv")
    hits = said = there = 0
    for row in rows:
        with Image.open(folder / row["input"].replace("images", "masks")) as image:
            truth = np.asarray(image) > 0
        with Image.open(trained.path / "predictions" / "test" / row["mask"]) as image:
            answer = np.asarray(image) == 1
        both = int((truth & answer).sum())
        size = int(truth.sum() + answer.sum())
        assert float(row["dice"]) == pytest.approx(2 * both / size if size else 1, abs=1e-6)
        told = {"precision": answer.sum(), "recall": truth.sum()}
        for name, number in told.items():
            value = row[f"{name}(foreground)"]
            assert (
                value == ""
                if number == 0
                else float(value) == pytest.approx(both / number, abs=1e-6)
            )
        assert float(row["pixel_accuracy"]) == pytest.approx((truth == answer).mean(), abs=1e-6)
        hits, said, there = hits + both, said + int(answer.sum()), there + int(truth.sum())
    metrics = trained.metrics["metrics"]
    assert metrics["dice"]["value"] == pytest.approx(2 * hits / (said + there))
    assert metrics["iou"]["value"] == pytest.approx(hits / (said + there - hits))
    of_pictures = [float(row["dice"]) for row in rows]
    assert metrics["picture_dice"]["value"] == pytest.approx(np.mean(of_pictures), abs=1e-6)


def test_the_history_has_the_figures_of_every_epoch(trained: Run) -> None:
    history = trained.history
    assert len(history) == 12
    assert history[-1]["val_mean_iou"] > history[0]["val_mean_iou"]
    assert {"train_loss", "val_loss", "val_pixel_accuracy", "val_dice"} <= history[0].keys()


def test_the_report_shows_pictures_classes_and_objects(trained: Run) -> None:
    page = (trained.path / "report.html").read_text(encoding="utf-8")
    for words in (
        "the worst first",
        "false alarms",
        "dice a picture",
        "baseline",
        "confusion",
        "three quarters",
    ):
        assert words in page.lower()


def test_the_same_recipe_gives_the_same_weights(trained: Run, folder: Path, tmp_path: Path) -> None:
    again = torchfolio.train(
        "unet", folder, out=tmp_path / "again", recipe=trained.path / "recipe.toml", report=False
    )
    assert again.metrics["digest"] == trained.metrics["digest"]
    assert again.metrics["metrics"] == trained.metrics["metrics"]


def test_a_training_that_was_stopped_goes_on_exactly(
    trained: Run, folder: Path, tmp_path: Path
) -> None:
    class Stops(Monitor):
        def epoch_ended(self, loop: object, row: dict[str, object]) -> None:
            if row["epoch"] == 3:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(torchfolio.FolioError, match="everything is saved"):
        torchfolio.train(
            "unet", folder, out=tmp_path / "run", recipe=trained.path / "recipe.toml",
            watcher=Stops(),
        )  # fmt: skip
    resumed = Run(tmp_path / "run").resume(report=False)
    assert resumed.metrics["digest"] == trained.metrics["digest"]


def test_other_data_may_have_another_number_for_a_class(trained: Run, tmp_path: Path) -> None:
    write_discs(tmp_path / "as", 5, seed=1)
    write_discs(tmp_path / "other", 5, seed=1)
    for path in (tmp_path / "other" / "masks").iterdir():
        with Image.open(path) as image:
            turned = 255 - np.asarray(image)
        Image.fromarray(turned).save(path)
    values = "0=foreground 255=background"
    one = trained.evaluate(tmp_path / "as", report=False)
    two = trained.evaluate(tmp_path / "other", mask_values=values, report=False)
    assert one["metrics"] == two["metrics"]
    with pytest.raises(RequestError, match="disc"):
        trained.evaluate(tmp_path / "as", mask_values="0=background 255=disc")


def test_answers_are_masks_of_the_pictures_own_size(
    trained: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "大 picture.png"
    with Image.open(folder / "images" / "0.png") as image:
        Image.fromarray(np.tile(np.asarray(image), (3, 2))[:, :101]).save(picture)
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture.read_bytes()[:80])
    out = tmp_path / "out"
    arguments = ["predict", str(trained.path), str(picture), str(broken), "--pictures", str(out)]
    assert folio([*arguments, "--probabilities", "--json"]) == 1  # one of them cannot be read
    first, second = json.loads(capsys.readouterr().out)
    assert second["prediction"] is None
    assert "broken.png" in second["error"]
    assert first["prediction"].startswith("foreground ")
    with Image.open(out / "大 picture_mask.png") as image:
        mask = np.asarray(image)
    assert mask.shape == (144, 101)
    assert first["shares"]["foreground"] == pytest.approx((mask == 1).mean())
    with np.load(out / "大 picture_probabilities.npz") as file:
        probabilities = file["probabilities"]
        assert file["classes"].tolist() == ["background", "foreground"]
    assert probabilities.shape == (2, 144, 101)
    assert np.abs(probabilities.astype(np.float32).sum(0) - 1).max() < 2e-3
    assert (probabilities.argmax(0) == mask).mean() > 0.999  # but for rounding of even ones
    with Image.open(out / "大 picture.png") as image:
        assert image.size == (101, 144)


def test_a_network_without_padding_answers_for_every_pixel(folder: Path, tmp_path: Path) -> None:
    run = torchfolio.train(
        "unet_2015", folder, out=tmp_path / "run", epochs=1, batch_size=2, report=False,
        set={"depth": 1, "width": 4}, device="cpu", threads=1, workers=0,
    )  # fmt: skip
    state = run.load()[0].state
    assert (state["crop"] + 4) % 2 == 0
    (answer,) = run.predict([np.zeros((37, 41), np.uint8)])
    assert answer["error"] is None
    assert answer.classes.shape == (37, 41)  # type: ignore[attr-defined]


def test_colours_and_scaling_are_undone_in_answers(tmp_path: Path) -> None:
    """Masks of three colours, pictures halved: figures are those of whole pixels."""
    write_discs(tmp_path / "data", 8, size=(40, 56))
    colours = np.array([[0, 0, 0], [255, 0, 0]], np.uint8)
    for path in (tmp_path / "data" / "masks").iterdir():
        with Image.open(path) as image:
            labels = (np.asarray(image) > 0).astype(int)
        pixels = colours[labels]
        pixels[:5, :5] = (0, 0, 255)
        Image.fromarray(pixels).save(path)
    run = torchfolio.train(
        "unet_bn", tmp_path / "data", out=tmp_path / "run", epochs=1, batch_size=2, image_size=20,
        **SMALL,
    )  # fmt: skip
    details = run.metrics["details"]
    assert details["classes"] == ["background", "#ff0000", "#0000ff"]
    assert np.sum(details["confusion"]) == run.metrics["examples"] * 40 * 56


def test_a_picture_of_which_no_pixel_counts_is_named_and_left_out(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", 9)
    for path in (data / "masks").iterdir():
        if path.stem in "0123":
            Image.fromarray(np.full((48, 64), 9, np.uint8)).save(path)
    values = {"mask_values": "0=background 255=foreground 9=void"}
    run = torchfolio.train(
        "unet", data, out=tmp_path / "run", epochs=1, batch_size=4, test_split=0.5, seed=1,
        **SMALL, **values,
    )  # fmt: skip
    rows = rows_of(run.path / "predictions" / "test.csv")
    void = [row for row in rows if Path(row["input"]).stem in "0123"]
    assert 0 < len(void) < len(rows)
    assert all(not row["dice"] and not row["pixel_accuracy"] for row in void)
    known = [float(row["dice"]) for row in rows if row["dice"]]
    assert run.metrics["metrics"]["picture_dice"]["value"] == pytest.approx(
        np.mean(known), abs=1e-6
    )
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert f"Of {len(void)} of the pictures no pixel counts: they are in no figure." in page


def test_one_picture_or_one_class_is_said_to_be_too_little(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "one", 1)
    with pytest.raises(torchfolio.FolioError, match=r"split|example|picture"):
        torchfolio.train("unet", data, out=tmp_path / "run", epochs=1, **SMALL)


def test_a_network_for_classes_refuses_masks(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="semantic-segmentation"):
        torchfolio.train("lenet5", folder, out=tmp_path / "run")


def test_a_batch_that_nobody_asked_for_fits_the_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small: dict[str, Any] = {"set": SMALL["set"], "device": "cpu"}
    task = start.prepare("unet_bn", folder, small).task
    each = task.bytes_of_example(find_card("unet_bn"), 0, **small["set"])
    monkeypatch.setattr(start, "half_of_memory", lambda device: 3 * each)
    found = start.prepare("unet_bn", folder, small)
    assert found.recipe.training.batch_size == 2  # 8 -> 4 -> 2
    assert any(line.startswith("batch size 8 -> 2: an example takes") for line in found.lines)
    assert (
        start.prepare("unet_bn", folder, small | {"batch_size": 8}).recipe.training.batch_size == 8
    )


def test_a_rate_that_was_asked_for_stays_where_the_batch_is_halved(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SemanticSegmentation, "bytes_of_example", lambda *_, **__: 2**20)
    monkeypatch.setattr(start, "half_of_memory", lambda device: 3 * 2**20)
    rates = []
    for given in ({}, {"lr": 0.002}):
        recipe = start.prepare("unet_bn", folder, SMALL | given).recipe
        assert recipe.training.batch_size == 2
        rates.append(recipe.optimizers["network"]["lr"])
    settled, _ = recipe_table(find_card("unet_bn"), None)
    assert rates[0] < settled["optimizer"]["network"]["lr"]
    assert rates[1] == 0.002


@pytest.mark.parametrize(
    ("accumulate", "world", "size"),
    [
        (4, Processes(), 8),
        (2, Processes(), 4),
        (1, Processes(0, 2, 0, 1), 4),  # two machines
        (1, Processes(0, 2, 0, 2), 2),  # one, whose memory two share
    ],
)
def test_a_batch_takes_the_memory_of_what_is_computed_at_a_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch, accumulate: int, world: Processes, size: int
) -> None:
    """There is room for three examples: the eight of the recipe are computed in pieces."""
    monkeypatch.setattr(SemanticSegmentation, "bytes_of_example", lambda *_, **__: 2**20)
    monkeypatch.setattr(start, "half_of_memory", lambda device: 3 * 2**20)
    settings = SMALL | {"accumulate": accumulate}
    found = start.prepare("unet_bn", folder, settings, world=world)
    assert found.recipe.training.batch_size == size


def test_hosts_that_propose_other_batches_are_told_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TwoHosts(Processes):
        def everyone(self, value: Any) -> list[Any]:
            return [value, value // 2 if isinstance(value, int) else value]

    monkeypatch.setattr(torchfolio.run, "joined", lambda: nullcontext(TwoHosts()))
    with pytest.raises(FolioError, match=r"other batch size \(--batch-size\) than process 0: 4"):
        torchfolio.train("unet", folder, out=tmp_path / "run", batch_size=8, epochs=1, **SMALL)


def test_folded_batch_norms_give_the_figures_of_the_network_as_it_is(folder: Path) -> None:
    """All of an evaluation: the norms have statistics far from those that they begin with."""
    begun = start.prepare("unet_bn", folder, SMALL)
    task: Any = begun.task
    parts = start.make_parts(begun)
    draw = torch.Generator().manual_seed(0)
    for layer in parts.network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.running_mean, layer.weight, layer.bias):
                values.data.add_(torch.randn(values.shape, generator=draw), alpha=0.2)
            layer.running_var.copy_(0.2 + torch.rand(layer.running_var.shape, generator=draw))
    context = Context(torch.device("cpu"), report=False)
    split = begun.splits.indices["test"]
    found = task.evaluate(parts, begun.dataset, split, context)
    folded = task.answering(parts, context).network
    assert folded is not parts.network
    assert not any(isinstance(each, nn.BatchNorm2d) for each in folded.modules())
    plain = report.evaluate(task, parts, begun.dataset, split, context)
    assert 0.05 < plain.metrics["mean_iou"]["value"] < 0.95
    for name, figure in plain.metrics.items():
        assert found.metrics[name] == pytest.approx(figure, abs=1e-3)


def test_an_unknown_loss_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="dise"):
        torchfolio.train("unet", folder, out=tmp_path / "run", loss="dise", **SMALL)


def test_bf16_answers_are_near_those_of_float32(trained: Run, folder: Path) -> None:
    task, parts = trained.load()
    picture = task.scenes.read(folder / "images" / "1.png")[0]  # type: ignore[attr-defined]
    with torch.inference_mode():
        exact = ask(task.state, parts.network, picture, (48, 64))
        with torch.autocast("cpu", torch.bfloat16):
            near = ask(task.state, parts.network, picture, (48, 64))
    assert (exact.classes == near.classes).mean() > 0.99


def test_shapes_of_coco_are_read_as_masks_for_a_run_of_masks(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_discs(tmp_path, 2)
    shape = [[10, 10, 30, 10, 30, 30, 10, 30]]
    told = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 48, "width": 64} for n in (0, 1)],
        "categories": [{"id": 1, "name": "foreground"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [10, 10, 20, 20],
             "segmentation": shape}
            for n in (0, 1)
        ],
    }  # fmt: skip
    for mask in (tmp_path / "masks").iterdir():
        mask.unlink()
    (tmp_path / "masks").rmdir()
    (tmp_path / "shapes.json").write_text(json.dumps(told))
    assert trained.open_other(tmp_path).reader == "coco-masks"
    flags = ["--group-pattern", "none", "--no-report", "--json"]
    assert folio(["evaluate", str(trained.path), str(tmp_path), *flags]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 2
