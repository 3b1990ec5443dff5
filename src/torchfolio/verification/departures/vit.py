"""The departures of the Vision Transformer."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.verification.departures.base import (
    Departure,
    Plant,
    attributes,
    change_forward,
    change_input,
    initial,
    replace,
)

NAME = "vit_ti_16"
BLOCK = "encoder.layers.encoder_layer_0"


def attention(order: str, scale: float) -> Plant:
    """Return a plant with another order of queries, keys and heads, or another scale."""

    def forward(module: nn.Module, x: Tensor) -> Tensor:
        weight = module.get_parameter("in_proj_weight")
        y = F.linear(x, weight, module.get_parameter("in_proj_bias"))
        heads: Any = module.heads
        if order == "kinds":
            q, k, v = y.reshape(*x.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = y.reshape(*x.shape[:2], heads, 3, -1).permute(3, 0, 2, 1, 4)
        shares = (scale * q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1)
        return module.get_submodule("out_proj")((shares @ v).transpose(1, 2).flatten(2))

    return lambda network, layer: change_forward(
        network.get_submodule(f"{layer.rpartition('.')[0]}.self_attention"), forward
    )


def after(network: nn.Module, layer: str) -> None:
    """Normalise after each sum, as in the first Transformer."""

    def forward(block: nn.Module, x: Tensor) -> Tensor:
        x = block.get_submodule("ln_1")(x + block.get_submodule("self_attention")(x))
        return block.get_submodule("ln_2")(x + block.get_submodule("mlp")(x))

    change_forward(network.get_submodule(layer.rpartition(".")[0]), forward)


def mean_of_tokens(network: nn.Module, layer: str) -> None:
    """Let the head read the mean of all tokens: given the class token, it cannot; so all are it."""
    change_input(
        network.get_submodule("encoder.ln"),
        lambda x: torch.cat([x.mean(1, keepdim=True), x[:, 1:]], 1),
    )


TRANSFORMER = [
    Departure("vit-epsilon", "torch's epsilon of 0.00001", {NAME: f"{BLOCK}.ln_1"},
              attributes(nn.LayerNorm, eps=1e-5)),
    Departure("vit-gelu", "GELU by tanh, as in the authors' code", {NAME: f"{BLOCK}.mlp.1"},
              lambda network, layer: replace(network, layer, nn.GELU("tanh"))),
    Departure("vit-heads", "queries, keys and values head by head", {NAME: f"{BLOCK}.dropout"},
              attention("heads", 1.0)),
    Departure("vit-scale", "attention that is not scaled", {NAME: f"{BLOCK}.dropout"},
              attention("kinds", 8.0)),
    Departure("vit-after", "layer norms after the sums", {NAME: f"{BLOCK}.ln_1"}, after),
    Departure("vit-mean", "the mean of the tokens for the class token", {NAME: "encoder.ln"},
              mean_of_tokens),
    Departure("vit-start", "a head that does not start at zero", {NAME: "heads.head"},
              initial(lambda weight: nn.init.trunc_normal_(weight, std=0.02)
                      if weight.shape[0] == 1000 else None, nn.Linear)),
]  # fmt: skip
