"""DenseNet: published files in their older spelling, and the order of the maps."""

import pytest
import torch

from torchfolio.errors import RequestError
from torchfolio.networks.build import build
from torchfolio.networks.weights import load_weights


def test_published_files_with_the_older_spelling_load() -> None:
    torch.manual_seed(0)
    trained = build("densenet121", num_classes=10)
    old = {
        name.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2.")
        if "denselayer" in name
        else name: value
        for name, value in trained.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    other = build("densenet121", num_classes=10)
    report = load_weights(other, old, strict=True)
    assert report.ignored == []
    assert all(map(torch.equal, trained.state_dict().values(), other.state_dict().values()))


@torch.no_grad()
def test_a_block_keeps_its_input_first_and_the_newest_maps_last() -> None:
    block = build("densenet40_k12").features.denseblock1.eval()
    maps = torch.randn(1, 16, 8, 8)
    out = block(maps)
    assert out.shape == (1, 16 + 12 * 12, 8, 8)
    assert torch.equal(out[:, :16], maps)
    assert torch.equal(out[:, 16:28], block["denselayer1"](maps))
    assert torch.equal(out[:, -12:], block["denselayer12"](out[:, :-12]))


def test_depths_that_do_not_divide_are_refused() -> None:
    with pytest.raises(RequestError, match=r"depth is 6 n \+ 4, not 41"):
        build("densenet100_k12_bc", depth=41)
    with pytest.raises(RequestError, match="depth is one of 121, 161, 169, 201, 264, not 122"):
        build("densenet121", depth=122)
