"""``folio show``: the card of a network and its layers."""

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from torchfolio.checkpoint import write_text
from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.cli.settings import parse_set
from torchfolio.errors import RequestError
from torchfolio.networks.catalogue import Card, find_card

if TYPE_CHECKING:
    from rich.table import Table

    from torchfolio.networks.summary import Layer, Summary

LARGEST = 1_000_000  # channels, and pixels of a side


def show(
    network: str,
    *,
    input: Annotated[str | None, Parameter(name="--input")] = None,  # noqa: A002
    num_classes: int | None = None,
    set: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,  # noqa: A002
    svg: Path | None = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the card of a network and its layers: shapes, parameters, multiply-adds, what they see.

    Example: folio show resnet50 --input 3x224x224 --svg resnet50.svg

    Parameters
    ----------
    network
        Its name; 'folio list' shows all.
    input
        The image: CHANNELSxHEIGHTxWIDTH, as in 3x224x224. The paper's by default.
    num_classes
        How many classes it tells apart. The paper's by default.
    set
        An argument of the network, as in --set 'widths=[512, 512]'. May be repeated.
    svg
        A file to draw the network into.
    """
    out = Output(json, quiet)
    card = find_card(network)
    summary = describe(card, input, num_classes, parse_set(set))
    if svg is not None:
        from torchfolio.networks.diagram import draw

        write_text(svg, draw(summary, card.name))
    out.document(
        card.as_json()
        | {
            "input": summary.input,
            "parameters": summary.parameters,
            "macs": summary.macs,
            "layers": [vars(layer) for layer in summary.layers],
        }
        | ({"svg": str(svg)} if svg else {})
    )
    if not json:
        out.show(fill(f"{card.name}: {card.summary}", 80) + "\n")
        out.show(card_table(card, summary))
        out.show()
        out.show(layer_table(summary))
        out.show("\nsees: the receptive field, in pixels; MACs: multiply-adds for one image")
        if svg is not None:
            out.show(f"The diagram is in {svg}.")


def describe(
    card: Card, image: str | None, num_classes: int | None, arguments: dict[str, Any]
) -> "Summary":
    """Build a network and follow one image through it, on a device that holds no values."""
    import torch

    from torchfolio.networks.build import build
    from torchfolio.networks.summary import summarise

    channels, height, width = card.input if image is None else parse_shape(image)
    if image is None:  # then the arguments may say it
        channels = arguments.get("in_channels", channels)
        height, width = arguments.get("image_size", (height, width))
    given: dict[str, Any] = {
        "num_classes": num_classes,
        "in_channels": channels,
        "image_size": (height, width),
    }
    with torch.device("meta"):
        built = build(card.name, **({k: v for k, v in given.items() if v is not None} | arguments))
    return summarise(built, (channels, height, width))


def parse_shape(text: str) -> tuple[int, int, int]:
    """Return (channels, height, width) of text such as "3x224x224"."""
    sizes = text.lower().replace("×", "x").split("x")
    if len(sizes) != 3 or not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise RequestError(f"--input takes CHANNELSxHEIGHTxWIDTH, as in 3x224x224, not {text!r}.")
    channels, height, width = (int(size) for size in sizes)
    if max(channels, height, width) > LARGEST:
        raise RequestError(f"--input is {text}; each of its sizes should be {LARGEST:,} or less.")
    return channels, height, width


def card_table(card: Card, summary: "Summary") -> "Table":
    """Return the facts of a card as a table of two columns."""
    from rich.table import Table

    source = f"{card.paper}, {card.year}" + (f", arXiv {card.arxiv}" if card.arxiv else "")
    facts = {
        "paper": source,
        "tasks": ", ".join(card.tasks),
        "input": f"{by(summary.input)} (channels, height, width); {sizes_taken(card)}",
        "loss": card.loss,
        "reference": card.reference,
        "recipe": card.recipe,
        "weights": f"torchvision's {card.weights} (--weights imagenet)" if card.weights else "",
        "differences": "\n".join(f"- {difference}" for difference in card.differences),
    }
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        if fact:
            table.add_row(name, fact)
    return table


def sizes_taken(card: Card) -> str:
    """Say which sizes of image a network takes."""
    if card.one_size:
        return "no other size"
    step = f", in multiples of {card.step}" if card.multiple_of else ""
    return f"from {by(card.min_input)} on{step}"


def layer_table(summary: "Summary") -> "Table":
    """Return the layers as a table; blocks that repeat the one before are one line."""
    from rich.table import Table

    from torchfolio.networks.blocks import blocks

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("layer", "kind", "output"):
        table.add_column(name, overflow="fold")
    for name in ("parameters", "MACs", "sees"):
        table.add_column(name, justify="right", no_wrap=True)
    for block in blocks(summary):
        for layer in block.layers:
            table.add_row(
                layer.name or "(itself)",
                layer.words,
                by(layer.output),
                f"{layer.parameters:,}",
                f"{layer.macs:,}",
                sees(layer),
            )
        if block.repeats:
            last = block.repeats[-1]
            layers = [layer for repeat in block.repeats for layer in repeat.layers]
            table.add_row(
                last.name if len(block.repeats) == 1 else f"{block.repeats[0].name} to {last.name}",
                "the same" if len(block.repeats) == 1 else f"the same, {len(block.repeats)}x",
                by(last.layers[-1].output),
                f"{sum(layer.parameters for layer in layers):,}",
                f"{sum(layer.macs for layer in layers):,}",
                sees(last.layers[-1]),
                style="dim",
            )
    table.add_section()
    table.add_row("all", "", "", f"{summary.parameters:,}", f"{summary.macs:,}", "", style="bold")
    return table


def sees(layer: "Layer") -> str:
    """Return how many pixels an output of a layer sees: one number where it is a square."""
    if not layer.output:
        return ""
    if layer.receptive_field is None:
        return "image"
    height, width = layer.receptive_field
    return f"{height}" if height == width else f"{height}x{width}"


def by(sizes: tuple[int, ...]) -> str:
    """Return sizes as text: "3x224x224"."""
    return "x".join(str(size) for size in sizes)
