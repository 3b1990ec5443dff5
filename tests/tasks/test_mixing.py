import numpy as np
import pytest
import torch
from drawn import Scores, pictures, prepared

from torchfolio.tasks.base import Parts
from torchfolio.tasks.mixing import beta_quantiles, draw_mixes, mixed


def test_mixup_blends_and_cutmix_pastes() -> None:
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 4, 4).clone()
    partners = images + 10
    share = torch.tensor([0.75, 1.0, 0.0, 0.875])
    boxes = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 4, 4], [2, 1, 3, 3]])
    found = mixed(images, partners, share, boxes)
    assert found[0].unique().tolist() == [2.5]  # 0.75 * 0 + 0.25 * 10
    assert found[1].unique().tolist() == [1.0]
    assert found[2].unique().tolist() == [12.0]
    assert found[3, 0].tolist() == [
        [3, 3, 3, 3],
        [3, 3, 3, 3],
        [3, 13, 13, 3],
        [3, 3, 3, 3],
    ]


def test_cutmix_remains_by_the_area_of_its_patch() -> None:
    indices, pool = np.arange(4000), np.arange(100, 200)
    partners, share, boxes = draw_mixes(indices, pool, 32, 0.0, 1.0, 0, 0)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert np.allclose(share, 1 - area / 1024, atol=1e-6)
    assert (boxes >= 0).all()
    assert (boxes <= 32).all()
    assert set(partners) == set(pool)
    # Beta(1, 1) is uniform; a patch of share a has side 32 sqrt(a) before it meets the border
    inside = (boxes[:, 0] > 0) & (boxes[:, 2] < 32)
    inside &= (boxes[:, 1] > 0) & (boxes[:, 3] < 32)
    sides = boxes[inside, 2:] - boxes[inside, :2]
    assert np.abs(sides[:, 0] - sides[:, 1]).max() <= 1  # squares, rounded
    assert boxes[:, 3].max() == 32


def test_mixup_shares_follow_their_beta_distribution() -> None:
    from scipy.stats import beta, kstest

    for alpha in (0.2, 1.0):
        _, share, boxes = draw_mixes(np.arange(5000), np.arange(9), 32, alpha, 0.0, 0, 0)
        assert kstest(share, beta(alpha, alpha).cdf).pvalue > 0.001
        assert not boxes.any()
    levels = np.array([0.05, 0.25, 0.5, 0.9])
    assert beta_quantiles(0.4, levels) == pytest.approx(beta(0.4, 0.4).ppf(levels), abs=0.01)


def test_with_both_half_of_the_examples_are_cut() -> None:
    _, share, boxes = draw_mixes(np.arange(4000), np.arange(9), 32, 0.4, 1.0, 0, 0)
    cut = boxes.any(1)
    assert abs(int(cut.sum()) - 2000) < 160  # some patches are rounded to nothing
    whole = boxes[:, 2:] - boxes[:, :2]
    assert np.allclose(share[cut], 1 - (whole[:, 0] * whole[:, 1])[cut] / 1024, atol=1e-6)


def test_the_network_sees_the_mixture() -> None:
    data = pictures(12)
    task = prepared(data, mixup=1.0, normalize="none")
    batch = task.load(data, np.arange(12), 0, 0)
    assert batch.share is not None
    assert batch.partners is not None
    network = Scores(torch.zeros(12, 3))
    next(task.steps(Parts(network=network), batch)).closure()
    assert network.seen is not None
    share = batch.share[4]
    expected = (batch.images[4] * share + batch.partners[4] * (1 - share)) / 255
    assert torch.allclose(network.seen[4], expected, atol=1e-6)
    # the partner is changed as it is changed itself in this epoch
    partner = int(batch.partners[4, 0, 0, 0])
    itself = task.load(data, np.array([partner]), 0, 0)
    assert torch.equal(batch.partners[4], itself.images[0])
