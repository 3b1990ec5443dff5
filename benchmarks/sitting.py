"""One sitting: the contestants of a workload in turn, round after round, written as it goes."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import data, results
from benchmarks.process import ROOT, measure
from benchmarks.statistics import OURS, Round, Spread, ratios, values, why_failed
from benchmarks.workloads.base import Command, Place, Workload


@dataclass(frozen=True)
class Sitter:
    """Who runs workloads: ``work`` is where data and caches are kept, ``out`` where results go."""

    work: Path
    size: str
    peer_python: str
    limit: float
    out: Path | None

    def sit(self, workload: Workload, peers: Sequence[str] | None, rounds: int) -> None:
        """Run so many rounds of a workload, tell how they went, and write them."""
        names = contestants(workload, peers)
        print(f"{workload.name}: {workload.title}", flush=True)
        if (busy := load()) is not None and busy > 0.3 * (os.cpu_count() or 1):
            print(f"  other work runs here (load {busy:.1f}): the figures will be off", flush=True)
        place = self.place(workload)
        sitting = self.describe(workload, place)
        place = replace(place, device=sitting["device"])
        with self.scratch() as folder:
            workload.ready(replace(place, folder=folder))
        path, earlier = self.earlier(sitting)
        seed = self.rounds_before(sitting)
        done: list[Round] = sitting["rounds"]
        for number, name, last in interleaved(names, rounds):
            if name == OURS:
                done.append({})
            with self.scratch() as folder:
                here = replace(place, folder=folder, seed=seed + number)
                command = workload.commands[name](here)
                done[-1][name] = self.run(workload, command, here)
            variables = [f"{key}={value}" for key, value in command.environment.items()]
            shown = " ".join([*variables, *command.arguments])
            sitting["commands"].setdefault(name, self.without_places(shown, folder))
            print(f"  round {number + 1} {line_of(name, done[-1][name])}", flush=True)
            if last and path is not None:
                results.write(path, [*earlier, sitting])
        for line in summary(done, names, workload.measure):
            print(line)
        print(f"  {path or 'a trial: nothing is written'}", flush=True)

    def place(self, workload: Workload) -> Place:
        """Return where a workload runs, its data made."""
        prepared = None
        if workload.data is not None:
            prepared = data.prepare(workload.data, self.size, self.work / "data")
            data.read_all(Path(prepared.path))
        kept = self.work / "kept" / f"{workload.name}-{self.size}"
        kept.mkdir(parents=True, exist_ok=True)
        return Place(
            folder=kept,
            kept=kept,
            small=self.size == "small",
            python=sys.executable,
            peer_python=self.peer_python,
            data=prepared,
        )

    def describe(self, workload: Workload, place: Place) -> results.Sitting:
        """Return a sitting without rounds: what is run, where, with what, and the ceilings."""
        cost = workload.cost
        facts = ask_machine(workload, place.data)
        operations = None
        if cost is not None and place.data is not None:
            operations = 2 * facts["macs"] * cost.times(place.data, place.small)
        return {
            "workload": workload.name,
            "title": workload.title,
            "size": self.size,
            "began": datetime.now(UTC).isoformat(timespec="seconds"),
            "code": results.code_digest(apart=workload.apart),
            "commit": commit(),
            "measure": workload.measure,
            "chance": workload.chance,
            "mark": workload.mark,
            "least_rounds": workload.least_rounds,
            "operations": operations,  # of the whole work, two a multiply-add
            "operations_against": cost.ceiling if cost else None,
            "mean_bytes": place.data.mean_bytes if place.data else None,
            **facts,
            "commands": {},
            "rounds": [],
        }

    def earlier(self, sitting: results.Sitting) -> tuple[Path | None, list[results.Sitting]]:
        """Return the file of a sitting, and what it holds already."""
        if self.out is None:
            return None, []
        date = sitting["began"][:10]
        path = results.result_file(self.out, sitting["workload"], sitting["hardware"], date)
        return path, results.read(path)

    def rounds_before(self, sitting: results.Sitting) -> int:
        """Return how many rounds there are to which those of a sitting add up, of any day."""
        if self.out is None:
            return 0
        known = results.gather(self.out).get((sitting["workload"], sitting["hardware"]), [])
        return sum(len(each["rounds"]) for each in known if each["code"] == sitting["code"])

    def run(self, workload: Workload, command: Command, place: Place) -> dict[str, Any]:
        """Run a contestant once; return its figures, with ``why`` it does not count if so."""
        before = load()
        run = measure(command.arguments, command.environment, place.folder, self.limit)
        output, errors = run.pop("output"), run.pop("errors")
        reached = workload.accuracy(output, place.data)
        if reached is not None:
            run["accuracy"], run["examples"] = reached
        if isinstance(output, dict):
            run |= {key: output[key] for key in ("latency", "versions") if key in output}
        run |= {"load": before, "seed": place.seed}
        if command.run is not None:
            run["precision"] = precision(command.run)
        chance = 0.0 if place.small and workload.chance else workload.chance  # too few to learn
        why = why_failed(run, errors, chance)
        return run | {"why": self.without_places(why, place.folder)}

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty folder on the disk of the work; it is removed afterwards."""
        parent = self.work / "runs"
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def without_places(self, text: str, folder: Path) -> str:
        """Return a text without the folders of this machine."""
        scripts = str(Path(sys.executable).parent) + os.sep
        places = {str(folder): "RUN", str(self.work): "WORK", str(ROOT): "ROOT"}
        for place, name in {self.peer_python: "python", sys.executable: "python", scripts: "",
                            **places}.items():  # fmt: skip
            text = text.replace(place, name)
        return text


def precision(run: Path) -> str:
    """Return the precision of one of our runs, "fp32" where it was broken off before its recipe."""
    recipe = run / "recipe.toml"
    if not recipe.is_file():
        return "fp32"
    return str(tomllib.loads(recipe.read_text(encoding="utf-8"))["training"]["precision"])


def contestants(workload: Workload, peers: Sequence[str] | None) -> list[str]:
    """Return ours and who runs beside it, in their order."""
    chosen = list(workload.standard if peers is None else peers)
    for name in chosen:
        if name not in workload.commands:
            known = ", ".join(each for each in workload.commands if each != OURS)
            raise SystemExit(f"{workload.name} has no contestant {name!r}; it has: {known}.")
    return list(dict.fromkeys([OURS, *chosen]))


def interleaved(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str, bool]]:
    """Give round, contestant, and whether it is the last of its round: A B C A B C ..."""
    for number in range(rounds):
        for name in names:
            yield number, name, name == names[-1]


def ask_machine(workload: Workload | None = None, prepared: data.Data | None = None) -> Any:
    """Return what ``benchmarks.ceiling`` tells of this machine, for a workload's arithmetic.

    It is a process of its own, so that this one does not hold torch while others are measured.
    """
    arguments = [sys.executable, "-m", "benchmarks.ceiling"]
    cost = workload.cost if workload is not None else None
    if cost is None:
        arguments.append("--quick")
    else:
        arguments += ["--network", cost.network, "--input", *map(str, cost.input)]
        arguments += ["--set", *cost.settings] if cost.settings else []
    if prepared is not None and prepared.mean_bytes is not None:
        arguments += ["--jpegs", prepared.path]
    done = subprocess.run(
        arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, encoding="utf-8"
    )
    return json.loads(done.stdout)


def load() -> float | None:
    """Return how many processes wanted to run over the last minute, where the system tells."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def commit() -> str:
    """Return the commit of our tree, "" where there is none."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip()


def line_of(name: str, run: dict[str, Any]) -> str:
    """Return one run in a line."""
    shown = [f"{name:<12} {run['wall']:7.2f} s"]
    if run["cpu"] is not None:
        shown.append(f"cpu {run['cpu']:7.2f} s")
    if run["memory"] is not None:
        shown.append(f"memory {run['memory'] / 2**20:5.0f} MiB")
    if run["first_step"] is not None:
        shown.append(f"first step {run['first_step']:5.2f} s")
    if run.get("latency") is not None:
        shown.append(f"latency {1000 * run['latency']:.2f} ms")
    if run.get("accuracy") is not None:
        shown.append(f"accuracy {run['accuracy']:.4f}")
    return "  ".join([*shown, *([f"FAILED: {run['why']}"] if run["why"] else [])])


def summary(rounds: Sequence[Round], names: Sequence[str], quantity: str) -> list[str]:
    """Return median and ratio of each contestant, in a line each."""
    lines = []
    for name in names:
        spread, ratio = (
            Spread.of(found)
            for found in (values(rounds, name, quantity), ratios(rounds, name, quantity))
        )
        told = f"median {spread.median:.3f} s" if spread else "no good run"
        over = f", ours over it {ratio.median:.3f}" if ratio and name != OURS else ""
        lines.append(f"  {name:<12} {told} of {quantity}{over}")
    return lines
