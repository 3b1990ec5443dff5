"""Trainings that test_processes.py runs alone and by several processes (torchrun starts this)."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from adversaries import Adversaries, Critics
from torch import nn
from toys import (
    Listener,
    Regression,
    label_loop,
    row_loop,
    small_network,
    through_a_file,
    weights,
)

from torchfolio import create
from torchfolio.checkpoint import digest, pack, read_tensors, unpack, write_tensors
from torchfolio.errors import RequestError
from torchfolio.training import loop as loop_module
from torchfolio.training import start
from torchfolio.training.loop import Loop
from torchfolio.training.processes import Processes, joined
from torchfolio.training.sharding import is_split, units
from torchfolio.training.start import make_loop, prepare
from torchfolio.training.transfer import freeze

QUICK: dict[str, Any] = {"device": "cpu", "workers": 0, "threads": 1}
ADAMW: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 1e-3,
    "layer_decay": 0.8,
    "accumulate": 2,
    "grad_clip": 1.0,
    "epochs": 2,
    "batch_size": 256,
    "image_size": 28,
}


class Losses(Listener):
    """Keeps the losses, and not the weights after each update."""

    def updated(self, loop: Loop, loss: float | None) -> None:
        self.updates.append(loop.progress.update)
        self.losses.append(loss)


def digits(world: Processes, network: str, **settings: Any) -> Loop:
    """A training on the 1,797 digits, 1,257 of them to train on, as ``folio train`` makes it."""
    return make_loop(prepare(network, "digits", QUICK | settings), world=world)


def told(loop: Loop, listener: Listener) -> dict[str, Any]:
    """What a finished loop is compared by; each process has its own weights."""
    rows = [
        {key: value for key, value in row.items() if key.startswith(("train_", "val_", "lr"))}
        for row in loop.progress.history
    ]
    own = {name: each for name, each in weights(loop).items() if "running" not in name}
    return {
        "losses": listener.losses,
        "history": rows,
        "weights": loop.world.everyone("" if loop.sharded else digest(own)),
        "seconds": loop.world.everyone(loop.progress.seconds),
    }


def trained(loop: Loop) -> dict[str, Any]:
    """Train to the end, or for a hundred updates."""
    listener = Losses(stop_after=100)
    loop.run(listener)
    return told(loop, listener)


def stopped_by_one(loop: Loop) -> dict[str, Any]:
    """Only the last process is asked to stop, after three updates."""
    listener = Losses(stop_after=3 if loop.world.rank == loop.world.size - 1 else None)
    reason = loop.run(listener)
    return told(loop, listener) | {"reason": reason}


def resumed(make: Callable[[], Loop], folder: Path, stop_after: int) -> dict[str, Any]:
    """Stop somewhere, go on from a file, and say which weights that and no stop lead to."""
    whole, first = make(), make()
    whole.run(Losses())
    first.run(Losses(stop_after=stop_after))
    state = first.state_dict()
    if first.world.main:
        through_a_file(state, folder / "resumed.safetensors")
    first.world.wait()
    tensors, header = read_tensors(folder / "resumed.safetensors")
    again = make()
    again.load_state_dict(unpack(header, tensors))
    again.run(Losses())
    return {"digests": [whole.digest(), again.digest()]}


def sharded(world: Processes, folder: Path) -> dict[str, Any]:
    """Train with FSDP2 and leave the state of its fourth update."""

    def make() -> Loop:
        return digits(world, "mlp", sharded=world.several, **ADAMW)

    loop = make()
    listener = Losses(stop_after=4)
    loop.run(listener)
    state = loop.state_dict()
    if world.main and world.several:
        tensors: dict[str, torch.Tensor] = {}
        packed = pack(state, tensors)
        write_tensors(folder / "sharded.safetensors", tensors, packed)
    loop.run(listener)
    found = told(loop, listener) | {"digest": loop.digest()}
    if world.several:
        found |= {"again": resumed(make, folder, 4)["digests"]}
    return found


def whole_then_split(world: Processes, folder: Path) -> dict[str, Any]:
    """Train with copies, and go on after two updates with split weights, by SGD.

    torch has one kernel for all parameters of SGD, but not for split ones.
    """

    def make(split: bool) -> Loop:
        settings = {"optimizer": "sgd", "momentum": 0.9, "lr": 0.01, "epochs": 1}
        return digits(world, "mlp", sharded=split, batch_size=256, image_size=28, **settings)

    whole, first, rest = Losses(), Losses(stop_after=2), Losses()
    make(False).run(whole)
    begun = make(False)
    begun.run(first)
    state = begun.state_dict()
    if world.main:
        through_a_file(state, folder / "whole.safetensors")
    world.wait()
    tensors, header = read_tensors(folder / "whole.safetensors")
    again = make(True)
    again.load_state_dict(unpack(header, tensors))
    again.run(rest)
    return {"whole": whole.losses, "split": first.losses + rest.losses}


def split_beside_copied(world: Processes, network: str) -> dict[str, Any]:
    """Train three updates with whole copies and with split weights.

    ``units`` says of each block whether it is gathered by itself, ``split`` of how many tensors the
    processes have a share each.
    """
    from torch.distributed.fsdp import FSDPModule

    settings = {"batch_size": 8, "image_size": 32, "precision": "fp32", "augment": "none"}
    found = {}
    for name, split in (("copied", False), ("split", True)):
        listener = Losses(stop_after=3)
        loop = digits(world, network, sharded=split, lr=0.01, **settings)
        loop.run(listener)
        tensors = Loop.tensors(loop.parts)
        buffers = {
            key: each.flatten()[0].item() for key, each in tensors.items() if "running" in key
        }
        blocks = [each for part in loop.parts.values() for each in units(part)]
        found[name] = {
            "losses": listener.losses,
            "buffers": buffers,
            "units": [isinstance(each, FSDPModule) for each in blocks],
            "split": sum(is_split(each) for each in tensors.values()),
        }
    return found


def wholly_placed(world: Processes) -> list[bool]:
    """Say of each part that is moved to the device before training whether it is whole then."""
    seen: list[bool] = []

    def noting(part: nn.Module, options: Any) -> nn.Module:
        seen.append(not all(is_split(each) for each in part.parameters()))
        return part.to(options.device)

    plain = start.place, loop_module.place
    start.place = loop_module.place = noting
    try:
        digits(world, "mlp", sharded=True, **ADAMW)
    finally:
        start.place, loop_module.place = plain
    return seen


def half_frozen() -> nn.Module:
    """The network of the rows, of which the first layer rests."""
    network = small_network()
    freeze(network, "last:2")
    return network


def thawed(world: Processes) -> Loop:
    """The rows again: five updates of the last layer, five of two, and five of all three."""
    return row_loop(Regression(), world=world, epochs=3, unfreeze=1, ema=0.9)


def head_alone(world: Processes, folder: Path) -> dict[str, Any]:
    """Train a new head on given weights, whose features one process computes once."""
    taught = folder / "taught.safetensors"
    if world.main:
        torch.manual_seed(1)
        write_tensors(taught, create("lenet5").state_dict())
    world.wait()
    settings = QUICK | {"weights": str(taught), "transfer": "head", "augment": "none"}
    begun = prepare("lenet5", "digits", settings | {"epochs": 2, "batch_size": 256})
    loop = make_loop(begun, world=world)
    lines = [line for line in begun.lines if line.startswith("features")]
    return trained(loop) | {"lines": lines, "kept": loop.features is not None}


def refusals(world: Processes) -> list[str]:
    """What --sharded does not go together with, in the words of the errors."""
    said = []
    for settings in ({"ema": 0.9}, {"optimizer": "lbfgs"}, {"sharded": False, "sync_norm": True}):
        try:
            digits(world, "lenet5", **({"sharded": True} | settings))
        except RequestError as error:
            said.append(str(error))
    return said


def main(world: Processes, folder: Path, everything: bool) -> dict[str, Any]:
    """Run every training; the two of the issue always, the others if ``everything``."""
    many = {
        "accumulate": 2,
        "grad_clip": 1.0,
        "ema": 0.9,
        "schedule": "plateau",
        "plateau_patience": 0,
        "warmup": 0.5,
        "mixup": 0.2,
        "label_smoothing": 0.1,
        "class_weights": "balanced",
        "epochs": 2,
    }
    threads = torch.get_num_threads()
    found: dict[str, Any] = {
        "lenet5": trained(digits(world, "lenet5", epochs=6, batch_size=64)),
        # 1,257 are 25 batches of 50 and one of 7: 3, 2 and 2 for three of four processes
        "mlp": trained(digits(world, "mlp", epochs=6, batch_size=50, image_size=28)),
    }
    if not everything:
        return found

    def noisy() -> Loop:  # the last batch, of one row more than two processes can halve
        loop = row_loop(Regression(), world=world, ema=0.9, count=55, val=8, epochs=6)
        return loop

    lbfgs = {"network": {"name": "lbfgs", "lr": 0.5, "max_iter": 4}}
    mixed = {"mixup": 0.2, "label_smoothing": 0.1, "class_weights": "balanced"}
    found |= {
        # 72 to train on, in batches of 10: the last of 2; 25 to validate on: 13 and 12 for two
        "labels": trained(
            label_loop(
                "lenet5", mixed, count=97, val=25, batch_size=10, ema=0.9, epochs=2, world=world
            )
        ),
        "many": trained(digits(world, "lenet5", batch_size=64, **many)),
        "lbfgs": trained(row_loop(optimizers=lbfgs, world=world, batch_size=40, epochs=3)),
        "frozen": trained(row_loop(Regression(half_frozen), world=world, epochs=2)),
        "thawed": trained(thawed(world)),
        "head alone": head_alone(world, folder),
        "normed": trained(digits(world, "mlp_bn", epochs=1, batch_size=256, image_size=28)),
        "adversaries": trained(row_loop(Adversaries(), world=world, epochs=2, accumulate=2)),
        "critics": trained(row_loop(Critics(), world=world, epochs=1)),
        "stopped": stopped_by_one(row_loop(world=world, epochs=9)),
        "minutes": trained(row_loop(world=world, epochs=9, minutes=0.01)),
        "resumed": resumed(noisy, folder, 25) if world.several else {},
        "thawed again": resumed(lambda: thawed(world), folder, 7) if world.several else {},
        "sharded": sharded(world, folder),
        "split": split_beside_copied(world, "resnet20") if world.several else {},
        "whole then split": whole_then_split(world, folder) if world.several else {},
        "wholly placed": wholly_placed(world) if world.several else [],
        "refusals": refusals(world) if world.several else [],
        "threads": threads,
    }
    return found


if __name__ == "__main__":
    target = Path(sys.argv[1])
    with joined() as processes:
        result = main(processes, target.parent, everything="everything" in sys.argv)
        if processes.main:
            target.write_text(json.dumps(result), encoding="utf-8")
