"""LeNet-5 on MNIST from its IDX files: a tiny network, where everything but arithmetic counts."""

from benchmarks.bounds import Bound
from benchmarks.workloads.training import Training, training

WORK = Training(network="lenet5", kind="mnist", size=32, epochs=3, batch_size=64, lr=0.05)
PEERS = ("keras_jax", "keras_torch", "fastai", "pytorch", "lightning")

WORKLOADS = [
    training(
        "lenet_mnist",
        "LeNet-5 on MNIST, 3 epochs, batch 64",
        WORK,
        data="mnist",
        peers=PEERS,
        bounds=(Bound(0.70, ("keras_jax",)), Bound(0.60, PEERS[1:])),
    )
]
