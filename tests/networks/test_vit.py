"""Vision Transformer: positions of other sizes, weights of timm's and transformers'."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from torchvision.models import VisionTransformer

from torchfolio.errors import RequestError
from torchfolio.networks.build import build
from torchfolio.networks.vit import interpolated
from torchfolio.networks.weights import load_weights, read_weights


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


@pytest.mark.parametrize("old", [(32, 128), (128, 32), (64, 64), (96, 32), (16, 192)])
@pytest.mark.parametrize("new", [(32, 128), (64, 64), (32, 96)])
def test_positions_lie_as_in_the_images_that_they_were_learnt_on(
    old: tuple[int, int], new: tuple[int, int], tmp_path: Path
) -> None:
    """16 patches, or 12, in rows of another length are other places."""
    first = small(image_size=old)
    save_file(first.state_dict(), tmp_path / "w.safetensors")
    second = small(image_size=new)
    load_weights(second, read_weights(tmp_path / "w.safetensors"), strict=True)
    grids = [(height // 16, width // 16) for height, width in (old, new)]
    expected = interpolated(first.encoder.pos_embedding, *grids)
    assert torch.equal(second.encoder.pos_embedding, expected)
    images = torch.randn(1, 3, *new)
    with torch.no_grad():
        assert torch.allclose(second(images), first(images), atol=1e-5)


def test_square_images_leave_no_trace_in_the_weights() -> None:
    assert "encoder.grid" not in small(image_size=(64, 64)).state_dict()
    assert small(image_size=(32, 96)).state_dict()["encoder.grid"].tolist() == [2, 6]


def test_positions_whose_places_are_unknown_are_refused() -> None:
    weights = small(image_size=(32, 96)).state_dict()
    weights["encoder.grid"] = torch.tensor([3, 5])
    network = small(image_size=(64, 64))
    before = network.encoder.pos_embedding.clone()
    with pytest.raises(RequestError, match=r"of 12 patches, and their encoder.grid is \[3, 5\]"):
        load_weights(network, weights)
    del weights["encoder.grid"]
    with pytest.raises(RequestError, match="of 12 patches, which is no square: how they lie is"):
        load_weights(network, weights)
    assert torch.equal(network.encoder.pos_embedding, before)


def of_transformers(side: int) -> torch.nn.Module:
    """transformers' network of the size Ti, with the epsilon of the authors' code."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=192, num_attention_heads=3, intermediate_size=768, image_size=side,
        num_labels=3, layer_norm_eps=1e-6,
    )  # fmt: skip
    return transformers.ViTForImageClassification(config).eval()


@torch.no_grad()
@pytest.mark.parametrize("kind", ["of the module", "of the file"])
def test_weights_of_transformers_load(kind: str, tmp_path: Path) -> None:
    theirs, file = of_transformers(64), tmp_path / "model.safetensors"
    if kind == "of the module":
        save_file(theirs.state_dict(), file)
        name = "vit.layers.0.attention.q_proj.weight"
    else:
        theirs.save_pretrained(tmp_path)
        name = "vit.encoder.layer.0.attention.attention.query.weight"
    weights = read_weights(file)
    assert name in weights
    ours = small(image_size=(64, 64))
    load_weights(ours, weights, strict=True)
    images = torch.randn(2, 3, 64, 64)
    assert torch.allclose(ours(images), theirs(images).logits, atol=1e-5)


@torch.no_grad()
def test_weights_of_transformers_without_a_head_load_at_another_size(tmp_path: Path) -> None:
    theirs = of_transformers(64)
    save_file(theirs.vit.state_dict(), tmp_path / "model.safetensors")
    ours = small(image_size=(32, 48))
    report = load_weights(ours, read_weights(tmp_path / "model.safetensors"))
    assert report.new == ["heads.head.weight", "heads.head.bias"]
    assert report.ignored == []
    images = torch.randn(1, 3, 64, 64)
    whole = small(image_size=(64, 64))
    load_weights(whole, theirs.vit.state_dict())
    tokens: list[torch.Tensor] = []
    whole.encoder.ln.register_forward_hook(lambda *each: tokens.append(each[2]))
    whole(images)
    assert torch.allclose(tokens[0], theirs.vit(images).last_hidden_state, atol=1e-5)


def test_queries_without_keys_are_told(tmp_path: Path) -> None:
    weights = of_transformers(32).state_dict()
    del weights["vit.layers.3.attention.k_proj.bias"]
    report = load_weights(small(image_size=(32, 32)), weights)
    assert report.new == ["encoder.layers.encoder_layer_3.self_attention.in_proj_bias"]
    assert len(report.ignored) == 2


def test_weights_of_timm_load() -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=64).eval()
    ours = small(image_size=(64, 64))
    load_weights(ours, theirs.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(ours(images), theirs(images), atol=1e-4)


@torch.no_grad()
def test_published_files_of_torchvision_with_their_older_spelling_load() -> None:
    ours = small(image_size=(64, 64))
    old = {
        name.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2."): value
        for name, value in ours.state_dict().items()
    }
    assert "encoder.layers.encoder_layer_11.mlp.linear_2.bias" in old
    other = build("vit_ti_16", num_classes=3, image_size=(64, 64)).eval()
    assert load_weights(other, old, strict=True).ignored == []
    theirs = VisionTransformer(64, 16, 12, 3, 192, 768, num_classes=3).eval()
    theirs.load_state_dict(dict(old))  # it takes that spelling, too
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(other(images), ours(images))
    assert torch.allclose(other(images), theirs(images), atol=1e-5)


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(RequestError, match="size is one of ti, s, b, l, not 'h'"):
        build("vit_b_16", size="h")
    with pytest.raises(RequestError, match="has no patch of 16 pixels"):
        build("vit_b_16", image_size=(8, 32))
    with pytest.raises(RequestError, match="has no patch of 0 pixels"):
        build("vit_b_16", patch=0)


@torch.no_grad()
def test_the_hidden_layer_of_pre_training_is_torchvisions() -> None:
    theirs = VisionTransformer(32, 16, 12, 3, 192, 768, num_classes=3, representation_size=48)
    torch.nn.init.normal_(theirs.heads.head.weight)
    ours = build("vit_ti_16", num_classes=3, image_size=(32, 32), representation=48)
    first = ours.heads.pre_logits.weight
    assert first.std().item() == pytest.approx(192**-0.5, rel=0.05)  # torchvision's start
    assert not ours.heads.head.weight.any()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.allclose(ours.eval()(images), theirs.eval()(images), atol=1e-5)


@torch.no_grad()
def test_gelu_is_exact_or_by_tanh_as_in_the_authors_code() -> None:
    values = torch.linspace(-4, 4, 33)
    exact = values * (1 + torch.erf(values / 2**0.5)) / 2
    by_tanh = values * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (values + 0.044715 * values**3))) / 2
    for gelu, expected in (("none", exact), ("tanh", by_tanh)):
        layer = small(gelu=gelu).encoder.layers[3].mlp[1]
        assert torch.allclose(layer(values), expected, atol=1e-6)
    with pytest.raises(RequestError, match="gelu is 'none' or 'tanh', not 'relu'"):
        build("vit_ti_16", gelu="relu")
