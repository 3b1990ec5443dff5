"""What happened so far, in a file that is written after every part."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.endurance.plan import missing
from torchfolio.checkpoint import write_text

FACTS = ("settings", "digest")  # of a training: figures of another one are not kept beside it
WHERE = ("machine", "versions", "code")  # so it is with figures of another place, or other code


@dataclass
class Record:
    """Networks, the parts done to each, and the commands that did them."""

    path: Path | None
    told: dict[str, Any] = field(default_factory=lambda: {"commands": [], "networks": {}})
    seconds: float = 0.0  # those of earlier commands

    def __post_init__(self) -> None:
        """Read what an earlier command left."""
        if self.path is not None and self.path.is_file():
            self.told = json.loads(self.path.read_text(encoding="utf-8"))
            self.seconds = self.told["seconds"]

    def begin(self, name: str, facts: dict[str, Any], origin: dict[str, Any]) -> None:
        """Begin with a network; the parts that were done to the same training before stay.

        What was found in another place or by other code goes, and so does what was found of another
        training of this network.
        """
        if any(self.told.get(each) != origin[each] for each in WHERE):
            self.told |= {"commands": [], "networks": {}}
            self.seconds = 0.0
        self.told |= origin
        kept = self.told["networks"].get(name, {})
        if any(kept.get(each) != facts[each] for each in FACTS):
            kept = {}
        self.told["networks"][name] = kept | facts

    def holds(self, name: str, part: str, asked: dict[str, Any]) -> bool:
        """Return whether a part was done, unbroken, as it is asked for now."""
        found = self.told["networks"][name].get(part, {"broken": ""})
        return "broken" not in found and found["asked"] == asked

    def forget(self, name: str, part: str | None = None) -> None:
        """Drop what was found, before it is tried again: of a part, or all of a network."""
        networks = self.told["networks"]
        if name in networks:
            networks.pop(name) if part is None else networks[name].pop(part, None)
            self.write(0.0)

    def keep(
        self, name: str, part: str, found: dict[str, Any], command: str, seconds: float
    ) -> None:
        """Note what a part found, and write the file; ``seconds`` are this command's until now."""
        self.told["networks"][name][part] = found
        if command not in self.told["commands"]:
            self.told["commands"].append(command)
        self.write(seconds)

    def write(self, seconds: float) -> None:
        """Write the file, and in it what of the whole is missing."""
        self.told["seconds"] = round(self.seconds + seconds)
        self.told["missing"] = missing(self.told["networks"])
        if self.path is not None:
            write_text(self.path, json.dumps(self.told, indent=1) + "\n")
