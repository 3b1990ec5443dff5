from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.data.dataset import Dataset
from torchfolio.data.feed import Feed
from torchfolio.data.records import ImageArray, size_facts
from torchfolio.errors import RequestError
from torchfolio.networks.catalogue import find_card
from torchfolio.tasks.base import Parts, in_batches
from torchfolio.tasks.image_classification import ImageClassification, ImageOptions
from torchfolio.tasks.image_preparation import choose_size
from torchfolio.tasks.mixing import beta_quantiles, draw_mixes, mixed
from torchfolio.tasks.registry import find_task, task_for

CLASSES = ("cat", "dog", "owl")


def pictures(
    count: int = 60, side: int = 32, channels: int = 3, labels: Any = None, depth: int = 8
) -> Dataset:
    """Random pictures; the first pixel of number ``i`` is ``i``."""
    generator = np.random.default_rng(0)
    array = generator.integers(0, 256, (count, side, side, channels)).astype(np.uint8)
    array[:, 0, 0] = np.arange(count)[:, None]
    chosen = np.arange(count) % 3 if labels is None else np.asarray(labels)
    return Dataset(
        "image-classification",
        "random",
        "random",
        "random",
        ImageArray(array if depth == 8 else array.astype(np.float32) / 255, [("a", count)]),
        {"train": np.arange(count)},
        "random",
        CLASSES,
        chosen.astype(np.int64),
        facts=size_facts(np.full((count, 2), side), channels, depth),
    )


def prepared(data: Dataset, network: str = "resnet20", **options: Any) -> ImageClassification:
    task = ImageClassification(ImageOptions(**options))
    task.prepare(find_card(network), data, np.arange(len(data)))
    task.batches(data, np.arange(len(data)), 8, 0, 0)  # the pool of partners
    return task


class Scores(nn.Module):
    """Answers with scores that were given to it."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = scores
        self.seen: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        return self.scores


# What is random about an example

AUGMENTATIONS = [
    {"augment": "shift"},
    {"augment": "crop-flip"},
    {"augment": "photo"},
    {"augment": "randaugment"},
    {"augment": "randaugment", "image_size": 72},
    {"augment": "crop-flip", "mixup": 0.4, "cutmix": 1.0},
    {"augment": "standard", "colour": 0.4},
]


def rows(task: ImageClassification, data: Dataset, parts: list[Any], epoch: int, seed: int) -> Any:
    """Every example's tensors, by its number, when it is loaded in these batches."""
    found: dict[int, list[Tensor]] = {}
    for part in parts:
        batch = task.load(data, np.asarray(part), epoch, seed)
        tensors = [value for value in vars(batch).values() if value is not None]
        for place, index in enumerate(part):
            found[int(index)] = [tensor[place] for tensor in tensors]
    return found


def equal(first: Any, second: Any) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(one, other)
        for key in first
        for one, other in zip(first[key], second[key], strict=True)
    )


@pytest.mark.parametrize("options", AUGMENTATIONS, ids=str)
def test_an_example_is_changed_alike_in_any_batch_and_order(options: dict[str, Any]) -> None:
    data = pictures(24)
    task = prepared(data, **options)
    whole = rows(task, data, [np.arange(24)], 1, 5)
    backwards = rows(task, data, in_batches(np.arange(24)[::-1].copy(), 7), 1, 5)
    assert equal(whole, backwards)
    alone = rows(prepared(data, **options), data, [[index] for index in range(24)], 1, 5)
    assert equal(whole, alone)


@pytest.mark.parametrize("options", AUGMENTATIONS, ids=str)
def test_an_example_is_changed_alike_by_any_number_of_threads(options: dict[str, Any]) -> None:
    data = pictures(24)
    parts = in_batches(np.random.default_rng(1).permutation(24), 4)
    found = []
    for workers in (0, 1, 3):
        task = prepared(data, **options)
        feed = Feed(lambda part, task=task: task.load(data, part, 2, 0), parts, workers)
        found.append([list(vars(batch).values()) for batch in feed])
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            for first, second in zip(one, other, strict=True):
                assert (first is None and second is None) or torch.equal(first, second)


@pytest.mark.parametrize("options", AUGMENTATIONS, ids=str)
def test_an_example_is_changed_otherwise_in_another_epoch_and_by_another_seed(
    options: dict[str, Any],
) -> None:
    data = pictures(24)
    task = prepared(data, **options)
    images = [
        task.load(data, np.arange(24), epoch, seed).images
        for epoch, seed in ((0, 0), (1, 0), (0, 1))
    ]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        differing = (images[first] != images[second]).flatten(1).any(1).sum()
        assert differing > 12


def test_nothing_is_random_where_the_epoch_is_none() -> None:
    data = pictures(12)
    task = prepared(data, augment="crop-flip", mixup=0.4)
    batch = task.load(data, np.arange(12), None, 0)
    assert torch.equal(batch.images, task.fitted(data, np.arange(12)))
    assert batch.partners is None


def test_each_epoch_has_every_example_once_in_its_own_order() -> None:
    data = pictures(60)
    task = prepared(data)
    split = np.arange(5, 60)
    orders = [np.concatenate(task.batches(data, split, 8, 0, epoch)) for epoch in (0, 1)]
    assert all(np.array_equal(np.sort(order), split) for order in orders)
    assert not np.array_equal(*orders)
    assert not np.array_equal(orders[0], np.concatenate(task.batches(data, split, 8, 1, 0)))
    # the order is drawn for each example: without some, the others keep theirs
    fewer = np.concatenate(task.batches(data, split[10:], 8, 0, 0))
    assert np.array_equal(fewer, orders[0][orders[0] >= 15])


def test_the_balanced_sampler_draws_every_class_equally_often() -> None:
    labels = np.repeat([0, 1, 2], [1000, 100, 10])
    data = pictures(len(labels), side=8, labels=labels)
    task = prepared(data, sampler="balanced", network="lenet5")
    drawn = np.concatenate(
        [np.concatenate(task.batches(data, np.arange(1110), 64, 0, epoch)) for epoch in range(6)]
    )
    counts = np.bincount(labels[drawn])
    assert len(drawn) == 6 * 1110
    # 2220 each; the standard deviation is sqrt(6660 * 1/3 * 2/3) = 38.5
    assert np.abs(counts - 2220).max() < 4 * 38.5
    within = np.bincount(drawn, minlength=1110)[1100:]
    assert np.abs(within - 222).max() < 5 * np.sqrt(222)


# The loss


def scores_and_labels(count: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(count, 3, generator=generator) * 2, torch.arange(count) % 3


def log_probabilities(scores: Tensor) -> Any:
    values = scores.double().numpy()
    return values - np.log(np.exp(values).sum(1, keepdims=True))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighing", ["none", "balanced"])
def test_cross_entropy_with_smoothing_and_class_weights(smoothing: float, weighing: str) -> None:
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    data = pictures(60, labels=labels)
    task = prepared(data, label_smoothing=smoothing, class_weights=weighing)
    scores, targets = scores_and_labels()
    found = task.criterion(Parts(network=nn.Identity()), scores, targets)
    # Szegedy et al., 2016, Section 7: (1 - e) of the target's class and e spread over all
    spread = (1 - smoothing) * np.eye(3)[targets.numpy()] + smoothing / 3
    weight = np.ones(3)
    if weighing == "balanced":
        weight = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    expected = -(spread * weight * log_probabilities(scores)).sum(1).mean()
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_class_without_training_pictures_does_not_disturb_the_weights() -> None:
    data = pictures(60, labels=np.repeat([0, 1], [40, 20]))
    task = prepared(data, class_weights="balanced")
    found = task.criterion(Parts(network=nn.Identity()), *scores_and_labels())
    assert torch.isfinite(found)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_mixed_pictures_has_both_classes_in_their_shares(smoothing: float) -> None:
    data = pictures(12)
    task = prepared(data, mixup=0.4, cutmix=1.0, label_smoothing=smoothing, normalize="none")
    batch = task.load(data, np.arange(12), 0, 0)
    assert batch.share is not None
    assert batch.partner_labels is not None
    scores, _ = scores_and_labels()
    network = Scores(scores)
    step = next(task.steps(Parts(network=network), batch))
    logs = log_probabilities(scores)
    total = 0.0
    for place in range(12):
        share = float(batch.share[place])
        target = np.zeros(3)
        target[batch.labels[place]] += share
        target[batch.partner_labels[place]] += 1 - share
        target = (1 - smoothing) * target + smoothing / 3
        total -= float(target @ logs[place]) / 12
    assert step.closure().item() == pytest.approx(total, rel=1e-5)


def test_accuracy_is_logged() -> None:
    data = pictures(12)
    task = prepared(data)
    scores, labels = scores_and_labels()
    step = next(task.steps(Parts(network=Scores(scores)), task.load(data, np.arange(12), 0, 0)))
    step.closure()
    expected = (scores.argmax(1) == labels).double().mean()
    assert step.logs["accuracy"].item() == pytest.approx(expected.item())


def test_the_loss_of_the_page_is_used_and_takes_no_mixing() -> None:
    class Page(nn.Module):
        def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
            return scores[labels == 0].sum()

    data = pictures(12)
    scores, labels = scores_and_labels()
    found = prepared(data).criterion(Parts(network=Page()), scores, labels)
    assert torch.equal(found, scores[labels == 0].sum())
    grey = pictures(12, channels=1)
    for settings in ({"mixup": 0.2}, {"label_smoothing": 0.1}, {"class_weights": "balanced"}):
        task = prepared(grey, network="lenet5_original", **settings)
        with pytest.raises(RequestError, match="lenet5_original has the loss of its paper"):
            task.parts(find_card("lenet5_original"))


# Mixup and CutMix


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


# Preparation


def test_standard_normalisation_is_that_of_the_training_pictures() -> None:
    data = pictures(40)
    task = ImageClassification(ImageOptions())
    train = np.arange(0, 40, 2)
    task.prepare(find_card("resnet20"), data, train)
    array = data.records.array[train] / 255.0  # type: ignore[attr-defined]
    assert np.allclose(task.state["mean"].flatten(), array.mean((0, 1, 2)), atol=1e-6)
    assert np.allclose(task.state["std"].flatten(), array.std((0, 1, 2)), atol=1e-6)
    normal = task.normalised(task.fitted(data, train))
    assert torch.allclose(normal.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(normal.std((0, 2, 3)), torch.ones(3), atol=1e-3)


def test_pixel_means_are_of_each_pixel() -> None:
    data = pictures(40)
    task = prepared(data, normalize="pixel-mean")
    array = data.records.array / 255.0  # type: ignore[attr-defined]
    assert task.state["mean"].shape == (3, 32, 32)
    assert np.allclose(task.state["mean"].permute(1, 2, 0), array.mean(0), atol=1e-6)


def test_black_and_white_get_the_values_asked_for() -> None:
    task = prepared(pictures(6), normalize="-0.1:1.175")  # LeCun et al., 1998, Section III-A
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 32, 32)
    assert task.normalised(ends)[:, 0, 0, 0].tolist() == pytest.approx([-0.1, 1.175])


@pytest.mark.parametrize("normalize", ["1:0", "a:b", "1:1", "0:1:2", "mean"])
def test_normalisations_that_do_not_exist(normalize: str) -> None:
    with pytest.raises(RequestError, match="normalize is"):
        prepared(pictures(6), normalize=normalize)


def test_imagenet_normalisation_needs_colour() -> None:
    with pytest.raises(RequestError, match="normalize = imagenet needs 3 channels"):
        prepared(pictures(6, channels=1), normalize="imagenet")


@pytest.mark.parametrize(
    ("network", "side", "wanted", "size", "why"),
    [
        ("lenet5", 28, None, 32, "takes no other"),
        ("resnet20", 32, None, 32, "the median"),
        ("resnet18", 1000, None, 224, "the usual size"),
        ("resnet18", 100, None, 100, "the median"),
        ("resnet18", 100, 96, 96, "as asked"),
    ],
)
def test_the_size_of_the_input(
    network: str, side: int, wanted: int | None, size: int, why: str
) -> None:
    facts = size_facts(np.full((2, 2), side), 3, 8)
    found = choose_size(find_card(network), facts, wanted)
    assert found[0] == size
    assert why in found[1]


def test_sizes_that_a_network_does_not_take() -> None:
    facts = size_facts(np.full((2, 2), 28), 1, 8)
    with pytest.raises(RequestError, match=r"lenet5 takes images of 32 x 32.*image-size is 64"):
        choose_size(find_card("lenet5"), facts, 64)
    with pytest.raises(RequestError, match=r"image-size is 1; resnet20 takes \d+ or more"):
        choose_size(find_card("resnet20"), facts, 1)


def test_small_pictures_are_padded_with_what_is_at_their_border() -> None:
    data = pictures(6, side=28, channels=1)
    data.records.array[:, [0, -1]] = 200  # type: ignore[attr-defined]
    data.records.array[:, :, [0, -1]] = 200  # type: ignore[attr-defined]
    task = prepared(data, network="lenet5")
    fitted = task.fitted(data, np.array([2]))
    assert fitted.shape == (1, 1, 32, 32)
    assert fitted[0, 0, :2].unique().tolist() == [200]
    array = data.records.array[2, :, :, 0]  # type: ignore[attr-defined]
    assert np.array_equal(fitted[0, 0, 2:30, 2:30].numpy(), array)


def test_channels_follow_the_network() -> None:
    colour = pictures(6)
    grey = prepared(colour, channels=1).fitted(colour, np.array([3]))[0, 0].int().numpy()
    from PIL import Image

    array = colour.records.array[3]  # type: ignore[attr-defined]
    expected = np.asarray(Image.fromarray(array).convert("L")).astype(int)
    assert np.abs(grey - expected).max() <= 1
    single = pictures(6, channels=1)
    tripled = prepared(single, channels=3).fitted(single, np.array([3]))[0]
    assert tripled.shape[0] == 3
    assert torch.equal(tripled[0], tripled[2])


def test_other_data_are_brought_to_the_depth_of_the_run() -> None:
    plain, deep = pictures(6), pictures(6, depth=16)
    task = prepared(plain)
    assert torch.equal(task.fitted(deep, np.arange(6)), task.fitted(plain, np.arange(6)))
    task = prepared(deep)
    found = task.fitted(plain, np.arange(6))
    assert found.dtype == torch.float32
    assert torch.allclose(found, task.fitted(deep, np.arange(6)), atol=1e-6)


# Measuring


def test_the_meter_agrees_with_scikit_learn() -> None:
    data = pictures(30)
    task = prepared(data)
    scores, labels = scores_and_labels(30)
    meter = task.meter()
    for part in (np.arange(0, 20), np.arange(20, 30)):
        batch = task.load(data, part, None, 0)
        meter.update(task.predict(Parts(network=Scores(scores[part])), batch), batch)
    found = meter.compute()
    probabilities = F.softmax(scores.double(), 1).numpy()
    answers = probabilities.argmax(1)
    assert found["accuracy"] == pytest.approx((answers == labels.numpy()).mean())
    assert found["macro_f1"] == pytest.approx(f1_score(labels, answers, average="macro"), rel=1e-6)
    assert found["loss"] == pytest.approx(log_loss(labels, probabilities), rel=1e-5)
    assert set(found) <= set(task.higher_is_better)


def test_other_data_take_the_classes_of_the_run() -> None:
    task = prepared(pictures(6))
    other = pictures(4, labels=[0, 1, 1, -1])
    other.classes = ("owl", "dog")
    adapted = task.adapt(other)
    assert adapted.classes == CLASSES
    assert adapted.labels is not None
    assert adapted.labels.tolist() == [2, 1, 1, -1]
    other.classes = ("owl", "dgo")
    with pytest.raises(RequestError, match=r"no class of this run named 'dgo'.*dog"):
        task.adapt(other)


# The registry


def test_tasks_are_found_by_name_and_by_what_the_data_are() -> None:
    assert find_task("Image_Classification") is ImageClassification
    assert task_for(find_card("lenet5"), "image-classification") is ImageClassification
    with pytest.raises(RequestError, match=r"no task named 'image-clasification'"):
        find_task("image-clasification")
    with pytest.raises(
        RequestError, match=r"lenet5 does image-classification; the data are for text"
    ):
        task_for(find_card("lenet5"), "text")
    with pytest.raises(RequestError, match="takes image-classification; these are text"):
        task_for(find_card("lenet5"), "text", "image-classification")


def test_batches_of_nothing_are_none() -> None:
    assert in_batches(np.arange(0), 4) == []
    assert [part.tolist() for part in in_batches(np.arange(5), 2)] == [[0, 1], [2, 3, 4]]
    assert [part.tolist() for part in in_batches(np.arange(3), 1)] == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("channels", "asked", "mirrored"),
    [(3, None, True), (1, None, False), (1, True, True), (3, False, False)],
)
def test_colour_pictures_are_mirrored_and_grey_ones_only_if_asked(
    channels: int, asked: bool | None, mirrored: bool
) -> None:
    data = pictures(30, channels=channels)
    data.records.array[:, :, :16] = 0  # type: ignore[attr-defined]  # the left half is black
    task = prepared(data, augment="crop-flip", mirror=asked)
    images = task.load(data, np.arange(30), 0, 0).images.float()
    dark_right = images[..., 24:].mean((1, 2, 3)) < images[..., :8].mean((1, 2, 3))
    assert bool(dark_right.any()) == mirrored
