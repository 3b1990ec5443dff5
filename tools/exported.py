"""A network as an ONNX file beside itself: ``python -m tools.exported NETWORK`` prints how far.

The network has the size of its paper and weights as a training leaves them; what is printed is the
largest difference of a probability, as JSON, over batches of one and of three random pictures.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from torchfolio.export.engines import Engine, OnnxEngine
from torchfolio.export.writing import write_onnx
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import find_card
from torchfolio.networks.inference import answering
from torchfolio.tasks.class_scores import probabilities
from torchfolio.tasks.image_export import Classifier

FACTS = {"output": "probabilities"}
CLASSES = 7
Shape = tuple[int, int, int]


def trained(name: str, shape: Shape, **arguments: Any) -> nn.Module:
    """Build a network for pictures of a shape, as a training might leave it."""
    torch.manual_seed(0)
    network = build(name, num_classes=CLASSES, image_size=shape[1:], **arguments)
    draw = torch.Generator().manual_seed(1)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.2, generator=draw)
            layer.running_var.uniform_(0.5, 2, generator=draw)
        if isinstance(layer, nn.Linear) and not layer.weight.any():  # a first weight of zero
            nn.init.normal_(layer.weight, std=0.1, generator=draw)
        if isinstance(layer, nn.Linear | nn.Conv2d) and name.startswith("maxout"):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5, generator=draw)
    return network.eval()


def classifier(
    name: str, shape: Shape, **arguments: Any
) -> tuple[Classifier, list[dict[str, Any]]]:
    """Return what is exported of a network, and its input."""
    mean = torch.full((shape[0], 1, 1), 100.0)
    folded = answering(trained(name, shape, **arguments), torch.zeros(1, *shape))
    inputs = [{"name": "images", "dtype": "uint8", "channels": shape[0], "size": shape[1]}]
    factor = torch.full_like(mean, 0.02)
    return Classifier(folded, mean, factor, probabilities).eval(), inputs


def images(count: int, shape: Shape) -> NDArray[np.uint8]:
    """Return random pictures (count, channels, height, width)."""
    return np.random.default_rng(count).integers(0, 256, (count, *shape), np.uint8)


def distance(network: nn.Module, engine: Engine, array: NDArray[np.uint8]) -> float:
    """Return the largest difference of a probability between a network and its file."""
    with torch.no_grad():
        expected = network(torch.from_numpy(array)).numpy()
    return float(np.abs(engine.run([array], alone=len(array) == 1) - expected).max())


def main() -> None:
    """Export one network, and print the distance."""
    card = find_card(sys.argv[1])
    network, inputs = classifier(card.name, card.input)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        write_onnx(network, inputs, FACTS, file)
        engine = OnnxEngine(file, ["images"])
        found = [distance(network, engine, images(count, card.input)) for count in (1, 3)]
    print(json.dumps({"difference": max(found)}))


if __name__ == "__main__":
    main()
