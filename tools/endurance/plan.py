"""What is done to which trainings, and what of it is not done yet."""

from argparse import Namespace
from typing import Any

# name: channels, side of the pictures, what follows ``folio train NETWORK DATA``
TRAININGS: dict[str, tuple[int, int, list[str]]] = {
    "lenet5": (1, 28, ["--threads", "1"]),
    "resnet20": (3, 32, ["--threads", "2", "--augment", "crop-flip", "--precision", "bf16"]),
}
PARTS = ("kill", "power", "full", "denied", "report", "random", "damage", "together")
# These do not depend on the network: they are done with the first one alone.
ONCE = ("power", "full", "denied", "report", "damage", "together")


def share(name: str, request: Namespace) -> int:
    """Return how many of all random kills are a network's; what is left over is the first ones'."""
    place = request.networks.index(name)
    return len(range(place, request.kills, len(request.networks)))


def asked(name: str, part: str, request: Namespace) -> dict[str, Any]:
    """Return what of the request a part follows: done for another one, it is done again."""
    if part == "random":
        return {"kills": share(name, request), "seed": request.seed}
    return {} if part == "together" else {"sample": request.sample}


def missing(networks: dict[str, dict[str, Any]]) -> list[str]:
    """Return what of the whole plan is not done, is done to a sample alone, or was broken."""
    lines = []
    for part in PARTS:
        of_each = {name: networks.get(name, {}).get(part) for name in TRAININGS}
        if part in ONCE:
            done = [name for name, found in of_each.items() if found is not None]
            of_each = {name: of_each[name] for name in done or list(TRAININGS)[:1]}
        for name, found in of_each.items():
            if found is None:
                lines.append(f"{name}, {part}: not done")
            elif "broken" in found:
                lines.append(f"{name}, {part}: broken")
            elif found["asked"].get("sample") is not None:
                lines.append(f"{name}, {part}: a sample")
    return lines
