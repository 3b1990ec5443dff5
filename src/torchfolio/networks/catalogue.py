"""The catalogue: the card of every network, read from ``catalogue.toml``.

Listing it imports neither torch nor numpy. A network is built by ``create`` in
:mod:`torchfolio.networks.creation`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from torchfolio.errors import FolioError, RequestError, normalise, unknown

HERE = Path(__file__).parent
ONE_CLASS, SEVERAL_LABELS = "image-classification", "multilabel-classification"


@dataclass(frozen=True)
class Card:
    """The facts of one network.

    ``input`` is (channels, height, width) as in the paper; ``min_input`` the smallest legal one.
    ``builder`` is ``module:callable`` below ``torchfolio.networks``; ``arguments`` are passed to
    it. ``fixed_size`` says that images are resized or padded to ``input``; where ``min_input`` is
    smaller, the network can be built for another size, if that is asked for.
    ``multiple_of`` names the argument whose multiples are the legal sides of images (a patch).
    ``fixed_channels`` says that the paper's structure allows no other number of channels. ``bf16``
    says that full trainings in bf16 reached what those in float32 did (``benchmarks.precision``).
    ``exclusive`` says that the page's loss is for exactly one class a picture; every other network
    that classifies images can also give them several labels, and that task is among its ``tasks``
    without being written there. ``weights`` is torchvision's enum of the weights that ``--weights
    imagenet`` downloads, ``weights_normalize`` how pictures were normalised that these were trained
    on, ``weights_arguments`` with what the network takes pictures normalised as ImageNet's instead.
    """

    name: str
    builder: str
    paper: str
    year: int
    tasks: tuple[str, ...]
    input: tuple[int, ...]
    min_input: tuple[int, ...]
    parameters: int
    macs: int
    reference: str
    recipe: str
    family: str = ""
    summary: str = ""
    arxiv: str = ""
    loss: str = "the task's"
    fixed_size: bool = False
    multiple_of: str = ""
    fixed_channels: bool = False
    bf16: bool = False
    exclusive: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)
    differences: tuple[str, ...] = ()
    weights: str = ""
    weights_normalize: str = "imagenet"
    weights_arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """What the sides of images are multiples of: 1 where any size is legal."""
        found = self.arguments.get(self.multiple_of)
        return found if isinstance(found, int) and found > 0 else 1

    @property
    def one_size(self) -> bool:
        """Whether images of no other size than ``input`` are taken."""
        return self.fixed_size and self.min_input == self.input

    @property
    def smallest(self) -> int:
        """The smallest legal side of a square image."""
        return self.step if self.multiple_of else max(self.min_input[1:])

    def published_normalize(self, arguments: Mapping[str, Any]) -> str:
        """Return how pictures are normalised for torchvision's weights, given these arguments."""
        itself = self.weights_arguments and self.weights_arguments.items() <= arguments.items()
        return "imagenet" if itself else self.weights_normalize

    def as_json(self) -> dict[str, Any]:
        """Return the card as plain values."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@cache
def cards() -> dict[str, Card]:
    """Return every card by the name of its network, in the catalogue's order."""
    table = tomllib.loads((HERE / "catalogue.toml").read_text(encoding="utf-8"))
    result = {}
    for name, values in table.items():
        known = {each.name for each in fields(Card)}
        if extra := set(values) - known:
            raise FolioError(f"catalogue.toml: [{name}] has unknown keys {sorted(extra)}.")
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        if ONE_CLASS in values["tasks"] and not values.get("exclusive"):
            lists["tasks"] += (SEVERAL_LABELS,)
        result[name] = Card(name=name, **(values | lists))
    return result


def find_card(name: str) -> Card:
    """Return the card of a network; hyphens and underscores are the same."""
    table = cards()
    for key in table:
        if normalise(key) == normalise(name):
            return table[key]
    raise unknown("network", name, table, "'folio list' shows all of them.")


def list_networks(pattern: str = "*", task: str | None = None) -> list[str]:
    """Return the names of the networks that match a shell pattern and take a task.

    A pattern without ``*``, ``?`` or ``[`` matches anywhere in a name.
    """
    pattern = normalise(pattern)
    if not set(pattern) & set("*?["):
        pattern = f"*{pattern}*"
    tasks = {each for card in cards().values() for each in card.tasks}
    if task is not None and normalise(task) not in {normalise(each) for each in tasks}:
        raise unknown("task", task, sorted(tasks))
    return [
        card.name
        for card in cards().values()
        if fnmatchcase(normalise(card.name), pattern)
        and (task is None or normalise(task) in {normalise(each) for each in card.tasks})
    ]


def recipe_file(card: Card) -> Path:
    """Return the file with a network's recipes."""
    path = HERE / "recipes" / f"{card.recipe}.toml"
    if not path.is_file():
        raise RequestError(f"The card of {card.name} names a recipe that is missing: {path}.")
    return path
