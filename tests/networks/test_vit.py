"""Vision Transformer: positions of other sizes, weights under timm's and transformers' names."""

import re

import pytest
import torch
from torch.nn import functional as F

from torchfolio.errors import RequestError
from torchfolio.networks.build import build
from torchfolio.networks.vit import interpolated
from torchfolio.networks.weights import load_weights


def small(**arguments: object) -> torch.nn.Module:
    torch.manual_seed(0)
    network = build("vit_ti_16", num_classes=3, **arguments)
    torch.nn.init.normal_(network.heads.head.weight)
    return network.eval()


def test_positions_of_the_same_grid_stay_and_others_are_interpolated() -> None:
    positions = torch.randn(1, 1 + 4 * 4, 8)
    assert interpolated(positions, (4, 4), (4, 4)) is positions
    larger = interpolated(positions, (4, 4), (6, 3))
    assert larger.shape == (1, 1 + 18, 8)
    assert torch.equal(larger[:, 0], positions[:, 0])  # the class token's
    grid = positions[0, 1:].T.view(1, 8, 4, 4)
    expected = F.interpolate(grid, size=(6, 3), mode="bicubic", antialias=True)
    assert torch.allclose(larger[0, 1:].T.view(1, 8, 6, 3), expected)


def test_weights_of_another_size_load_with_interpolated_positions() -> None:
    first, second = small(image_size=(64, 64)), small(image_size=(96, 32))
    report = load_weights(second, first.state_dict(), strict=True)
    assert report.ignored == []
    found = second.encoder.pos_embedding
    assert torch.allclose(found, interpolated(first.encoder.pos_embedding, (4, 4), (6, 2)))


@torch.no_grad()
def test_a_picture_of_another_size_is_read_as_by_a_network_of_that_size() -> None:
    first, second = small(image_size=(64, 64)), small(image_size=(80, 48))
    load_weights(second, first.state_dict(), strict=True)
    images = torch.randn(2, 3, 80, 48)
    assert torch.allclose(first(images), second(images), atol=1e-5)


def as_transformers(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights under the names of transformers' ViTForImageClassification."""
    found = {}
    names = {
        "class_token": "vit.embeddings.cls_token",
        "encoder.pos_embedding": "vit.embeddings.position_embeddings",
        "conv_proj.weight": "vit.embeddings.patch_embeddings.projection.weight",
        "conv_proj.bias": "vit.embeddings.patch_embeddings.projection.bias",
        "encoder.ln.weight": "vit.layernorm.weight",
        "encoder.ln.bias": "vit.layernorm.bias",
        "heads.head.weight": "classifier.weight",
        "heads.head.bias": "classifier.bias",
    }
    inner = {
        "ln_1": "layernorm_before",
        "ln_2": "layernorm_after",
        "mlp.0": "intermediate.dense",
        "mlp.3": "output.dense",
        "self_attention.out_proj": "attention.output.dense",
    }
    for name, value in state.items():
        if name in names:
            found[names[name]] = value
            continue
        layer = re.match(r"encoder\.layers\.encoder_layer_(\d+)\.(.*)$", name)
        assert layer is not None
        place = f"vit.encoder.layer.{layer[1]}"
        if "in_proj" in layer[2]:
            end = layer[2].rpartition("_")[2]
            for kind, part in zip(("query", "key", "value"), value.chunk(3), strict=True):
                found[f"{place}.attention.attention.{kind}.{end}"] = part
        else:
            module, _, end = layer[2].rpartition(".")
            found[f"{place}.{inner[module]}.{end}"] = value
    return found


def test_weights_of_transformers_load() -> None:
    first, second = small(image_size=(32, 32)), small(image_size=(32, 32))
    for parameter in second.parameters():
        torch.nn.init.zeros_(parameter)
    load_weights(second, as_transformers(first.state_dict()), strict=True)
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def test_weights_of_timm_load() -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=64).eval()
    ours = small(image_size=(64, 64))
    load_weights(ours, theirs.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(ours(images), theirs(images), atol=1e-4)


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(RequestError, match="size is one of ti, s, b, l, not 'h'"):
        build("vit_b_16", size="h")
    with pytest.raises(RequestError, match="has no patch of 16 pixels"):
        build("vit_b_16", image_size=(8, 32))
