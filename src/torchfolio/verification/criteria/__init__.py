"""What each network is judged by; a file here belongs to the page of the same name.

Its ``criteria(card, form)`` names the references, the image, the initial distributions and whatever
else the paper fixes. A network of torchvision's whose page has no file here is compared with
torchvision's by the name in its card.
"""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from torchfolio.errors import FolioError
from torchfolio.networks.catalogue import Card
from torchfolio.verification.initialization import Rule
from torchfolio.verification.reference import ModuleReference, Reference


@dataclass(frozen=True)
class Form:
    """The free sizes of a network: as in its card, unless other ones are verified as well."""

    num_classes: int
    in_channels: int
    image_size: tuple[int, int]  # (height, width)


@dataclass
class Criteria:
    """What a network must agree with.

    ``references`` make the implementations to compare with, one at a time; ``image`` is the
    (height, width) that they see, ``batch`` at a time; ``initial`` the start of every value;
    ``counts`` the paper's parameters by top-level module. ``checks`` return what else is wrong, a
    sentence each. ``notes`` say what could not be compared, and why.
    """

    references: Sequence[Callable[[], Reference]]
    image: tuple[int, int]
    initial: Sequence[Rule] = ()
    counts: dict[str, int] = field(default_factory=dict)
    checks: Sequence[Callable[[nn.Module], list[str]]] = ()
    notes: list[str] = field(default_factory=list)
    batch: int = 2


# Other sizes, for networks whose structure depends on the image; a file here may have its own.
OTHER_FORM = Form(num_classes=7, in_channels=2, image_size=(29, 23))


def module_of(card: Card) -> Any:
    """Return the file here that belongs to a card's page; ``None`` where there is none."""
    name = f"{__name__}.{card.builder.partition(':')[0]}"
    return importlib.import_module(name) if importlib.util.find_spec(name) is not None else None


def other_form(card: Card) -> Form:
    """Return the other sizes that a network is judged at."""
    return getattr(module_of(card), "OTHER_FORM", OTHER_FORM)


def find_criteria(card: Card, form: Form) -> Criteria:
    """Return what a network of this form is judged by."""
    module = module_of(card)
    if module is not None:
        return module.criteria(card, form)
    if card.reference.startswith("torchvision.models."):
        name = card.reference.removeprefix("torchvision.models.")
        return Criteria([lambda: from_torchvision(name, form)], form.image_size)
    raise FolioError(
        f"{card.name} has no reference: its page has no file in {__name__}, and its card names "
        f"{card.reference!r}, which is no network of torchvision's."
    )


def from_torchvision(name: str, form: Form, **arguments: Any) -> ModuleReference:
    """Return torchvision's network of a name; it fixes names and their order."""
    import torchvision

    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    title = f"torchvision {torchvision.__version__} {name}{f'({given})' if given else ''}"
    arguments |= {"num_classes": form.num_classes}
    module = torchvision.models.get_model(name, weights=None, **arguments)
    return ModuleReference(title, module, ordered=True)


def absent(package: str) -> str:
    """Return the note that a package could not be compared with."""
    return f"not compared with {package}: it is not installed (the extra 'verify' brings it)"


def installed(package: str) -> str:
    """Return the version of an installed package; empty where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
