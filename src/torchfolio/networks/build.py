"""Building a network from its card."""

import inspect
from importlib import import_module
from typing import Any

import torch
from torch import nn

from torchfolio.errors import RequestError, unknown
from torchfolio.networks.catalogue import Card, find_card


def builder(card: Card) -> Any:
    """Return the class or function that builds the card's network."""
    module, _, name = card.builder.partition(":")
    return getattr(import_module(f"torchfolio.networks.{module}"), name)


def settings(card: Card) -> dict[str, Any]:
    """Return the arguments that ``--set`` may give, with their defaults for this card."""
    parameters = inspect.signature(builder(card)).parameters.values()
    return {
        each.name: card.arguments.get(each.name, each.default)
        for each in parameters
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }


def build(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    image_size: tuple[int, int] | None = None,
    **arguments: Any,
) -> nn.Module:
    """Build a network by its name, with the card's arguments and those given.

    ``image_size`` is (height, width) in pixels; only networks whose structure depends on it
    (those that flatten the image) take it. Raises ``RequestError`` for an unknown name or
    argument, or where the paper's structure does not allow the value.
    """
    card = find_card(name)
    allowed = settings(card)
    given = dict(card.arguments)
    for key, value in arguments.items():
        if key not in allowed:
            raise unknown(f"argument of {card.name}", key, allowed)
        if isinstance(allowed[key], bool) and not isinstance(value, bool):
            raise RequestError(f"{key} of {card.name} is true or false, not {value!r}.")
        given[key] = value
    if num_classes is not None:
        given["num_classes"] = num_classes
    if image_size is not None and "image_size" in allowed:
        given["image_size"] = image_size
    if in_channels is not None:
        if "in_channels" in allowed:
            given["in_channels"] = in_channels
        elif in_channels != card.input[0]:
            raise RequestError(
                f"{card.name} takes images of {card.input[0]} channel(s), as its paper fixes them; "
                f"these have {in_channels}."
            )
    for key in ("num_classes", "in_channels", "image_size"):
        sizes = given.get(key, 1)
        for size in sizes if isinstance(sizes, list | tuple) else [sizes]:
            if not isinstance(size, int) or size < 1:
                raise RequestError(f"{key} of {card.name} takes numbers from 1 on, not {sizes!r}.")
    try:
        return builder(card)(**given)
    except (TypeError, ValueError, RuntimeError) as error:
        settled = ", ".join(f"{key}={value!r}" for key, value in given.items())
        raise RequestError(f"{card.name} cannot be built with {settled}: {error}.") from error


def sized_by(name: str, argument: str, **arguments: Any) -> set[str]:
    """Return the tensors of a network whose shapes follow an argument, by their names.

    ``argument`` is "num_classes" or "in_channels"; ``arguments`` are the others. There are none
    where the network does not take it.
    """
    if argument not in settings(find_card(name)):
        return set()
    with torch.device("meta"):
        one, other = (
            build(name, **{**arguments, argument: number}).state_dict() for number in (1, 3)
        )
    return {
        key for key in one.keys() | other.keys()
        if key not in one or key not in other or one[key].shape != other[key].shape
    }  # fmt: skip
