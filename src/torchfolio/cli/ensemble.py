"""``folio ensemble``: several runs become one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.cli.process import quick_imports
from torchfolio.cli.targets import require_writable

HEADER = ("", "network", "accuracy", "", "log-loss", "weight")


def ensemble(
    *runs: Path,
    method: Annotated[
        Literal["mean", "weighted", "vote", "stack"],
        Parameter(
            help="mean of the probabilities; weighted: a mean whose weights are fitted on "
            "validation data; vote: the majority; stack: logistic regression on the "
            "log-probabilities, fitted on validation data."
        ),
    ] = "mean",
    out: Annotated[
        Path | None, Parameter(help="The folder of the new run; must not hold a run.")
    ] = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    report: Annotated[bool, Parameter(help="Write report.html.")] = True,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make one run of several that were trained on the same data with the same split.

    It holds copies of its members, and evaluates, predicts, compares and exports like any other
    run. The report shows each member, what the ensemble gains, whether that is more than chance,
    and how often members disagree.

    Example: folio ensemble runs/vgg runs/resnet --method weighted --out runs/both

    Parameters
    ----------
    runs
        The run folders of the members, two or more.
    """
    if out is not None:
        require_writable(out / "recipe.toml", "--out")
    with quick_imports():
        from torchfolio.cli.progress import result_lines
        from torchfolio.ensembles.making import ensemble as make_ensemble

    output = Output(json, quiet)
    run = make_ensemble(runs, method=method, out=out, device=device, report=report, say=output.say)
    metrics = run.metrics
    keys = ("task", "metrics", "baseline", "digest", "training")
    told = metrics["details"].get("ensemble")
    output.document({"run": str(run.path)} | {key: metrics[key] for key in keys} | (told or {}))
    for line in result_lines(metrics):
        output.show(line)
    if told is not None:
        output.table(HEADER, figure_rows(told, metrics["metrics"]), right=range(2, len(HEADER)))
        for line in summary(told):
            output.show(line)
    if report and told is not None:
        output.show(f"report: {run.path / 'report.html'}")


def figure_rows(details: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[list[str]]:
    """Return a row for each member and the ensemble, below :data:`HEADER`.

    ``details`` are what ``metrics.json`` holds of the ensemble, ``metrics`` its own figures.
    """
    together = {"name": "ensemble", "network": details["method"], **metrics}
    rows = []
    for each in [*details["members"], together]:
        accuracy, loss = each["accuracy"], each["log_loss"]
        ends = "" if accuracy["low"] is None else f"[{accuracy['low']:.4f}, {accuracy['high']:.4f}]"
        weight = f"{each['weight']:.3f}" if "weight" in each else ""
        value, missed = f"{accuracy['value']:.4f}", f"{loss['value']:.4f}"
        rows.append([each["name"], each["network"], value, ends, missed, weight])
    return rows


def summary(details: Mapping[str, Any]) -> list[str]:
    """Return in a few lines what ``metrics.json`` holds of an ensemble."""
    lines = [f"ensemble - {pair['second']}: {pair['verdict']}" for pair in details["pairs"]]
    lines += [
        f"{each['first']}, {each['second']}: different answers to {each['disagree']:,} examples; "
        f"both right on {each['both']:,}, only the first on {each['only_first']:,}, only the "
        f"second on {each['only_second']:,}, neither on {each['neither']:,}"
        for each in details["disagreement"]
    ]
    return [*lines, f"at least one member is right on {details['oracle']['value']:.2%}"]
