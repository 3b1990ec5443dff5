"""Which tasks there are, and which one a network and data call for."""

from importlib import import_module
from typing import Any

from torchfolio.errors import RequestError, normalise, unknown
from torchfolio.networks.catalogue import Card

TASKS = {
    "image-classification": "image_classification:ImageClassification",
    "image-ensemble": "image_ensemble:ImageEnsemble",
    "multilabel-classification": "multilabel_classification:MultilabelClassification",
    "object-detection": "detection.task:ObjectDetection",
    "semantic-segmentation": "segmentation.task:SemanticSegmentation",
}
# How exported files answer, by their task: modules that do not import torch.
ANSWERS = {
    "image-classification": "image_answers:ClassAnswers",
    "image-ensemble": "image_answers:ClassAnswers",
    "multilabel-classification": "label_answers:LabelAnswers",
    "object-detection": "detection.answers:BoxAnswers",
    "semantic-segmentation": "segmentation.mask_answers:MaskAnswers",
}


def find_task(name: str) -> Any:
    """Return the class of a task; hyphens and underscores are the same."""
    for key, home in TASKS.items():
        if normalise(key) == normalise(name):
            module, _, kind = home.partition(":")
            return getattr(import_module(f"torchfolio.tasks.{module}"), kind)
    raise unknown("task", name, TASKS)


def find_answers(name: str) -> Any:
    """Return the class that reads inputs and says answers for the exported files of a task."""
    if name not in ANSWERS:
        raise unknown("task with exported files", name, ANSWERS)
    module, _, kind = ANSWERS[name].partition(":")
    return getattr(import_module(f"torchfolio.tasks.{module}"), kind)


def task_for(card: Card, kind: str, wanted: str | None = None) -> Any:
    """Return the task that a network can do and that takes data of this kind."""
    if wanted is not None:
        task = find_task(wanted)
        if task.name not in card.tasks:
            raise RequestError(f"{card.name} does {', '.join(card.tasks)}; not {task.name}.")
        if kind not in task.kinds:
            raise RequestError(
                f"The task {task.name} takes {', '.join(task.kinds)}; these are {kind}."
            )
        return task
    for name in card.tasks:
        if name in TASKS and kind in find_task(name).kinds:
            return find_task(name)
    raise RequestError(
        f"{card.name} does {', '.join(card.tasks)}; the data are for {kind}. "
        f"'folio list --task {kind}' shows networks for them; --reader reads the data otherwise."
    )
