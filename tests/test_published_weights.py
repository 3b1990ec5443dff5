"""Weights that torchvision publishes get the pictures that they were trained on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import models
from torchvision.transforms import functional as transforms

import torchfolio
from torchfolio.features import network_features
from torchfolio.networks.catalogue import cards
from torchfolio.tasks.image_preparation import IMAGENET_MEAN, IMAGENET_STD
from torchfolio.training.start import make_parts, prepare

QUICK: dict[str, Any] = {
    "weights": "imagenet", "image_size": 32, "device": "cpu", "threads": 1, "workers": 0,
}  # fmt: skip
SAID = "pictures are normalised as the weights want them (--normalize overrules)"


@pytest.fixture(scope="module")
def googlenet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nn.Module]:
    """torchvision's GoogLeNet as it makes it of its published file; here that file is random."""
    folder = tmp_path_factory.mktemp("hub")
    url = models.GoogLeNet_Weights.IMAGENET1K_V1.url
    torch.manual_seed(0)
    network = models.googlenet(weights=None, aux_logits=True, init_weights=False)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):  # so that what it gives follows the pictures
            layer.momentum = 1.0
    network.train()(torch.randn(8, 3, 64, 64))
    (folder / "checkpoints").mkdir()
    torch.save(network.state_dict(), folder / "checkpoints" / url.rsplit("/", 1)[-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.hub, "get_dir", lambda: str(folder))
        patch.setattr(torch.hub, "download_url_to_file", None)  # calling it would fail
        yield models.googlenet(weights="IMAGENET1K_V1").eval()


@torch.no_grad()
def pooled(network: nn.Module, images: Tensor) -> Tensor:
    """Return what the last layer reads."""
    found: list[Tensor] = []
    handle = network.fc.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    network(images)
    handle.remove()
    return found[0]


def as_imagenets(pixels: Tensor) -> Tensor:
    """Return pictures (batch, 3, height, width) of pixels, 0 to 255, as torchvision takes them."""
    return transforms.normalize(pixels / 255, IMAGENET_MEAN, IMAGENET_STD)


@pytest.mark.parametrize("name", [card.name for card in cards().values() if card.weights])
def test_torchvision_normalises_for_all_of_its_weights_alike(name: str) -> None:
    preset = models.get_weight(f"{cards()[name].weights}.IMAGENET1K_V1").transforms()
    assert (preset.mean, preset.std) == (IMAGENET_MEAN, IMAGENET_STD)


@torch.no_grad()
def test_create_makes_the_network_that_torchvision_makes(googlenet: nn.Module) -> None:
    assert googlenet.transform_input is True
    images = torch.randn(2, 3, 64, 64)
    ours = torchfolio.create("googlenet", weights="imagenet").eval()
    assert torch.allclose(ours(images), googlenet(images), atol=1e-3)
    as_asked = torchfolio.create("googlenet", weights="imagenet", transform_input=False).eval()
    assert not torch.allclose(as_asked(images), googlenet(images), atol=0.1)
    assert torchfolio.create("googlenet").transform_input is False
    grey = torchfolio.create("googlenet", weights="imagenet", in_channels=1)
    assert grey.transform_input is False  # whose first layer is new


def test_features_are_torchvisions(googlenet: nn.Module, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    file = tmp_path / "picture.png"
    Image.fromarray(pixels).save(file)
    expected = pooled(googlenet, as_imagenets(torch.from_numpy(pixels).permute(2, 0, 1)[None]))
    settings: dict[str, Any] = {"weights": "imagenet", "image_size": 64, "device": "cpu"}
    found = network_features("googlenet", [file], **settings)
    assert found.preparation.endswith("3 channel(s), black becomes -1, white 1")
    [row] = found
    assert torch.allclose(torch.from_numpy(row["vector"]), expected[0], atol=1e-3)
    asked = network_features("googlenet", [file], normalize="imagenet", **settings)
    assert asked.preparation.endswith("normalised by ImageNet's mean and standard deviation")
    [row] = asked
    assert not torch.allclose(torch.from_numpy(row["vector"]), expected[0], atol=0.1)


def test_a_training_gives_the_weights_their_pictures(googlenet: nn.Module) -> None:
    start = prepare("googlenet", "digits", QUICK)
    assert start.recipe.as_toml()["task"]["normalize"] == "-1:1"
    assert "black becomes -1, white 1" in start.lines
    assert SAID in start.lines
    network = make_parts(start).network.eval()
    pixels = start.task.pictures.fitted(start.dataset, start.splits.indices["train"][:4])
    assert pixels.shape == (4, 3, 32, 32)
    found = pooled(network, start.task.pictures.normalised(pixels))
    assert torch.allclose(found, pooled(googlenet, as_imagenets(pixels)), atol=1e-3)


def test_a_network_that_transforms_its_input_gets_pictures_normalised_as_imagenets(
    googlenet: nn.Module,
) -> None:
    start = prepare("googlenet", "digits", QUICK | {"set": {"transform_input": True}})
    assert start.recipe.task["normalize"] == "imagenet"
    network = make_parts(start).network.eval()
    pixels = start.task.pictures.fitted(start.dataset, start.splits.indices["train"][:4])
    found = pooled(network, start.task.pictures.normalised(pixels))
    assert torch.allclose(found, pooled(googlenet, as_imagenets(pixels)), atol=1e-3)


def test_a_normalisation_that_is_asked_for_overrules(googlenet: nn.Module) -> None:
    start = prepare("googlenet", "digits", QUICK | {"normalize": "imagenet"})
    assert start.recipe.task["normalize"] == "imagenet"
    assert SAID not in start.lines
