"""Our networks beside the same ones of torchvision, timm, pytorchcv and transformers.

    python -m benchmarks.canonical [NETWORK ...] [--batches 1 32] [--seconds 10]

All have the same weights and the same images, in the plain memory layout, and take turns in one
process (A B, B A, ...): forward in evaluation mode under ``inference_mode``, and forward and
backward in train mode with cross-entropy. The others are those of ``folio verify`` (the extra
"verify"), made as it makes them. Kept are the milliseconds of every turn; networks of several calls
add up.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.ceiling import hardware
from benchmarks.results import RESULTS, slug
from benchmarks.statistics import OURS
from benchmarks.turns import Step, take_turns
from torchfolio import create
from torchfolio.networks.catalogue import find_card
from torchfolio.verification.criteria import Form, find_criteria
from torchfolio.verification.reference import ModuleReference

NETWORKS = (
    "alexnet", "vgg11", "googlenet", "resnet18", "resnet50", "densenet121", "mobilenet_v1",
    "mobilenet_v1_relu6", "mobilenet_v2", "vit_ti_16", "vit_b_16",
)  # fmt: skip
BATCHES = (1, 32)
TURN = 0.1  # seconds that a turn takes at least
LEAST, MOST = 11, 25  # rounds


def contestants(name: str) -> dict[str, nn.Module]:
    """Return our network and the others by their titles, with the same weights."""
    torch.manual_seed(0)
    card = find_card(name)
    network = create(name)
    found = {OURS: network}
    form = Form(1000, card.input[0], (card.input[1], card.input[2]))
    for make in find_criteria(card, form).references:
        reference = make()
        if isinstance(reference, ModuleReference):
            reference.load(network.state_dict())
            found[reference.title] = reference.module
    return found


def forward(network: nn.Module, images: Tensor) -> Step:
    """Return what computes the scores of the images."""

    @torch.inference_mode()
    def step() -> None:
        network(images)

    network.eval()
    return step


def training(network: nn.Module, images: Tensor) -> Step:
    """Return what computes the gradients of a loss of the images."""
    labels = torch.arange(len(images))

    def step() -> None:
        network.zero_grad()
        torch.autograd.backward(F.cross_entropy(network(images), labels))

    network.train()
    return step


def measure(name: str, batches: list[int], seconds: float) -> list[dict[str, Any]]:
    """Return a row for each batch and way to pass."""
    networks = contestants(name)
    rows = []
    for batch in batches:
        images = torch.randn(batch, *find_card(name).input)
        for way in (forward, training):
            steps = {title: way(network, images) for title, network in networks.items()}
            turns = take_turns(steps, TURN, LEAST, MOST, seconds)
            for network in networks.values():
                network.zero_grad()
            rows.append({"network": name, "pass": way.__name__, "batch": batch, "turns": turns})
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", help=f"{', '.join(NETWORKS)} unless named")
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--seconds", type=float, default=10, help="of the rounds of each batch")
    parser.add_argument("--out", type=Path, default=RESULTS.parent / "canonical")
    request = parser.parse_args()
    machine = hardware("cpu")
    path = request.out / f"canonical_{slug(machine)}.json"
    for name in request.networks or NETWORKS:
        add(measure(find_card(name).name, request.batches, request.seconds), machine, path)


def add(rows: list[dict[str, Any]], machine: str, path: Path) -> None:
    """Put rows into a file, in the place of those before of the same network and batch."""
    known = json.loads(path.read_text(encoding="utf-8"))["networks"] if path.is_file() else []
    new = {(row["network"], row["batch"]) for row in rows}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    about = {"began": now, "threads": torch.get_num_threads(), "torch": torch.__version__}
    document = {
        "hardware": machine,
        "networks": [
            *(row for row in known if (row["network"], row["batch"]) not in new),
            *({**row, **about} for row in rows),
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
