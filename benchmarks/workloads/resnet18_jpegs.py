"""ResNet-18 on a folder of photographs of 500x375, about 50 kB each: decoding and arithmetic.

Every contestant starts the last batch norm of each block at zero, as timm's network does by itself:
with the others' usual start two epochs of so few pictures teach little, and timm would be ahead.
"ours" has a cache that holds the data, "ours_cold" and "ours_cold_fp32" begin with an empty one;
the operating system has the files in memory in all. "ultralytics" is not among the usual peers:
because of its licence it is installed by a group of its own (``make bench-agpl``).
"""

from dataclasses import replace
from functools import partial

from benchmarks.bounds import Bound
from benchmarks.statistics import COLD, COLD_FP32
from benchmarks.workloads.base import Workload
from benchmarks.workloads.training import Training, training

PEERS = ("pytorch", "timm", "fastai", "lightning", "keras_torch", "keras_jax")


def photographs(size: int, count: int) -> Workload:
    """Return the workload with so many training photographs at a size."""
    work = Training(
        network="resnet18",
        kind="folder",
        size=size,
        epochs=2,
        batch_size=32,
        lr=0.02,
        augment="photo",
        schedule="cosine",
        start="zero",
        settings=("--image-size", str(size), "--crop-area", "0.25", "--colour", "0"),
    )
    found = training(
        f"resnet18_jpegs_{size}",
        f"ResNet-18 on {count:,} JPEGs of 500x375 at {size}, 2 epochs, batch 32",
        work,
        data=f"jpegs_{count}",
        peers=(*PEERS, "ultralytics"),
        standard=(COLD, *PEERS, "ours_fp32", COLD_FP32, "ours_report"),
        bounds=(
            Bound(0.75, PEERS, ours=COLD, bf16=0.50),
            Bound(0.70, PEERS, bf16=0.45),
            Bound(0.75, PEERS, ours=COLD_FP32),
            Bound(0.70, PEERS, ours="ours_fp32"),
        ),
    )
    cold = {
        name: partial(work.ours, variant, cache="empty")
        for name, variant in ((COLD, "ours"), (COLD_FP32, "ours_fp32"))
    }
    return replace(found, commands=found.commands | cold)


WORKLOADS = [photographs(128, 2_000), photographs(224, 500)]
