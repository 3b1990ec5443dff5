"""The trainings of docs/results.md that take recipes as they are; their section."""

import statistics
from typing import Any

from origin import in_words
from trainings import Training

PASSES = 10
INTRODUCTION = f"""\
## Recipes as they are

The `paper` and the `modern` recipe of the families of whose own recipes no figure stands above, on
the digits that come with the package, as they are but for the length: {PASSES} passes, small
pictures, one thread. So short a training says that a recipe learns, not how well: *baseline* is the
commonest class. Batches are halved until an epoch has 50 updates, and rates follow them, as in
every training of small data.
"""
SMALL = {  # the smallest picture that leaves a network its stages, or near it
    "alexnet_2012": "--image-size 131",  # at 67 its initial weights are too faint to learn from
    "alexnet_2012_ungrouped": "--image-size 131",
    "alexnet": "--image-size 127",
    "vgg11": "--image-size 32",
    "vgg11_bn": "--image-size 32",
    "googlenet": "--image-size 32",
    "densenet40_k12": "--image-size 16",
    "mobilenet_v1_0.25": "--image-size 32",
    "mobilenet_v2_0.35": "--image-size 32",
    "vit_ti_16": "--set patch=4 --image-size 28",
    "capsnet": "--image-size 17",
    "cifar_quick": "--image-size 32",
    "darknet19": "--image-size 32",
}
TRIED = {
    f"recipe_{network}_{recipe}": Training(
        network, recipe, f"{network} digits {size} --recipe {recipe} --epochs {PASSES} --threads 1"
    )
    for network, size in SMALL.items()
    for recipe in ("paper", "modern")
}


def tried_lines(results: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the section: a row a recipe that was run, and the commands."""
    if not results:
        return []
    lines = [INTRODUCTION]
    lines += [
        "| network | recipe | accuracy | baseline | updates | time |",
        "|---|---|---|---|---|---|",
    ]
    for name, entries in results.items():
        found = entries[0]["metrics"]["accuracy"]
        value, low, high = (100 * found[key] for key in ("value", "low", "high"))
        baseline = 100 * entries[0]["baseline"]["accuracy"]["value"]
        minutes = statistics.mean(entry["seconds"] for entry in entries) / 60
        lines.append(
            f"| {TRIED[name].section} | {TRIED[name].what} "
            f"| {value:.1f} ({low:.1f} to {high:.1f}) | {baseline:.1f} "
            f"| {entries[0]['training']['updates']:,} | {minutes:.0f} min |"
        )
    lines += ["", "```text", *(entries[0]["command"] for entries in results.values()), "```", ""]
    for words in dict.fromkeys(in_words(each[0]) for each in results.values()):
        lines += [f"On: {words}", ""]
    return lines
