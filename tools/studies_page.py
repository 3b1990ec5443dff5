"""The sections of docs/results.md that lay several trainings side by side (studies.py)."""

import statistics
from typing import Any

from origin import in_words
from studies import Study
from trainings import TRAININGS

Entry = dict[str, Any]


def study_lines(name: str, study: Study, entries: list[Entry]) -> list[str]:
    """Return the section of a study."""
    lines = [f"### {study.what}", "", study.question, ""]
    if study.ensembles:
        lines += ensembles_table(study, entries)
    lines += differences_table(study, entries)
    lines += [f"{entries[0]['examples']:,} test pictures; p by McNemar's test, adjusted for the "
              "pairs compared.", ""]  # fmt: skip
    lines += [f"- on: {words}" for words in dict.fromkeys(in_words(entry) for entry in entries)]
    return [*lines, "", "```text", f"python tools/results.py run {name}", "```", ""]


def label(study: Study, name: str) -> str:
    """Return a training, or an ensemble by its members, in words; runs bear their seed."""
    name = name.rpartition("-")[0] or name
    members = study.ensembles.get(name, (name,))
    return " + ".join(TRAININGS[member].what for member in members)


def points(value: float) -> str:
    """Return a difference in points."""
    return f"{round(100 * value, 2) + 0.0:+.2f}"  # no minus before a zero


def ensembles_table(study: Study, entries: list[Entry]) -> list[str]:
    """Return what each ensemble reaches, beside its members."""
    lines = [
        f"| ensemble (`{study.method}`) | seed | accuracy | members | ahead of each | "
        "answers differ | one is right |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in study.ensembles:
        for entry in entries:
            found = entry["ensembles"][name]
            accuracy = found["accuracy"]
            cells = [
                label(study, name),
                str(entry["seed"]),
                "{:.2f} [{:.2f}, {:.2f}]".format(
                    *(100 * accuracy[end] for end in ("value", "low", "high"))
                ),
                ", ".join(f"{100 * each['accuracy']['value']:.2f}" for each in found["members"]),
                ", ".join(
                    f"{points(pair['difference']['value'])} (p {pair['p_adjusted']:.2g})"
                    for pair in found["pairs"]
                ),
                f"{found['disagreement'][0]['disagree']:,}",
                f"{100 * found['oracle']['value']:.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def differences_table(study: Study, entries: list[Entry]) -> list[str]:
    """Return by how much each is ahead of the first that is compared, over the seeds."""
    first = label(study, study.compared[0])
    lines = [
        f"| beside {first} | mean difference, points | each seed, with its interval and p | "
        "more than chance |",
        "|---|---|---|---|",
    ]
    for place, name in enumerate(study.compared[1:]):
        pairs = [entry["pairs"][place] for entry in entries]
        values = [-pair["difference"]["value"] for pair in pairs]  # of the first less the other
        each = "<br>".join(
            f"{points(value)} [{points(-pair['difference']['high'])}, "
            f"{points(-pair['difference']['low'])}], p {pair['p_adjusted']:.2g}"
            for value, pair in zip(values, pairs, strict=True)
        )
        sure = sum(pair["p_adjusted"] < 0.05 for pair in pairs)
        lines.append(
            f"| {label(study, name)} | {points(statistics.mean(values))} | {each} | "
            f"{sure} of {len(pairs)} seeds |"
        )
    return [*lines, ""]
