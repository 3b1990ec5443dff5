"""The questions of docs/results.md that several trainings answer together."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Study:
    """Ensembles of trainings of one seed, and a ``folio compare`` of what is asked about.

    ``compared`` names trainings or ensembles; each of the others is laid beside the first.
    """

    section: str
    what: str
    question: str
    compared: tuple[str, ...]
    method: str = "mean"
    ensembles: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def trainings(self) -> list[str]:
        """Return the trainings whose runs are needed, each once."""
        names = [name for members in self.ensembles.values() for name in members]
        names += [name for name in self.compared if name not in self.ensembles]
        return list(dict.fromkeys(names))


STUDIES = {
    "mnist_pairs": Study(
        "MNIST",
        "VGG with ResNet-18, or VGG with CapsNet?",
        "Which pair makes the better ensemble, and is the difference more than chance?",
        compared=("vgg_resnet", "vgg_capsnet"),
        ensembles={
            "vgg_resnet": ("mnist_vgg11_bn", "mnist_resnet18"),
            "vgg_capsnet": ("mnist_vgg11_bn", "mnist_capsnet"),
        },
    ),
    "ants_bees": Study(
        "Ants and bees",
        "Is transfer from CIFAR-10 better than training from scratch?",
        "Each transfer beside the training from scratch of the same seed, on the same test "
        "pictures.",
        compared=(
            "ants_bees_scratch",
            "ants_bees_all",
            "ants_bees_head",
            "ants_bees_last2",
            "ants_bees_none",
        ),
    ),
}
