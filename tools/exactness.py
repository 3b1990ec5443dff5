"""Verify networks, each in a process of its own, and write docs/exactness.md.

    python -m tools.exactness run [NETWORK ...] [--missing] [--export-only] [--counts-only]
    python -m tools.exactness write

A network is a name, a part of names or a shell pattern; all of them unless given, and with
``--missing`` those that have no row yet; with ``--export-only`` rows keep what was verified and
only the export is measured anew, with ``--counts-only`` the multiply-adds in training. What
``folio verify NETWORK --json`` printed goes to ``docs/results/exactness.json``, with the time and
the memory that it took, the machine and the versions. Several calls add up. The planted mistakes
are those of ``python -m tools.planted``.
"""

import argparse
import inspect
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.process import measure
from tools import planted
from tools import rows as kept
from tools.origin import here, in_words
from tools.rows import Row
from torchfolio.cli.verify import chosen
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import Card, cards, find_card

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results" / "exactness.json"
PAGE = ROOT / "docs" / "exactness.md"
LIMIT = 3600.0  # seconds for one network

INTRODUCTION = """\
# Exactness

Every network of the catalogue beside its canonical implementation, or, where none can be installed,
beside our own calculation of its paper: what `folio verify` found. The [guide](guides/verify.md)
says what is compared, and lists the mistakes that must be caught.

- *parameters*: trained and frozen ones, no buffers.
- *multiply-adds*: of one image of the paper's size in evaluation mode, as torch's `flop_counter`
  counts them. What runs in training alone, as a decoder or auxiliary heads, is not counted there: a
  note says how many there are with it.
- *float32*, *float64*: the largest difference of any layer's input or output, of the outputs, of
  any gradient or of any buffer, in evaluation and train mode, relative to the largest value there.
  At most {tolerance:.0e} and {tolerance_float64:.0e} are allowed.
- *ONNX*: the largest difference between a probability by the network, with weights as a training
  leaves them, and by onnxruntime from its [exported](guides/export.md) file, at the paper's size,
  batches of one and of three. *rounding*: the same between the network in float32 and in float64,
  which says what another order of the same sums may change: in a hundred layers without shortcuts,
  not trained, as much as the answer. Faster R-CNN is not exported (–).
- *s*, *MiB*: how long the command took, with its imports, and the largest memory that it held.

`python -m tools.exactness run` makes the rows anew, `python -m tools.exactness write` this page.
"""
COLUMNS = ("network", "parameters", "multiply-adds", "at", "laid beside", "float32", "float64",
           "ONNX", "rounding", "s", "MiB")  # fmt: skip


def main() -> None:
    """Read the request."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--missing", action="store_true", help="only those without a row")
    parser.add_argument("--export-only", action="store_true", help="only the export of known rows")
    parser.add_argument("--counts-only", action="store_true", help="only counts of known rows")
    request = parser.parse_args()
    if request.what == "run":
        known = {row["name"]: row for row in read()}
        partly = request.export_only or request.counts_only
        for name in chosen(tuple(request.networks)):
            if partly and name in known:
                row = known[name] | (exported(name) if request.export_only else {})
                add(row | (counted(name) if request.counts_only else {}))
            elif not partly and not (request.missing and name in known):
                add(verified(name))
    if not (rows := read()):
        sys.exit("There are no rows yet: python -m tools.exactness run")
    PAGE.write_text(page(rows), encoding="utf-8")


def verified(name: str) -> Row:
    """Verify one network; return what the command printed, and what it took."""
    command = [sys.executable, "-m", "torchfolio", "verify", name, "--json", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        run = measure(command, {}, Path(folder), LIMIT)
    if not isinstance(run["output"], list):
        sys.exit(f"{name} could not be verified: {run['errors']}")
    (found,) = run["output"]
    del found["layers"]
    memory = run["memory"]
    row = {
        **found,
        **exported(name),
        **counted(name),
        "seconds": round(run["wall"], 1),
        "memory_mib": None if memory is None else round(memory / 2**20),
        **here(),
    }
    word = "passed" if row["passed"] else f"FAILED: {row['failures']}"
    print(f"{name}: {word}, {row['seconds']:g} s, {row['memory_mib']} MiB", flush=True)
    return row


def exported(name: str) -> Row:
    """Return how far a network's ONNX file is from it, and float32 from float64.

    Empty for a detector of two stages, which is not exported.
    """
    if find_card(name).family == "faster_rcnn":
        return {}
    with tempfile.TemporaryDirectory() as folder:
        run = measure([sys.executable, "-m", "tools.exported", name], {}, Path(folder), LIMIT)
    found = run["output"]
    if not isinstance(found, dict):
        sys.exit(f"{name} could not be exported: {run['errors']}")
    print(f"{name} as ONNX: {found}", flush=True)
    return {"onnx_difference": found["difference"], "onnx_rounding": found["rounding"]}


def counted(name: str) -> Row:
    """Return the multiply-adds of one image in train mode, with what its page's loss computes.

    Empty for a detector of two stages, whose training depends on what there is to find.
    """
    card = find_card(name)
    if card.family == "faster_rcnn":
        return {}
    with torch.device("meta"):
        network = build(name).train()
        images = torch.zeros(2, *card.input)  # batch norm asks for two
        with FlopCounterMode(display=False) as counter:
            outputs = network(images)
            loss = getattr(network, "loss", None)
            if "image-classification" in card.tasks and loss is not None:
                more = (
                    [F.cross_entropy] if "criterion" in inspect.signature(loss).parameters else []
                )
                loss(outputs, torch.zeros(2, dtype=torch.long), *more)
    return {"macs_in_training": counter.get_total_flops() // 4}


def key(row: Row) -> str:
    """Return what tells rows apart."""
    name: str = row["name"]
    return name


def read() -> list[Row]:
    """Return the rows so far, in the catalogue's order."""
    return kept.ordered(RESULTS, key, list(cards()))


def add(row: Row) -> None:
    """Put a row in the place of the one before."""
    kept.add(RESULTS, read(), row, key)


def page(rows: list[Row]) -> str:
    """Return the page."""
    passed = [row for row in rows if row["passed"]]
    lines = [INTRODUCTION.format(**rows[0]), f"{len(passed)} of {len(cards())} networks agree."]
    if missing := [name for name in cards() if name not in {row["name"] for row in rows}]:
        lines.append(f"Not verified yet: {', '.join(f'`{name}`' for name in missing)}.")
    if failed := [row["name"] for row in rows if not row["passed"]]:
        lines.append(f"These do not: {', '.join(f'`{name}`' for name in failed)}.")
    lines += ["", told(known := planted.read(), list(planted.every())), ""]
    lines += ["Measured on:", "", *measured(rows)]
    lines += [f"- {each} ({count} planted mistakes)" for each, count in origins(known).items()]
    lines.append("")
    for family in dict.fromkeys(card.family for card in cards().values()):
        found = [row for row in rows if find_card(row["name"]).family == family]
        if found:
            lines += section(family, found)
    return "\n".join(lines).rstrip() + "\n"


def origins(rows: list[Row]) -> dict[str, int]:
    """Return how many rows were made where, when and with what."""
    return dict(Counter(in_words(row) for row in rows))


def measured(rows: list[Row]) -> list[str]:
    """Return lines of where rows were measured; but for the most, with the networks' names."""
    counts = origins(rows)
    most = max(counts, key=lambda words: counts[words])
    lines = []
    for words, count in counts.items():
        names = [f"`{row['name']}`" for row in rows if in_words(row) == words]
        which = "all others" if words == most and len(counts) > 1 else ", ".join(names)
        lines.append(f"- {words} ({count}: {which})")
    return lines


def told(rows: list[Row], every: list[tuple[planted.Departure, str]]) -> str:
    """Return how many of the planted mistakes were caught, and which were not."""
    wanted = {(departure.name, network) for departure, network in every}
    rows = [row for row in rows if planted.key(row) in wanted]
    link = "[mistakes](guides/verify.md#departures-that-it-must-catch)"
    caught, named = (sum(row[key] for row in rows) for key in ("caught", "named"))
    if named == len(wanted):
        return f"Each of {named} planted {link} is caught, and its layer named first."
    text = f"Of {len(wanted)} planted {link} {len(rows)} were tried: {caught} are caught, {named} "
    text += "with their layer named first."
    for key, words in (("caught", "Not caught"), ("named", "The layer is not named first of")):
        if missed := [row for row in rows if not row[key] and (key == "caught" or row["caught"])]:
            places = (f"`{row['departure']}` in `{row['network']}`" for row in missed)
            text += f" {words}: {', '.join(places)}."
    return text


def section(family: str, rows: list[Row]) -> list[str]:
    """Return the section of one family."""
    own = [each for each in planted.every() if find_card(each[1]).family == family]
    lines = [
        f"## {heading(find_card(rows[0]['name']))}",
        "",
        told(planted.read(), own),
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
    ]
    notes: dict[str, None] = {}
    for row in rows:
        card = find_card(row["name"])
        cells = [
            f"`{card.name}`",
            f"{row['parameters']:,}",
            f"{row['macs']:,}",
            "x".join(map(str, card.input)),
            row["reference"].replace("; ", "<br>"),
            difference(row["max_difference"]),
            difference(row["max_difference_float64"]),
            *(
                difference(row[key]) if key in row else "–"
                for key in ("onnx_difference", "onnx_rounding")
            ),
            f"{row['seconds']:.0f}",
            "" if row["memory_mib"] is None else f"{row['memory_mib']:,}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
        notes |= dict.fromkeys(f"`{card.name}`: {note}" for note in row["notes"])
        if (macs := row.get("macs_in_training", row["macs"])) != row["macs"]:
            notes[f"`{card.name}`: in training {macs:,} multiply-adds"] = None
    return [*lines, "", *(f"- {note}" for note in notes), *([""] if notes else [])]


def heading(card: Card) -> str:
    """Return the title of a family's page, as a link to it; without one, the family's name."""
    for stem in (card.family, card.builder.partition(":")[0]):
        file = PAGE.parent / "networks" / f"{stem}.md"
        if file.is_file():
            title = file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
            return f"[{title}](networks/{stem}.md)"
    return card.family


def difference(value: float | None) -> str:
    """Return a difference in words; nothing where it could not be told."""
    return "not finite" if value is None else "0" if value == 0 else f"{value:.1e}"


if __name__ == "__main__":
    main()
