"""Write docs/results.md and its figures from the files in docs/results."""

import json
import math
import re
import statistics
from pathlib import Path
from typing import Any

from origin import in_words
from recipes_tried import TRIED, tried_lines
from studies import STUDIES
from studies_page import study_lines
from trainings import TRAININGS, Training
from where import WHERE, where_lines

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
INTRODUCTION = """\
# Results

Each figure comes from the command below it, run once a seed (which also draws the split where the
data have none), and is that of the test split, read once, with the weights that were best on
validation data. Accuracies are in %; over several seeds they are the mean and its standard
deviation. Intervals are 95 % bootstrap intervals over test pictures, of the first seed. Times are
by the clock, for the whole process from reading to report; other work on the machine lengthens
them, and on a GPU seven trainings ran at a time. Another number of threads (`--threads`) or another
processor rounds otherwise and gives slightly other figures.

`python tools/results.py run` makes the results anew, `python tools/results.py write` this page.
`DATA` is the folder with the public data.
"""
KILLED = {
    "kills": "Killed and resumed",
    "kills_detection": "A detection training, killed and resumed",
}
Entries = list[dict[str, Any]]


def write_page() -> None:
    """Write the page and its figures."""
    results = {
        name: sorted(read(name), key=lambda entry: entry["seed"])
        for name in TRAININGS
        if (RESULTS / f"{name}.json").is_file()
    }
    lines = [INTRODUCTION, *summary(results), ""]
    for section in dict.fromkeys(TRAININGS[name].section for name in results):
        lines += [f"## {section}", ""]
        for name, entries in results.items():
            if TRAININGS[name].section != section:
                continue
            lines += entry_lines(TRAININGS[name], entries)
            if name == "notmnist_together" and "notmnist_plain" in results:
                lines += leak_lines(results["notmnist_plain"], entries)
            if name == "cifar_resnet56_plain" and "cifar_resnet56" in results:
                lines += curve_lines(results["cifar_resnet56"], entries)
        for name, study in STUDIES.items():
            if study.section == section and (RESULTS / f"{name}.json").is_file():
                lines += study_lines(name, study, read(name))
    tried = [name for name in TRIED if (RESULTS / f"{name}.json").is_file()]
    lines += tried_lines({name: read(name) for name in tried})
    places = [name for name in WHERE if (RESULTS / f"{name}.json").is_file()]
    lines += where_lines({name: read(name) for name in places})
    for name, title in KILLED.items():
        if (RESULTS / f"{name}.json").is_file():
            lines += kill_lines(read(name), title)
    if (RESULTS / "endurance.json").is_file():
        lines += endurance_lines(read("endurance"))
    text = "\n".join(lines).rstrip() + "\n"
    (ROOT / "docs" / "results.md").write_text(text, encoding="utf-8")


def read(name: str) -> Any:
    """Read a file of results."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def accuracies(entries: Entries) -> list[float]:
    """Return the test accuracy of each seed, in %."""
    return [100 * entry["metrics"]["accuracy"]["value"] for entry in entries]


def mean_and_spread(values: list[float]) -> str:
    """Return mean and standard deviation in words; of one value, the value."""
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def duration(entries: Entries) -> str:
    """Return the mean time in words."""
    seconds = statistics.mean(entry["seconds"] for entry in entries)
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def counted(number: int, word: str) -> str:
    """Return "1 seed", "2 seeds"."""
    return f"{number:,} {word}" + ("s" if number != 1 else "")


def unbroken(words: str) -> str:
    """Return words that stay on one line of a table."""
    return words.replace(" ", "\N{NO-BREAK SPACE}")


def code_block(*commands: str) -> list[str]:
    """Return commands as a block of code, long ones broken before a flag."""
    lines = []
    for command in commands:
        line, *flags = re.split(r" (?=--\w)", command)
        for flag in flags:
            if len(line) + len(flag) > 90:
                lines.append(line + " \\")
                line = "   "
            line += f" {flag}"
        lines.append(line)
    return ["```text", *lines, "```", ""]


def reached(training: Training, entries: Entries) -> str:
    """Return whether the mean accuracy is the mark or more; nothing where there is no mark."""
    if training.least is None:
        return ""
    return "yes" if statistics.mean(accuracies(entries)) >= training.least else "no"


def summary(results: dict[str, Entries]) -> list[str]:
    """Return the table of all trainings."""
    lines = [
        "| data | training | accuracy | seeds | mark | reached | time |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, entries in results.items():
        training = TRAININGS[name]
        # The anchors that GitHub and MyST give to headings.
        anchor = re.sub(r"[^\w -]", "", training.what.lower()).replace(" ", "-")
        cells = [
            training.section,
            f"[{training.what}](#{anchor})",
            unbroken(mean_and_spread(accuracies(entries))),
            str(len(entries)),
            training.mark,
            reached(training, entries),
            unbroken(duration(entries)),
        ]
        lines.append("|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|")
    return lines


def entry_lines(training: Training, entries: Entries) -> list[str]:
    """Return the heading, the figures and the commands of one training."""
    first = entries[0]
    values = accuracies(entries)
    low, high = (100 * first["metrics"]["accuracy"][end] for end in ("low", "high"))
    base = 100 * first["baseline"]["accuracy"]["value"]
    lengths = {key: first["training"][key] for key in ("epochs", "updates")}
    each = f" ({', '.join(f'{value:.2f}' for value in values)})" if len(values) > 1 else ""
    lines = [f"### {training.what}", ""]
    if training.note:
        lines += [training.note.format(**lengths), ""]
    lines.append(
        f"- accuracy: **{mean_and_spread(values)}** over {counted(len(values), 'seed')}{each}; "
        f"first seed's interval {low:.2f} to {high:.2f}; majority class {base:.2f}"
    )
    if training.mark:
        answer = f"; reached: {reached(training, entries)}" if training.least is not None else ""
        lines.append(f"- mark: {training.mark}{answer}")
    lines.append(
        f"- time: {duration(entries)}, {counted(lengths['epochs'], 'epoch')}, "
        f"{counted(lengths['updates'], 'update')}"
    )
    for words in dict.fromkeys(in_words(entry) for entry in entries):
        lines.append(f"- on: {words}")
    commands = [first["command"]]
    if training.source:
        commands.insert(0, f"{TRAININGS[training.source].command(first['seed'])} --out RUN")
        lines += ["", "`RUN` is the run that the first command leaves; both have the same seed."]
    return [*lines, "", *code_block(*commands)]


def in_pairs(first: Entries, second: Entries) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the entries of two trainings that have the same seed, in pairs."""
    others = {entry["seed"]: entry for entry in second}
    return [(entry, others[entry["seed"]]) for entry in first if entry["seed"] in others]


def leak_lines(plain: Entries, together: Entries) -> list[str]:
    """Return what copies on both sides of the split are worth, over the seeds that both have."""
    pairs = in_pairs(plain, together)
    if not pairs:
        return []
    differences = [one - other for one, other in (accuracies(list(pair)) for pair in pairs)]
    mean = statistics.mean(differences)
    intervals = [entry["metrics"]["accuracy"] for entry in pairs[0]]
    chance = math.hypot(*(50 * (each["high"] - each["low"]) for each in intervals))
    listed = f" ({', '.join(f'{value:+.2f}' for value in differences)})" if len(pairs) > 1 else ""
    return [
        f"**The leak.** Split plainly, the accuracy is {abs(mean):.2f} points "
        f"{'higher' if mean >= 0 else 'lower'} than with copies on one side, over "
        f"{counted(len(pairs), 'seed')}{listed}. The two test splits are drawn apart, so chance "
        f"alone moves the difference of one seed by up to {chance:.2f} points (from the two "
        f"intervals, in 95 cases of 100): what is seen is "
        f"{'within' if abs(mean) <= chance else 'beyond'} that.",
        "",
    ]


def curve_lines(shortcuts: Entries, plain: Entries) -> list[str]:
    """Draw the learning curves of 56 layers with and without shortcuts; return how to show them.

    They are those of the first seed that both have with a history; without one nothing is drawn.
    """
    pairs = in_pairs(
        *([each for each in entries if "history" in each] for entries in (shortcuts, plain))
    )
    if not pairs:
        return []
    from torchfolio.evaluation.figures import learning_curve, standalone

    lines = [
        "**The same 56 layers with and without shortcuts**, epoch by epoch, seed "
        f"{pairs[0][0]['seed']}: the loss on training data, and the accuracy on validation data.",
        "",
    ]
    for column, label in (("train_loss", "training loss"), ("val_accuracy", "validation accuracy")):
        series = {
            name: [row[column] for row in entry["history"]]
            for name, entry in zip(("with shortcuts", "without"), pairs[0], strict=True)
        }
        path = RESULTS / f"cifar_resnet56_{column}.svg"
        path.write_text(standalone(learning_curve(series, ylabel=label)), encoding="utf-8")
        ends = ", ".join(f"{name} {values[-1]:.3f}" for name, values in series.items())
        lines += [f"![{label} at the end: {ends}](results/{path.name})", ""]
    return lines


def kill_lines(test: dict[str, Any], title: str) -> list[str]:
    """Return the section of a training that was killed and resumed."""
    alone = test["alone"]
    same = "the same" if test["same"] else "NOT the same"
    lines = [
        f"## {title}",
        "",
        f"A training was killed {counted(test['kills'], 'time')}, at random moments, and resumed "
        "each time. Where one ended first, another was begun for the kills that were left. The "
        f"weights at the end and the test metrics are {same} as those of the training left alone.",
        "",
        f"- left alone: {alone['seconds']:.0f} s, {counted(alone['epochs'], 'epoch')}, "
        f"{counted(alone['updates'], 'update')}, digest `{alone['digest']}`",
        f"- on: {in_words(test)}",
        "",
        *code_block(test["command"]),
        "| training | killed after, s | saved by then | digest at its end |",
        "|---|---|---|---|",
    ]
    for number, training in enumerate(test["trainings"], start=1):
        for kill in training["kills"]:
            struck = [f"{kill['seconds']:.2f}", *([kill["during"]] if "during" in kill else [])]
            lines.append(
                f"| {number} | {', '.join(struck)} | {state(kill)} | `{training['digest'][:16]}` |"
            )
    return [*lines, ""]


def endurance_lines(test: dict[str, Any]) -> list[str]:
    """Return the section of the trainings that were killed, starved and damaged everywhere."""
    ended = (
        "Every one ended with the weights, history and predictions of the training left alone, or, "
        "where a file was damaged, with an error that names it."
    )
    if test["missing"]:
        ended = f"**The figures are not those of the whole** ({'; '.join(test['missing'])})."
    lines = [
        "## Killed at every write, starved, damaged",
        "",
        "Every file and folder made, write, flush, rename and removal of a training is numbered; "
        "it is killed at each, and in the middle of each write, and resumed; some also with what "
        "was not flushed lost, with a full disk, with a read-only one. " + ended,
        "",
        f"- on: {in_words(test)}; {test['seconds'] / 60:.0f} min",
        "",
        *code_block(*test["commands"]),
        "| network | events | what was done | what happened |",
        "|---|---|---|---|",
    ]
    for name, found in test["networks"].items():
        for part, told in found.items():
            if isinstance(told, dict) and part not in ("training",):
                aside = ("at", "kill", "asked")
                plain = {key: value for key, value in told.items() if key not in aside}
                words = "; ".join(f"{key}: {said(value)}" for key, value in plain.items())
                lines.append(f"| {name} | {found['events']:,} | {part} | {words} |")
    return [*lines, ""]


def said(value: Any) -> str:
    """Return a count, a list or a table of counts in a cell."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {said(each)}" for key, each in value.items())
    if isinstance(value, list):
        return f"{len(value):,}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return " ".join(str(value).split()).replace("|", "\\|")  # a cell is one line


def state(kill: dict[str, Any]) -> str:
    """Return in words what a kill left to go on from."""
    if kill["update"] is None:
        return "none yet"
    return f"update {kill['update']:,}, epoch {kill['epoch']:.1f}"
