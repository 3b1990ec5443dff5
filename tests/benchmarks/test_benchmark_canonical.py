import json
from pathlib import Path

import torch

from benchmarks import canonical
from benchmarks.statistics import Spread
from benchmarks.tables import answer
from benchmarks.tables import canonical as table


def test_all_contestants_answer_alike() -> None:
    networks = canonical.contestants("mobilenet_v1_0.25")
    assert next(iter(networks)) == "ours"
    assert [title.split()[0] for title in networks][1:] == ["pytorchcv"]  # no calculation of ours
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        ours, *theirs = (network.eval()(images) for network in networks.values())
    assert all(torch.allclose(ours, each, atol=1e-5) for each in theirs)


def test_the_passes_are_what_they_say() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(4, 9))
    images = torch.ones(3, 1, 2, 2)
    canonical.forward(network, images)()
    assert not network.training
    assert network[2].weight.grad is None
    step = canonical.training(network, images)
    step()
    first = network[2].bias.grad.clone()
    step()
    assert network.training
    assert first.abs().sum() > 0
    assert network[2].bias.grad.abs().sum() < 2  # of one pass, not the sum of two


def test_rows_add_up_and_the_page_tells_them(tmp_path: Path) -> None:
    path = tmp_path / "canonical_abacus.json"
    turns = {"ours": [10.0, 12.0, 30.0], "timm 1": [20.0, 12.0, 40.0]}
    row = {"network": "resnet18", "pass": "forward", "batch": 1, "turns": turns}
    canonical.add([row, row | {"pass": "training"}], "Abacus", path)
    canonical.add([row | {"batch": 32}], "Abacus", path)
    canonical.add(
        [row | {"pass": "training", "turns": {**turns, "other 2": [1.0] * 3}}], "Abacus", path
    )
    document = json.loads(path.read_text(encoding="utf-8"))
    assert [(each["batch"], each["pass"]) for each in document["networks"]] == [
        (32, "forward"),
        (1, "training"),
    ]
    text = "\n".join(table(tmp_path))
    # ratios 0.5, 1 and 0.75; quartiles half way to the extremes
    line = "| resnet18 | forward | 32 | 3 | 12 | timm 1 | 20 | 0.750 (0.625 to 0.875) | faster |"
    assert line in text
    assert text.count("| resnet18 | training | 1 | 3 | 12 |") == 2
    assert table(tmp_path / "none") == []


def test_an_answer_needs_both_a_clear_spread_and_a_difference_that_matters() -> None:
    for ratios, wanted in (
        ([1.0, 1.0, 1.0], "alike"),
        ([1.03, 1.04, 1.05], "slower"),
        ([1.01, 1.015, 1.019], "alike"),  # clear, and of no matter
        ([0.9, 1.05, 1.2], "alike"),  # large, and not clear
        ([0.9, 0.95, 0.97], "faster"),
    ):
        spread = Spread.of(ratios)
        assert spread is not None
        assert answer(spread) == wanted
