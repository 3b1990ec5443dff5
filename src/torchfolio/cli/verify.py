"""``folio verify``: every network against its canonical implementation."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.errors import normalise
from torchfolio.networks.catalogue import cards, find_card, list_networks

if TYPE_CHECKING:
    from torchfolio.verification import Verification

WORST = 5  # layers shown of a network that failed


def verify(
    *names: str,
    verbose: Annotated[bool, Parameter(negative="", help="Show every layer.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Compare networks with their canonical implementations; exit 1 where one differs.

    Parameters, names, initial values, every layer's output in float32 and float64, the gradient of
    every parameter, eval and train mode, buffers, weights carried both ways. Where no
    implementation can be installed, the paper's own counts and our own calculation of its equations
    stand in, and the output says so.

    Example: folio verify 'resnet*' --verbose

    Parameters
    ----------
    names
        Names, parts of names, or shell patterns; all networks if none is given.
    """
    from torchfolio.verification import verify as judge

    out = Output(json, quiet)
    verdicts = []
    for name in chosen(names):
        if json:
            out.say(f"{name} ...")
        verdicts.append(judge(name))
        report(out, verdicts[-1], verbose)
    failed = [verdict.name for verdict in verdicts if not verdict.passed]
    out.document([verdict.as_json() for verdict in verdicts])
    if len(verdicts) > 1:
        out.show(
            f"{len(verdicts) - len(failed)} of {len(verdicts)} networks passed"
            + (f"; failed: {', '.join(failed)}" if failed else "")
        )
    return 1 if failed else 0


def chosen(names: tuple[str, ...]) -> list[str]:
    """Return the networks that names and patterns mean, in the catalogue's order."""
    if not names:
        return list(cards())
    found: set[str] = set()
    for name in names:
        exact = [key for key in cards() if normalise(key) == normalise(name)]
        matches = exact or list_networks(name)
        if not matches:
            find_card(name)  # the error names the nearest
        found.update(matches)
    return [name for name in cards() if name in found]


def report(out: Output, verdict: "Verification", verbose: bool) -> None:
    """Print one verdict."""
    word = "passed" if verdict.passed else "FAILED"
    out.show(f"{word}  {verdict.name}: {verdict.parameters:,} parameters")
    out.show(f"        against {verdict.reference}")
    if verdict.max_difference is not None and verdict.max_difference_64 is not None:
        out.show(
            f"        largest difference {verdict.max_difference:.1e} in float32 "
            f"(tolerance {verdict.tolerance:.0e}), {verdict.max_difference_64:.1e} in float64 "
            f"(tolerance {verdict.tolerance_64:.0e})"
        )
    for note in verdict.notes:
        out.show(f"        {note}")
    for failure in verdict.failures:
        out.show(f"        wrong: {failure}")
    layers = verdict.layers
    if not verbose:
        beyond = [
            layer
            for layer in layers
            if layer.float64 > verdict.tolerance_64 or layer.float32 > verdict.tolerance
        ]
        layers = beyond[:WORST]
    if layers:
        width = max(len(layer.name) for layer in layers)
        out.show(f"        {'layer':{width}}  float32  float64")
        for layer in layers:
            out.show(f"        {layer.name:{width}}  {layer.float32:7.1e}  {layer.float64:7.1e}")
