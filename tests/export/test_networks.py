"""Classifiers as ONNX and as programs of torch: what they say is what the network says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tools.exported import FACTS, Shape, classifier, images, rounding
from torchfolio.export.engines import OnnxEngine, TorchEngine
from torchfolio.export.writing import write_onnx, write_torch
from torchfolio.networks.catalogue import cards, find_card
from torchfolio.tasks.image_export import Classifier

# A form of each family, the one that asks most of an exporter, as small as it can be built.
QUICK: dict[str, dict[str, Any]] = {
    "softmax_regression": {},
    "mlp": {"widths": [20]},
    "maxout_conv_mnist": {},
    "lenet5_original": {},
    "resnet20": {"depth": 8},
    "alexnet": {},
    "vgg11": {},
    "googlenet_original_aux": {},
    "densenet40_k12": {"depth": 10},
    "mobilenet_v1_0.25": {},
    "capsnet": {},
    "vit_ti_16": {},
    "cifar_quick": {},
    "darknet19": {},
}
# Forms that differ in more than their depth or width; tools/exactness.py exports all the others.
FORMS: dict[str, dict[str, Any]] = {
    "mlp_bn": {},
    "maxout_mlp": {},
    "lenet5": {},
    "lenet_caffe": {},
    "resnet18": {},
    "resnet18_plain": {},
    "resnet50_v1": {},
    "resnet20_b": {"depth": 8},
    "resnet20_plain": {"depth": 8},
    "googlenet_aux": {},
    "densenet121": {},
    "densenet100_k12_bc": {"depth": 22},
    "mobilenet_v1_relu6": {},
    "mobilenet_v2_0.35": {},
    "capsnet_official": {},
}
IN_TORCH = ("resnet20", "capsnet")
NEAR = 2e-5  # of a probability


def small(name: str, **arguments: Any) -> tuple[Classifier, list[dict[str, Any]], Shape]:
    """Return what is exported of a network for the least pictures, its input, and their shape."""
    shape = find_card(name).min_input
    if shape == (1, 1, 1):
        shape = (1, 8, 8)
    return *classifier(name, shape, **arguments), shape


@torch.no_grad()
def expected(network: nn.Module, array: np.ndarray) -> np.ndarray:
    return network(torch.from_numpy(array)).numpy()


def test_every_family_is_among_those_that_are_exported() -> None:
    classifiers = [card for card in cards().values() if "image-classification" in card.tasks]
    assert {find_card(each).family for each in QUICK} == {card.family for card in classifiers}


@pytest.mark.parametrize("name", QUICK)
def test_onnxruntime_says_what_a_network_of_each_family_says(name: str, tmp_path: Path) -> None:
    assert_alike_in_onnx(tmp_path / "network.onnx", *small(name, **QUICK[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_onnxruntime_says_what_other_forms_say(name: str, tmp_path: Path) -> None:
    assert_alike_in_onnx(tmp_path / "network.onnx", *small(name, **FORMS[name]))


def assert_alike_in_onnx(
    file: Path, network: nn.Module, inputs: list[dict[str, Any]], shape: tuple[int, int, int]
) -> None:
    write_onnx(network, inputs, FACTS, file)
    engine = OnnxEngine(file, ["images"])
    for count in (1, 3, 5):
        array = images(count, shape)
        probabilities = expected(network, array)
        assert np.ptp(probabilities) > 1e-3  # they say something
        found = engine.run([array], alone=count == 1)
        assert found.dtype == np.float32
        assert found.shape == (count, 7)
        assert np.abs(found.sum(1) - 1).max() < 1e-5
        limit = max(NEAR, 4 * rounding(network, array))  # other orders of the same sums
        assert np.abs(found - probabilities).max() <= limit
    file.unlink()  # of VGG half a gigabyte


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in IN_TORCH else pytest.mark.slow) for n in QUICK]
)
def test_a_program_of_torch_says_what_the_network_says(name: str, tmp_path: Path) -> None:
    network, inputs, shape = small(name, **QUICK[name])
    file = tmp_path / "network.pt2"
    write_torch(network, inputs, FACTS, file)
    engine = TorchEngine(file)
    for count in (1, 3):
        array = images(count, shape)
        found = engine.run([array], alone=True)
        assert np.abs(found - expected(network, array)).max() <= NEAR
    file.unlink()


class Together(nn.Module):
    """The mean of classifiers that take pictures of different sizes, as an ensemble has them."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, *images: Tensor) -> Tensor:
        each = [member(image) for member, image in zip(self.members, images, strict=True)]
        return torch.stack(each).mean(0)


class Pair(Together):
    """The same with an argument for each input."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(first, second)


@pytest.mark.parametrize("kind", [Together, Pair])
def test_several_inputs_share_the_size_of_the_batch(kind: Any, tmp_path: Path) -> None:
    tiny, takes, shape = small("lenet_caffe")
    large, also, other = small("resnet20", depth=8)
    inputs = [takes[0] | {"name": "a"}, also[0] | {"name": "b"}]
    network = kind([tiny, large]).eval()
    write_onnx(network, inputs, FACTS, tmp_path / "both.onnx")
    write_torch(network, inputs, FACTS, tmp_path / "both.pt2")
    for engine in (
        OnnxEngine(tmp_path / "both.onnx", ["a", "b"]),
        TorchEngine(tmp_path / "both.pt2"),
    ):
        for count in (1, 4):
            arrays = [images(count, shape), images(count, other)]
            with torch.no_grad():
                said = network(*map(torch.from_numpy, arrays)).numpy()
            assert np.abs(engine.run(arrays, alone=True) - said).max() <= NEAR


@pytest.mark.parametrize("write", [write_onnx, write_torch])
def test_a_file_names_no_place_of_this_machine(write: Any, tmp_path: Path) -> None:
    network, inputs, _ = small("lenet_caffe")
    write(network, inputs, FACTS, tmp_path / "file")
    content = (tmp_path / "file").read_bytes()
    assert b"site-packages" not in content
    assert str(Path(__file__).parents[2]).encode() not in content


def test_nothing_is_printed_or_warned_of(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    network, inputs, _ = small("lenet5")
    write_onnx(network, inputs, FACTS, tmp_path / "a.onnx")
    write_torch(network, inputs, FACTS, tmp_path / "a.pt2")
    TorchEngine(tmp_path / "a.pt2")
    assert capfd.readouterr() == ("", "")
