"""Several trained classifiers of pictures that answer as one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.errors import RequestError
from torchfolio.options import option, read_options
from torchfolio.tasks.base import Batch, Context, Evaluation, Parts
from torchfolio.tasks.combination import FITTED, LEAST, combination
from torchfolio.tasks.image_classification import ImageClassification, ImageOptions
from torchfolio.tasks.image_classifier import ImageClassifier
from torchfolio.tasks.picture_task import Member
from torchfolio.tasks.pictures import Pictures

FITTING = ("size", "channels", "depth", "resize", "fill")  # what makes of a picture an input


@dataclass(frozen=True)
class EnsembleOptions:
    """Settings of an ensemble."""

    method: Literal["mean", "weighted", "vote", "stack"] = option(
        "mean", "How the members' answers become one (torchfolio.tasks.combination)."
    )


@dataclass
class EnsembleBatch(Batch):
    """A batch of images for each input (:meth:`Pictures.fitted`), and labels (batch,)."""

    images: list[Tensor]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Self:
        return replace(super().mapped(function), images=[function(each) for each in self.images])


class ImageEnsemble(ImageClassifier):
    """Classifiers of the same pictures, whose probabilities become one by a combination.

    ``state`` holds, beside "classes" and "train_counts", the "members": of each its "name", its
    whole "recipe", and the "state" of its task; "seconds", how long all were trained; and
    "fitted_on", a digest of the examples that the combination was fitted to, if it was. The parts
    are "member_1", "member_2" ... and "combination" (:mod:`torchfolio.tasks.combination`).
    """

    name = "image-ensemble"
    Options = EnsembleOptions
    trained = False
    options: EnsembleOptions

    def __init__(self, options: Any, state: dict[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.tasks = [task_of(member) for member in self.state.get("members", ())]
        fittings = [tuple(task.state[key] for key in FITTING) for task in self.tasks]
        different = list(dict.fromkeys(fittings))
        self.places = [different.index(each) for each in fittings]  # of each member's input
        self._inputs = [self.tasks[fittings.index(each)].pictures for each in different]

    @property
    def inputs(self) -> Sequence[Pictures]:
        return self._inputs

    def rebuilt(self, network: Mapping[str, Any]) -> Parts:
        parts = Parts()
        for number, member in enumerate(self.state["members"]):
            rebuilt = self.tasks[number].rebuilt(member["recipe"]["network"])
            parts[part_name(number)] = rebuilt.network
        classes = len(self.state["classes"])
        parts["combination"] = combination(self.options.method, len(self.tasks), classes)
        return parts

    def members(self, parts: Parts) -> list[Member]:
        named = zip(self.state["members"], self.tasks, strict=True)
        return [
            Member(member["name"], task, parts[part_name(number)])
            for number, (member, task) in enumerate(named)
        ]

    def answering(self, parts: Parts, context: Context) -> Parts:
        """Return the parts as they answer soonest, each member in the precision of its training."""
        found = Parts(parts)
        for number, member in enumerate(self.members(parts)):
            precision = self.state["members"][number]["recipe"]["training"]["precision"]
            own = replace(context, bf16=context.bf16 and precision == "bf16")
            answering = member.task.answering(Parts(network=member.network), own)
            found[part_name(number)] = answering.network
        return found

    def member_probabilities(self, parts: Parts, images: Sequence[Tensor]) -> Tensor:
        """Return the probabilities that each member gives (members, batch, classes)."""
        found = [
            each.task.class_probabilities(Parts(network=each.network), [images[place]])
            for each, place in zip(self.members(parts), self.places, strict=True)
        ]
        return torch.stack(found)

    def class_probabilities(self, parts: Parts, images: Sequence[Tensor]) -> Tensor:
        return parts.combination(self.member_probabilities(parts, images))

    def load(
        self, dataset: Dataset, indices: Indices, epoch: int | None, seed: int
    ) -> EnsembleBatch:
        """Return pictures for each input; nothing about them is random."""
        assert dataset.labels is not None
        images = [each.fitted(dataset, indices) for each in self.inputs]
        return EnsembleBatch(images, torch.from_numpy(dataset.labels[indices]))

    def predict(self, parts: Parts, batch: EnsembleBatch) -> tuple[Tensor, Tensor]:
        """Return the probability of each class (batch, classes), and the mean log-loss."""
        found = self.class_probabilities(parts, batch.images)
        return found, F.nll_loss(found.clamp_min(LEAST).log(), batch.labels)

    def own_split(self, splits: Mapping[str, Indices]) -> str:
        """Return the test split, even an empty one where validation data were fitted on."""
        return "test" if self.options.method in FITTED else super().own_split(splits)

    def evaluate(
        self, parts: Parts, dataset: Dataset, split: Indices, context: Context
    ) -> Evaluation:
        from torchfolio.tasks.image_ensemble_report import evaluate

        return evaluate(self, parts, dataset, split, context)

    # Export

    def export_inputs(self, parts: Parts) -> list[dict[str, Any]]:
        """Return what makes a picture each argument of :meth:`exported`.

        Members whose pictures are fitted alike share one, named by its size: ``images_32``.
        """
        sizes = [each.state["size"] for each in self.inputs]
        found = []
        for place, size in enumerate(sizes):
            facts = self.tasks[self.places.index(place)].export_inputs(parts)[0]
            before = sizes[:place].count(size)
            name = f"images_{size}_{before + 1}" if before else f"images_{size}"
            found.append(facts | {"name": name if len(sizes) > 1 else "images"})
        return found

    def exported(self, parts: Parts) -> nn.Module:
        """Return one module that takes a batch for each input and returns the probabilities."""
        members = [each.task.exported(Parts(network=each.network)) for each in self.members(parts)]
        return ExportedEnsemble(members, self.places, parts.combination).eval()

    # What is of one network

    def vectors(self, *_: Any, **__: Any) -> NoReturn:
        raise self.of_one("has no features")

    def explain(self, *_: Any, **__: Any) -> NoReturn:
        raise self.of_one("is not explained")

    def of_one(self, lack: str) -> RequestError:
        """Return the error for what each member has, and an ensemble has not."""
        names = ", ".join(member["name"] for member in self.state["members"])
        return RequestError(
            f"An ensemble {lack}: that is of one network. Name the run of a member, here {names}."
        )

    # What only a training needs

    def prepare(self, *_: Any, **__: Any) -> NoReturn:
        raise untrained()

    def parts(self, *_: Any, **__: Any) -> NoReturn:
        raise untrained()

    def steps(self, *_: Any, **__: Any) -> NoReturn:
        raise untrained()


class ExportedEnsemble(nn.Module):
    """All members and their combination in one module.

    Shape: uint8 (batch, channels, height, width) for each input -> (batch, classes), float32.
    """

    def __init__(
        self, members: Sequence[nn.Module], places: Sequence[int], combination: nn.Module
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.places = list(places)
        self.combination = combination

    def forward(self, *images: Tensor) -> Tensor:
        asked = zip(self.members, self.places, strict=True)
        return self.combination(torch.stack([member(images[place]) for member, place in asked]))


def part_name(number: int) -> str:
    """Return the name of the part of a member, counted from 0."""
    return f"member_{number + 1}"


def task_of(member: Mapping[str, Any]) -> ImageClassification:
    """Return the task of a member as its training prepared it."""
    options = {key: value for key, value in member["recipe"]["task"].items() if key != "name"}
    where = f"[task] of {member['name']}"
    return ImageClassification(read_options(ImageOptions, options, where), member["state"])


def untrained() -> RequestError:
    """Return the error for what only a training asks of a task."""
    return RequestError(
        "An ensemble is not trained: its members were. Train them, then 'folio ensemble RUN RUN'."
    )
