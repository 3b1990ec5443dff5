"""docs/grading.md: as the results say; a sample of them made anew."""

import json
from pathlib import Path

import pytest
import torch

from tools import collected, grading
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import find_card
from torchfolio.verification.departures import DEPARTURES, Departure

WRITE = "python -m tools.grading run --missing"
QUICK = ("softmax_regression", "mlp", "lenet5", "lenet5_original", "lenet_caffe", "resnet20")


def sample() -> list[object]:
    """The first departure of each family, and some that ask for more.

    VGG, whose dense layers take half a minute, is graded in test_elsewhere.py; YOLO, as large, is
    graded by its last form alone.
    """
    found: dict[str, tuple[Departure, str]] = {}
    for departure, network in grading.every():
        found.setdefault(find_card(network).family, (departure, network))
    for family in ("vgg", "yolov1", "yolov2", "faster_rcnn"):
        del found[family]
    more = {
        "table-row": "lenet5_original", "lenet-sigmoid": "lenet5", "caffe-channels": "lenet_caffe",
        "mlp-bn-order": "mlp_bn", "windows-average": "maxout_conv_mnist", "tied": "resnet20",
        "depth": "resnet20", "shortcut-trailing": "resnet20", "v1-for-v1.5": "resnet50",
        "densenet-bottleneck": "densenet100_k12_bc", "vit-heads": "vit_ti_16",
        "googlenet-order": "googlenet", "mobilenet-padding": "mobilenet_v1_0.25",
        "frcnn-norm-epsilon": "fasterrcnn_resnet50_fpn",
    }  # fmt: skip
    by_name = {departure.name: departure for departure in DEPARTURES}
    cases = [*found.values(), *((by_name[name], network) for name, network in more.items())]
    return [
        pytest.param(departure, network, id=f"{departure.name}-{network}",
                     marks=() if network in QUICK else pytest.mark.slow)
        for departure, network in cases
    ]  # fmt: skip


@pytest.mark.parametrize(("departure", "network"), sample())
def test_a_sample_of_each_family_is_graded_rightly(departure: Departure, network: str) -> None:
    row = grading.planted(departure, network)
    assert row["layer_right"], grading.told(row)
    assert row["cause_right"], grading.told(row)


def test_the_page_is_as_the_results_say_and_the_layer_is_right_every_time() -> None:
    rows = grading.read()
    assert [grading.key(row) for row in rows] == [(d.name, n) for d, n in grading.every()], WRITE
    assert grading.PAGE.read_text(encoding="utf-8") == grading.page(rows, collected.read()), WRITE
    graded = [row for row in rows if row["truth"] is not None]
    assert [grading.told(row) for row in graded if not row["layer_right"]] == []
    assert sum(row["cause_right"] for row in graded) >= 0.95 * len(graded)


def test_a_network_in_disguise_is_the_same_function_under_other_names() -> None:
    network = build("maxout_conv_mnist").eval()
    images = torch.randn(2, 1, 28, 28)
    expected = network(images)
    module = grading.Disguised(network)
    assert torch.equal(module.eval()(images), expected)
    assert not {name for name, _ in module.named_modules()} & set(dict(network.named_modules())) - {
        ""
    }
    assert module.original["parts.0"] == "y"  # the last comes first
    assert sum(p.numel() for p in module.parameters()) == find_card("maxout_conv_mnist").parameters
    module.train()
    assert network.training


def test_what_leaves_the_function_as_it_is_is_not_graded() -> None:
    by_name = {departure.name: departure for departure in DEPARTURES}
    assert grading.first_difference(by_name["start-small"], "resnet20") is None
    assert grading.first_difference(by_name["loss-sum"], "lenet5_original") is None
    assert grading.first_difference(by_name["codes-trained"], "lenet5_original") == "output"
    assert grading.first_difference(by_name["epsilon"], "resnet20") == "bn1"
    assert grading.first_difference(by_name["momentum-deep"], "resnet20") == "layer2.1.bn1"


def test_rows_are_replaced_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "RESULTS", tmp_path / "grading.json")
    row = {
        "departure": "mlp-elu", "network": "mlp", "truth": "output", "passed": False,
        "layer": "layers.0", "side": "input", "layer_right": False, "causes": [], "cause": "",
        "explained": False, "cause_right": False, "seconds": 1.5, "date": "2026-11-27",
        "machine": "Abacus, 2 cores", "threads": 2, "versions": {"torchfolio": "1", "torch": "2"},
    }  # fmt: skip
    unseen = {"departure": "mlp-start", "network": "mlp", "truth": None}
    for each in (row, unseen, row | {"layer_right": True, "layer": "output"}):
        grading.add(each)
    rows = grading.read()
    assert [each["departure"] for each in rows] == ["mlp-elu", "mlp-start"]
    text = grading.page(rows, [])
    assert "elsewhere" not in text.partition("| departure")[2]
    assert "These 1 are not graded: `mlp-start`." in text
    assert "Of 1 gradings, 1 name the right layer and 0 the right cause." in text
    assert "| `mlp-elu` | `mlp` | `output` | right |  | wrong | 2 |" in text
    assert "Not graded yet: `stem-stride` in `resnet20`" in text
    assert grading.told(row).startswith("mlp-elu in mlp: layer WRONG (layers.0, not output)")
    kept = json.loads((tmp_path / "grading.json").read_text(encoding="utf-8"))
    assert sorted(kept, key=grading.key) == rows
