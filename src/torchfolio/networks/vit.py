"""Vision Transformer: an image as a sequence of patches.

Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
ICLR 2021, arXiv 2010.11929. Network: Section 3.1 and Equations 1 to 4; sizes: Table 1. Ti and S:
Touvron et al., 2021, arXiv 2012.12877, Table 1.

Differences: the head is one linear layer, as in the paper's fine-tuning (Section 3.1), and starts
at zero; ``representation`` adds the hidden layer of pre-training. Weights start as torchvision's.
GELU is the exact form; the authors' code has that by tanh (``gelu="tanh"``).
"""

import re
from collections.abc import Mapping
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.errors import RequestError

# Table 1 (Ti and S: DeiT's): width, layers, heads, width of the hidden layers.
SIZES = {
    "ti": (192, 12, 3, 768),
    "s": (384, 12, 6, 1536),
    "b": (768, 12, 12, 3072),
    "l": (1024, 24, 16, 4096),
}
EPSILON = 1e-6  # the authors' code


class Attention(nn.Module):
    """Multi-head self-attention (Appendix A): queries, keys and values of one projection.

    Shape: (batch, tokens, width) -> the same
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        together = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        split = together.reshape(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        queries, keys, values = split.unbind()  # each (batch, heads, tokens, width / heads)
        dropout = self.dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
        return self.out_proj(found.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a hidden layer, each after a layer norm and beside a shortcut (Figure 1)."""

    def __init__(
        self, width: int, heads: int, hidden: int, dropout: float, attention: float, gelu: str
    ) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, EPSILON)
        self.self_attention = Attention(width, heads, attention)
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = nn.LayerNorm(width, EPSILON)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(gelu),
            nn.Dropout(dropout),
            nn.Linear(hidden, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.self_attention(self.ln_1(x)))  # Equation 2
        return x + self.mlp(self.ln_2(x))  # Equation 3


class Encoder(nn.Module):
    """Position embeddings and the layers."""

    def __init__(
        self,
        tokens: int,
        size: tuple[int, int, int, int],
        dropout: float,
        attention: float,
        gelu: str,
    ) -> None:
        super().__init__()
        width, layers, heads, hidden = size
        self.pos_embedding = nn.Parameter(torch.empty(1, tokens, width).normal_(std=0.02))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential()
        for number in range(layers):
            block = Block(width, heads, hidden, dropout, attention, gelu)
            self.layers.add_module(f"encoder_layer_{number}", block)
        self.ln = nn.LayerNorm(width, EPSILON)


class VisionTransformer(nn.Module):
    """Shape: (batch, in_channels, height, width) -> class scores (batch, num_classes).

    ``size`` is "ti", "s", "b" or "l", ``patch`` the side of a patch in pixels, ``image_size``
    (height, width) that of the images; for images of other sizes, and weights of other sizes,
    the position embeddings are interpolated (Section 3.2). Pixels beyond the last whole patch are
    not seen. ``representation`` units of a hidden layer, with tanh, stand before the head, as in
    pre-training (Section 3.1); 0 for none. ``gelu`` is "none", the exact form, or "tanh".
    """

    def __init__(
        self,
        size: str = "b",
        patch: int = 16,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: tuple[int, int] = (224, 224),
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        representation: int = 0,
        gelu: str = "none",
    ) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"size is one of {', '.join(SIZES)}, not {size!r}")
        if not 0 < patch <= min(image_size):
            raise ValueError(f"an image of {image_size} has no patch of {patch} pixels")
        if gelu not in ("none", "tanh"):
            raise ValueError(f"gelu is 'none' or 'tanh', not {gelu!r}")
        width = SIZES[size][0]
        self.patch, self.grid = patch, (image_size[0] // patch, image_size[1] // patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.conv_proj = nn.Conv2d(in_channels, width, patch, stride=patch)
        tokens = 1 + self.grid[0] * self.grid[1]
        self.encoder = Encoder(tokens, SIZES[size], dropout, attention_dropout, gelu)
        if self.grid[0] != self.grid[1]:  # which the number of positions does not tell
            self.encoder.register_buffer("grid", torch.tensor(self.grid))
        self.heads = nn.Sequential()
        if representation:
            self.heads.add_module("pre_logits", nn.Linear(width, representation))
            self.heads.add_module("act", nn.Tanh())
        self.heads.add_module("head", nn.Linear(representation or width, num_classes))
        self.start()

    def start(self) -> None:
        """Draw the initial weights, as torchvision does."""
        fan_in = self.conv_proj.weight[0].numel()
        nn.init.trunc_normal_(self.conv_proj.weight, std=fan_in**-0.5)
        if self.conv_proj.bias is not None:
            nn.init.zeros_(self.conv_proj.bias)
        for name, layer in self.encoder.named_modules():
            if isinstance(layer, nn.Linear) and ".mlp." in name:
                nn.init.xavier_uniform_(layer.weight)
                nn.init.normal_(layer.bias, std=1e-6)
        for name, parameter in self.heads.named_parameters():
            if name == "pre_logits.weight":
                nn.init.trunc_normal_(parameter, std=parameter.shape[1] ** -0.5)
            else:
                nn.init.zeros_(parameter)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.conv_proj(images)  # (batch, width, rows, columns)
        positions = interpolated(self.encoder.pos_embedding, self.grid, tuple(patches.shape[2:]))
        tokens = patches.flatten(2).transpose(1, 2)
        first = self.class_token.expand(images.shape[0], -1, -1)
        x = torch.cat([first, tokens], 1) + positions  # Equation 1
        x = self.encoder.ln(self.encoder.layers(self.encoder.dropout(x)))
        return self.heads(x[:, 0])  # Equation 4

    def adapted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights of timm, transformers or another image size as this network's.

        Positions are read as those of a square of patches unless ``encoder.grid`` beside them says
        (rows, columns). Raises ``RequestError`` for others that are no square.
        """
        found = stacked(weights)
        for pattern, replacement in RENAMES:
            found = {re.sub(pattern, replacement, name): each for name, each in found.items()}
        name, kept = "encoder.pos_embedding", found.pop("encoder.grid", None)
        if name in found and found[name].dim() == 3:
            old = grid_of(found[name].shape[1] - 1, kept)
            found[name] = interpolated(found[name], old, self.grid)
        if self.grid[0] != self.grid[1]:
            found["encoder.grid"] = torch.tensor(self.grid)
        return found


def interpolated(positions: Tensor, old: tuple[int, ...], new: tuple[int, ...]) -> Tensor:
    """Return position embeddings (1, 1 + rows * columns, width) for another grid of patches."""
    if old == new:
        return positions
    first, grid = positions[:, :1], positions[:, 1:]
    grid = grid.reshape(1, *old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=new, mode="bicubic", antialias=True)
    return torch.cat([first, grid.flatten(2).transpose(1, 2)], 1)


def grid_of(patches: int, kept: Tensor | None) -> tuple[int, int]:
    """Return (rows, columns) of so many patches: as they are kept with weights, else a square."""
    sides = [isqrt(patches)] * 2 if kept is None else kept.flatten().tolist()
    if len(sides) == 2 and sides[0] * sides[1] == patches:
        return int(sides[0]), int(sides[1])
    found = "which is no square" if kept is None else f"and their encoder.grid is {sides}"
    raise RequestError(
        f"The weights have positions of {patches} patches, {found}: how they lie is not known. "
        "Give weights of square images, or add encoder.grid to the file, a tensor (rows, columns)."
    )


def stacked(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return transformers' weights with queries, keys and values in one tensor."""
    found = dict(weights)
    for first, *others in PROJECTIONS:
        for name in weights:
            names = [name, *(name.replace(f".{first}.", f".{other}.") for other in others)]
            if f".attention.{first}." in name and all(each in weights for each in names):
                parts = [found.pop(each) for each in names]
                found[name.replace(f".{first}.", ".qkv.")] = torch.cat(parts)
    return found


# What transformers calls queries, keys and values: in its files, and in its modules.
PROJECTIONS = [("query", "key", "value"), ("q_proj", "k_proj", "v_proj")]
# The names of timm's modules and values, of transformers' after ``stacked``, and of torchvision's
# published files, which are older than its modules, as ours (which are those of its modules).
RENAMES = [
    (r"^vit\.", ""),
    (r"^(cls_token|embeddings\.cls_token)$", "class_token"),
    (r"^(pos_embed|embeddings\.position_embeddings)$", "encoder.pos_embedding"),
    (r"^(patch_embed\.proj|embeddings\.patch_embeddings\.projection)(?=\.|$)", "conv_proj"),
    (r"^(blocks|layers|encoder\.layer)\.(\d+)(?=\.|$)", r"encoder.layers.encoder_layer_\2"),
    (r"\.(norm1|layernorm_before)(?=\.|$)", ".ln_1"),
    (r"\.(norm2|layernorm_after)(?=\.|$)", ".ln_2"),
    (r"\.(attn|attention\.attention|attention)\.qkv\.", ".self_attention.in_proj_"),
    (r"\.(attn\.proj|attention\.(output\.dense|o_proj))(?=\.|$)", ".self_attention.out_proj"),
    (r"\.(attn|attention)$", ".self_attention"),
    (r"\.(mlp\.fc1|intermediate\.dense)(?=\.|$)", ".mlp.0"),
    (r"\.(mlp\.fc2|output\.dense)(?=\.|$)", ".mlp.3"),
    (r"\.mlp\.linear_1(?=\.|$)", ".mlp.0"),
    (r"\.mlp\.linear_2(?=\.|$)", ".mlp.3"),
    (r"^(norm|layernorm)(?=\.|$)", "encoder.ln"),
    (r"^(head|classifier)(?=\.|$)", "heads.head"),
]
