"""Weights that a training is given: what they ask of it, and what of them it cannot take."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchfolio.errors import FolioError, RequestError
from torchfolio.export.facts import facts_of_weights
from torchfolio.networks.build import builder, settings, sized_by
from torchfolio.networks.catalogue import Card
from torchfolio.networks.weights import (
    LoadReport,
    fixed_parameters,
    imagenet_weights,
    input_channels,
    listed,
    read_weights,
    told_arguments,
)
from torchfolio.tasks.base import Task
from torchfolio.training.folder import RunFolder
from torchfolio.training.recipes import Recipe


def given_weights(
    card: Card, network: dict[str, Any], task: dict[str, Any]
) -> tuple[dict[str, Tensor] | None, dict[str, Any]]:
    """Return the weights that are asked for, and the preprocessing of the run they come from.

    The run is told by its folder, or by a file that ``folio export`` made of it. The weights choose
    channels, normalisation (those of ImageNet) and, where they fit no other, the image size in
    ``task``, where the person did not, and arguments of the page in ``network``.
    """
    given, transfer = network.get("weights"), network.get("transfer", "all")
    if transfer not in ("all", "none") and not given:
        raise RequestError(f"transfer is {transfer}, and no weights are given. Add --weights.")
    if given is None or transfer == "none":
        return None, {}
    if given == "imagenet":
        task.setdefault("normalize", card.published_normalize(network.get("set") or {}))
        task.setdefault("channels", 3)
        return imagenet_weights(card), {}
    weights = read_weights(given)
    state, known = preparation(card, given)
    if told := told_arguments(card, weights, known):
        network["set"] = told | (network.get("set") or {})
        if not state and card.weights:  # torchvision's own
            task.setdefault("normalize", card.published_normalize(network["set"]))
    channels = state.get("channels") or input_channels(card, weights, network.get("set") or {})
    if channels in (1, 3):
        task.setdefault("channels", int(channels))
    fixed = "image_size" in settings(card) and not hasattr(builder(card), "adapted")
    if fixed and "size" in state:  # the weights fit no other
        task.setdefault("image_size", int(state["size"]))
    return weights, state


def preparation(card: Card, weights: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what weights tell of their run: its preprocessing, and the arguments of ``card``.

    They are a run folder, or a file of weights that ``folio export`` wrote, which tells as much as
    a new head and pictures need: classes, size, channels, normalisation and anchors. Of other files
    nothing is known. Arguments of another network are left out.
    """
    if (Path(weights) / "recipe.toml").is_file():
        folder = RunFolder.open(weights)
        network = folder.recipe().network
        return folder.preprocessing(), arguments_of(card, network["name"], network.get("set", {}))
    facts = facts_of_weights(Path(weights))
    if not facts:
        return {}, {}
    try:
        [takes] = facts["inputs"]
        state = {key: takes[key] for key in ("size", "channels", "depth")}
        state |= {key: takes[key] for key in ("resize", "fill") if key in takes}
        if "anchors" in facts:
            state["anchors"] = [[tuple(pair) for pair in group] for group in facts["anchors"]]
        state |= {key: torch.tensor(facts[key], dtype=torch.float32) for key in ("mean", "std")}
        arguments = arguments_of(card, facts["network"], facts["settings"])
        return state | {"classes": list(facts["classes"])}, arguments
    except (KeyError, TypeError, ValueError) as error:
        raise FolioError(
            f"The facts in {weights} are damaged ({error}). Export it again."
        ) from error


def arguments_of(card: Card, network: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that a run of a network was given, where that network is ``card``'s."""
    return dict(given) if network == card.name else {}


def check_unfreezing(recipe: Recipe) -> None:
    """Refuse gradual unfreezing where there is nothing to unfreeze."""
    if recipe.training.unfreeze is None:
        return
    transfer = recipe.network.get("transfer", "all")
    if not recipe.network.get("weights") or transfer == "none":
        raise RequestError(
            "--unfreeze trains the head first and the given weights later, and no weights are "
            "given. Add --weights, or leave --unfreeze out."
        )
    if transfer in ("head", "last:1"):
        raise RequestError(
            f"transfer is {transfer}: besides the head there is nothing to unfreeze. Say "
            "--transfer all or last:N, or leave --unfreeze out."
        )


def changed_classes(source: Mapping[str, Any], task: Task) -> bool:
    """Return whether the run that weights come from tells other classes apart."""
    old, new = source.get("classes"), task.state.get("classes")
    return old is not None and new is not None and list(old) != list(new)


def new_classes(
    card: Card,
    recipe: Recipe,
    source: Mapping[str, Any],
    task: Task,
    weights: dict[str, Tensor],
) -> str:
    """Take the head of other classes out of given weights; return what is to be said of it."""
    sized = sized_by(card.name, "num_classes", **recipe.network.get("set", {}))
    for name in sized & weights.keys():
        del weights[name]
    old, new = list(source["classes"]), list(task.state["classes"])
    modules = sorted({name.rpartition(".")[0] for name in sized})
    return (
        f"new head ({', '.join(modules)}) for {len(new)} classes: {listed(new)}; that of the "
        f"weights is for {len(old)}: {listed(old)}"
    )


def refuse_random(network: nn.Module, report: LoadReport, transfer: str) -> None:
    """Raise where weights that no file brought would stay as they were drawn."""
    frozen = {name for name, each in network.named_parameters() if not each.requires_grad}
    frozen -= fixed_parameters(network)  # right as they begin
    random = [report.described(name) for name in report.new if name in frozen]
    if random:
        raise RequestError(
            f"transfer is {transfer}, and {listed(random)} would stay random: the weights do not "
            "have it, or have it in another shape. Take the channels, image size and network of "
            "the weights, or train it (--transfer all)."
        )
