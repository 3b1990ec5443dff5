"""LeNet-5 on MNIST from its IDX files: a tiny network, where everything but arithmetic counts."""

from benchmarks.workloads.training import Training, training

WORK = Training(network="lenet5", kind="mnist", size=32, epochs=3, batch_size=64, lr=0.05)

WORKLOADS = [
    training(
        "lenet_mnist",
        "LeNet-5 on MNIST, 3 epochs, batch 64",
        WORK,
        data="mnist",
        peers=("keras_jax", "keras_torch", "fastai", "pytorch", "lightning"),
    )
]
