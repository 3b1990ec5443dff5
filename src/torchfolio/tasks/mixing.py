"""Mixup and CutMix: which pictures are mixed, in what shares, and where the patches lie."""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchfolio.data.dataset import Indices
from torchfolio.data.draws import uniforms


def draw_mixes(
    indices: Indices, pool: Indices, size: int, mixup: float, cutmix: float, seed: int, epoch: int
) -> tuple[Indices, NDArray[np.float32], Indices]:
    """Draw a partner from ``pool``, a share and a patch for each example.

    Mixup: Zhang et al., 2018, Section 2; CutMix: Yun et al., 2019, Section 3.2; ``mixup`` and
    ``cutmix`` are the alpha of their Beta distributions, and with both each is drawn for half of
    the examples. Returns the partners (batch,), what remains of the first picture (batch,), and
    the patches (batch, 4: top, left, bottom, right), empty where mixup was drawn.
    """
    numbers = uniforms("mix", seed, epoch, indices, 5)
    partners = pool[(numbers[:, 0] * len(pool)).astype(np.int64)]
    cut = np.full(len(indices), bool(cutmix))
    if mixup and cutmix:
        cut = numbers[:, 1] < 0.5
    quantiles = [beta_quantiles(alpha, numbers[:, 2]) for alpha in (cutmix, mixup)]
    share = np.where(cut, *quantiles)
    half = size * np.sqrt(1 - share) / 2  # a patch of area 1 - share, clipped at the border
    middle_y, middle_x = numbers[:, 3] * size, numbers[:, 4] * size
    edges = [middle_y - half, middle_x - half, middle_y + half, middle_x + half]
    boxes = np.clip(np.round(np.stack(edges, 1)), 0, size).astype(np.int64)
    boxes[~cut] = 0
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    share = np.where(cut, 1 - area / size**2, share)
    return partners, share.astype(np.float32), boxes


def mixed(images: Tensor, partners: Tensor, share: Tensor, boxes: Tensor) -> Tensor:
    """Blend each image with its partner, or paste the partner's patch.

    ``share`` (batch,) and ``boxes`` (batch, 4) are those of :func:`draw_mixes`.
    """
    part = share[:, None, None, None]
    blended = images * part + partners * (1 - part)
    top, left, bottom, right = boxes.T[:, :, None, None]
    rows = torch.arange(images.shape[2], device=images.device)[None, :, None]
    columns = torch.arange(images.shape[3], device=images.device)[None, None, :]
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    cut = (boxes[:, 2] > 0)[:, None, None, None]  # else mixup, or a patch without area
    return torch.where(cut, torch.where(inside[:, None], partners, images), blended)


def beta_quantiles(alpha: float, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Beta(alpha, alpha) at the given levels, from 65,536 sorted draws."""
    if alpha == 0:
        return np.ones(len(numbers))
    table = beta_table(alpha)
    return table[(numbers * len(table)).astype(np.int64)]


@cache
def beta_table(alpha: float) -> NDArray[np.float64]:
    """Return 65,536 sorted draws from Beta(alpha, alpha): its quantiles, to two digits."""
    return np.sort(np.random.default_rng(0).beta(alpha, alpha, 65_536))
