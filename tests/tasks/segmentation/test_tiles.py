import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio import create
from torchfolio.tasks.segmentation import tiling
from torchfolio.tasks.segmentation.asking import how_tiled
from torchfolio.tasks.segmentation.tiles import resampled, scores
from torchfolio.tasks.segmentation.tiling import CORE, mirrored, tiles


class Far(nn.Module):
    """Looks 100 pixels far, through maps of a sixteenth of the size."""

    step = 16

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 2, 9, padding=4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(F.avg_pool2d(images, 16))
        return F.interpolate(maps, scale_factor=16, mode="nearest")[
            ..., : images.shape[-2], : images.shape[-1]
        ]


@pytest.mark.parametrize(("height", "width"), [(40, 60), (1600, 832), (CORE * 2 + 16, CORE * 3)])
def test_tiles_answer_for_every_pixel_once(height: int, width: int) -> None:
    times = np.zeros((height, width), int)
    for tile in tiles(height, width, 128, 16):
        top, bottom, left, right = tile.core
        times[top:bottom, left:right] += 1
        assert tile.seen[0] <= top
        assert tile.seen[1] >= bottom
        assert tile.seen[0] % 16 == tile.seen[2] % 16 == 0
    assert (times == 1).all()


def test_a_picture_in_tiles_has_the_scores_of_the_whole() -> None:
    network = Far()
    images = torch.randn(1, 1, 1296, 1600, generator=torch.Generator().manual_seed(1))
    whole = network(images)
    number = 0
    for tile in tiles(1296, 1600, 128, 16):
        top, bottom, left, right = tile.core
        found = scores(network, images, tile)
        torch.testing.assert_close(found, whole[..., top:bottom, left:right])
        number += 1
    assert number == 12


@torch.inference_mode()
def off(network: Any, images: Tensor, margin: int) -> tuple[float, float]:
    """How far scores of tiles are from those of the whole, in deviations of the latter.

    The farthest, and the root mean square.
    """
    whole = network(images)
    found = list(tiles(*images.shape[-2:], margin, how_tiled(network)[0]))
    assert len(found) > 2
    joined = torch.empty_like(whole)
    for tile in found:
        top, bottom, left, right = tile.core
        joined[..., top:bottom, left:right] = scores(network, images, tile)
    differences = (joined - whole) / whole.std()
    return float(differences.abs().max()), float(differences.square().mean().sqrt())


@pytest.mark.parametrize(("name", "depth"), [("unet_bn", 1), ("unet_bn", 2), ("unet_bn", 3),
                                             ("unet", 2)])  # fmt: skip
def test_no_seam_shows_between_the_tiles_of_a_network_of_the_catalogue(
    name: str, depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where sides are no multiple of the step; tiles that see less have seams."""
    monkeypatch.setattr(tiling, "CORE", 32)
    torch.manual_seed(0)
    network: Any = create(name, num_classes=3, depth=depth, width=4).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
    images = torch.randn(1, network.down[0][0].in_channels, 150, 173)
    assert off(network, images, network.reach)[0] < 1e-4
    assert off(network, images, network.reach - 2 * network.step)[0] > 1e-3


@pytest.mark.parametrize("name", ["unet_vgg16", "fcn_resnet50"])
def test_no_seam_shows_between_the_tiles_of_a_large_network(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A strip of four tiles; FCN enlarges to the picture's size, here a multiple of 8."""
    monkeypatch.setattr(tiling, "CORE", 256)
    torch.manual_seed(0)
    network: Any = create(name, num_classes=2).eval()
    images = torch.randn(1, 3, 32, 832)
    assert off(network, images, network.reach)[0] < 1e-4
    assert off(network, images, 64)[0] > 1e-3


def test_tiles_of_a_form_with_aligned_corners_differ_from_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of maps of n places it reads x (n - 1) / (2 n - 1) for place x: which n it is shows.

    As far as the guide says: by a tenth of their deviation, at single pixels by more than one.
    """
    monkeypatch.setattr(tiling, "CORE", 32)
    torch.manual_seed(0)
    network: Any = create("unet_bn_bilinear", num_classes=3, depth=2, width=4).eval()
    worst, usual = off(network, torch.randn(1, 3, 150, 173), network.reach)
    assert 0.05 < usual < 0.15
    assert 1 < worst < 2


def test_a_network_that_loses_a_border_sees_mirrored_pixels_and_answers_for_all() -> None:
    torch.manual_seed(0)
    network = create("unet_2015", depth=2, width=4).eval()
    images = torch.randn(1, 1, 70, 45)
    (tile,) = tiles(70, 45, 0, network.step)
    with torch.inference_mode():
        found = scores(network, images, tile)
        assert found.shape == (1, 2, 70, 45)
        lost = network.margin
        sides = [network.input_side(side + 2 * lost) for side in (70, 45)]
        around = F.pad(
            images, (lost, sides[1] - 45 - lost, lost, sides[0] - 70 - lost), mode="reflect"
        )
        torch.testing.assert_close(found, network(around)[..., :70, :45])


def test_places_beyond_a_side_are_mirrored() -> None:
    assert mirrored(-2, 8, 4).tolist() == [2, 1, 0, 1, 2, 3, 2, 1]
    assert mirrored(-3, 10, 4).tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    assert mirrored(-1, 3, 1).tolist() == [0, 0, 0]


@pytest.mark.parametrize("whole", [(50, 90), (13, 20), (31, 40)])
def test_scores_at_another_size_are_those_of_bilinear_interpolation(whole: tuple[int, int]) -> None:
    maps = torch.randn(1, 3, 25, 40, generator=torch.Generator().manual_seed(0))
    wanted = F.interpolate(maps, size=whole, mode="bilinear", align_corners=False)
    box = (whole[0] // 3, whole[0], 0, whole[1] // 2)
    found = resampled(maps, (0, 0), (25, 40), whole, box)
    torch.testing.assert_close(found, wanted[..., box[0] : box[1], box[2] : box[3]])
    part = maps[..., 5:, :30]
    found = resampled(part, (5, 0), (25, 40), whole, box)
    torch.testing.assert_close(found, wanted[..., box[0] : box[1], box[2] : box[3]])


PEAK = """
import resource, sys
import torch
from torchfolio import create
from torchfolio.tasks.segmentation.asking import ask

height, width = map(int, sys.argv[1:])
network = create("unet", width=16).eval()
state = {"mean": torch.zeros(1, 1, 1), "std": torch.ones(1, 1, 1)}
picture = torch.zeros(1, height, width, dtype=torch.uint8)
with torch.inference_mode():
    said = ask(state, network, picture, (height, width))
assert said.classes.shape == (height, width)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_a_large_picture_takes_little_more_memory_than_a_tile() -> None:
    """At 3000 x 2000 one map of the first block alone would be 366 MiB, of ten or so at once."""
    peaks = []
    for size in (("700", "700"), ("2000", "3000")):
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *size], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 900  # MiB: the picture in float32, its answer, tiles of 9 shapes
