"""An MLP 784-512-512-10 on MNIST: matrix products only."""

from benchmarks.bounds import Bound
from benchmarks.workloads.training import Training, training

WORK = Training(
    network="mlp",
    kind="mnist",
    size=28,
    epochs=5,
    batch_size=128,
    lr=0.001,
    optimizer="adam",
    settings=("--set", "widths=[512,512]"),
)
PEERS = ("keras_jax", "keras_torch", "fastai", "pytorch", "lightning")

WORKLOADS = [
    training(
        "mlp_mnist",
        "MLP 784-512-512-10 on MNIST, 5 epochs, batch 128",
        WORK,
        data="mnist",
        peers=PEERS,
        ceiling="matmul",
        bounds=(Bound(0.60, PEERS),),
    )
]
