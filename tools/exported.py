"""A network as an ONNX file beside itself: ``python -m tools.exported NETWORK`` prints how far.

The network has the size of its paper (one for segmentation or detection takes small pictures) and
weights as a training leaves them; what is printed, as JSON, is the largest difference of a
probability (of a detector also of a box's side, as a share of the picture) over batches of one and
of three random pictures, and the largest between float32 and float64 by torch, the "rounding".
"""

import copy
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchfolio.export.engines import Engine, OnnxEngine
from torchfolio.export.writing import write_onnx
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import find_card
from torchfolio.networks.inference import answering
from torchfolio.tasks.class_scores import probabilities
from torchfolio.tasks.detection.export import Detector
from torchfolio.tasks.image_export import Classifier

FACTS = {"output": "outputs"}
CLASSES = 7
MEAN, FACTOR = 100.0, 0.02  # how pixels are normalised
NORMS = nn.BatchNorm1d | nn.BatchNorm2d
SMALL = (96, 204)  # sides of small pictures; the latter is one of U-Net without padding
SQUARE = 128  # side of the pictures of detectors
Shape = tuple[int, int, int]


def trained(name: str, shape: Shape, **arguments: Any) -> nn.Module:
    """Build a network for pictures of a shape, as a training might leave it.

    Batch norms scale, shift, and know their statistics; scores differ enough that no probability is
    near zero or one, nor all of them alike.
    """
    torch.manual_seed(0)
    network = build(name, num_classes=CLASSES, image_size=shape[1:], **arguments)
    draw = torch.Generator().manual_seed(1)
    for layer in network.modules():
        if isinstance(layer, NORMS):
            nn.init.uniform_(layer.weight, 0.5, 1.5, generator=draw)
            nn.init.normal_(layer.bias, std=0.2, generator=draw)
        if isinstance(layer, nn.Linear | nn.Conv2d) and not layer.weight.any():  # zero at first
            nn.init.normal_(layer.weight, std=0.1, generator=draw)
        if isinstance(layer, nn.Linear | nn.Conv2d) and name.startswith("maxout"):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5, generator=draw)
    pictures = (torch.from_numpy(images(8, shape)) - MEAN) * FACTOR
    settle(network, pictures)
    return network.eval()


@torch.no_grad()
def settle(network: nn.Module, pictures: Tensor) -> None:
    """Give batch norms the statistics of pictures, and the scores of these a deviation of two."""
    norms = [layer for layer in network.modules() if isinstance(layer, NORMS)]
    moments = [layer.momentum for layer in norms]
    if norms:
        for layer in norms:
            layer.momentum = None  # the plain mean
        network.train()(pictures)
        for layer, momentum in zip(norms, moments, strict=True):
            layer.momentum = momentum
    heads = [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and len(layer.weight) == CLASSES
    ]
    if heads:
        scores = network.eval()(pictures).flatten(1)
        for layer in heads:
            layer.weight.mul_(2 / scores.std())


def detector(name: str, shape: Shape) -> tuple[Detector, list[dict[str, Any]]]:
    """Return what is exported of a detector, and its input."""
    mean = torch.full((shape[0], 1, 1), MEAN)
    inputs = [{"name": "images", "dtype": "uint8", "channels": shape[0], "size": shape[1]}]
    return Detector(trained(name, shape), mean, torch.full_like(mean, FACTOR)).eval(), inputs


def classifier(
    name: str, shape: Shape, **arguments: Any
) -> tuple[Classifier, list[dict[str, Any]]]:
    """Return what is exported of a network, and its input."""
    mean = torch.full((shape[0], 1, 1), MEAN)
    folded = answering(trained(name, shape, **arguments), torch.zeros(1, *shape))
    inputs = [{"name": "images", "dtype": "uint8", "channels": shape[0], "size": shape[1]}]
    factor = torch.full_like(mean, FACTOR)
    return Classifier(folded, mean, factor, probabilities).eval(), inputs


def images(count: int, shape: Shape) -> NDArray[np.uint8]:
    """Return random pictures (count, channels, height, width)."""
    return np.random.default_rng(count).integers(0, 256, (count, *shape), np.uint8)


def distance(network: nn.Module, engine: Engine, array: NDArray[np.uint8]) -> float:
    """Return the largest difference of a probability between a network and its file."""
    with torch.no_grad():
        expected = network(torch.from_numpy(array)).numpy()
    return float(np.abs(engine.run([array], alone=len(array) == 1) - expected).max())


@torch.no_grad()
def rounding(network: nn.Module, array: NDArray[np.uint8]) -> float:
    """Return the largest difference of a probability between float32 and float64."""
    batch = torch.from_numpy(array)
    return float((copy.deepcopy(network).double()(batch) - network(batch)).abs().max())


def main() -> None:
    """Export one network, and print the distance."""
    card = find_card(sys.argv[1])
    shape = card.input
    if "semantic-segmentation" in card.tasks:  # which any size will do for
        shape = (shape[0], SMALL[card.smallest > SMALL[0]], SMALL[card.smallest > SMALL[0]])
    make = classifier
    if "object-detection" in card.tasks:
        shape, make = (shape[0], SQUARE, SQUARE), detector
    network, inputs = make(card.name, shape)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        write_onnx(network, inputs, FACTS, file)
        engine = OnnxEngine(file, ["images"])
        batches = [images(count, shape) for count in (1, 3)]
        found = [distance(network, engine, batch) for batch in batches]
    rounded = max(rounding(network, batch) for batch in batches)
    print(json.dumps({"difference": max(found), "rounding": rounded}))


if __name__ == "__main__":
    main()
