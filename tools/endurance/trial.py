"""One training under attack: disturbed, gone on with, and compared with the one left alone."""

import hashlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.endurance.process import STRUCK, Attack, Outcome, run

TIMES = ("seconds", "examples_per_second", "data_wait")
# Files whose bytes must be those of the undisturbed run; the others hold times, dates or paths.
SAME = ("weights/*", "preprocessing/*", "split.csv", "predictions/*", "recipe.toml")


class BrokenError(Exception):
    """A training under attack did not end as it must."""


@dataclass
class Bench:
    """A place for trainings of one command, and how the one left alone ended."""

    folder: Path
    train: list[str]  # what follows ``folio train``
    alone: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def out(self) -> Path:
        return self.folder / "run"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def watched(self) -> tuple[Path, Path]:
        return self.out, self.cache

    def clear(self) -> None:
        """Remove run and cache."""
        for path in self.watched:
            shutil.rmtree(path, ignore_errors=True)

    def command(self, *more: str) -> list[str]:
        """Return what begins the training, or goes on with it once there is a run."""
        if (self.out / "recipe.toml").is_file():
            return ["resume", str(self.out), *more]
        return ["train", *self.train, "--out", str(self.out), *more]

    def run(
        self, attack: Attack | None = None, *, report: bool = False, save_every: int = 3
    ) -> Outcome:
        """Begin the training, or go on with it, under an attack or none."""

        def prepare() -> None:
            os.environ["TORCHFOLIO_CACHE"] = str(self.cache)

        flags = ("--json", "--quiet", *(() if report else ("--no-report",)))
        return run(
            self.command(*flags),
            self.folder / "output",
            self.watched,
            attack,
            save_every,
            prepare,
        )

    def leave_alone(self) -> None:
        """Train undisturbed: what every other training of this bench is compared with."""
        self.clear()
        outcome = self.run()
        if outcome.status != 0:
            raise BrokenError(f"left alone, it fails: {outcome.err}")
        self.alone = self.picture(outcome)
        self.events, self.seconds = outcome.events, outcome.seconds
        self.require_counted()

    def require_counted(self) -> None:
        """Raise if a file is there of which no event told: then not all writes are counted."""
        told = {path for _, path in self.events}
        moved = {Path(path) for kind, path in self.events if kind == "rename"}
        names = {Path(path).name for path in told}  # of files in a folder that was renamed
        for top in self.watched:
            for path in top.resolve().rglob("*"):
                if path.is_dir() or str(path) in told:
                    continue
                if path.name not in names or moved.isdisjoint(path.parents):
                    raise BrokenError(f"{path} was written, and no event told of it")

    def picture(self, outcome: Outcome) -> dict[str, Any]:
        """Return all of a finished run that must be equal: result, history, bytes of files."""
        result = outcome.result
        training = {k: v for k, v in result.get("training", {}).items() if k not in TIMES}
        kept = {key: result[key] for key in ("digest", "metrics", "baseline")}
        files = {
            path.relative_to(self.out).as_posix(): digest(path)
            for pattern in SAME
            for path in sorted(self.out.glob(pattern))
        }
        return kept | {"training": training, "history": self.history(), "files": files}

    def history(self) -> list[dict[str, str]]:
        import csv

        with (self.out / "history.csv").open(encoding="utf-8", newline="") as file:
            return [
                {key: value for key, value in row.items() if key not in TIMES}
                for row in csv.DictReader(file)
            ]

    def finish(self, outcome: Outcome | None = None) -> Outcome:
        """Go on (unless that was done already) to the end, and compare with the one left alone."""
        outcome = outcome or self.run()
        if outcome.status != 0:
            raise BrokenError(f"it does not go on (exit {outcome.status}): {outcome.err.strip()}")
        found = self.picture(outcome)
        if found != self.alone:
            raise BrokenError("it ends otherwise: " + "; ".join(differences(self.alone, found)))
        left = [each for top in (self.out,) for each in top.rglob("*.part")]
        if left:
            raise BrokenError(f"it leaves temporary files: {', '.join(map(str, left))}")
        return outcome

    def what(self, event: tuple[str, str]) -> str:
        """Return an event in words, without what differs from run to run."""
        kind, path = event
        name = Path(path)
        for top, word in ((self.out, "run"), (self.cache, "cache")):
            real = Path(os.path.realpath(top))
            if name == real or real in name.parents:
                inside = name.relative_to(real)
                return f"{kind} {(Path(word) / plain_name(inside)).as_posix()}"
        return f"{kind} {path}"


def plain_name(path: Path) -> Path:
    """Return a path without random or counted parts: ``.history.csv.1a2b.part``, ``update-9``."""
    name = path.name
    if name.endswith(".part"):
        name = ".".join(name.lstrip(".").split(".")[:-2]) + " (temporary)"
    if name.startswith("update-"):
        name = "update-N" + name[len("update-000000000") :]
    parts = [part if len(part) != 32 else "KEY" for part in path.parent.parts]
    parts = ["KEY (temporary)" if part.endswith(".part") else part for part in parts]
    if len(name.split(".")[0]) >= 32:
        name = "KEY" + name[len(name.split(".")[0]) :]
    return Path(*parts, name)


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return what differs, by key."""
    lines = []
    for key in expected:
        if expected[key] != found.get(key):
            lines.append(f"{key} is {str(found.get(key))[:300]}, not {str(expected[key])[:300]}")
    return lines


def digest(path: Path) -> str:
    """Return a SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def require_struck(outcome: Outcome) -> bool:
    """Return whether the attack came to pass; raise where the process ended in another way."""
    if outcome.status == STRUCK:
        return True
    if outcome.status == 0:
        return False
    raise BrokenError(f"it fails by itself (exit {outcome.status}): {outcome.err.strip()}")
