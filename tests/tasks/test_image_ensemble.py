"""The task of an ensemble: which pictures its members take, and how their answers meet."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from drawn import CLASSES, pictures, prepared
from torch import Tensor

from torchfolio.data.dataset import Dataset
from torchfolio.errors import RequestError
from torchfolio.networks.catalogue import find_card
from torchfolio.tasks.base import Context, Parts
from torchfolio.tasks.image_classification import ImageClassification
from torchfolio.tasks.image_classification_report import pictures_sections
from torchfolio.tasks.image_ensemble import EnsembleOptions, ImageEnsemble, part_name
from torchfolio.tasks.registry import find_task

CONTEXT = Context(torch.device("cpu"), report=False)
NETWORKS = ("lenet5", "softmax_regression", "mlp")  # 32 x 32; 28 x 28 twice


def member(name: str, task: ImageClassification, network: str) -> dict[str, Any]:
    """Return what an ensemble keeps of a member."""
    settings = {key: value for key, value in asdict(task.options).items() if value is not None}
    recipe = {
        "network": {"name": network, "set": {}},
        "task": {"name": task.name} | settings,
        "training": {"precision": "fp32"},
    }
    return {"name": name, "recipe": recipe, "state": task.state}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return pictures(count=12, side=28, channels=1)


@pytest.fixture(scope="module")
def tasks(data: Dataset) -> list[ImageClassification]:
    """The tasks of the members; the last normalises otherwise than the second."""
    options = ({}, {}, {"normalize": "-1:1"})
    return [prepared(data, network, **own) for network, own in zip(NETWORKS, options, strict=True)]


@pytest.fixture(scope="module")
def members(tasks: list[ImageClassification]) -> list[Parts]:
    torch.manual_seed(0)
    found = []
    for task, network in zip(tasks, NETWORKS, strict=True):
        parts = task.parts(find_card(network))
        found.append(Parts(network=parts.network.eval()))
    return found


def joined(
    tasks: list[ImageClassification], members: list[Parts], method: str = "mean"
) -> tuple[ImageEnsemble, Parts]:
    """Return the ensemble's task and its parts, with the members' weights."""
    named = zip(NETWORKS, tasks, NETWORKS, strict=True)
    state = {
        "classes": list(CLASSES),
        "train_counts": [4, 4, 4],
        "members": [member(*each) for each in named],
    }
    task = ImageEnsemble(EnsembleOptions(method=method), state)
    parts = task.rebuilt({"name": "three"})
    for number, own in enumerate(members):
        parts[part_name(number)].load_state_dict(own.network.state_dict())
    return task, Parts({name: part.eval() for name, part in parts.items()})


def test_pictures_that_are_fitted_alike_are_one_input(
    tasks: list[ImageClassification], members: list[Parts], data: Dataset
) -> None:
    task, _ = joined(tasks, members)
    assert [each.state["size"] for each in task.inputs] == [32, 28]
    assert task.places == [0, 1, 1]
    assert task.values == 32 * 32
    batch = task.load(data, np.arange(5), None, 0)
    assert [tuple(each.shape) for each in batch.images] == [(5, 1, 32, 32), (5, 1, 28, 28)]
    assert batch.to(torch.device("meta")).images[1].is_meta
    assert len(batch) == 5


def test_each_member_says_what_it_says_alone(
    tasks: list[ImageClassification], members: list[Parts], data: Dataset
) -> None:
    task, parts = joined(tasks, members)
    batch = task.load(data, np.arange(12), None, 0)
    with torch.no_grad():
        alone = [
            own.predict(each, own.load(data, np.arange(12), None, 0))[0]
            for own, each in zip(tasks, members, strict=True)
        ]
        found = task.member_probabilities(task.answering(parts, CONTEXT), batch.images)
        together, loss = task.predict(parts, batch)
    assert torch.allclose(found, torch.stack(alone), atol=1e-5)
    assert torch.allclose(together, torch.stack(alone).mean(0), atol=1e-5)
    expected = -together[torch.arange(12), batch.labels].log().mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_the_parts_carry_the_names_of_their_places(
    tasks: list[ImageClassification], members: list[Parts]
) -> None:
    _, parts = joined(tasks, members, "stack")
    assert list(parts) == ["member_1", "member_2", "member_3", "combination"]
    assert parts.combination.linear.weight.shape == (3, 9)


def test_a_file_is_decoded_once(
    tasks: list[ImageClassification],
    members: list[Parts],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from PIL import Image

    import torchfolio.tasks.picture_task as home

    task, _ = joined(tasks, members)
    path = tmp_path / "a.png"
    Image.new("L", (40, 30), 90).save(path)
    seen: list[Any] = []

    def counted(*given: Any) -> Any:
        seen.append(given)
        return opened(*given)

    opened = home.opened
    monkeypatch.setattr(home, "opened", counted)
    found = task.read(path)
    assert len(seen) == 1
    for picture, own in zip(found, task.inputs, strict=True):
        assert torch.equal(picture, own.read(path))


def test_what_each_member_draws_of_itself_has_its_name() -> None:
    torch.manual_seed(0)
    data = pictures(12, side=17, channels=1)
    own = prepared(data, "capsnet", image_size=17, normalize="0:1")
    state = {
        "classes": list(CLASSES),
        "train_counts": [4, 4, 4],
        "members": [member("first", own, "capsnet"), member("第二", own, "capsnet")],
    }
    task = ImageEnsemble(EnsembleOptions(), state)
    parts = Parts({name: part.eval() for name, part in task.rebuilt({"name": "two"}).items()})
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 12)
    sections = pictures_sections(task, parts, data, np.arange(12), probabilities, CONTEXT)
    assert [each.title for each in sections] == ["Pictures", "Drawn by first", "Drawn by 第二"]
    titles = [block.title for section in sections for block in section.blocks]
    assert "Right answers drawn again, first" in titles
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("method", ["mean", "weighted", "vote", "stack"])
def test_what_is_exported_says_what_the_ensemble_says(
    tasks: list[ImageClassification], members: list[Parts], data: Dataset, method: str
) -> None:
    task, parts = joined(tasks, members, method)
    inputs = task.export_inputs(parts)
    assert [each["name"] for each in inputs] == ["images_32", "images_28"]
    assert [(each["size"], each["channels"], each["resize"]) for each in inputs] == [
        (32, 1, "pad"), (28, 1, "pad"),
    ]  # fmt: skip
    batch = task.load(data, np.arange(12), None, 0)
    assert all(each.dtype == torch.uint8 for each in batch.images)
    module = task.exported(parts)
    assert not module.training
    with torch.no_grad():
        found = module(*batch.images)
        expected = task.class_probabilities(parts, batch.images)
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=1e-5)


def test_one_input_is_called_images(data: Dataset, tasks: list[ImageClassification]) -> None:
    state = {
        "classes": list(CLASSES),
        "train_counts": [4, 4, 4],
        "members": [member("a", tasks[1], "mlp"), member("b", tasks[2], "mlp")],
    }
    task = ImageEnsemble(EnsembleOptions(), state)
    assert [each["name"] for each in task.export_inputs(Parts())] == ["images"]


def test_bf16_is_for_the_members_that_were_trained_in_it(
    tasks: list[ImageClassification], members: list[Parts], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, parts = joined(tasks, members)
    task.state["members"][1]["recipe"]["training"]["precision"] = "bf16"
    asked: list[bool] = []

    def noted(own: ImageClassification, parts: Parts, context: Context) -> Parts:
        asked.append(context.bf16)
        return parts

    monkeypatch.setattr(ImageClassification, "answering", noted)
    task.answering(parts, Context(torch.device("cpu"), report=False, bf16=True))
    assert asked == [False, True, False]


def test_an_ensemble_is_found_by_name_and_takes_no_training() -> None:
    assert find_task("image_ensemble") is ImageEnsemble
    assert not ImageEnsemble.trained
    task = ImageEnsemble(EnsembleOptions())
    with pytest.raises(RequestError, match="An ensemble is not trained: its members were"):
        task.prepare(find_card("mlp"), pictures(3), np.arange(3))
    with pytest.raises(RequestError, match="'folio ensemble RUN RUN'"):
        task.parts(find_card("mlp"))
    with pytest.raises(RequestError, match="An ensemble is not trained"):
        task.steps(Parts(), Tensor())
