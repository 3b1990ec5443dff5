"""What happened so far, in a file that is written after every part."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchfolio.checkpoint import write_text

FACTS = ("settings", "digest")  # of a training: figures of another one are not kept beside it
WHERE = ("machine", "versions")  # so it is with figures of another place


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

    def begin(self, name: str, facts: dict[str, Any], origin: dict[str, Any]) -> set[str]:
        """Begin with a network; return the parts that were done to the same training before.

        What was found in another place goes, and so does what was found of another training.
        """
        if any(self.told.get(each) not in (None, origin[each]) for each in WHERE):
            self.told |= {"commands": [], "networks": {}}
            self.seconds = 0.0
        self.told |= origin
        kept = self.told["networks"].get(name, {})
        if any(kept.get(each) != facts[each] for each in FACTS):
            kept = {}
        self.told["networks"][name] = kept | facts
        return kept.keys() - facts.keys()

    def keep(
        self, name: str, part: str, found: dict[str, Any], command: str, seconds: float
    ) -> None:
        """Note what a part found, and write the file; ``seconds`` are this command's until now."""
        self.told["networks"][name][part] = found
        if command not in self.told["commands"]:
            self.told["commands"].append(command)
        self.told["seconds"] = round(self.seconds + seconds)
        if self.path is not None:
            write_text(self.path, json.dumps(self.told, indent=1) + "\n")
