"""Heat: spread over pixels as torch does it, and laid over pictures."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from torchfolio.evaluation.explain.heat import between, overlay, spread, tiled


@pytest.mark.parametrize("size", [(10, 21), (5, 7), (40, 9)])
def test_cells_that_tile_the_picture_are_interpolated_as_torch_does(size: tuple[int, int]) -> None:
    maps = torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(0))
    found = spread(maps.numpy(), tiled(5, size[0]), tiled(7, size[1]))
    expected = F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
    assert found == pytest.approx(expected.numpy(), abs=1e-6)


def test_places_in_between_are_linear_and_beyond_the_ends_the_last_counts() -> None:
    found = between(3, np.array([-2.0, 0.0, 0.25, 1.5, 2.0, 7.0]))
    expected = [[1, 0, 0], [1, 0, 0], [0.75, 0.25, 0], [0, 0.5, 0.5], [0, 0, 1], [0, 0, 1]]
    assert found.tolist() == expected


def test_an_overlay_keeps_the_picture_where_it_is_cold() -> None:
    picture = np.full((4, 4, 3), 100, np.uint8)
    heat = np.zeros((4, 4))
    heat[0, 0] = 1
    found = overlay(picture, heat)
    assert found.dtype == np.uint8
    assert (found[1:] == 100).all()
    # 75 % of (250, 245, 120), 25 % of 100
    assert found[0, 0].tolist() == [round(0.75 * each + 25) for each in (250, 245, 120)]


def test_an_overlay_takes_grey_pictures() -> None:
    assert overlay(np.zeros((6, 8), np.uint8), np.ones((6, 8))).shape == (6, 8, 3)
    assert overlay(np.zeros((6, 8, 1), np.uint8), np.ones((6, 8))).shape == (6, 8, 3)
    green = np.zeros((2, 2, 3), np.uint8)
    green[..., 1] = 200
    assert (overlay(green, np.zeros((2, 2))) == round(0.587 * 200)).all()
