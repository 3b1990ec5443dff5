"""The departures of MobileNet, first and second."""

from torch import nn
from torch.nn import functional as F

from torchfolio.verification.departures.base import (
    Departure,
    Plant,
    attributes,
    change_input,
    initial,
    outputs,
    replace,
)

ONE, TWO = "mobilenet_v1_0.25", "mobilenet_v2_0.35"


def same_padding(network: nn.Module, layer: str) -> None:
    """Pad right and below first, as TensorFlow does."""
    attributes(padding=(0, 0))(network, layer)
    change_input(network.get_submodule(layer), lambda x: F.pad(x, (0, 1, 0, 1)))


def activation(kind: type[nn.Module]) -> Plant:
    """Return a plant with another activation everywhere."""

    def plant(network: nn.Module, layer: str) -> None:
        for name, module in list(network.named_modules()):
            if isinstance(module, nn.ReLU | nn.ReLU6):
                replace(network, name, kind())

    return plant


MOBILE = [
    Departure("mobilenet-relu6", "ReLU6, as TensorFlow's weights want it, for ReLU",
              {ONE: "blocks.0.0"}, activation(nn.ReLU6)),
    Departure("mobilenet-relu", "ReLU for ReLU6", {TWO: "features.0.2"}, activation(nn.ReLU)),
    Departure("mobilenet-last-stride", "stride 2 in the last depthwise convolution, as printed",
              {ONE: "blocks.4.1.conv_dw"}, attributes(stride=(2, 2))),
    Departure("mobilenet-full", "a full convolution for a depthwise one",
              {ONE: "blocks.0.0.conv_dw"},
              lambda network, layer: replace(
                  network, layer, nn.Conv2d(8, 8, 3, padding=1, bias=False))),
    Departure("mobilenet-padding", "TensorFlow's padding", {ONE: "conv_stem"}, same_padding),
    Departure("mobilenet-epsilon", "TensorFlow's epsilon of 0.001",
              {ONE: "bn1", TWO: "features.0.1"}, attributes(nn.BatchNorm2d, eps=1e-3)),
    Departure("mobilenet-projection", "an activation after a narrow convolution",
              {TWO: "features.2.conv.3"}, outputs(F.relu6)),
    Departure("mobilenet-shortcut", "no shortcut where stride and width allow one",
              {TWO: "features.3"}, attributes(shortcut=False)),
    Departure("mobilenet-expansion", "a block that does not widen", {TWO: "features.2.conv.0.0"},
              lambda network, layer: replace(network, layer, nn.Conv2d(8, 8, 1, bias=False))),
    Departure("mobilenet-start", "He's variance by fan-in for fan-out", {TWO: "features.0.0"},
              initial(lambda weight: nn.init.kaiming_normal_(weight, mode="fan_in"), nn.Conv2d)),
    Departure("mobilenet-dropout", "dropout of 0.5", {TWO: "classifier.0"}, attributes(p=0.5)),
]  # fmt: skip
