"""From a run to a file in another format: written, checked, and only then put into its place."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from torchfolio import __version__
from torchfolio.checkpoint import replacing
from torchfolio.errors import FolioError, RequestError
from torchfolio.export.check import Ask, Checked, Held, by_file, by_task, check, sample
from torchfolio.export.exported import Exported, values_of
from torchfolio.export.facts import FORMAT, find_format
from torchfolio.export.writing import failed, require, write_onnx, write_torch, write_weights
from torchfolio.networks.weights import load_weights, read_weights
from torchfolio.tasks.base import Context, Parts, Task
from torchfolio.tasks.outputs import batch_size

OUTPUT = "probabilities"  # the name of what an exported network returns
WRITERS = {"onnx": write_onnx, "torch": write_torch}


def facts_of(
    task: Task, parts: Parts, network: str, settings: dict[str, Any], run: str
) -> dict[str, Any]:
    """Return what an exported file says of itself; ``settings`` are the network's arguments."""
    return {
        "format_version": FORMAT,
        "torchfolio": __version__,
        "task": task.name,
        "network": network,
        "settings": settings,
        "run": run,
        "inputs": task.export_inputs(parts),
        "output": OUTPUT,
    } | task.export_facts(parts)


def beside_weights(task: Task) -> dict[str, Any]:
    """Return what weights alone do not say: how pictures are normalised, and anchors."""
    state = task.state
    found = {key: state[key].tolist() for key in ("mean", "std") if key in state}
    return found | ({"anchors": state["anchors"]} if "anchors" in state else {})


def target_of(kind: str, wanted: str | Path | None, usual: Path) -> Path:
    """Return where a file goes: where it is wanted, else to ``usual`` with the format's suffix.

    Raises ``RequestError`` for an unknown format, one whose libraries are missing, and another
    suffix.
    """
    suffix = find_format(kind)
    require(kind)
    if wanted is None:
        return usual.with_name(usual.name + suffix)
    if Path(wanted).suffix.lower() != suffix:
        raise RequestError(f"--out is {wanted}; a file of the format {kind} ends in {suffix}.")
    return Path(wanted)


def export(
    task: Task,
    parts: Parts,
    renew: Callable[[], Parts],
    facts: dict[str, Any],
    held: Held,
    context: Context,
    kind: str,
    path: Path,
    say: Callable[[str], None] = lambda _: None,
) -> Checked:
    """Write a run's network to ``path`` in a format, checked on the ``held`` examples.

    ``parts`` are in evaluation mode; ``context`` is on the CPU, where the network is taken to be
    written; ``renew`` builds parts of the same form anew. Nothing is left at ``path`` where the
    file does not answer as the run does: what was there before stays. Raises ``FolioError`` then,
    and where it cannot be written.
    """
    if kind == "safetensors" and "network" not in parts:
        raise RequestError(
            f"The format safetensors holds the weights of one network; {facts['run']} has several. "
            "Export its members, or take --format onnx or torch."
        )
    parts = Parts({name: on_cpu(part) for name, part in parts.items()})
    say(f"writing {facts['network']} as {kind}")
    with replacing(path) as temporary:
        if kind == "safetensors":
            write_weights(parts.network, facts | beside_weights(task), temporary)
            file = by_weights(task, renew(), temporary, held, context)
        else:
            try:
                WRITERS[kind](task.exported(parts), facts["inputs"], facts, temporary)
            except (FolioError, OSError):
                raise
            except Exception as error:  # an exporter raises whatever it stumbles over
                raise failed(facts["network"], kind, error) from error
            file = by_file(Exported(temporary, kind), held.dataset)
        held = sample(by_task(task, parts, held.dataset, context), held)
        say(f"checking it on {len(held.indices):,} {held.split} examples")
        run = by_task(task, parts, held.dataset, context)
        at_once = batch_size(context, values_of(facts["inputs"]))
        return check(run, file, held, at_once, str(path), task)


def on_cpu(part: nn.Module) -> nn.Module:
    """Return a module on the CPU: itself, or a copy where it lies elsewhere."""
    if all(each.device.type == "cpu" for each in part.parameters()):
        return part
    return copy.deepcopy(part).cpu()


def by_weights(task: Task, parts: Parts, path: Path, held: Held, context: Context) -> Ask:
    """Return what asks a new network that has taken its weights from a file."""
    load_weights(parts.network, read_weights(path), strict=True)
    fresh = Parts({name: part.eval() for name, part in parts.items()})
    return by_task(task, fresh, held.dataset, context)
