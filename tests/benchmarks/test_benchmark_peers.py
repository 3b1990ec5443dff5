"""Peers that are not installed (they are in the dependency group ``bench``) are passed over."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.peers.networks import make_network
from benchmarks.process import measure
from torchfolio import create

SIZES = {"lenet5": 32, "mlp": 28, "resnet20": 32, "resnet18": 64}


def need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: it is a peer, in the dependency group bench")


def colours(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures of ten colours with some noise, and their classes."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    palette = np.random.default_rng(0).integers(0, 256, (10, 3))
    noise = draw.integers(-20, 20, (count, 32, 32, 3))
    pictures = (palette[labels][:, None, None] + noise).clip(0, 255).astype(np.uint8)
    return pictures, labels.astype(np.int64)


def ours(name: str) -> int:
    settings = {"widths": [512, 512]} if name == "mlp" else {}
    channels = 1 if name in ("lenet5", "mlp") else 3
    network = create(name, num_classes=10, in_channels=channels, **settings)
    return sum(each.numel() for each in network.parameters())


@pytest.mark.parametrize("name", SIZES)
def test_networks_of_peers_have_as_many_parameters_as_ours(name: str) -> None:
    network = make_network(name, SIZES[name])
    assert sum(each.numel() for each in network.parameters()) == ours(name)


@pytest.mark.parametrize("name", ["fcn_resnet50", "unet_vgg16"])
def test_networks_for_masks_have_as_many_parameters_as_ours(name: str) -> None:
    need("segmentation_models_pytorch")
    from benchmarks.peers.masks import CLASSES
    from benchmarks.peers.masks import make_network as make_masks

    network, _ = make_masks(name)
    own = create(name, num_classes=CLASSES)
    assert sum(each.numel() for each in network.parameters()) == sum(
        each.numel() for each in own.parameters()
    )


@pytest.mark.parametrize("name", SIZES)
def test_networks_in_keras_have_as_many_parameters_as_ours(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("keras")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    from benchmarks.peers.keras_networks import make_network as make_keras

    network = make_keras(name, SIZES[name])
    assert sum(int(np.prod(each.shape)) for each in network.trainable_weights) == ours(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "package", "backend"),
    [
        ("pytorch", "torch", ""),
        ("lightning", "lightning", ""),
        ("fastai", "fastai", ""),
        ("keras", "keras", "torch"),
        ("keras", "jax", "jax"),
    ],
)
def test_a_peer_learns_marks_its_first_step_and_is_tested(
    module: str, package: str, backend: str, tmp_path: Path
) -> None:
    need(package)
    arrays = {}
    for seed, (split, count) in enumerate((("train", 320), ("test", 60))):
        arrays[f"x_{split}"], arrays[f"y_{split}"] = colours(count, seed)
    np.savez(tmp_path / "colours.npz", **arrays)
    command = [sys.executable, "-m", f"benchmarks.peers.{module}", "--kind", "cifar"]
    command += ["--data", str(tmp_path / "colours.npz"), "--network", "resnet20", "--epochs", "3"]
    command += ["--batch-size", "16", "--lr", "0.05", "--workers", "0", "--schedule", "cosine"]
    found = measure(command, {"KERAS_BACKEND": backend} if backend else {}, tmp_path, 500)
    assert found["status"] == 0, found["errors"]
    assert found["output"]["examples"] == 60
    assert found["output"]["accuracy"] > 0.5  # ten classes
    assert 0 < found["first_step"] < found["wall"]


@pytest.mark.slow
def test_timm_learns_from_folders(tmp_path: Path) -> None:
    need("timm")
    for seed, (split, count) in enumerate((("train", 160), ("val", 20), ("test", 40))):
        for number, (picture, label) in enumerate(zip(*colours(count, seed), strict=True)):
            folder = tmp_path / split / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{number}.png")
    command = [sys.executable, "-m", "benchmarks.peers.timm", "--kind", "folder", "--size", "32"]
    command += ["--data", str(tmp_path), "--network", "resnet18", "--epochs", "2"]
    command += ["--batch-size", "16", "--lr", "0.02", "--workers", "0"]
    found = measure(command, {}, tmp_path, 500)
    assert found["status"] == 0, found["errors"]
    assert found["output"]["examples"] == 40
    assert found["output"]["accuracy"] > 0.3
    assert 0 < found["first_step"] < found["wall"]


@pytest.mark.slow
def test_ultralytics_learns_from_folders(tmp_path: Path) -> None:
    need("ultralytics")
    for seed, (split, count) in enumerate((("train", 160), ("val", 20), ("test", 40))):
        for number, (picture, label) in enumerate(zip(*colours(count, seed), strict=True)):
            folder = tmp_path / "data" / split / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{number}.png")
    command = [sys.executable, "-m", "benchmarks.peers.ultralytics", "--kind", "folder"]
    command += ["--size", "32", "--data", str(tmp_path / "data"), "--network", "resnet18"]
    command += ["--epochs", "3", "--batch-size", "16", "--lr", "0.02", "--workers", "0"]
    (tmp_path / "run").mkdir()
    found = measure(command, {}, tmp_path / "run", 500)
    assert found["status"] == 0, found["errors"]
    assert found["output"]["examples"] == 40
    assert found["output"]["accuracy"] > 0.3
