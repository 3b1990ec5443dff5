import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from adversaries import Adversaries, Critics, normed_network
from torch import Tensor, nn
from toys import (
    TIMES,
    Listener,
    Regression,
    assert_same,
    copied,
    digit_loop,
    options,
    row_loop,
    small_network,
    splits_of,
    through_a_file,
    weights,
)

from torchfolio import open_data
from torchfolio.networks.catalogue import Card, cards, find_card
from torchfolio.tasks.base import Parts
from torchfolio.tasks.detection.options import DetectionOptions
from torchfolio.tasks.detection.task import ObjectDetection
from torchfolio.tasks.image_classification import ImageClassification
from torchfolio.training.device import configure, seed_for
from torchfolio.training.folder import RunFolder
from torchfolio.training.loop import Loop
from torchfolio.training.optimizers import make_optimizer

ROOT = Path(__file__).parents[2]


class Dropped(ImageClassification):
    """Pictures before a small network with dropout and batch norm."""

    def parts(self, card: Card, **_: Any) -> Parts:
        pixels = self.state["size"] ** 2
        layers = [nn.Flatten(), nn.Linear(pixels, 16), nn.BatchNorm1d(16), nn.ReLU()]
        return Parts(network=nn.Sequential(*layers, nn.Dropout(0.3), nn.Linear(16, 10)))


def lenet() -> Loop:
    """Plateau, patience, average, pieces, clipping, mixup, CutMix and smoothing at once."""
    return digit_loop(
        "lenet5",
        {"name": "sgd", "lr": 0.002, "momentum": 0.9, "nesterov": True},
        {"augment": "crop-flip", "mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1},
        count=64,
        val=16,
        epochs=4,
        schedule="plateau",
        plateau_patience=0,
        patience=3,
        ema=0.8,
        accumulate=3,
        grad_clip=1.0,
        warmup=1.0,
    )


def resnet() -> Loop:
    return digit_loop(
        "resnet20",
        {"name": "adamw", "lr": 0.01, "weight_decay": 0.1, "decay_norms": False},
        {"augment": "randaugment", "sampler": "balanced", "class_weights": "balanced"},
        count=40,
        val=8,
        epochs=2,
        schedule="cosine",
        ema=0.9,
        accumulate=2,
    )


def lowered() -> Loop:
    """bf16, computed by two threads."""
    return digit_loop(
        "resnet20",
        {"name": "sgd", "lr": 0.05, "momentum": 0.9},
        {"augment": "crop-flip"},
        count=40,
        val=8,
        epochs=2,
        ema=0.9,
        precision="bf16",
        threads=2,
    )


def dropped() -> Loop:
    return digit_loop(
        "mlp",
        {"name": "muon", "lr": 0.02},
        epochs=2,
        task_kind=Dropped,
        workers=2,
        count=56,
        val=16,
    )


def lbfgs() -> Loop:
    section = {"name": "lbfgs", "max_iter": 4, "line_search_fn": "strong_wolfe"}
    return row_loop(Regression(lambda: small_network(0.2)), {"network": section}, epochs=2)


def averaged() -> Loop:
    return row_loop(Regression(normed_network), {"network": {"name": "nadam"}}, ema=0.5)


def adversaries() -> Loop:
    adam = {"name": "adam", "lr": 0.01}
    return row_loop(Adversaries(), {"generator": adam, "discriminator": adam}, accumulate=2)


def critics() -> Loop:
    section = {"name": "rmsprop", "lr": 0.01}
    return row_loop(Critics(), {"generator": section, "discriminator": section}, ema=0.9)


def boxes() -> Loop:
    """Mosaics, colours and batches of several sizes, told from anchors of the data."""
    data, splits, card = open_data("digit-boxes"), splits_of(10, 2), find_card("yolov3_tiny")
    task = ObjectDetection(
        DetectionOptions(
            image_size=64, augment="mosaic", colour=0.2, multi_scale=True, anchors="data"
        )
    )
    task.prepare(card, data, splits["train"])
    seed_for("initial weights", 0)
    parts = task.parts(card)
    section = {"name": "sgd", "lr": 1e-4, "momentum": 0.9}
    made = {"network": make_optimizer("network", parts.network, section)}
    return Loop(task, parts, made, data, splits, options(epochs=2, batch_size=4))


def trained(make: Callable[[], Loop], every: int | None, path: Path) -> tuple[Any, Any, str]:
    """Train to the end, in a fresh loop after every so many updates; return state and best."""
    loop, state, best = make(), None, None
    while True:
        if state is not None:
            loop = make()
            torch.manual_seed(12345)  # another process has another generator
            loop.load_state_dict(state)
        stop = loop.progress.update + every if every else None
        listener = Listener(stop)
        reason = loop.run(listener)
        best = listener.best if listener.best is not None else best
        state = through_a_file(loop.state_dict(), path)
        if reason != "stopped":
            return state, best, reason


@pytest.mark.parametrize(
    ("make", "every"),
    [
        (lenet, 1),
        (lenet, 5),
        (resnet, 3),
        (lowered, 2),
        (dropped, 1),
        (dropped, 4),
        (lbfgs, 1),
        (averaged, 2),
        (adversaries, 1),
        (critics, 1),
        (boxes, 3),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_stopped_training_ends_as_one_left_alone(
    make: Callable[[], Loop], every: int, tmp_path: Path
) -> None:
    path = tmp_path / "state.safetensors"
    undisturbed, best, reason = trained(make, None, path)
    resumed, best_resumed, reason_resumed = trained(make, every, path)
    assert reason_resumed == reason
    assert undisturbed["progress"]["update"] > every
    for history in (undisturbed["progress"]["history"], resumed["progress"]["history"]):
        for row in history:
            assert set(TIMES) <= set(row)
    undisturbed["progress"].pop("seconds")
    resumed["progress"].pop("seconds")
    assert_same(resumed, undisturbed)
    assert (best is None) == (make is critics)  # which have no metric that chooses
    assert_same(best_resumed, best)


# The smallest form of each family (lenet5, mlp and resnet20 are above).
FAMILIES = [
    "softmax_regression", "mlp_bn", "maxout_mlp", "lenet5_original", "resnet20_b", "alexnet",
    "vgg11_bn", "googlenet_aux", "densenet100_k12_bc", "mobilenet_v1_0.25", "mobilenet_v2_0.35",
    "capsnet", "vit_ti_16", "cifar_quick", "darknet19",
]  # fmt: skip
LARGE = ("alexnet", "vgg11_bn")


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[pytest.mark.slow] if each in LARGE else []) for each in FAMILIES],
)
def test_so_does_one_of_every_family(name: str, tmp_path: Path) -> None:
    momentum = {} if name in LARGE else {"momentum": 0.9}
    optimizer = {"name": "sgd", "lr": 0.001, **momentum}
    make = partial(digit_loop, name, optimizer, count=10, val=2, epochs=2)
    test_a_stopped_training_ends_as_one_left_alone(make, 1, tmp_path)


def test_no_family_is_left_out() -> None:
    classifiers = [each for each in cards().values() if "image-classification" in each.tasks]
    assert {find_card(each).family for each in FAMILIES} == {each.family for each in classifiers}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_so_does_a_compiled_one(tmp_path: Path) -> None:
    """It goes on with the last batch of an epoch, which is smaller and compiled by itself."""
    from torch._dynamo.utils import counters

    def compiled() -> Loop:
        torch.compiler.reset()  # another process has compiled nothing
        return row_loop(count=44, val=8, epochs=2, compile=True)

    counters.clear()
    test_a_stopped_training_ends_as_one_left_alone(compiled, 4, tmp_path)
    assert counters["stats"]["unique_graphs"] == 7  # four loops; the second sees one form of batch


@pytest.mark.parametrize(("make", "every"), [(lenet, 5), (lowered, 2)])
def test_so_it_does_with_deterministic_operations_alone(
    make: Callable[[], Loop], every: int, tmp_path: Path
) -> None:
    configure(options(deterministic=True))
    try:
        test_a_stopped_training_ends_as_one_left_alone(make, every, tmp_path)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        configure(options())


def test_the_lenet_of_this_test_uses_what_it_says() -> None:
    """Else the test above would prove less than it seems to."""
    loop = lenet()
    listener = Listener()
    loop.run(listener)
    assert loop.plateau.factor < 1
    changing = [each["network.c1.weight"] for each in listener.weights]
    assert not any(torch.equal(one, other) for one, other in pairwise(changing))
    batch = loop.load(loop.plan(0)[0])
    assert len(batch) == 3
    assert batch[0].boxes.any()


def test_the_detection_of_this_test_uses_what_it_says() -> None:
    loop = boxes()
    batches = [loop.load(batch)[0] for epoch in range(2) for batch in loop.plan(epoch)]
    assert {batch.images.shape[-1] for batch in batches} == {64, 96}
    assert sum(len(batch.truths) for batch in batches) == 16
    assert sum(map(len, batches[0].boxes)) > sum(map(len, batches[0].truths))  # of others besides


def test_a_state_can_be_taken_in_the_middle_and_used_twice(tmp_path: Path) -> None:
    loop = averaged()
    loop.run(Listener(3))
    state = copied(through_a_file(loop.state_dict(), tmp_path / "s"))
    ends = []
    for _ in range(2):
        again = averaged()
        again.load_state_dict(copied(state))
        again.run(Listener())
        ends.append(weights(again))
    assert_same(*ends)


def test_a_stop_after_the_last_update_of_an_epoch_still_ends_the_epoch(tmp_path: Path) -> None:
    loop = row_loop(epochs=1)
    assert loop.run(Listener(loop.updates_an_epoch)) == "stopped"
    assert loop.progress.history == []
    again = row_loop(epochs=1)
    again.load_state_dict(through_a_file(loop.state_dict(), tmp_path / "s"))
    assert again.run(Listener()) == "finished"
    assert len(again.progress.history) == 1
    whole = row_loop(epochs=1)
    whole.run(Listener())
    assert again.progress.history[0]["digest"] == whole.progress.history[0]["digest"]


def test_a_finished_training_does_nothing_more(tmp_path: Path) -> None:
    loop = row_loop(epochs=1)
    loop.run(Listener())
    again = row_loop(epochs=1)
    again.load_state_dict(through_a_file(loop.state_dict(), tmp_path / "s"))
    listener = Listener()
    assert again.run(listener) == "finished"
    assert listener.updates == []
    before: dict[str, Tensor] = weights(loop)
    assert_same(weights(again), before)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [["--threads", "1"], ["--deterministic"]])
def test_a_killed_command_ends_with_the_same_weights(settings: list[str], tmp_path: Path) -> None:
    """Six kills; ``python tools/kill_test.py --kills 20`` does as many as wanted."""
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "tools" / "kill_test.py"),
            *("--kills", "6", "--seed", "1", "--folder", str(tmp_path)),
            *("--", "lenet5", "digits", "--epochs", "4", *settings),
        ],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 kills: the same digest" in done.stdout
    trained = RunFolder(tmp_path / "alone").recipe().training
    assert trained.deterministic is ("--deterministic" in settings)
