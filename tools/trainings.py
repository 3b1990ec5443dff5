"""The trainings of docs/results.md: what each is, what it should reach, and how it is called."""

import dataclasses

CIFAR = "CIFAR-10, 4,000 pictures"
PHOTOGRAPHS = "Ants and bees"
NOTMNIST = (
    "{data}/notmnist_small/notMNIST_small.tar.gz --val-split 0.3 --test-split 0.2 {copies}"
    "--epochs 12 --batch-size 128 --lr 0.01 --schedule cosine --augment shift --label-smoothing 0.1"
)


@dataclasses.dataclass(frozen=True)
class Training:
    """One ``folio train``.

    ``arguments`` may name ``{data}``, the folder of public data, and ``{source}``, the run of
    another training (with the same seed). ``figures`` are the metrics that are shown, the first
    also in the table of all. ``mark`` says in words what should be reached, ``least`` is the first
    figure in % that counts as reached. ``note`` may name ``{epochs}`` and ``{updates}``,
    those of the first seed. ``by_heart`` asks what the run says of its training pictures, too.
    """

    section: str
    what: str
    arguments: str
    mark: str = ""
    least: float | None = None
    note: str = ""
    source: str = ""
    figures: tuple[str, ...] = ("accuracy",)
    by_heart: bool = False

    def command(self, seed: int, data: str = "DATA", source: str = "RUN") -> str:
        """Return the command as a person would give it."""
        return f"folio train {self.arguments.format(data=data, source=source)} --seed {seed}"


TRAININGS = {
    "mnist_softmax": Training(
        "MNIST",
        "softmax regression",
        "softmax_regression {data}/mnist",
        mark="about 92 % (from 91.5)",
        least=91.5,
    ),
    "mnist_mlp": Training(
        "MNIST",
        "MLP 784-512-512-10",
        "mlp {data}/mnist --set widths=[512,512]",
        mark="98.4 %",
        least=98.4,
    ),
    "mnist_maxout": Training(
        "MNIST",
        "Maxout MLP",
        "maxout_mlp {data}/mnist",
        mark="98.8 % (1.2 % error)",
        least=98.8,
    ),
    "mnist_maxout_modern": Training(
        "MNIST",
        "Maxout MLP, pictures shifted",
        "maxout_mlp {data}/mnist --recipe modern",
        mark="98.8 % (1.2 % error)",
        least=98.8,
    ),
    "mnist_lenet5": Training(
        "MNIST", "LeNet-5, dense form", "lenet5 {data}/mnist", mark="99.05 %", least=99.05
    ),
    "mnist_lenet5_original": Training(
        "MNIST",
        "LeNet-5 as in the paper",
        "lenet5_original {data}/mnist",
        mark="99.05 %, the paper's",
        least=99.05,
    ),
    "mnist_lenet_caffe": Training(
        "MNIST",
        "LeNet of Caffe",
        "lenet_caffe {data}/mnist",
        mark="98.97 %, Caffe's tutorial",
        least=98.97,
    ),
    "mnist_capsnet": Training(
        "MNIST",
        "CapsNet in four passes",
        "capsnet {data}/mnist --recipe modern --epochs 4",
        mark="99.3 % in four passes",
        least=99.3,
        note="A budget of {epochs} epochs, {updates:,} updates; the paper's own length is below.",
    ),
    "mnist_capsnet_paper": Training(
        "MNIST",
        "CapsNet as in the paper",
        "capsnet {data}/mnist",
        mark="99.65 to 99.75 % (0.35 to 0.25 % error), the paper's",
        least=99.65,
        note="The paper trains for hundreds of passes; ours has {epochs}, {updates:,} updates.",
    ),
    "mnist_vgg11_bn": Training(
        "MNIST",
        "VGG-11 with batch norm",
        "vgg11_bn {data}/mnist --epochs 5 --augment shift --optimizer adam --lr 1e-4",
        note="By Adam: these trainings are from before the recipe bounded its gradients; by its "
        "rate alone seed 0 stayed at chance.",
    ),
    "mnist_resnet18": Training(
        "MNIST",
        "ResNet-18",
        "resnet18 {data}/mnist --epochs 5 --augment shift",
    ),
    "notmnist_plain": Training(
        "notMNIST-small",
        "ResNet-18, split plainly",
        "resnet18 " + NOTMNIST.replace("{copies}", "--duplicates ignore "),
        mark="94.00 %, published",
        least=94.0,
        note="The source trained by SGD with momentum at rate 0.01 for 50 epochs of 73 batches, "
        "3,650 updates; ours is {epochs} epochs with batch 128, {updates:,} updates, the rate "
        "falling from 0.01 as a cosine, with pictures shifted by up to 2 pixels, brightness and "
        "contrast varied, and labels smoothed. The split is drawn plainly, as the source did. The "
        "data hold 492 files that repeat "
        "others byte for byte, so copies of test pictures are trained on: hence the second figure.",
    ),
    "notmnist_together": Training(
        "notMNIST-small",
        "ResNet-18, copies on one side",
        "resnet18 " + NOTMNIST.replace("{copies}", ""),
        note="Trained as the one above, {updates:,} updates where the source made 3,650; but all "
        "copies of a picture stay on one side of the split, our default, so that none is tested "
        "on that was trained on.",
    ),
    "notmnist_densenet": Training(
        "notMNIST-small",
        "DenseNet (40, 12), copies on one side",
        "densenet40_k12 " + NOTMNIST.replace("{copies}", "").replace("--lr 0.01", "--lr 0.1"),
        note="The rate of its paper; all else as of the ResNet-18 above.",
    ),
    "notmnist_mobilenet": Training(
        "notMNIST-small",
        "MobileNetV2, copies on one side",
        "mobilenet_v2 " + NOTMNIST.replace("{copies}", "").replace("--lr 0.01", "--lr 0.05"),
        note="All as of the ResNet-18 above, but for the rate.",
    ),
    "notmnist_vit": Training(
        "notMNIST-small",
        "ViT-Ti, patches of 4, copies on one side",
        "vit_ti_16 {data}/notmnist_small/notMNIST_small.tar.gz --set patch=4 --image-size 28 "
        "--val-split 0.3 --test-split 0.2 --epochs 12 --batch-size 128 --augment shift "
        "--label-smoothing 0.1",
        note="The optimizer and schedule of its recipe, the passes of the ResNet-18 above.",
    ),
    "cifar_resnet20": Training(
        CIFAR,
        "ResNet-20",
        "resnet20 {data}/cifar10_small/cifar10_png.tar.gz --epochs 182",
        note="The paper's passes, over 3,400 pictures where it has 45,000: {updates:,} updates, "
        "not 64,000. With all of them it reaches 91.25 %.",
    ),
    "cifar_resnet56": Training(
        CIFAR, "ResNet-56", "resnet56 {data}/cifar10_small/cifar10_png.tar.gz --epochs 182"
    ),
    "cifar_resnet56_plain": Training(
        CIFAR,
        "56 layers without shortcuts",
        "resnet56_plain {data}/cifar10_small/cifar10_png.tar.gz --epochs 182",
    ),
    "cifar_resnet18": Training(
        CIFAR,
        "ResNet-18 at 64 x 64",
        "resnet18 {data}/cifar10_small/cifar10_png.tar.gz --image-size 64 --epochs 90",
        note="The source of the transfers below.",
    ),
    "ants_bees_scratch": Training(
        PHOTOGRAPHS,
        "ResNet-18 from scratch",
        "resnet18 {data}/hymenoptera --image-size 128",
        mark="65 to 70 %, usual on the full set",
        least=65.0,
        note="The mark is a rough one, for the full set, which is three times as large.",
    ),
    **{
        f"ants_bees_{mode.replace(':', '')}": Training(
            PHOTOGRAPHS,
            f"ResNet-18 from CIFAR-10, `--transfer {mode}`",
            "resnet18 {data}/hymenoptera --image-size 128 --weights {source} "
            f"--transfer {mode}",
            source="cifar_resnet18",
        )
        for mode in ("all", "head", "last:2", "none")
    },
}
