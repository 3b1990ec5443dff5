"""``folio train``: the flags of a network and its data become one call."""

import dataclasses
import inspect
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from cyclopts import Parameter

from torchfolio.cli.flags import (
    flag_parameters,
    flag_value,
    positional_tokens,
    run_verb,
    with_signature,
)
from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.cli.process import quick_imports
from torchfolio.cli.settings import parse_set
from torchfolio.cli.targets import require_writable
from torchfolio.errors import FolioError

DOCUMENTATION = """Train a network on your data, evaluate it and write a report.

Every flag left out takes its value from the network's recipe, which is printed before the first
step. 'folio train NETWORK DATA --help' shows the flags that apply to that network and those data.

Example: folio train resnet18 photos/ --epochs 10 --out runs/photos
"""


@dataclasses.dataclass(frozen=True)
class Request:
    """What belongs to the request rather than to the recipe."""

    task: Annotated[
        str | None, Parameter(help="The task, where network and data allow several.")
    ] = None
    recipe: Annotated[str | None, Parameter(help="paper, modern or a TOML file.")] = None
    out: Annotated[Path | None, Parameter(help="The run folder itself; must not hold a run.")] = (
        None
    )
    dry_run: Annotated[
        bool, Parameter(negative="", help="Say what it would do, and what it would cost.")
    ] = False
    folds: Annotated[
        int | None,
        Parameter(help="Cross-validation: train so many times, each on all folds but one."),
    ] = None
    repeats: Annotated[
        int | None,
        Parameter(help="Make the folds so many times; without --folds, train from so many seeds."),
    ] = None
    report: Annotated[bool, Parameter(help="Write report.html.")] = True
    json: Json = False
    quiet: Quiet = False


def train(tokens: list[str]) -> None:
    """Read the request and train."""
    from torchfolio.data.splits import SplitOptions
    from torchfolio.training.options import TrainingOptions
    from torchfolio.training.recipes import DataOptions, NetworkOptions, OptimizerOptions

    common = [NetworkOptions, DataOptions, SplitOptions, TrainingOptions, OptimizerOptions, Request]
    switches = {"help", "h"} | {
        name for kind in common for name, hint in get_type_hints(kind).items() if is_switch(hint)
    }
    network, data = [*positional_tokens(tokens, switches), None, None][:2]
    parameters = [
        inspect.Parameter(
            name, inspect.Parameter.POSITIONAL_ONLY, annotation=Annotated[str, Parameter(help=text)]
        )
        for name, text in (
            ("network", "A network of 'folio list'."),
            ("data", "A path, or a name such as digits."),
        )
    ]
    task_kind, reader_options = None, None
    if network is not None and data is not None:
        task_kind, reader_options = applicable(network, data, tokens)
    parameters += flag_parameters(NetworkOptions, "Network")
    data_parameters = flag_parameters(DataOptions, "Data") + flag_parameters(SplitOptions, "Data")
    if reader_options is not None:
        data_parameters += flag_parameters(reader_options, "Data")
    parameters += data_parameters
    if task_kind is not None:
        parameters += flag_parameters(task_kind.Options, "Task")
    parameters += flag_parameters(TrainingOptions, "Training")
    parameters += flag_parameters(OptimizerOptions, "Optimizer")
    hints = get_type_hints(Request, include_extras=True)
    parameters += [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=hints[each.name],
        )
        for each in dataclasses.fields(Request)
    ]
    command = with_signature(run_request, parameters, DOCUMENTATION)
    run_verb("train", command, tokens)


def is_switch(hint: Any) -> bool:
    """Return whether a flag of this type takes no value."""
    return hint is bool or bool in getattr(hint, "__args__", ())


def applicable(network: str, data: str, tokens: list[str]) -> tuple[Any, type]:
    """Return the task and the reader options that apply to a network and data."""
    with quick_imports():
        from torchfolio.data.readers import READERS, find_reader
        from torchfolio.networks.catalogue import find_card
        from torchfolio.tasks.registry import task_for
        from torchfolio.training.start import homes

    options = [each.name for kind in READERS.values() for each in dataclasses.fields(kind.Options)]
    settings: dict[str, Any] = {name: flag_value(tokens, name) for name in ["reader", *options]}
    settings["download"] = "--download" in tokens
    card, wanted = find_card(network), flag_value(tokens, "task")
    try:
        task, reader = homes(card, data, settings, wanted)
    except FolioError:
        if not {"--help", "-h"} & set(tokens):
            raise
        # help is asked for, perhaps to see the flag that says how the data are to be read
        reader, _ = find_reader(data, settings["reader"], download=settings["download"])
        task = task_for(card, reader.kind, wanted)
    assert reader is not None  # data given by a path have one
    return task, reader.Options


def run_request(
    network: str,
    data: str,
    *,
    task: str | None,
    recipe: str | None,
    out: Path | None,
    dry_run: bool,
    folds: int | None,
    repeats: int | None,
    report: bool,
    json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Train as the flags say."""
    from torchfolio.cli.progress import TrainingMonitor, show_result
    from torchfolio.folds.plan import require_free
    from torchfolio.folds.training import train as run_training
    from torchfolio.training.folder import RunFolder
    from torchfolio.training.processes import given_place, is_main

    output = Output(json, quiet or not is_main())
    settings = {key: value for key, value in settings.items() if value is not None}
    if "set" in settings:
        settings["set"] = parse_set(settings["set"])
    if out is not None and given_place()[1] == 1:  # of several, the first looks once they met
        (RunFolder.require_free if folds is None and repeats is None else require_free)(out)
        require_writable(out / "recipe.toml", "--out")
    if dry_run and not is_main():
        return
    if dry_run:
        from torchfolio.cli.dry_run import dry_run as estimate

        estimate(network, data, settings, recipe, task, output, folds, repeats)
        return
    monitor = TrainingMonitor(output)
    with monitor:
        run = run_training(
            network,
            data,
            folds=folds,
            repeats=repeats,
            out=out,
            recipe=recipe,
            task=task,
            report=report,
            watcher=monitor,
            **settings,
        )
    if is_main():
        show_result(run, output, report)
