"""The departures of AlexNet and VGG."""

from torch import nn

from torchfolio.verification.departures.base import (
    Departure,
    attributes,
    initial,
    replace,
    without_bias,
    zero_biases,
)

OLD, ONE, VGG, NORMED = "alexnet_2012", "alexnet", "vgg11", "vgg11_bn"


ALEXNET = [
    Departure("alexnet-norm-alpha", "alpha divided by the channels, as in torch's module",
              {OLD: "conv2"}, lambda network, layer: attributes(alpha=2e-5)(network, "norm")),
    Departure("alexnet-norm-k", "k of 1, as in Caffe's", {OLD: "conv2"},
              lambda network, layer: attributes(k=1.0)(network, "norm")),
    Departure("alexnet-apart", "pools of 2x2 that do not overlap", {OLD: "conv2"},
              lambda network, layer: attributes(kernel_size=2)(network, "pool")),
    Departure("alexnet-groups", "a second convolution that reads both towers", {OLD: "conv2"},
              lambda network, layer: replace(network, layer, nn.Conv2d(96, 256, 5, padding=2))),
    Departure("alexnet-biases", "biases that all start at zero", {OLD: "conv2"}, zero_biases),
    Departure("alexnet-padding", "padding 1 for 2 in the first convolution",
              {ONE: "features.0"}, attributes(padding=(1, 1)), here=True),
    Departure("alexnet-width", "the second convolution as wide as in 2012", {ONE: "features.3"},
              lambda network, layer: replace(network, layer, nn.Conv2d(64, 256, 5, padding=2))),
    Departure("alexnet-dropout", "no dropout before the hidden layers", {ONE: "classifier.0"},
              attributes(p=0.0)),
    Departure("vgg-average", "averages for maxima", {VGG: "features.2"},
              lambda network, layer: replace(network, layer, nn.AvgPool2d(2))),
    Departure("vgg-5x5", "a 5x5 convolution for a 3x3", {VGG: "features.3"},
              lambda network, layer: replace(network, layer, nn.Conv2d(64, 128, 5, padding=2))),
    Departure("vgg-dropout", "dropout of 0.2", {VGG: "classifier.2"}, attributes(p=0.2)),
    Departure("vgg-start", "a deviation of 0.01 in the convolutions",
              {VGG: "features.0", NORMED: "features.0"},
              initial(lambda weight: nn.init.normal_(weight, std=0.01), nn.Conv2d)),
    Departure("vgg-bias", "no bias before a batch norm", {NORMED: "features.0"}, without_bias),
    Departure("vgg-scale", "scales of batch norms that start at 0.5", {NORMED: "features.1"},
              initial(lambda weight: nn.init.constant_(weight, 0.5), nn.BatchNorm2d)),
    Departure("vgg-epsilon", "Keras's epsilon of 0.001", {NORMED: "features.1"},
              attributes(nn.BatchNorm2d, eps=1e-3)),
]  # fmt: skip
