from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn import pictures, prepared
from PIL import Image

from torchfolio.data.readers import open_dataset
from torchfolio.data.records import size_facts
from torchfolio.errors import RequestError
from torchfolio.networks.catalogue import find_card
from torchfolio.tasks.image_classification import ImageClassification, ImageOptions
from torchfolio.tasks.image_preparation import choose_size


def test_standard_normalisation_is_that_of_the_training_pictures() -> None:
    data = pictures(40)
    task = ImageClassification(ImageOptions())
    train = np.arange(0, 40, 2)
    task.prepare(find_card("resnet20"), data, train)
    array = data.records.array[train] / 255.0  # type: ignore[attr-defined]
    assert np.allclose(task.state["mean"].flatten(), array.mean((0, 1, 2)), atol=1e-6)
    assert np.allclose(task.state["std"].flatten(), array.std((0, 1, 2)), atol=1e-6)
    normal = task.pictures.normalised(task.pictures.fitted(data, train))
    assert torch.allclose(normal.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(normal.std((0, 2, 3)), torch.ones(3), atol=1e-3)


def test_pixel_means_are_of_each_pixel() -> None:
    data = pictures(40)
    task = prepared(data, normalize="pixel-mean")
    array = data.records.array / 255.0  # type: ignore[attr-defined]
    assert task.state["mean"].shape == (3, 32, 32)
    assert np.allclose(task.state["mean"].permute(1, 2, 0), array.mean(0), atol=1e-6)


def test_black_and_white_get_the_values_asked_for() -> None:
    task = prepared(pictures(6), normalize="-0.1:1.175")  # LeCun et al., 1998, Section III-A
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 32, 32)
    assert task.pictures.normalised(ends)[:, 0, 0, 0].tolist() == pytest.approx([-0.1, 1.175])


@pytest.mark.parametrize("normalize", ["1:0", "nan:1", "0:inf", "a:b", "1:1", "0:1:2", "mean"])
def test_normalisations_that_do_not_exist(normalize: str) -> None:
    with pytest.raises(RequestError, match="normalize is"):
        prepared(pictures(6), normalize=normalize)


def test_imagenet_normalisation_needs_colour() -> None:
    with pytest.raises(RequestError, match="normalize = imagenet needs 3 channels"):
        prepared(pictures(6, channels=1), normalize="imagenet")


@pytest.mark.parametrize(
    ("network", "side", "wanted", "size", "why"),
    [
        ("lenet5", 28, None, 32, "takes no other"),
        ("alexnet_2012", 100, None, 227, "that of alexnet_2012's paper"),
        ("alexnet_2012", 100, 96, 96, "as asked"),
        ("cifar_quick", 28, None, 32, "that of cifar_quick's paper"),
        ("cifar_quick", 28, 28, 28, "as asked"),
        ("resnet20", 32, None, 32, "the median"),
        ("resnet18", 1000, None, 224, "the usual size"),
        ("resnet18", 100, None, 100, "the median"),
        ("resnet18", 100, 96, 96, "as asked"),
        ("vit_ti_16", 96, None, 96, "the median"),
        ("vit_ti_16", 100, None, 96, "nearest to the data's median, 100, of the multiples of 16"),
        ("vit_ti_16", 104, None, 112, "nearest to the data's median, 104, of the multiples of 16"),
        ("vit_s_32", 104, None, 96, "of the multiples of 32 that vit_s_32 takes"),
        ("vit_s_32", 8, None, 32, "the smallest sensible size"),
        ("vit_ti_16", 230, None, 224, "the usual size"),
        ("vit_ti_16", 100, 240, 240, "as asked"),
    ],
)
def test_the_size_of_the_input(
    network: str, side: int, wanted: int | None, size: int, why: str
) -> None:
    facts = size_facts(np.full((2, 2), side), 3, 8)
    found = choose_size(find_card(network), facts, wanted)
    assert found[0] == size
    assert why in found[1]


def test_sizes_that_a_network_does_not_take() -> None:
    facts = size_facts(np.full((2, 2), 28), 1, 8)
    with pytest.raises(RequestError, match=r"lenet5 takes images of 32 x 32.*image-size is 64"):
        choose_size(find_card("lenet5"), facts, 64)
    with pytest.raises(RequestError, match=r"image-size is 1; resnet20 takes \d+ or more"):
        choose_size(find_card("resnet20"), facts, 1)
    with pytest.raises(RequestError, match=r"image-size is 66; alexnet_2012 takes 67 or more"):
        choose_size(find_card("alexnet_2012"), facts, 66)


@pytest.mark.parametrize(
    ("patch", "side", "wanted", "size"),
    [(4, 30, None, 32), (4, 8, None, 8), (4, 28, 20, 20), (5, 400, None, 220), (7, 3, None, 7)],
)
def test_sizes_follow_a_patch_that_was_given(
    patch: int, side: int, wanted: int | None, size: int
) -> None:
    card = find_card("vit_ti_16")
    card = replace(card, arguments=card.arguments | {"patch": patch})
    assert choose_size(card, size_facts(np.full((2, 2), side), 3, 8), wanted)[0] == size


def test_a_size_that_is_no_multiple_is_refused_with_the_nearest() -> None:
    facts = size_facts(np.full((2, 2), 100), 3, 8)
    nearest = r"image-size is 100; vit_ti_16 takes multiples of 16, its patch.*are 96 and 112"
    with pytest.raises(RequestError, match=nearest):
        choose_size(find_card("vit_ti_16"), facts, 100)
    with pytest.raises(RequestError, match="image-size is 8; vit_ti_16 takes 16 or more"):
        choose_size(find_card("vit_ti_16"), facts, 8)


def test_only_training_pictures_decide_size_channels_and_depth(tmp_path: Path) -> None:
    sizes = {"train": (28, "L"), "test": (90, "RGB")}  # 3 and 5 pictures of each class
    for split, (side, mode) in sizes.items():
        for name in ("cat", "dog"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for number in range(3 if split == "train" else 5):
                grey = 40 * number + (name == "dog")
                colour = grey if mode == "L" else (grey, 0, 255)
                Image.new(mode, (side, side), colour).save(folder / f"{number}.png")
    data = open_dataset(tmp_path)
    assert data.facts["channels"] == 3
    task = ImageClassification(ImageOptions())
    task.prepare(find_card("resnet20"), data, data.given["train"])
    assert (task.state["size"], task.state["channels"], task.state["depth"]) == (28, 1, 8)
    assert task.load(data, data.given["test"], None, 0).images.shape == (10, 1, 28, 28)
