"""The departures of linear models, multilayer perceptrons and maxout networks."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.verification.departures.base import (
    Departure,
    Plant,
    attributes,
    change_forward,
    change_input,
    forwards,
    initial,
    outputs,
    replace,
    transposed,
    without_bias,
)

MLP = {"mlp": "layers.1"}


def by_columns(network: nn.Module, layer: str) -> None:
    """Flatten the image by columns."""
    change_input(network, transposed)


def put(make: type[nn.Module]) -> Plant:
    """Return a plant that puts a fresh module in the place of the layer."""
    return lambda network, layer: replace(network, layer, make())


def norm_after_activation(network: nn.Module, layer: str) -> None:
    """Exchange a batch norm with the activation after it, under the same names."""
    norm = network.get_submodule(layer)
    right = norm.forward
    change_forward(norm, lambda module, x: right(torch.sigmoid(x)))
    stage, _, place = layer.rpartition(".")
    replace(network, f"{stage}.{int(place) + 1}", nn.Identity())


def dropped(share: float) -> Plant:
    """Return a plant that drops a share of what the layer gives, in train mode."""

    def plant(network: nn.Module, layer: str) -> None:
        module = network.get_submodule(layer)
        module.register_forward_hook(
            lambda each, arguments, output: F.dropout(output, share, each.training)
        )

    return plant


# Maxout


def dropout_rates(first: float, others: float, always: bool = False) -> Plant:
    """Return a plant with other shares dropped of the input and of hidden units."""

    def forward(network: nn.Module, images: Tensor) -> Tensor:
        x, share = images.flatten(1), first
        for name in ("h0", "h1", "y"):
            x = network.get_submodule(name)(F.dropout(x, share, network.training or always))
            share = others
        return x

    return lambda network, layer: change_forward(network, forward)


def strided_pieces(layer: nn.Module, x: Tensor) -> Tensor:
    """Take the pieces of a unit from distant outputs, not from consecutive ones."""
    return layer.get_submodule("linear")(x).unflatten(-1, (5, -1)).amax(-2)


def smallest_piece(layer: nn.Module, x: Tensor) -> Tensor:
    """Take the smallest piece."""
    return layer.get_submodule("linear")(x).unflatten(-1, (-1, 5)).amin(-1)


def mean_piece(layer: nn.Module, x: Tensor) -> Tensor:
    """Take the mean of the pieces."""
    return layer.get_submodule("linear")(x).unflatten(-1, (-1, 5)).mean(-1)


def strided_maps(layer: nn.Module, x: Tensor) -> Tensor:
    """Take the pieces of a map from distant channels."""
    maps = layer.get_submodule("conv")(x) + layer.get_parameter("bias")
    return layer.get_submodule("pool")(maps.unflatten(1, (2, -1)).amax(1))


def relu_of_maps(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply ReLU before the maximum over the pieces."""
    maps = layer.get_submodule("conv")(x) + layer.get_parameter("bias")
    return layer.get_submodule("pool")(maps.relu().unflatten(1, (-1, 2)).amax(2))


def four_pieces(network: nn.Module, layer: str) -> None:
    """Give each unit four pieces."""
    replace(network, f"{layer}.linear", nn.Linear(240, 960))


def average_windows(network: nn.Module, layer: str) -> None:
    """Average over the windows."""
    replace(network, layer, nn.AvgPool2d(4, stride=2, ceil_mode=True))


def untied(network: nn.Module, layer: str) -> None:
    """Give each location a bias of its own."""
    network.get_submodule(layer).bias = nn.Parameter(torch.zeros(96, 21, 21))


def no_norms(network: nn.Module, layer: str) -> None:
    """Bound nothing."""
    network.constrain = lambda: None  # type: ignore[assignment]


def norms_by_input(network: nn.Module, layer: str) -> None:
    """Bound what leaves each input where the rule bounds what reaches each unit."""

    @torch.no_grad()
    def constrain() -> None:
        for parameter in network.parameters():
            if parameter.dim() == 2:
                parameter.copy_(parameter.renorm(2, 1, 1.9365))

    network.constrain = constrain  # type: ignore[assignment]


def norms_always(network: nn.Module, layer: str) -> None:
    """Stretch short weights to the bound as well."""

    @torch.no_grad()
    def constrain() -> None:
        for parameter in network.parameters():
            if parameter.dim() == 2:
                parameter.mul_(1.9365 / parameter.norm(dim=1, keepdim=True))

    network.constrain = constrain  # type: ignore[assignment]


def norms_alike(network: nn.Module, layer: str) -> None:
    """Bound the first kernels by 1.9365, as all others, for 0.9."""

    @torch.no_grad()
    def constrain() -> None:
        for parameter in network.parameters():
            if parameter.dim() > 1 and parameter.shape[-1] > 1:
                rows = parameter.flatten(1)
                rows.copy_(rows.renorm(2, 0, 1.9365))

    network.constrain = constrain  # type: ignore[assignment]


def default_start(network: nn.Module, layer: str) -> None:
    """Start as torch does."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.reset_parameters()


def he_start(weight: Tensor) -> Tensor:
    """Start with He's variance."""
    return nn.init.kaiming_normal_(weight, nonlinearity="relu")


LINEAR = [
    Departure("softmax-inside", "a softmax before a loss that has one",
              {"softmax_regression": "linear", "mlp": "output"}, outputs(lambda x: x.softmax(1))),
    Departure("linear-bias-missing", "no bias", {"softmax_regression": "linear", "mlp": "output"},
              without_bias),
    Departure("flatten-columns", "the image read by columns",
              {"softmax_regression": "linear", "mlp": "layers.0", "maxout_mlp": "h0"}, by_columns),
    Departure("softmax-start", "random weights for zeros", {"softmax_regression": "linear"},
              default_start),
    Departure("mlp-sigmoid", "sigmoid for ReLU", MLP, put(nn.Sigmoid)),
    Departure("mlp-plain", "no activation", MLP, put(nn.Identity)),
    Departure("mlp-elu", "ELU for ReLU", MLP, put(nn.ELU)),
    Departure("mlp-activated", "an activation where the plain form has none",
              {"mlp_plain": "layers.0"}, outputs(F.relu)),
    Departure("mlp-output-activated", "ReLU on the class scores", {"mlp": "output"},
              outputs(F.relu)),
    Departure("mlp-dropout", "dropout where there is none", MLP, dropped(0.5)),
    Departure("mlp-start", "He's variance for torch's start", {"mlp": "layers.0"},
              initial(he_start, nn.Linear)),
    Departure("mlp-bn-order", "batch norm after the activation", {"mlp_bn": "layers.1"},
              norm_after_activation),
    Departure("mlp-bn-missing", "one batch norm left out", {"mlp_bn": "layers.4"},
              put(nn.Identity)),
    Departure("mlp-bn-epsilon", "epsilon 1e-3", {"mlp_bn": "layers.1"},
              attributes(nn.BatchNorm1d, eps=1e-3)),
    Departure("mlp-bn-momentum", "momentum 0.01", {"mlp_bn": "layers.7"},
              attributes(momentum=0.01)),
    Departure("mlp-bn-bias", "no bias before a batch norm", {"mlp_bn": "layers.3"}, without_bias),
    Departure("mlp-bn-relu", "ReLU for sigmoid", {"mlp_bn": "layers.2"}, put(nn.ReLU)),
    Departure("mlp-bn-start", "torch's start for the small Gaussian", {"mlp_bn": "layers.0"},
              default_start),
    Departure("pieces-strided", "pieces of a unit from distant outputs",
              {"maxout_mlp": "h0"}, forwards(strided_pieces)),
    Departure("pieces-smallest", "the smallest piece", {"maxout_mlp": "h1"},
              forwards(smallest_piece)),
    Departure("pieces-mean", "the mean of the pieces", {"maxout_mlp": "h1"}, forwards(mean_piece)),
    Departure("pieces-four", "four pieces for five", {"maxout_mlp": "h0"}, four_pieces),
    Departure("pieces-relu", "ReLU after the maximum", {"maxout_mlp": "h0"}, outputs(F.relu)),
    Departure("dropout-input", "half of the input dropped for a fifth", {"maxout_mlp": "h0"},
              dropout_rates(0.5, 0.5)),
    Departure("dropout-hidden", "a fifth of the hidden units dropped for half",
              {"maxout_mlp": "h1"}, dropout_rates(0.2, 0.2)),
    Departure("dropout-missing", "nothing dropped", {"maxout_mlp": "h0"}, dropout_rates(0.0, 0.0)),
    Departure("dropout-always", "units dropped in eval mode too", {"maxout_mlp": "h0"},
              dropout_rates(0.2, 0.5, always=True)),
    Departure("norm-unbounded", "nothing bounds the norms",
              {"maxout_mlp": "h0.linear", "maxout_conv_mnist": "h0.conv"}, no_norms),
    Departure("norm-by-input", "norms by input for norms by unit", {"maxout_mlp": "h0.linear"},
              norms_by_input),
    Departure("norm-always", "short weights stretched to the bound", {"maxout_mlp": "h0.linear"},
              norms_always),
    Departure("norm-first", "1.9365 for 0.9 in the first layer", {"maxout_conv_mnist": "h0.conv"},
              norms_alike),
    Departure("maxout-start", "torch's start for U(-0.005, 0.005)",
              {"maxout_mlp": "h0.linear", "maxout_conv_mnist": "h0.conv"}, default_start),
    Departure("maps-strided", "pieces of a map from distant channels",
              {"maxout_conv_mnist": "h0"}, forwards(strided_maps)),
    Departure("maps-relu", "ReLU before the maximum over the pieces",
              {"maxout_conv_mnist": "h1"}, forwards(relu_of_maps)),
    Departure("windows-rounding", "the number of windows rounded down",
              {"maxout_conv_mnist": "h0.pool"}, attributes(ceil_mode=False)),
    Departure("windows-stride", "windows that do not overlap", {"maxout_conv_mnist": "h1.pool"},
              attributes(stride=4)),
    Departure("windows-average", "averages over the windows", {"maxout_conv_mnist": "h0.pool"},
              average_windows),
    Departure("windows-smaller", "windows of 3 for 4", {"maxout_conv_mnist": "h0.pool"},
              attributes(kernel_size=3)),
    Departure("maxout-padding", "padding 2 for 3", {"maxout_conv_mnist": "h1.conv"},
              attributes(padding=(2, 2))),
    Departure("bias-untied", "a bias for each location", {"maxout_conv_mnist": "h0.bias"},
              lambda network, layer: untied(network, "h0")),
]  # fmt: skip
