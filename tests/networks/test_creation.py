"""Networks by their names with weights of a run, whose settings shapes do not tell."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from torchfolio import FolioError, RequestError, create
from torchfolio.checkpoint import MAPPING
from torchfolio.networks.build import build
from torchfolio.networks.vgg import convolutions

TINY: dict[str, Any] = {"patch": 4, "gelu": "tanh"}  # of vit_ti_16, for pictures of 16 x 16


def write_run(folder: Path, network: nn.Module, recipe: str, size: int | None = None) -> Path:
    """Write what of a run folder ``create`` reads: weights, recipe, the size of the pictures."""
    (folder / "weights").mkdir(parents=True)
    (folder / "recipe.toml").write_text(recipe, encoding="utf-8")
    save_file(network.state_dict(), folder / "weights" / "best.safetensors")
    if size is not None:
        (folder / "preprocessing").mkdir()
        state = {"state": {MAPPING: [["channels", 3], ["size", size]]}}
        (folder / "preprocessing" / "task.json").write_text(json.dumps(state), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained() -> Any:
    torch.manual_seed(0)
    network: Any = build("vit_ti_16", num_classes=10, image_size=(16, 16), **TINY)
    nn.init.normal_(network.heads.head.weight)  # else all scores are zero
    return network.eval()


@pytest.fixture(scope="module")
def run(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    told = '[network]\nname = "vit_ti_16"\n[network.set]\npatch = 4\ngelu = "tanh"\ndropout = 0.5\n'
    return write_run(tmp_path_factory.mktemp("runs") / "vit", trained, told, size=16)


def test_weights_of_a_run_bring_its_anchors(tmp_path: Path) -> None:
    trained: Any = build("yolov2", num_classes=2, voc=True)
    told = '[network]\nname = "yolov2"\n[network.set]\nvoc = true\n'
    run = write_run(tmp_path / "运行", trained.half(), told)
    network: Any = create("yolov2", num_classes=2, weights=run)
    assert network.anchors == trained.anchors
    assert network.anchors[0] == (1.3221 * 32, 1.73145 * 32)  # of yolov2-voc.cfg
    (run / "recipe.toml").write_text("[network", encoding="utf-8")
    with pytest.raises(FolioError, match=r"recipe\.toml is damaged"):
        create("yolov2", num_classes=2, weights=run)


def test_weights_of_a_run_bring_its_settings_and_its_size(trained: Any, run: Path) -> None:
    network: Any = create("vit_ti_16", num_classes=10, weights=run)
    assert network.grid == (4, 4)  # 16 pixels, patches of 4
    images = torch.rand(2, 3, 16, 16)
    assert network.encoder.dropout.p == 0.0  # that is for training alone
    with torch.no_grad():
        assert torch.equal(network.eval()(images), trained(images))


def test_what_is_said_goes_before_what_the_run_set(run: Path) -> None:
    network: Any = create(
        "vit_ti_16", num_classes=10, weights=run, gelu="none", image_size=(32, 32)
    )
    assert network.grid == (8, 8)
    activations = [each.approximate for each in network.modules() if isinstance(each, nn.GELU)]
    assert set(activations) == {"none"}


def test_a_run_of_another_network_brings_no_settings(trained: Any, tmp_path: Path) -> None:
    told = '[network]\nname = "vit_ti_32"\n[network.set]\npatch = 4\n'
    run = write_run(tmp_path / "run", trained, told, size=16)
    network: Any = create("vit_ti_16", num_classes=10, weights=run, patch=4)
    assert network.grid == (56, 56)  # the card's 224 pixels


def test_preprocessing_that_is_damaged_is_named(run: Path, tmp_path: Path) -> None:
    for path in ("recipe.toml", "weights/best.safetensors"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes((run / path).read_bytes())
    (tmp_path / "preprocessing").mkdir()
    (tmp_path / "preprocessing" / "task.json").write_text("{}", encoding="utf-8")
    with pytest.raises(FolioError, match=r"task\.json is damaged: 'state'"):
        create("vit_ti_16", num_classes=10, weights=tmp_path)


@pytest.mark.parametrize("channels", [None, 3])
def test_a_layer_outside_the_head_that_would_stay_random_is_refused(
    channels: int | None, run: Path
) -> None:
    told = (
        r"conv_proj\.weight \(192x3x16x16; the file has 192x3x4x4\) of vit_ti_16 would stay "
        r"random: .* Give the arguments that the weights were trained with \(in_channels, "
    )
    with pytest.raises(RequestError, match=told):
        create("vit_ti_16", num_classes=10, in_channels=channels, weights=run, patch=16)


def test_other_channels_are_new_where_they_are_asked_for(tmp_path: Path) -> None:
    grey: Any = build("resnet20", in_channels=1)
    file = tmp_path / "grey.safetensors"
    save_file(grey.state_dict(), file)
    with pytest.raises(RequestError, match=r"conv1\.weight \(16x3x3x3; the file has 16x1x3x3\)"):
        create("resnet20", weights=file)
    network: Any = create("resnet20", in_channels=3, weights=file)
    assert torch.equal(network.layer1[0].conv1.weight, grey.layer1[0].conv1.weight)


def test_what_does_not_classify_begins_with_a_classifiers_weights(tmp_path: Path) -> None:
    vgg = convolutions("D", 3, False)  # of VGG16
    state = {f"features.{name}": value for name, value in vgg.state_dict().items()}
    file = tmp_path / "vgg16.safetensors"
    save_file(state, file)
    network: Any = create("unet_vgg16", num_classes=2, weights=file)
    own = network.encoder.features.state_dict()
    assert all(torch.equal(own[name], value) for name, value in vgg.state_dict().items())
