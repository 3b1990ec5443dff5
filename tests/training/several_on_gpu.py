"""A training with batch norm over the whole batch; test_gpu.py runs it alone and by processes.

The processes share one GPU and meet by gloo, since NCCL wants a GPU for each.
"""

import json
import os
import sys
from pathlib import Path

import torch
from several import trained

from torchfolio.training.device import configure
from torchfolio.training.processes import Processes, joined
from torchfolio.training.start import make_loop, prepare

SETTINGS = {
    "device": "cuda",
    "precision": "fp32",
    "graphs": False,
    "workers": 0,
    "epochs": 5,  # of 20 updates
    "batch_size": 64,
    "lr": 0.01,
}


def main(world: Processes) -> dict[str, object]:
    """Train a network with batch norm for a hundred updates."""
    loop = make_loop(prepare("mlp_bn", "digits", SETTINGS), world=world)
    configure(loop.options)
    kinds = {type(each).__name__ for part in loop.parts.values() for each in part.modules()}
    return trained(loop) | {"synchronised": "SyncBatchNorm" in kinds}


if __name__ == "__main__":
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        torch.distributed.init_process_group("gloo")
    with joined() as processes:
        result = main(processes)
        if processes.main:
            Path(sys.argv[1]).write_text(json.dumps(result), encoding="utf-8")
