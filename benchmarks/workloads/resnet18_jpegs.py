"""ResNet-18 on a folder of photographs of 500x375, about 50 kB each: decoding and arithmetic.

"cold" begins with an empty cache of ours, "warm" with one that holds the data; the operating
system has the files in memory in both. "ultralytics" is not among the usual peers, because of its
licence it is installed by a dependency group of its own, ``bench-agpl``.
"""

from benchmarks.workloads.base import Workload
from benchmarks.workloads.training import Training, training

PEERS = ("pytorch", "timm", "fastai", "lightning", "keras_torch", "keras_jax")


def photographs(size: int, count: int, cache: str) -> Workload:
    """Return the workload with so many training photographs at a size."""
    work = Training(
        network="resnet18",
        kind="folder",
        size=size,
        epochs=2,
        batch_size=32,
        lr=0.02,
        augment="photo",
        settings=("--image-size", str(size), "--crop-area", "0.25", "--colour", "0"),
    )
    return training(
        f"resnet18_jpegs_{size}_{cache}",
        f"ResNet-18 on {count:,} JPEGs of 500x375 at {size}, 2 epochs, batch 32, cache {cache}",
        work,
        data=f"jpegs_{count}",
        peers=(*PEERS, "ultralytics"),
        cache={"cold": "empty", "warm": "kept"}[cache],
        standard=(*PEERS, "ours_report"),
    )


WORKLOADS = [
    photographs(size, count, cache)
    for size, count in ((128, 2_000), (224, 500))
    for cache in ("cold", "warm")
]
