"""Attention rollout against torch's own attention, a case by hand, and whole networks."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torchfolio.errors import FolioError
from torchfolio.evaluation.explain.rollout import (
    attention_layers,
    attention_rollout,
    attention_weights,
    patch_shares,
    rollout,
)
from torchfolio.networks.build import build
from torchfolio.networks.vit import Attention


def vit(image_size: tuple[int, int], patch: int = 8) -> nn.Module:
    torch.manual_seed(0)
    network = build("vit_ti_16", image_size=image_size, patch=patch, num_classes=3)
    for layer in attention_layers(network):  # so that attention is far from even
        nn.init.normal_(layer.in_proj_weight, std=0.2)
        nn.init.normal_(layer.in_proj_bias, std=0.2)
    return network.eval()


def theirs(layer: Attention) -> nn.MultiheadAttention:
    """Torch's own attention with the weights of a layer."""
    width = layer.out_proj.in_features
    found = nn.MultiheadAttention(width, layer.heads, batch_first=True).eval()
    found.load_state_dict(layer.state_dict())  # whose names are the same
    return found


@torch.no_grad()
def test_weights_times_values_are_what_the_layer_gives() -> None:
    layer = attention_layers(vit((32, 32)))[0]
    x = torch.randn(2, 5, 192)
    weights = attention_weights(layer, x)
    assert weights.shape == (2, 3, 5, 5)
    values = x @ layer.in_proj_weight[384:].T + layer.in_proj_bias[384:]
    values = values.unflatten(2, (3, 64)).transpose(1, 2)  # (2, 3, 5, 64)
    found = layer.out_proj((weights @ values).transpose(1, 2).flatten(2))
    assert torch.allclose(found, layer(x), atol=1e-5)


@torch.no_grad()
def test_weights_are_those_of_torchs_attention() -> None:
    layer = attention_layers(vit((32, 32)))[0]
    x = torch.randn(2, 5, 192)
    expected = theirs(layer)(x, x, x, average_attn_weights=False)[1]
    assert torch.allclose(attention_weights(layer, x), expected, atol=1e-6)


def test_two_layers_by_hand() -> None:
    first = torch.tensor([[[0.0, 1.0], [0.5, 0.5]]])
    second = torch.tensor([[[0.2, 0.8], [1.0, 0.0]]])
    # half of each token passes by: [[.5, .5], [.25, .75]], then [[.6, .4], [.5, .5]]
    # product: [[.6 * .5 + .4 * .25, .6 * .5 + .4 * .75], [.5 * .5 + .5 * .25, ...]]
    expected = torch.tensor([[[0.4, 0.6], [0.375, 0.625]]])
    assert torch.allclose(rollout([first, second]), expected)


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (40, 16), (37, 30)])
def test_a_whole_network_by_torchs_attention(size: tuple[int, int]) -> None:
    network = vit(size)
    images = torch.randn(3, 3, *size)
    x = network.conv_proj(images).flatten(2).transpose(1, 2)
    x = torch.cat([network.class_token.expand(3, -1, -1), x], 1) + network.encoder.pos_embedding
    total = np.broadcast_to(np.eye(x.shape[1]), (3, x.shape[1], x.shape[1]))
    for block in network.encoder.layers:
        inside = block.ln_1(x)
        weights = theirs(block.self_attention)(inside, inside, inside)[1].double().numpy()
        total = (weights + np.eye(x.shape[1])) / 2 @ total
        x = block(x)
    expected = total[:, 0, 1:]
    shares, patches = patch_shares(network, images)
    assert (patches.rows, patches.columns) == (size[0] // 8, size[1] // 8)
    assert shares.reshape(3, -1) == pytest.approx(
        expected / expected.mean(1, keepdims=True), rel=1e-4
    )
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in network.modules()
    )


def test_the_heat_is_as_large_as_the_picture_and_says_the_shares() -> None:
    network = vit((37, 30))
    images = torch.randn(20, 3, 37, 30)
    shares, _ = patch_shares(network, images)
    found = attention_rollout(network, images)
    assert len(found) == 20
    for heat, each in zip(found, shares, strict=True):
        assert heat.values.shape == (37, 30)
        assert (heat.values[32:] == 0).all()  # no patch reads the last five rows
        assert (heat.values[:, 24:] == 0).all()
        assert 0.85 < heat.values.max() <= 1  # the middle of a patch lies between two pixels
        assert heat.low == f"{each.min():.2f}"
        assert heat.high == f"{each.max():.2f} even shares"
        top = np.unravel_index(each.argmax(), each.shape)
        centre = heat.values[8 * top[0] + 3 : 8 * top[0] + 5, 8 * top[1] + 3 : 8 * top[1] + 5]
        assert centre.mean() > 0.85


class BrightReader(nn.Module):
    """One layer whose class token reads patches by how bright they are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_proj = nn.Conv2d(1, 2, 4, stride=4)
        self.attention = Attention(2, heads=1, dropout=0)
        nn.init.zeros_(self.conv_proj.weight)
        nn.init.zeros_(self.conv_proj.bias)
        self.conv_proj.weight.data[1] = 1 / 16  # a patch's token: (0, its mean)
        nn.init.zeros_(self.attention.in_proj_weight)
        self.attention.in_proj_weight.data[1, 0] = 8  # the class token (1, 0) asks (0, 8)
        self.attention.in_proj_weight.data[2:4] = torch.eye(2)  # keys are the tokens

    def forward(self, images: Tensor) -> Tensor:
        patches = self.conv_proj(images).flatten(2).transpose(1, 2)
        first = torch.tensor([1.0, 0.0]).expand(len(images), 1, 2)
        return self.attention(torch.cat([first, patches], 1))[:, 0]


def test_a_network_that_reads_one_corner_is_said_to_read_there() -> None:
    images = torch.zeros(1, 1, 16, 16)
    images[..., 12:, :4] = 1  # the lower left patch
    network = BrightReader()
    shares, _ = patch_shares(network, images)
    # softmax of 8 / sqrt(2) against 0 for fifteen patches: exp(5.657) times as much
    assert shares[0, 3, 0] / shares[0, 0, 3] == pytest.approx(np.exp(8 / 2**0.5), rel=1e-4)
    [found] = attention_rollout(network, images)
    assert found.values[14, 1] == pytest.approx(1)
    assert found.values[11:, :5].sum() > 0.6 * found.values.sum()


def test_tokens_that_are_not_those_of_patches_are_refused() -> None:
    class Twice(BrightReader):
        def forward(self, images: Tensor) -> Tensor:
            patches = self.conv_proj(images).flatten(2).transpose(1, 2)
            return self.attention(torch.cat([patches, patches], 1))[:, 0]

    with pytest.raises(FolioError, match="reads 32 tokens, which are not one and those of"):
        attention_rollout(Twice(), torch.zeros(1, 1, 16, 16))


def test_networks_without_attention_have_no_such_layers() -> None:
    assert attention_layers(build("resnet20")) == []
    assert len(attention_layers(vit((16, 16)))) == 12
