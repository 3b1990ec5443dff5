"""Grade every planted departure under other names, and write docs/grading.md.

    python -m tools.grading run [NETWORK ...] [--missing]
    python -m tools.grading collected [WORD ...] [--missing] [--folder DIR]
    python -m tools.grading write

A network is a name, a part of names or a shell pattern; all that have departures unless given, and
with ``--missing`` those departures that have no row yet. What was found goes to
``docs/results/grading.json``. Several calls add up. ``collected`` grades implementations from
elsewhere (``tools/collected.py``).
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tools import collected
from tools import rows as kept
from tools.origin import here, in_words
from tools.rows import Row
from torchfolio.cli.verify import chosen
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import find_card
from torchfolio.verification.comparison import Fault
from torchfolio.verification.criteria import find_criteria
from torchfolio.verification.departures import DEPARTURES, Departure
from torchfolio.verification.grading import form_of, grade, pass_error
from torchfolio.verification.grading.beside import drawn, give
from torchfolio.verification.grading.matching import own_values, running_order
from torchfolio.verification.grading.parting import faults_of
from torchfolio.verification.observation import observe

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results" / "grading.json"
PAGE = ROOT / "docs" / "grading.md"

INTRODUCTION = """\
# Grading put to the test

`folio verify FILE.py:NAME --as NETWORK` names the first layer of a person's module that differs,
and the probable cause ([how](guides/verify.md#anyone-s-implementation)). Here it is tried on what
[others wrote](#implementations-from-elsewhere), below, and on every
[planted mistake](guides/verify.md#departures-that-it-must-catch): the network that has it stands as
a person's own, its layers under other names, in another structure, defined in another order.

- *layer*: the layer that is named, by the network's name. It is right where the network itself,
  laid beside the one with the mistake under the same names, differs there first.
- *cause*: the mistakes that are named. Right is the planted one alone.
- *s*: how long the grading took.

What leaves the function as it is cannot be seen by its values: initial weights, losses, the bounds
on norms. These {unseen} are not graded: {names}.

`python -m tools.grading run` and `python -m tools.grading collected` make the rows anew,
`python -m tools.grading write` this page.
"""
COLUMNS = ("departure", "network", "layer", "", "cause", "", "s")


class Disguised(nn.Module):
    """A network whose layers have other names, in another structure and order.

    ``original`` has the network's name of each.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        vars(self)["hidden"] = network  # not as a module of this one: its names are not to be seen
        self.parts = nn.ModuleList()
        self.original: dict[str, str] = {}
        valued = own_values(network)
        for name in valued:
            layer = network.get_submodule(name)
            if type(layer).forward is nn.Module.forward or not name:  # it only holds things
                for key, value in valued[name].items():
                    self.register_parameter(f"value_{name}_{key}".replace(".", "_"), value)
                valued = {**valued, name: {}}
        for name in reversed([name for name, own in valued.items() if own]):
            if not any(name.startswith(f"{other}.") for other, own in valued.items() if own):
                for below, _ in network.get_submodule(name).named_modules():
                    own_name = f"parts.{len(self.parts)}" + (f".{below}" if below else "")
                    self.original[own_name] = name + (f".{below}" if below else "")
                self.parts.append(network.get_submodule(name))

    def forward(self, images: Tensor) -> Any:
        return self.hidden(images)

    def train(self, mode: bool = True) -> "Disguised":
        super().train(mode)
        self.hidden.train(mode)
        return self


def first_difference(departure: Departure, name: str) -> str | None:
    """Return the first layer where a planted departure shows, of those with values in both.

    Under the same names, so that nothing has to be matched. None where it does not show.
    """
    card = find_card(name)
    criteria = find_criteria(card, form_of(card))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        right = build(name)
    wrong = departure.build(name)
    for size in (criteria.image, card.input[1:]):
        generator = torch.Generator().manual_seed(3)
        images = torch.randn(criteria.batch, card.input[0], *size, generator=generator)
        if not pass_error(wrong, images):
            break
    values = drawn(right, images)
    trained = {key for key, _ in right.named_parameters()}
    other = {key for key, _ in wrong.named_parameters()}
    with torch.no_grad():
        for key, parameter in wrong.named_parameters():
            if key not in trained and key.endswith("bias"):
                parameter.zero_()
    valued = own_values(right).keys() & own_values(wrong).keys()
    for training in (False, True):
        seen = []
        for network in (right.double(), wrong.double()):
            own = {key for key, _ in network.named_parameters()}  # of shared ones the first name
            give(network, {k: v for k, v in values.items() if k in own or k not in trained})
            seen.append(observe(network, images.double(), training))
        for place in list(seen[0].layers):
            if place[0] not in valued:
                del seen[0].layers[place]
        if faults := faults_of(*seen):
            return before(faults[0], wrong, right, images)
    changed = [key for key in [*trained, *other] if (key in trained) != (key in other)]
    return changed[0].rpartition(".")[0] if changed else None


def before(fault: Fault, wrong: nn.Module, right: nn.Module, images: Tensor) -> str:
    """Return the layer of a fault, or the first before it that the right network has not."""
    order, _ = running_order(wrong.float(), images, list(own_values(wrong)))
    if fault.side != "input" or fault.layer not in order:
        return fault.layer
    start = order.index(fault.agreed) if fault.agreed in order else 0
    between = order[start : order.index(fault.layer)]
    return next((name for name in between if name not in own_values(right)), fault.layer)


def planted(departure: Departure, network: str) -> Row:
    """Grade one departure in a network; return what was found."""
    truth = first_difference(departure, network)
    row: Row = {"departure": departure.name, "network": network, "truth": truth}
    if truth is None:
        return row
    module = Disguised(departure.build(network))
    began = time.perf_counter()
    found = grade(module, network)
    layer = module.original.get(found.layer, found.layer)
    return row | {
        "passed": found.passed,
        "layer": layer,
        "side": found.side,
        "layer_right": not found.passed and layer == truth,
        "causes": found.causes,
        "cause": found.cause,
        "explained": found.explained,
        "cause_right": found.causes == [departure.name],
        "seconds": round(time.perf_counter() - began, 1),
        **here(),
    }


def every() -> Iterator[tuple[Departure, str]]:
    """Give every departure in every network that it is planted in."""
    for departure in DEPARTURES:
        for network in departure.on:
            yield departure, network


def main() -> None:
    """Read the request."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "collected", "write"])
    parser.add_argument("networks", nargs="*", help="or words, of what was collected")
    parser.add_argument("--missing", action="store_true", help="only those without a row")
    parser.add_argument("--folder", type=Path, help="with others' files and a collected.toml")
    request = parser.parse_args()
    if request.what == "collected":
        collected.run(request.networks, request.folder, request.missing)
    if request.what == "run":
        known = {key(row) for row in read()} if request.missing else set()
        networks = chosen(tuple(request.networks))
        for departure, network in every():
            if network in networks and (departure.name, network) not in known:
                row = planted(departure, network)
                add(row)
                print(told(row), flush=True)
    if not (rows := read()):
        sys.exit("There are no rows yet: python -m tools.grading run")
    PAGE.write_text(page(rows, collected.read()), encoding="utf-8")


def told(row: Row) -> str:
    """Return a row in words."""
    place = f"{row['departure']} in {row['network']}"
    if row["truth"] is None:
        return f"{place}: cannot be seen"
    layer = "right" if row["layer_right"] else f"WRONG ({row['layer']}, not {row['truth']})"
    cause = "right" if row["cause_right"] else f"WRONG ({row['cause'] or 'none'})"
    return f"{place}: layer {layer}, cause {cause}, {row['seconds']:g} s"


def key(row: Row) -> tuple[str, str]:
    """Return what tells rows apart."""
    return row["departure"], row["network"]


def read() -> list[Row]:
    """Return the rows so far, in the order of the departures."""
    return kept.ordered(RESULTS, key, [(departure.name, network) for departure, network in every()])


def add(row: Row) -> None:
    """Put a row in the place of the one before."""
    kept.add(RESULTS, read(), row, key)


def page(rows: list[Row], others: list[Row]) -> str:
    """Return the page, of planted departures and of ``others``' implementations."""
    graded = [row for row in rows if row["truth"] is not None]
    unseen = dict.fromkeys(row["departure"] for row in rows if row["truth"] is None)
    names = ", ".join(f"`{name}`" for name in unseen) or "none"
    lines = [INTRODUCTION.format(unseen=len(unseen), names=names)]
    count = len(graded)
    layers = sum(row["layer_right"] for row in graded)
    causes = sum(row["cause_right"] for row in graded)
    lines.append(
        f"Of {count} gradings, {layers} name the right layer and {causes} the right cause."
    )
    known = {key(row) for row in rows}
    if missing := [each for each in every() if (each[0].name, each[1]) not in known]:
        words = ", ".join(f"`{departure.name}` in `{network}`" for departure, network in missing)
        lines.append(f"Not graded yet: {words}.")
    origins = Counter(in_words(row) for row in graded)
    lines += ["", "Measured on:", "", *(f"- {each} ({n})" for each, n in origins.items()), ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in graded:
        cells = [
            f"`{row['departure']}`",
            f"`{row['network']}`",
            f"`{row['layer']}`" if row["layer"] else "",
            "right" if row["layer_right"] else f"wrong: `{row['truth']}`",
            ", ".join(f"`{name}`" for name in row["causes"]),
            "right" if row["cause_right"] else "wrong",
            f"{row['seconds']:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    if others:
        lines += ["", *collected.section(others)]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()
