"""Time to accuracy: the whole process until a network reaches a mark on the test split.

The schedules stand here, where they can be seen: the shortest that reaches the mark on the
validation split, which alone chooses them (``benchmarks.schedules``); notMNIST's has one epoch
more, since its test split is small (0.4 points of standard error). The peers have the same: with
the same network, optimizer and pictures a schedule reaches the same. Who computes in bf16 when told
to runs in both precisions, and the fastest that reaches the mark counts. The test split is read
once a seed; the mean over ten seeds must reach the mark. Each round has the seed of its number.
"""

from dataclasses import replace
from functools import partial

from benchmarks.bounds import Bound
from benchmarks.statistics import BF16
from benchmarks.workloads.base import Workload
from benchmarks.workloads.training import Training, training

MNIST = Training(  # chosen among those of benchmarks/schedules.py
    network="lenet_caffe",
    kind="mnist",
    size=28,
    epochs=2,
    batch_size=128,
    lr=0.003,
    optimizer="adamw",
    schedule="cosine",
    label_smoothing=0.1,
    settings=("--precision", "bf16"),
)
NOTMNIST = Training(
    network="resnet18",
    kind="folder",
    size=32,
    epochs=4,
    batch_size=64,
    lr=0.001,
    optimizer="adamw",
    schedule="cosine",
    augment="shift",
    label_smoothing=0.1,
)
# What makes ours short makes theirs short too; without decay AdamW is Adam.
MNIST_OF_PEERS = replace(MNIST, optimizer="adam", settings=())
NOTMNIST_OF_PEERS = replace(NOTMNIST, optimizer="adam")
PEERS = ("keras_jax", "keras_torch", "fastai", "pytorch", "lightning")
IN_BF16 = ("keras_jax", "keras_torch", "pytorch", "lightning")  # who computes in it when told to


def race(
    name: str,
    title: str,
    ours: Training,
    theirs: Training,
    data: str,
    mark: float,
    bounds: tuple[Bound, ...] = (),
) -> Workload:
    """Return the workload in which ours and the peers have schedules of their own."""
    peers = {peer: partial(theirs.peer, peer) for peer in PEERS}
    halved = replace(theirs, precision="bf16")
    peers |= {peer + BF16: partial(halved.peer, peer) for peer in IN_BF16}
    found = training(
        name,
        title,
        ours,
        data=data,
        peers=PEERS,
        standard=tuple(peers),
        mark=mark,
        least_rounds=10,
        bounds=(Bound(0.33, ("fastest",)), *bounds),
    )
    return replace(found, commands=found.commands | peers)


WORKLOADS = [
    race(
        "time_mnist",
        "MNIST to 99.05 %",
        MNIST,
        MNIST_OF_PEERS,
        "mnist",
        0.9905,
        (Bound(20.0, kind="seconds"),),
    ),
    race("time_notmnist", "notMNIST to 94 %", NOTMNIST, NOTMNIST_OF_PEERS, "notmnist", 0.94),
]
