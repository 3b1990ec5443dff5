"""The schedules of the time to accuracy: candidates, figures, page and workload tell the same."""

import json
import statistics
from typing import Any

import pytest

from benchmarks.schedules import CANDIDATES, FOLDER, TAKEN
from benchmarks.tables import schedules
from benchmarks.workloads.time_to_accuracy import MNIST, NOTMNIST
from benchmarks.workloads.training import Training

LONGER = {"time_mnist": 0, "time_notmnist": 1}  # epochs beyond the shortest, as the page says


def measured(workload: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{workload}.json").read_text(encoding="utf-8"))


def flags_of(text: str) -> dict[str, str]:
    """The flags of a candidate with their values; the network under an empty name."""
    words = text.split()
    return {"": words[0], **dict(zip(words[1::2], words[2::2], strict=True))}


@pytest.mark.parametrize("workload", CANDIDATES)
def test_every_candidate_has_a_figure_and_every_figure_on_the_page_a_candidate(
    workload: str,
) -> None:
    found = {row["name"]: row["flags"] for row in measured(workload)["candidates"]}
    assert found == CANDIDATES[workload]
    lines = "\n".join(schedules(FOLDER)).split(f"`{workload}`, mark")[1].split("\n\n")[1]
    told = [line.strip("| ").split(" | ") for line in lines.splitlines()[2:]]
    taken = TAKEN[workload]
    assert {row[0].removesuffix(" (taken)"): row[3].strip("`") for row in told} == found
    assert [row[0] for row in told if row[0].endswith("(taken)")] == [f"{taken} (taken)"]


@pytest.mark.parametrize(
    ("workload", "trained"), [("time_mnist", MNIST), ("time_notmnist", NOTMNIST)]
)
def test_the_schedule_taken_is_trained_and_as_long_as_the_page_says(
    workload: str, trained: Training
) -> None:
    flags = flags_of(CANDIDATES[workload][TAKEN[workload]])
    assert flags == {
        "": trained.network,
        "--epochs": str(trained.epochs),
        "--batch-size": str(trained.batch_size),
        "--lr": str(trained.lr),
        "--optimizer": trained.optimizer,
        "--schedule": trained.schedule,
        "--weight-decay": "0",
        "--augment": trained.augment,
        "--label-smoothing": str(trained.label_smoothing),
        **dict(zip(trained.settings[::2], trained.settings[1::2], strict=True)),
    }
    document = measured(workload)
    reaching = [
        flags_of(row["flags"])
        for row in document["candidates"]
        if statistics.mean(row["val_accuracy"]) >= document["mark"]
    ]
    assert flags in reaching
    shortest = min(int(each["--epochs"]) for each in reaching)
    assert trained.epochs == shortest + LONGER[workload]
    alike = [each for each in reaching if int(each["--epochs"]) == trained.epochs]
    assert trained.batch_size == max(int(each["--batch-size"]) for each in alike)
