"""ResNet-20 on pictures of CIFAR's size, from one array, cropped and mirrored at random."""

from benchmarks.bounds import Bound
from benchmarks.workloads.training import Training, training

WORK = Training(
    network="resnet20",
    kind="cifar",
    size=32,
    epochs=2,
    batch_size=128,
    lr=0.1,
    augment="crop-flip",
    settings=("--normalize", "standard"),
)
PEERS = ("pytorch", "fastai", "lightning", "keras_torch", "keras_jax")

WORKLOADS = [
    training(
        "resnet20_cifar",
        "ResNet-20 on 10,000 pictures of 32x32, 2 epochs, batch 128",
        WORK,
        data="cifar",
        peers=PEERS,
        standard=(*PEERS, "ours_fp32", "ours_report"),
        bounds=(
            Bound(0.78, ("pytorch",), bf16=0.55),
            Bound(0.78, ("pytorch",), ours="ours_fp32"),
        ),
    )
]
