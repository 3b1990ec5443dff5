"""What answers to pictures rest on: by the network's own method, or one that is asked for."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchfolio.checkpoint import free_path
from torchfolio.data.fitting import checked
from torchfolio.data.images import decode
from torchfolio.data.transforms import source_box
from torchfolio.errors import RequestError, normalise, unknown
from torchfolio.evaluation.explain.grad_cam import feature_maps, grad_cam, last_convolution
from torchfolio.evaluation.explain.heat import BATCH, Heat
from torchfolio.evaluation.explain.occlusion import occlusion
from torchfolio.evaluation.explain.rollout import attention_layers, attention_rollout
from torchfolio.layers.modes import evaluating
from torchfolio.networks.trace import looks_at
from torchfolio.tasks.base import Context, Parts
from torchfolio.tasks.drawing import make_folder
from torchfolio.tasks.explanation_pictures import Explained, draw_explanation
from torchfolio.tasks.image_answers import named, read
from torchfolio.tasks.image_asking import ask
from torchfolio.tasks.outputs import batch_size

if TYPE_CHECKING:
    from torchfolio.tasks.picture_training import PictureTraining

METHODS = ("grad-cam", "rollout", "occlusion")


class Explainer:
    """One way of explaining a network's answers, chosen and checked.

    ``method`` is by default the network's own: attention rollout where it has attention, Grad-CAM
    where it has convolutions, else occlusion. ``layer`` is Grad-CAM's: the last convolutional stage
    unless given. Raises ``RequestError`` for what the network does not have.
    """

    def __init__(
        self,
        task: "PictureTraining",
        network: nn.Module,
        context: Context,
        method: str | None = None,
        layer: str | None = None,
    ) -> None:
        self.task, self.network, self.context = task, network, context
        size, channels = task.state["size"], task.state["channels"]
        self.example = torch.zeros(1, channels, size, size, device=context.device)
        last = last_convolution(network, self.example)
        attentive = bool(attention_layers(network))
        own = "rollout" if attentive else "grad-cam" if last else "occlusion"
        self.method = own if method is None else find_method(method)
        if self.method == "rollout" and not attentive:
            raise RequestError(
                "The network has no attention, which rollout follows. Leave method out: this "
                f"network's own is {own}."
            )
        if self.method != "grad-cam" and layer is not None:
            raise RequestError(
                f"A layer is for grad-cam; this is {self.method}. Leave it out, or say that the "
                "method is grad-cam."
            )
        self.layer = self.find_layer(layer or last) if self.method == "grad-cam" else None
        if self.layer is not None:
            with evaluating(network):
                self.looks = looks_at(network, self.layer, self.example)

    def find_layer(self, wanted: str | None) -> str:
        """Return the name of a layer that Grad-CAM can weigh, or say which there are."""
        if wanted is None:
            raise RequestError(
                "The network has no convolution that leaves a map, which Grad-CAM weighs. Leave "
                "method out, or take occlusion."
            )
        names = [name for name, _, _ in feature_maps(self.network, self.example)]
        if wanted not in names:
            raise unknown("layer with a map", wanted, names, "'folio show' lists the layers.")
        return wanted

    def __call__(self, images: Tensor, targets: Tensor) -> list[Heat]:
        """Return what speaks for a name, for pictures as they are stored (batch, channels, ...).

        ``targets`` (batch,) are the places of names, one for each picture; rollout does not read
        them.
        """
        device = self.context.device
        taken = self.task.pictures.normalised(images.to(device))
        if self.method == "rollout":
            return attention_rollout(self.network, taken)
        if self.layer is None:
            at_once = batch_size(self.context, taken[0].numel())
            with evaluating(self.network):
                return occlusion(self.ask, taken, targets, self.hidden(images), at_once)
        return grad_cam(self.network, taken, targets.to(device), self.layer, self.looks)

    def ask(self, images: Tensor) -> Tensor:
        """Return the probabilities (batch, names), in float64: near 1 they differ by little."""
        precise = torch.float32 if images.device.type == "mps" else torch.float64  # it has none
        scores = self.network(images).to(precise)
        return self.task.probabilities(Parts(network=self.network), scores)

    def hidden(self, images: Tensor) -> Tensor:
        """Return what a hidden place shows (1, channels, height, width).

        The value that pictures are padded with, where they are; else the mean grey (normalised 0).
        """
        if self.task.state["resize"] != "pad":
            return torch.zeros_like(self.example)
        fill = torch.full(self.example.shape, self.task.state["fill"], dtype=images.dtype)
        return self.task.pictures.normalised(fill.to(self.context.device))

    def caption(self, of: str = "the answer") -> str:
        """Return what the heat says, in words."""
        if self.method == "rollout":
            noun = self.task.noun
            return f"Attention rollout: what the class token has read, whatever the {noun}."
        if self.layer is None:
            return f"Occlusion: what hiding a place takes from {of}."
        return f"Grad-CAM at {self.layer}: what speaks for {of}."


def find_method(name: str) -> str:
    """Return a method by its name; hyphens and underscores are the same."""
    for each in METHODS:
        if normalise(each) == normalise(name):
            return each
    raise unknown("method", name, METHODS)


def explain(
    task: "PictureTraining",
    parts: Parts,
    inputs: Sequence[Any],
    context: Context,
    folder: Path,
    method: str | None,
    label: str | None,
    layer: str | None,
) -> Iterator[dict[str, Any]]:
    """Check what is asked for, then yield one row an input, its picture in the folder."""
    explainer = Explainer(task, parts.network, context, method, layer)
    if label is not None and label not in task.classes:
        raise unknown(f"{task.noun} of this run", label, task.classes)
    if label is not None and explainer.method == "rollout":
        raise RequestError(
            f"Attention rollout shows what was read, whatever the {task.noun}. Leave the "
            f"{task.noun} out, or take occlusion."
        )
    make_folder(folder, "--out")
    target = None if label is None else task.classes.index(label)
    return explained(explainer, task.answering(parts, context), inputs, target, folder)


def explained(
    explainer: Explainer,
    answering: Parts,
    inputs: Sequence[Any],
    target: int | None,
    folder: Path,
) -> Iterator[dict[str, Any]]:
    """Yield one row an input: its answer, what explains it and where the picture is, or an error.

    What is explained is the ``target``, or :func:`likeliest` of each answer. ``answering`` are the
    parts that answer.
    """
    at_once = 1 if explainer.method == "occlusion" else BATCH
    for start in range(0, len(inputs), at_once):
        some = inputs[start : start + at_once]
        pictures = [read(explainer.task.pictures.read, item) for item in some]
        good = [each for each in pictures if isinstance(each, Tensor)]
        found = iter(answers_and_heat(explainer, answering, good, target))
        for item, picture in zip(some, pictures, strict=True):
            row = {"input": named(item), "prediction": None, "probability": None}
            row |= {"method": explainer.method, "layer": explainer.layer, "class": None}
            row |= {"picture": None, "error": None}
            if isinstance(picture, str):
                yield row | {"error": picture}
            else:
                yield row | drawn(explainer, item, *next(found), folder)


def answers_and_heat(
    explainer: Explainer, answering: Parts, pictures: Sequence[Tensor], target: int | None
) -> list[tuple[NDArray[np.float32], int, Heat]]:
    """Return for each picture all probabilities (names,), what is explained, and its heat."""
    if not pictures:
        return []
    task, images = explainer.task, torch.stack(list(pictures))
    with torch.inference_mode():
        answers = ask(task, answering, [images], explainer.context)
    found = likeliest(answers, task.given(answers))
    chosen = found if target is None else np.full_like(found, target)
    heats = explainer(images, torch.from_numpy(chosen))
    return list(zip(answers, chosen.tolist(), heats, strict=True))


def likeliest(probabilities: NDArray[Any], given: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return of each answer the likeliest name, or of all names where it holds none (batch,).

    ``given`` says which names the answers hold; both are (batch, names).
    """
    eligible = given | ~given.any(1, keepdims=True)
    return np.where(eligible, probabilities, -1).argmax(1).astype(np.int64)


def drawn(
    explainer: Explainer,
    item: Any,
    probabilities: NDArray[np.float32],
    chosen: int,
    heat: Heat,
    folder: Path,
) -> dict[str, Any]:
    """Draw what explains the name at a place; return what the row says beyond the input."""
    task, of = explainer.task, explainer.task.classes[chosen]
    said = task.said(probabilities, 1)
    answer = {key: said[key] for key in ("prediction", "probability")}
    known = task.given(probabilities)[chosen]  # and told with its probability
    told = of if known else f"{of} ({float(probabilities[chosen]):.1%})"
    pixels = pixels_of(item)
    size = task.state["size"], task.state["resize"]
    explanation = Explained(
        pixels,
        heat,
        source_box(pixels.shape[0], pixels.shape[1], *size),
        [task.briefly(answer), explainer.caption(told)],
    )
    name = "array" if isinstance(item, np.ndarray) else Path(item).stem
    path = free_path(folder / f"{name}.png")
    draw_explanation(explanation, path)
    return answer | {
        "class": None if explainer.method == "rollout" else of,
        "picture": str(path),
    }


def pixels_of(item: Any) -> NDArray[np.uint8]:
    """Return an input at its own size as (height, width, 3) pixels, to be looked at."""
    if not isinstance(item, np.ndarray):
        return decode(Path(item), 3, 8)
    pixels = checked(item)
    if pixels.dtype != np.uint8:
        pixels = np.round(pixels * 255).astype(np.uint8)
    return np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels
