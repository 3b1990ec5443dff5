"""``folio verify``: every network against its canonical implementation."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.errors import RequestError, normalise
from torchfolio.networks.catalogue import cards, find_card, list_networks

if TYPE_CHECKING:
    from torchfolio.verification import Verification
    from torchfolio.verification.grading import Grade

WORST = 5  # layers shown of a network that failed


def verify(
    *names: str,
    as_: Annotated[
        str | None, Parameter(name="--as", help="The network that FILE.py:NAME should be.")
    ] = None,
    map_: Annotated[
        Path | None, Parameter(name="--map", help="Pairs of layers, where names do not tell: TOML.")
    ] = None,
    verbose: Annotated[bool, Parameter(negative="", help="Show every layer.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Compare networks with their canonical implementations; exit 1 where one differs.

    Parameters, multiply-adds, names, initial values, every layer's output in float32 and float64,
    the gradient of every parameter, eval and train mode, buffers, weights carried both ways. Where
    no implementation can be installed, the paper's own counts and our own calculation of its
    equations stand in, and the output says so.

    'folio verify FILE.py:NAME --as NETWORK' grades anyone's implementation: it runs the file, in a
    process of its own, and says where it first differs and, if that is a known departure, why.

    Example: folio verify 'resnet*' --verbose

    Parameters
    ----------
    names
        Names, parts of names, or shell patterns; all networks if none is given. FILE.py:NAME is a
        person's own module.
    """
    out = Output(json, quiet)
    files = [name for name in names if FILE.search(name)]
    if files or as_ is not None or map_ is not None:
        return grade_files(out, names, as_, map_, verbose)
    from torchfolio.verification import verify as judge

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


FILE = re.compile(r"\.py:\w+$")  # a person's own: FILE.py:NAME
# Where a person's module first differs, by what of a layer does
PLACES = {
    "output": "first in your {}",
    "input": "first in what your {} reads",
    "outputs": "first behind your {}",
    "gradient": "first in the gradient at your {}",
    "buffer": "first in the buffers of your {}",
    "values": "first in the values of your {}",
    "extra": "first in your {}, which the network has not",
    "error": "first in your {}, which fails",
}


def grade_files(
    out: Output, names: tuple[str, ...], network: str | None, mapping: Path | None, verbose: bool
) -> int:
    """Grade persons' own modules; return the exit status."""
    from torchfolio.verification.grading import grade_file

    own = [name for name in names if FILE.search(name)]
    if network is None or not own or len(own) < len(names):
        raise RequestError(
            "To grade your own module say 'folio verify FILE.py:NAME --as NETWORK'; the networks "
            "of the catalogue are verified without --as."
        )
    grades = []
    for each in own:
        file, _, name = each.rpartition(":")
        out.say(f"running {file} in a process of its own")
        grades.append(grade_file(Path(file), name, network, mapping))
        show_grade(out, grades[-1], verbose)
    out.document(
        [
            {
                "name": grade.name,
                "passed": grade.passed,
                "reference": f"torchfolio {grade.network}",
                "max_difference": grade.max_difference,
                "parameters": grade.parameters,
                "expected_parameters": grade.expected,
                "matched": grade.matched,
                "layer": grade.layer,
                "side": grade.side,
                "after": grade.after,
                "where": grade.where,
                "cause": grade.cause,
                "causes": grade.causes,
                "explained": grade.explained,
                "failures": grade.failures,
                "notes": grade.notes,
                "layers": grade.layers,
            }
            for grade in grades
        ]
    )
    return 0 if all(grade.passed for grade in grades) else 1


def show_grade(out: Output, grade: "Grade", verbose: bool) -> None:
    """Print one grade."""
    word = "passed" if grade.passed else "FAILED"
    out.show(f"{word}  {grade.name} as {grade.network}: {grade.parameters:,} parameters")
    out.show(f"        {grade.matched} values laid side by side")
    if grade.max_difference is not None:
        out.show(f"        largest difference {grade.max_difference:.1e}")
    if grade.layer:
        after = f", after your {grade.after}" if grade.after and grade.side == "input" else ""
        out.show(f"        {PLACES[grade.side].format(grade.layer)}{after}")
    if grade.cause:
        out.show(f"        probable cause: {grade.cause}")
    for failure in grade.failures:
        out.show(f"        wrong: {failure}")
    for note in grade.notes:
        out.show(f"        {note}")
    if verbose:
        for theirs, ours in grade.layers.items():
            out.show(f"        {theirs or '(itself)'} = {ours}")


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
    macs = "" if verdict.macs is None else f", {verdict.macs:,} multiply-adds"
    out.show(f"{word}  {verdict.name}: {verdict.parameters:,} parameters{macs}")
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
