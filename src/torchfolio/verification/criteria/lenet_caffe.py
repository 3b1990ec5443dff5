"""LeNet of Caffe's MNIST example, against torch's own modules and our own calculation."""

import torch
from torch import Tensor, nn

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, largest, patches
from torchfolio.verification.criteria import Criteria, Form
from torchfolio.verification.initialization import caffe_bound, constant, uniform
from torchfolio.verification.reference import CalculatedReference, ModuleReference, Reference

# examples/mnist/lenet_train_test.prototxt: num_output 20, 50, 500, 10; kernel_size 5
COUNTS = {
    "conv1": 20 * (25 + 1),
    "conv2": 50 * (20 * 25 + 1),
    "ip1": 500 * (50 * 4 * 4 + 1),
    "ip2": 10 * (500 + 1),
}


def criteria(card: Card, form: Form) -> Criteria:
    """Judge by the chain, our own calculation, Caffe's fillers and the counts of its file."""
    initial = [
        uniform(r".*\.weight", caffe_bound, "Caffe's filler xavier"),
        constant(r".*\.bias", 0, "Caffe's filler constant"),
    ]
    references = [lambda: chain(form), lambda: calculated(form)]
    return Criteria(references, form.image_size, initial, COUNTS)


def chain(form: Form) -> Reference:
    """Return convolutions without activations, maxima, one ReLU; pools round up as Caffe's."""
    layers = nn.Sequential(
        nn.Conv2d(form.in_channels, 20, 5), nn.MaxPool2d(2, ceil_mode=True),
        nn.Conv2d(20, 50, 5), nn.MaxPool2d(2, ceil_mode=True), nn.Flatten(),
        nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, form.num_classes),
    )  # fmt: skip
    ours = {0: "conv1", 1: "pool1", 2: "conv2", 3: "pool2", 5: "ip1", 7: "ip2"}
    names = [(rf"^{place}(?=\.|$)", name) for place, name in ours.items()]
    title = f"torch {torch.__version__} nn.Sequential, and the counts of Caffe's file"
    return ModuleReference(title, layers, names)


def calculated(form: Form) -> Reference:
    """Return our own calculation of Caffe's layers, patch by patch."""
    shapes: dict[str, tuple[int, ...]] = {
        "conv1.weight": (20, form.in_channels, 5, 5), "conv1.bias": (20,),
        "conv2.weight": (50, 20, 5, 5), "conv2.bias": (50,),
        "ip1.weight": (500, 800), "ip1.bias": (500,),
        "ip2.weight": (form.num_classes, 500), "ip2.bias": (form.num_classes,),
    }  # fmt: skip
    return CalculatedReference("our own calculation of Caffe's layers", shapes, forward)


def forward(c: Calculation, images: Tensor) -> Tensor:
    """Return the scores (batch, num_classes)."""
    x = images
    for number in (1, 2):
        weight, bias = (c.values[f"conv{number}.{kind}"] for kind in ("weight", "bias"))
        read = patches(c.begin(f"conv{number}", x), 5)  # (batch, maps, rows, columns, 5, 5)
        x = torch.einsum("bihwyx,oiyx->bohw", read, weight) + bias[:, None, None]
        x = c.begin(f"pool{number}", c.end(f"conv{number}", x))
        x = c.end(f"pool{number}", largest(x, window=2, stride=2, padding=0, round_up=True))
    hidden = c.linear("ip1", x.reshape(len(x), 800))
    return c.linear("ip2", hidden * (hidden > 0))
