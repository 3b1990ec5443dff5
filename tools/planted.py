"""Plant every departure, look at it with ``verify``, and keep what it says.

    python -m tools.planted [NETWORK ...] [--missing]

A network is a name, a part of names or a shell pattern; all that have departures unless given,
small ones first. What is known of the same code is not made again, and with ``--missing`` nothing
that has a row. What was found goes to ``docs/results/planted.json``, row by row: several calls add
up. ``docs/exactness.md`` counts from it (``python -m tools.exactness write``).
"""

import argparse
import ast
import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.results import code_digest, without_docstrings
from tools import rows
from tools.origin import here
from tools.rows import Row
from torchfolio.cli.verify import chosen
from torchfolio.networks.catalogue import find_card
from torchfolio.verification import verify
from torchfolio.verification.criteria import find_criteria
from torchfolio.verification.departures import DEPARTURES, Departure
from torchfolio.verification.grading import form_of
from torchfolio.verification.judge import seen_at_rest

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results" / "planted.json"
SOURCE = ROOT / "src" / "torchfolio"
CODE = ("layers", "networks", "verification/criteria", "verification/departures")


def every() -> Iterator[tuple[Departure, str]]:
    """Give every departure in every network that it is planted in."""
    for departure in DEPARTURES:
        for network in departure.on:
            yield departure, network


def code() -> str:
    """Return a digest of the code that a verdict depends on, without recipes and cards."""
    state = hashlib.blake2b(digest_size=8)
    for folder in CODE:
        state.update(code_digest(SOURCE / folder, data=False).encode())
    for path in sorted((SOURCE / "verification").glob("*.py")):
        tree = without_docstrings(ast.parse(path.read_text(encoding="utf-8")))
        state.update(ast.dump(tree).encode())
    return state.hexdigest()


def planted(departure: Departure, network: str) -> Row:
    """Look at one departure in a network as ``verify`` does; return what it says first.

    What is seen before any pass, as a wrong start, ``verify`` says first: then no pass is made.
    """
    card = find_card(network)
    began = time.perf_counter()
    faults = seen_at_rest(departure.build(network), find_criteria(card, form_of(card)))
    if not first(faults):
        faults = verify(network, network=departure.build(network)).failures
    return {
        "departure": departure.name,
        "network": network,
        "layer": departure.on[network],
        "caught": bool(faults),
        "named": names(faults, departure.on[network]),
        "said": first(faults),
        "seconds": round(time.perf_counter() - began, 1),
    }


def first(faults: Sequence[str]) -> str:
    """Return the first fault; the count of the whole network, which has no layer, is passed by."""
    return next((each for each in faults if not each.startswith("there are ")), "")


def names(faults: Sequence[str], layer: str) -> bool:
    """Return whether the first fault names a layer, or something in it."""
    return re.search(rf"(?<![\w.]){re.escape(layer)}(?!\w)", first(faults)) is not None


def key(row: Row) -> tuple[str, str]:
    """Return what tells rows apart."""
    return row["departure"], row["network"]


def read() -> list[Row]:
    """Return the rows so far, in the order of the departures."""
    return rows.ordered(RESULTS, key, [(departure.name, network) for departure, network in every()])


def add(row: Row) -> None:
    """Put a row in the place of the one before."""
    rows.add(RESULTS, read(), row, key)


def told(row: Row) -> str:
    """Return a row in words."""
    what = "NOT caught" if not row["caught"] else "caught" + ("" if row["named"] else ", NOT named")
    return f"{row['departure']} in {row['network']}: {what}, {row['seconds']:g} s: {row['said']}"


def main() -> None:
    """Read the request."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--missing", action="store_true", help="only those without a row")
    request = parser.parse_args()
    networks = chosen(tuple(request.networks))
    origin = {"code": code(), **here()}
    torch.set_num_threads(origin["threads"])
    known = {key(row) for row in read() if request.missing or row["code"] == origin["code"]}
    for departure, network in sorted(every(), key=lambda each: find_card(each[1]).parameters):
        if network in networks and (departure.name, network) not in known:
            row = planted(departure, network) | origin
            add(row)
            print(told(row), flush=True)


if __name__ == "__main__":
    main()
