"""``folio list``: the catalogue as a table."""

from typing import Annotated

from cyclopts import Parameter

from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.errors import RequestError
from torchfolio.networks.catalogue import find_card, list_networks


def list_(
    pattern: str = "*",
    *,
    task: Annotated[str | None, Parameter(help="Only networks for this task.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List networks, tasks, parameters and papers.

    Example: folio list 'resnet*' --task image-classification

    Parameters
    ----------
    pattern
        A part of a name, or a shell pattern.
    """
    out = Output(json, quiet)
    found = [find_card(name) for name in list_networks(pattern, task)]
    if not found:
        raise RequestError(f"No network matches {pattern!r}. 'folio list' shows all of them.")
    out.document(
        [
            {
                "name": card.name,
                "tasks": card.tasks,
                "year": card.year,
                "paper": card.paper,
                "parameters": card.parameters,
            }
            for card in found
        ]
    )
    rows = [
        (card.name, ", ".join(card.tasks), card.year, f"{card.parameters:,}", card.paper)
        for card in found
    ]
    out.table(("network", "task", "year", "parameters", "paper"), rows, right=(3,))
