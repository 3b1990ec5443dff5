"""Measuring an ensemble of image classifiers: as any classifier, and beside its members."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchfolio.data.dataset import Dataset, Indices
from torchfolio.data.records import fingerprint
from torchfolio.evaluation import ensembles
from torchfolio.evaluation.ensemble_report import coefficients_table, members_section
from torchfolio.evaluation.report import Table
from torchfolio.tasks.base import Context, Evaluation, Parts
from torchfolio.tasks.combination import PENALTY, Stack, Weighted
from torchfolio.tasks.image_classification_report import asked, measured

if TYPE_CHECKING:
    from torchfolio.tasks.image_ensemble import ImageEnsemble


def evaluate(
    task: "ImageEnsemble", parts: Parts, dataset: Dataset, split: Indices, context: Context
) -> Evaluation:
    """Measure a split fully; each member is asked once."""
    assert dataset.labels is not None
    answering = task.answering(parts, context)

    def ask(images: list[Tensor]) -> NDArray[np.float32]:
        there = [each.to(context.device) for each in images]
        members = task.member_probabilities(answering, there)
        both = torch.cat([members, answering.combination(members)[None]])
        return both.cpu().numpy()

    found = np.concatenate(list(asked(task, dataset, split, context, ask)), axis=1)
    members, together = found[:-1], found[-1]  # (members, examples, classes), (examples, classes)
    notes = fitting_notes(task, dataset, split)
    evaluation = measured(task, parts, answering, dataset, split, together, context, notes)
    result = ensembles.evaluate(
        members,
        together,
        dataset.labels[split],
        groups=None if dataset.groups is None else dataset.groups[split],
        seed=context.seed,
    )
    named = task.state["members"]
    names = [member["name"] for member in named]
    networks = [member["recipe"]["network"]["name"] for member in named]
    weights, blocks = fitted(parts.combination, names, task.state["classes"])
    details = {"method": task.options.method, **result.as_json(names)}
    for place, member in enumerate(details["members"]):
        member |= {"network": networks[place]} | ({"weight": weights[place]} if weights else {})
    evaluation.details["ensemble"] = details
    if context.report:
        shapes = [each.shape for each in task.members(parts)]
        told = [
            f"{name}, {shape[1]} x {shape[2]}" for name, shape in zip(networks, shapes, strict=True)
        ]
        section = members_section(result, names, told, task.options.method, weights, blocks)
        evaluation.sections.insert(1, section)
    return evaluation


def fitting_notes(task: "ImageEnsemble", dataset: Dataset, split: Indices) -> list[str]:
    """Say that the combination was fitted to the very examples measured, where it was."""
    if task.state.get("fitted_on") != fingerprint(dataset.fingerprint, split):
        return []
    return [
        "How much each member's word counts was fitted to these very examples, which flatters "
        "every figure of the ensemble, and what it gains."
    ]


def fitted(
    combination: nn.Module, names: list[str], classes: list[str]
) -> tuple[list[float] | None, list[Table]]:
    """Return the weight of each member, where it has one, and further tables on what was fitted."""
    if isinstance(combination, Weighted):
        return combination.weights.tolist(), []
    if isinstance(combination, Stack):
        linear = combination.linear
        weight, bias = (each.detach().cpu().numpy() for each in (linear.weight, linear.bias))
        return None, [coefficients_table(weight, bias, names, classes, PENALTY)]
    return None, []
