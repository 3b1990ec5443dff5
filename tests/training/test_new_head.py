"""A new head by naming the data alone: other classes, other channels, other sizes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import torchfolio
from torchfolio.errors import RequestError
from torchfolio.networks.catalogue import find_card
from torchfolio.run import Run
from torchfolio.training.given import preparation
from torchfolio.training.recording import Monitor
from torchfolio.training.start import Start, make_parts, prepare

QUICK: dict[str, Any] = {
    "epochs": 1, "batch_size": 32, "threads": 1, "workers": 0, "device": "cpu",
}  # fmt: skip


class Lines(Monitor):
    """Keeps what was decided."""

    def prepared(self, start: Start, path: Path) -> None:
        self.lines = start.lines


def write(folder: Path, classes: list[str], *, side: int = 32, channels: int = 1) -> Path:
    """Twelve pictures of noise a class, in folders."""
    generator = np.random.default_rng(0)
    shape = (side, side, 3) if channels == 3 else (side, side)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = generator.integers(0, 256, shape).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def trained(network: str, data: Path | str, out: Path, **settings: Any) -> tuple[Run, list[str]]:
    watcher = Lines()
    run = torchfolio.train(
        network, data, out=out, report=False, watcher=watcher, **QUICK | settings
    )
    return run, watcher.lines


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("source")
    data = write(folder / "data", ["ant", "bee"])
    return trained("lenet5", data, folder / "run")[0]


def test_more_classes_have_a_new_head(source: Run, tmp_path: Path) -> None:
    data = write(tmp_path / "data", ["cat", "dog", "猫 owl"])
    settings = {"weights": str(source.path), "transfer": "head"}
    run, lines = trained("lenet5", data, tmp_path / "run", **settings)
    assert (
        "new head (output) for 3 classes: cat, dog, 猫 owl; that of the weights is for 2: ant, bee"
    ) in lines
    assert "trained: output; everything else is frozen" in lines
    assert run.network.output.out_features == 3
    before, after = source.network.state_dict(), run.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if "output" not in name)


def test_other_classes_of_the_same_number_have_a_new_head_too(source: Run) -> None:
    settings = QUICK | {"weights": str(source.path)}
    taught = source.network.state_dict()["output.weight"]
    for data, kept in (("ant bee", True), ("cat dog", False)):
        folder = write(source.path.parent / data, data.split())
        start = prepare("lenet5", folder, settings)
        network = make_parts(start).network
        assert torch.equal(network.output.weight, taught) == kept
        assert any(line.startswith("new head (output)") for line in start.lines) != kept
        assert any("loaded: 10 of" in line for line in start.lines) == kept


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_file_of_exported_weights_tells_as_much_as_its_run(kind: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data", ["ant", "bee"])
    run, _ = trained("lenet5", data, tmp_path / "run", normalize="0:2")
    file = tmp_path / "权.weights"
    run.export("safetensors", tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").rename(file)  # what it is follows from its content
    settings = QUICK | {"weights": str(run.path if kind == "folder" else file)}
    taught = run.network.state_dict()["output.weight"]
    for classes, kept in (("ant bee", True), ("cat dog", False)):
        folder = write(tmp_path / classes, classes.split())
        start = prepare("lenet5", folder, settings)
        network = make_parts(start).network
        assert torch.equal(network.output.weight, taught) == kept
        new = "new head (output) for 2 classes: cat, dog; that of the weights is for 2: ant, bee"
        assert (new in start.lines) != kept
        assert (
            "normalised as the run that the weights come from (--normalize overrules)"
            in start.lines
        )
        assert start.task.state["mean"].flatten().tolist() == [0.0]  # of 0:2, black is 0
        assert start.task.state["std"].flatten().tolist() == [0.5]
    asked = prepare("lenet5", data, settings | {"normalize": "none"})
    assert asked.task.state["std"].flatten().tolist() == [1.0]


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A MobileNet with settings that no tensor of it tells."""
    folder = tmp_path_factory.mktemp("narrow")
    data = write(folder / "data", ["ant", "bee"], channels=3)
    settings = {"set": {"norm_eps": 0.001, "activation": "relu6"}, "image_size": 32}
    return trained("mobilenet_v1_0.25", data, folder / "run", **settings)[0]


def norms_and_bends(start: Start) -> tuple[set[float], bool]:
    """Return the epsilons of a network's norms, and whether any activation of it is a ReLU6."""
    modules = list(make_parts(start).network.modules())
    epsilons = {each.eps for each in modules if isinstance(each, nn.BatchNorm2d)}
    return epsilons, any(isinstance(each, nn.ReLU6) for each in modules)


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_weights_of_a_run_bring_the_settings_that_shapes_do_not_tell(
    kind: str, narrow: Run, tmp_path: Path
) -> None:
    source = str(narrow.path)
    if kind == "file":
        source = str(tmp_path / "w.safetensors")
        narrow.export("safetensors", tmp_path / "w.safetensors")
    data = write(tmp_path / "data", ["cat", "dog", "owl"], channels=3)
    start = prepare("mobilenet_v1_0.25", data, QUICK | {"weights": source})
    told = 'norm_eps=0.001, activation="relu6", as the weights want (--set overrules)'
    assert told in start.lines
    assert norms_and_bends(start) == ({0.001}, True)
    settings = QUICK | {"weights": source, "set": {"norm_eps": 1e-5}}
    overruled = prepare("mobilenet_v1_0.25", data, settings)
    assert 'activation="relu6", as the weights want (--set overrules)' in overruled.lines
    assert norms_and_bends(overruled) == ({1e-5}, True)
    none = prepare("mobilenet_v1_0.25", data, QUICK | {"weights": source, "transfer": "none"})
    assert norms_and_bends(none) == ({1e-5}, False)


def test_settings_for_training_alone_and_those_of_other_networks_stay(tmp_path: Path) -> None:
    data = write(tmp_path / "data", ["ant", "bee"])
    given = {"widths": [24], "dropout": 0.3}
    first, _ = trained("mlp", data, tmp_path / "first", set=given, image_size=12)
    settings = QUICK | {"weights": str(first.path)}
    start = prepare("mlp", data, settings)
    assert start.recipe.network["set"] == {"widths": [24]}
    assert "widths=[24], as the weights want (--set overrules)" in start.lines
    make_parts(start)
    assert "new: none" in start.lines
    assert preparation(find_card("mlp"), first.path)[1] == given
    assert preparation(find_card("mlp_bn"), first.path)[1] == {}


def test_pictures_get_the_channels_and_the_size_of_the_run(tmp_path: Path) -> None:
    colours = write(tmp_path / "colours", ["ant", "bee"], side=16, channels=3)
    first, _ = trained("mlp", colours, tmp_path / "first")
    assert (first.load()[0].state["channels"], first.load()[0].state["size"]) == (3, 16)
    greys = write(tmp_path / "greys", ["cat", "dog"], side=24)
    run, lines = trained("mlp", greys, tmp_path / "run", weights=str(first.path))
    state = run.load()[0].state
    assert (state["channels"], state["size"]) == (3, 16)
    assert (
        "the size is that of the run that the weights come from (--image-size overrules)" in lines
    )
    with pytest.raises(RequestError, match="The weights do not fit this network"):
        trained("mlp", greys, tmp_path / "x", weights=str(first.path), image_size=24)


def test_a_first_convolution_of_other_channels_is_new_and_said(tmp_path: Path) -> None:
    greys = write(tmp_path / "greys", ["ant", "bee"])
    first, _ = trained("resnet20", greys, tmp_path / "first")
    settings = {"weights": str(first.path), "channels": 3}
    start = prepare("resnet20", greys, QUICK | settings)
    network = make_parts(start).network
    assert "new: conv1.weight (16x3x3x3; the file has 16x1x3x3)" in start.lines
    assert torch.equal(network.layer1[0].conv1.weight, first.network.layer1[0].conv1.weight)
    for transfer in ("head", "last:2"):
        with pytest.raises(
            RequestError,
            match=rf"transfer is {transfer}, and conv1\.weight \(16x3x3x3; the file has 16x1x3x3\) "
            r"would stay random: .*\(--transfer all\)",
        ):
            make_parts(prepare("resnet20", greys, QUICK | settings | {"transfer": transfer}))


def test_depthwise_kernels_are_not_taken_for_the_first_layer(tmp_path: Path) -> None:
    """The first of MobileNet's tensors, by name, is a kernel of one channel."""
    file = tmp_path / "weights.pth"
    network = torchfolio.create("mobilenet_v1_0.25", in_channels=3, num_classes=4)
    torch.save(dict(sorted(network.state_dict().items())), file)
    greys = write(tmp_path / "greys", ["ant", "bee"])
    start = prepare("mobilenet_v1_0.25", greys, QUICK | {"weights": str(file)})
    assert start.task.state["channels"] == 3


def test_position_embeddings_are_interpolated_to_the_size_of_the_data(tmp_path: Path) -> None:
    pictures = write(tmp_path / "data", ["ant", "bee"])
    file = tmp_path / "weights.pth"
    torch.save(
        torchfolio.create(
            "vit_ti_16", in_channels=1, num_classes=2, image_size=(64, 64)
        ).state_dict(),
        file,
    )
    start = prepare("vit_ti_16", pictures, QUICK | {"weights": str(file), "transfer": "head"})
    network = make_parts(start).network
    assert network.encoder.pos_embedding.shape == (1, 1 + 2 * 2, 192)
    assert "new: none" in start.lines


def test_the_recipe_of_a_run_is_taken_as_it_stands(source: Run, tmp_path: Path) -> None:
    colours = write(tmp_path / "data", ["ant", "bee"], side=16, channels=3)
    first, _ = trained("mlp", colours, tmp_path / "first")
    settings: dict[str, Any] = {"image_size": 16, "channels": 3, "normalize": "none"}
    run, _ = trained("mlp", colours, tmp_path / "run", weights=str(first.path), **settings)
    again = prepare("mlp", colours, {}, which=str(run.path / "recipe.toml"))
    assert again.recipe.task == run.recipe.task
