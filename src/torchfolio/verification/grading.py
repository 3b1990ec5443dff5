"""Grading anyone's implementation: is it the canonical network, and if not, where and why not.

``python -m torchfolio.verification.grading FILE NAME NETWORK [MAP]`` runs the person's code in its
process and prints a verdict as JSON; :func:`grade_file` starts that process. The catalogue's
network, itself verified against its canonical implementation, is the reference. A cause is named
where one of the known departures (:mod:`torchfolio.verification.departures`), planted into it,
gives what the person's module gives.
"""

import contextlib
import importlib.util
import inspect
import io
import json
import subprocess
import sys
import tomllib
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchfolio.errors import FolioError, RequestError
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import Card, find_card
from torchfolio.verification.comparison import Difference, compare, first_layer, others
from torchfolio.verification.criteria import Form, find_criteria
from torchfolio.verification.departures import DEPARTURES, Departure
from torchfolio.verification.draw import calibrate, draw
from torchfolio.verification.judge import TOLERANCES, TYPES, num_classes_of
from torchfolio.verification.matching import Match, match
from torchfolio.verification.observation import Observation, observe

LIMIT = 900.0  # seconds that a person's module may take in all
MOST = 5


@dataclass
class Grade:
    """The verdict on a person's module.

    ``layer`` is the first layer of theirs that differs, ``where`` says how in the network's names,
    ``cause`` why, where that is known. ``matched`` counts the values that were laid side by side.
    """

    name: str
    network: str
    passed: bool = False
    parameters: int = 0
    expected: int = 0
    matched: int = 0
    layer: str = ""
    where: str = ""
    cause: str = ""
    max_difference: float | None = None
    failures: list[str] = field(default_factory=list)
    layers: dict[str, str] = field(default_factory=dict)


def grade_file(
    file: Path, name: str, network: str, mapping: Path | None = None, limit: float = LIMIT
) -> Grade:
    """Grade ``name`` of a file as a network, in a process of its own."""
    find_card(network)
    if not file.is_file():
        raise RequestError(f"There is no file {file}. Say FILE.py:NAME.")
    arguments = [sys.executable, "-m", __spec__.name, str(file), name, network]
    arguments += [str(mapping)] if mapping is not None else []
    try:
        done = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
            errors="replace", timeout=limit, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise FolioError(
            f"{file}:{name} did not end within {limit:g} s. Put what trains or tests in that file "
            "below \"if __name__ == '__main__':\"."
        ) from error
    try:
        found = json.loads(done.stdout.rpartition("\n\0")[2])
    except ValueError as error:
        last = done.stderr.strip()[-500:]
        raise FolioError(f"The process that ran {file} ended unexpectedly. {last}") from error
    if "refused" in found:
        raise RequestError(found["refused"])
    return Grade(**found)


def load(file: Path, name: str, form: Form) -> nn.Module:
    """Execute a file and return the module that its ``name`` is or makes."""
    spec = importlib.util.spec_from_file_location("graded", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["graded"] = module
    sys.path.append(
        str(file.parent.absolute())
    )  # for modules of theirs; ours and Python's go first
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, name):
            kinds = [key for key, value in vars(module).items() if callable(value)]
            raise RequestError(f"{file} has no {name}; it has {', '.join(kinds[:10])}.")
        found = getattr(module, name)
        if isinstance(found, nn.Module):
            return found
        made = found(**classes(found, form))
    except RequestError:
        raise
    except (Exception, SystemExit) as error:  # a person's code may fail in any way
        raise RequestError(f"{file}:{name} cannot be made: {told(error, file)}") from error
    if not isinstance(made, nn.Module):
        raise RequestError(f"{file}:{name} makes a {type(made).__name__}, not a torch.nn.Module.")
    return made


def classes(maker: Any, form: Form) -> dict[str, int]:
    """Return the number of classes under the name that a maker has for it."""
    try:
        known = inspect.signature(maker).parameters
    except (TypeError, ValueError):
        return {}
    names = ("num_classes", "n_classes", "num_class", "nb_classes", "classes", "class_num")
    return next(({name: form.num_classes} for name in names if name in known), {})


def told(error: BaseException, file: Path) -> str:
    """Return an error with the line of the person's file where it arose."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [each.lineno for each in frames if Path(each.filename).name == file.name]
    place = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {error}{place}."


def grade(
    module: nn.Module, network: str, *, name: str = "", given: Mapping[str, str] | None = None
) -> Grade:
    """Compare a person's module with a network of the catalogue; it is left with other weights."""
    card = find_card(network)
    form = Form(num_classes_of(card), card.input[0], (card.input[1], card.input[2]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ours = build(card.name)
    result = Grade(name or type(module).__name__, card.name)
    result.parameters = sum(each.numel() for each in module.parameters())
    result.expected = card.parameters
    criteria = find_criteria(card, form)
    module, found, faults = module.float(), None, []
    for size in (criteria.image, card.input[1:]):  # an odd one, else the paper's
        generator = torch.Generator().manual_seed(3)
        images = torch.randn(criteria.batch, form.in_channels, *size, generator=generator)
        try:
            found = match(module, ours, images, given)
            break
        except FolioError:
            raise
        except Exception as error:  # a person's code may fail in any way
            faults.append(f"{type(error).__name__}: {error}")
    if found is None:
        result.failures.append(f"it does not run: {faults[-1]}")
        return result
    result.matched, result.layers = len(found.values), dict(found.layers)
    count(result, found, module, ours)
    look(result, found, module, ours, images, card)
    result.passed = not result.failures
    return result


def count(result: Grade, found: Match, module: nn.Module, ours: nn.Module) -> None:
    """Say what one of the two has and the other has not."""
    if result.parameters != result.expected:
        result.failures.append(
            f"there are {result.parameters:,} parameters; {result.network} has {result.expected:,}"
        )
    for names, side, words in (
        (found.missing, ours, "of the network has no partner in yours"),
        (found.extra, module, "of yours has no partner in the network"),
    ):
        state = side.state_dict()
        for name in names[:MOST]:
            size = "x".join(map(str, state[name].shape)) or "a number"
            result.failures.append(f"{name} ({size}) {words}")
        if len(names) > MOST:
            result.failures.append(f"and {len(names) - MOST} more of the kind")


def look(
    result: Grade, found: Match, module: nn.Module, ours: nn.Module, images: Tensor, card: Card
) -> None:
    """Run both with the same values, in both types and modes, and say where they part."""
    values = draw(ours.state_dict(), seed=1)
    if any(name.endswith("running_mean") for name in values):
        ours.double().load_state_dict(values)
        calibrate(values, observe(ours, images.double(), True), seed=2)
    seen: dict[tuple[torch.dtype, bool], Observation] = {}
    worst = 0.0
    for kind in (torch.float64, torch.float32):
        for training in (False, True):
            give(ours.to(kind), values)
            give(module.to(kind), theirs_from(values, found, module))
            expected = observe(ours, images.to(kind), training)
            theirs = renamed(observe(module, images.to(kind), training), found)
            shape_as(theirs, expected)
            leave_out(theirs, found, module, ours)
            seen[kind, training] = theirs
            differences = list(compare(expected, theirs))
            worst = max([worst, *(each.relative for each in differences)])
            faults = faults_of(differences, theirs, TOLERANCES[kind])
            if faults and not result.where:
                mode = f"{TYPES[kind]}, {'train' if training else 'eval'} mode"
                result.where = f"{faults[0]} ({mode})"
                result.layer = theirs_name(faults[0], found)
                result.failures += [f"{each} ({mode})" for each in faults[:MOST]]
        if result.where:
            break
    result.max_difference = worst if worst < float("inf") else None
    if result.where or result.parameters != result.expected:
        counts = None if result.where else result.parameters
        result.cause = cause(seen, values, images, card, counts)


def give(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Copy values into a module by their names."""
    own = module.state_dict()
    with torch.no_grad():
        for name, value in values.items():
            own[name].copy_(value.reshape(own[name].shape))


def theirs_from(values: Mapping[str, Tensor], found: Match, module: nn.Module) -> dict[str, Tensor]:
    """Return the drawn values under the person's names; biases without a partner are zero."""
    result = {theirs: values[ours] for theirs, ours in found.values.items()}
    own = module.state_dict()
    for name in found.extra:
        if name.endswith("bias"):
            result[name] = torch.zeros_like(own[name])
    for name in own:
        if name.endswith("num_batches_tracked"):
            result[name] = torch.tensor(7)
    return result


def renamed(seen: Observation, found: Match) -> Observation:
    """Return an observation of theirs under our names, in our shapes where the sizes agree."""
    layers = {
        (found.layers[layer], side, call): value
        for (layer, side, call), value in seen.layers.items()
        if layer in found.layers
    }
    gradients = {found.values.get(name, f"yours: {name}"): g for name, g in seen.gradients.items()}
    if "images" in seen.gradients:
        gradients["images"] = seen.gradients["images"]
    buffers = {found.values[name]: b for name, b in seen.buffers.items() if name in found.values}
    return Observation(
        layers, seen.outputs, gradients, buffers, seen.error,
        found.layers.get(seen.stopped_in, seen.stopped_in),
    )  # fmt: skip


def shape_as(theirs: Observation, expected: Observation) -> None:
    """Give what has as many values the reference's shape: a linear layer is a 1x1 convolution."""
    pairs: list[tuple[dict[Any, Tensor], dict[Any, Tensor]]] = [
        (theirs.layers, expected.layers),
        (theirs.gradients, expected.gradients),
        (theirs.buffers, expected.buffers),
    ]
    for found, wanted in pairs:
        for name, value in found.items():
            if name in wanted and value.numel() == wanted[name].numel():
                found[name] = value.reshape(wanted[name].shape)


def leave_out(theirs: Observation, found: Match, module: nn.Module, ours: nn.Module) -> None:
    """Drop what layers of another kind give: a norm of theirs may have its activation inside."""
    kinds = {
        other: type(module.get_submodule(one)) is type(ours.get_submodule(other))
        for one, other in found.layers.items()
    }
    for place in list(theirs.layers):
        if place[1] == "output" and not kinds.get(place[0], True):
            del theirs.layers[place]


def faults_of(differences: list[Difference], seen: Observation, tolerance: float) -> list[str]:
    """Return what differs in outputs, gradients and buffers, after the first layer that does."""
    faults = others(differences, tolerance)
    if seen.error:
        faults = [f"{seen.stopped_in or 'it'} failed: {seen.error}"]
    layer = first_layer(differences, tolerance) if faults else ""
    return [layer, *faults] if layer else faults


def theirs_name(fault: str, found: Match) -> str:
    """Return the person's name of the layer that a fault names last."""
    back = {ours: theirs for theirs, ours in found.layers.items()}
    words = [word.strip(":,.;") for word in fault.split(" differs")[0].split()]
    names = [back[word] for word in words if word in back]
    names += [back[word.rpartition(".")[0]] for word in words if word.rpartition(".")[0] in back]
    return names[-1] if names else ""


def cause(
    seen: Mapping[tuple[torch.dtype, bool], Observation],
    values: Mapping[str, Tensor],
    images: Tensor,
    card: Card,
    parameters: int | None,
) -> str:
    """Return the known departure that gives what was seen, in words; empty where none does.

    Where nothing but the number of ``parameters`` differs, that must be the departure's too.
    """
    for departure, layer in candidates(card):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            planted = build(card.name)
        with contextlib.suppress(Exception):  # it may not fit this form
            departure.plant(planted, layer)
            if parameters not in (None, sum(each.numel() for each in planted.parameters())):
                continue
            if all(agrees(planted, mode, values, images, seen) for mode in (False, True)):
                return f"{departure.description} ({departure.name})"
    return ""


def candidates(card: Card) -> Iterator[tuple[Departure, str]]:
    """Give the departures of this network, then those of others of its page that fit it."""
    page = card.builder
    for departure in DEPARTURES:
        if card.name in departure.on:
            yield departure, departure.on[card.name]
    for departure in DEPARTURES:
        for network, layer in departure.on.items():
            if network != card.name and find_card(network).builder == page:
                yield departure, layer
                break


def agrees(
    planted: nn.Module,
    training: bool,
    values: Mapping[str, Tensor],
    images: Tensor,
    seen: Mapping[tuple[torch.dtype, bool], Observation],
) -> bool:
    """Return whether a network with a planted departure does what was seen, in float64."""
    found = seen.get((torch.float64, training))
    if found is None or found.outputs is None:
        return False
    own = planted.double().state_dict()
    give(planted, {name: value for name, value in values.items() if name in own})
    other = observe(planted, images.double(), training)
    tolerance = TOLERANCES[torch.float64]
    differences = list(compare(other, found))
    told = [each for each in differences if each.kind in ("outputs", "gradient", "buffer")]
    return not other.error and bool(told) and all(each.relative <= tolerance for each in told)


def read_map(path: Path) -> dict[str, str]:
    """Read pairs of layers: TOML, ``"yours" = "the network's"``."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RequestError(
            f'The map {path} cannot be read: {error}. It has lines such as "net.0" = "conv1".'
        ) from error
    if not all(isinstance(value, str) for value in table.values()):
        raise RequestError(f'The map {path} has lines such as "net.0" = "conv1", and no others.')
    return table


def main() -> None:
    """Run what :func:`grade_file` asks for; the person's own prints are kept away."""
    file, name, network, *mapping = sys.argv[1:]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            given = read_map(Path(mapping[0])) if mapping else None
            card = find_card(network)
            form = Form(num_classes_of(card), card.input[0], (card.input[1], card.input[2]))
            module = load(Path(file), name, form)
            verdict = asdict(grade(module, network, name=f"{file}:{name}", given=given))
    except FolioError as error:
        verdict = {"refused": str(error)}
    sys.stdout.write("\n\0" + json.dumps(verdict))


if __name__ == "__main__":
    main()
