"""What departures of residual networks do: wrong blocks, layers and initial values."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.verification.departures.base import (
    Change,
    change_forward,
    change_input,
    replace,
)


def part(block: nn.Module, name: str, x: Tensor) -> Tensor:
    """Run one module of a block."""
    return block.get_submodule(name)(x)


def shortcut(block: nn.Module, x: Tensor, like: Tensor) -> Tensor:
    """Return the shortcut of a block: its projection, the identity, or option A."""
    if getattr(block, "downsample", None) is not None:
        return part(block, "downsample", x)
    return x if x.shape == like.shape else padded(x, like, (like.shape[1] - x.shape[1]) // 2)


def padded(x: Tensor, like: Tensor, before: int) -> Tensor:
    """Return every second pixel, with so many zero channels before and the rest after."""
    return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, before, like.shape[1] - x.shape[1] - before))


def body(block: nn.Module, x: Tensor, activation: Change = F.relu) -> Tensor:
    """Return the convolutions of a block as they should be, or with another activation between."""
    numbers = [name[4:] for name, _ in block.named_children() if name.startswith("conv")]
    for number in numbers:
        x = x if number == numbers[0] else activation(x)
        x = part(block, f"bn{number}", part(block, f"conv{number}", x))
    return x


def norm_after_activation(block: nn.Module, x: Tensor) -> Tensor:
    """Apply ReLU before the first batch norm of a block."""
    y = part(block, "bn1", F.relu(part(block, "conv1", x)))
    y = part(block, "bn2", part(block, "conv2", y))
    return F.relu(y + shortcut(block, x, y))


def preactivation(block: nn.Module, x: Tensor) -> Tensor:
    """Normalize and activate before each convolution (ResNet v2)."""
    y = part(block, "conv1", F.relu(part(block, "bn1", x)))
    y = part(block, "conv2", F.relu(part(block, "bn2", y)))
    return y + shortcut(block, x, y)


def no_inner_relu(block: nn.Module, x: Tensor) -> Tensor:
    """Leave out the ReLU between the convolutions."""
    y = body(block, x, lambda maps: maps)
    return F.relu(y + shortcut(block, x, y))


def leaky_inner_relu(block: nn.Module, x: Tensor) -> Tensor:
    """Use a leaky ReLU between the convolutions."""
    y = body(block, x, lambda maps: F.leaky_relu(maps, 0.01))
    return F.relu(y + shortcut(block, x, y))


def no_last_relu(block: nn.Module, x: Tensor) -> Tensor:
    """Leave out the ReLU after the sum."""
    y = body(block, x)
    return y + shortcut(block, x, y)


def relu_before_sum(block: nn.Module, x: Tensor) -> Tensor:
    """Apply the last ReLU before the sum."""
    y = F.relu(body(block, x))
    return y + shortcut(block, x, y)


def no_shortcut(block: nn.Module, x: Tensor) -> Tensor:
    """Leave out the shortcut."""
    return F.relu(body(block, x))


def detached_shortcut(block: nn.Module, x: Tensor) -> Tensor:
    """Let no gradient through the shortcut."""
    y = body(block, x)
    return F.relu(y + shortcut(block, x, y).detach())


def trailing_zeros(block: nn.Module, x: Tensor) -> Tensor:
    """Put all zero channels of option A after the maps."""
    y = body(block, x)
    return F.relu(y + padded(x, y, before=0))


def averaged_shortcut(block: nn.Module, x: Tensor) -> Tensor:
    """Average 2x2 pixels in option A."""
    y = body(block, x)
    return F.relu(y + padded(F.avg_pool2d(x, 2, 1, ceil_mode=True), y, y.shape[1] // 4))


def with_shortcut(block: nn.Module, x: Tensor) -> Tensor:
    """Add a shortcut to a block that has none."""
    y = body(block, x)
    return F.relu(y + x)


def always_batch_statistics(norm: nn.Module, x: Tensor) -> Tensor:
    """Normalize by the batch in eval mode too."""
    values = dict(norm.named_buffers())
    weight, bias = norm.get_parameter("weight"), norm.get_parameter("bias")
    if norm.training:
        values["num_batches_tracked"].add_(1)
    mean, variance = values["running_mean"].clone(), values["running_var"].clone()
    if norm.training:
        mean, variance = values["running_mean"], values["running_var"]
    return F.batch_norm(x, mean, variance, weight, bias, training=True)


def always_running_statistics(norm: nn.Module, x: Tensor) -> Tensor:
    """Normalize by the running statistics in train mode too."""
    values = dict(norm.named_buffers())
    weight, bias = norm.get_parameter("weight"), norm.get_parameter("bias")
    return F.batch_norm(x, values["running_mean"], values["running_var"], weight, bias)


def biased_running_variance(network: nn.Module, layer: str) -> None:
    """Keep the biased variance of the batch."""
    norm = network.get_submodule(layer)
    right = norm.forward

    def forward(module: nn.Module, x: Tensor) -> Tensor:
        before = module.get_buffer("running_var").clone()
        y = right(x)
        if module.training:
            count = x.numel() / x.shape[1]
            update = module.get_buffer("running_var") - 0.9 * before  # a tenth of the unbiased one
            module.running_var = 0.9 * before + update * (count - 1) / count
        return y

    change_forward(norm, forward)


def grouped(network: nn.Module, layer: str) -> None:
    """Split a convolution into two groups."""
    replace(network, layer, nn.Conv2d(16, 16, 3, padding=1, groups=2, bias=False))


def wider(network: nn.Module, layer: str) -> None:
    """Give a convolution 24 maps."""
    replace(network, layer, nn.Conv2d(16, 24, 3, stride=2, padding=1, bias=False))


def small_stem(network: nn.Module, layer: str) -> None:
    """Put a 3x3 convolution in the place of the 7x7 one."""
    replace(network, layer, nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False))


def norm_without_affine(network: nn.Module, layer: str) -> None:
    """Take scale and shift away."""
    replace(network, layer, nn.BatchNorm2d(16, affine=False))


def norm_without_statistics(network: nn.Module, layer: str) -> None:
    """Take the running statistics away."""
    replace(network, layer, nn.BatchNorm2d(16, track_running_stats=False))


def projections(network: nn.Module, layer: str) -> None:
    """Add a projection to a block."""
    block = network.get_submodule(layer)
    first: Any = block.get_submodule("conv1")
    conv = nn.Conv2d(first.in_channels, first.out_channels, 1, first.stride, bias=False)
    block.downsample = nn.Sequential(conv, nn.BatchNorm2d(first.out_channels))


def no_projection(network: nn.Module, layer: str) -> None:
    """Pad with zeros where a block projects."""
    block = network.get_submodule(layer)
    block.downsample = None  # type: ignore[assignment]
    change_forward(block, lambda each, x: F.relu((y := body(each, x)) + shortcut(each, x, y)))


def projection_without_norm(network: nn.Module, layer: str) -> None:
    """Leave out the batch norm of a projection."""
    replace(network, f"{layer}.1", nn.Identity())


def projection_of_average(network: nn.Module, layer: str) -> None:
    """Average before a projection instead of striding in it."""
    conv = network.get_submodule(layer)
    conv.stride = (1, 1)  # type: ignore[assignment]
    change_input(conv, lambda x: F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False))


def global_maximum(network: nn.Module, layer: str) -> None:
    """Take the maximum over the map."""
    replace(network, "avgpool", nn.AdaptiveMaxPool2d(1))


def dropout_before(network: nn.Module, layer: str) -> None:
    """Drop a fifth of what a layer reads."""
    head = network.get_submodule(layer)
    change_input(head, lambda x: F.dropout(x, 0.2, head.training))


def tied(network: nn.Module, layer: str) -> None:
    """Let a convolution share the weights of the block before."""
    before, _, _ = layer.partition(".1.")
    replace(network, layer, network.get_submodule(f"{before}.0.conv1"))


def one_block_less(network: nn.Module, layer: str) -> None:
    """Leave out the last block of a stage."""
    stage, _, last = layer.partition(".")
    kept = list(network.get_submodule(stage).children())[: int(last)]
    replace(network, stage, nn.Sequential(*kept))


def frozen(network: nn.Module, layer: str) -> None:
    """Freeze a layer."""
    network.get_submodule(layer).requires_grad_(False)


def paper_strides(network: nn.Module, layer: str) -> None:
    """Halve in the first 1x1 convolution of each stage."""
    for stage in ("layer2", "layer3", "layer4"):
        network.get_submodule(f"{stage}.0.conv1").stride = (2, 2)  # type: ignore[assignment]
        network.get_submodule(f"{stage}.0.conv2").stride = (1, 1)  # type: ignore[assignment]


def later_strides(network: nn.Module, layer: str) -> None:
    """Halve in the 3x3 convolution of each stage."""
    for stage in ("layer2", "layer3", "layer4"):
        network.get_submodule(f"{stage}.0.conv1").stride = (1, 1)  # type: ignore[assignment]
        network.get_submodule(f"{stage}.0.conv2").stride = (2, 2)  # type: ignore[assignment]


def average_pool(network: nn.Module, layer: str) -> None:
    """Average where the paper takes the maximum."""
    replace(network, layer, nn.AvgPool2d(3, stride=2, padding=1))


def start_small(network: nn.Module, layer: str) -> None:
    """Start convolutions from N(0, 0.01)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.01)


def start_by_fan_out(network: nn.Module, layer: str) -> None:
    """Start convolutions with the variance 2 / fan-out."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def start_by_fan_in(network: nn.Module, layer: str) -> None:
    """Start convolutions with the variance 2 / fan-in."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")


def start_uniform(network: nn.Module, layer: str) -> None:
    """Start one layer uniformly, with He's variance."""
    nn.init.kaiming_uniform_(
        network.get_submodule(layer).get_parameter("weight"), nonlinearity="relu"
    )


def start_zero_scale(network: nn.Module, layer: str) -> None:
    """Start the scale of a batch norm at zero."""
    nn.init.zeros_(network.get_submodule(layer).get_parameter("weight"))


def start_bias(network: nn.Module, layer: str) -> None:
    """Start a bias at 0.1."""
    nn.init.constant_(network.get_submodule(layer).get_parameter("bias"), 0.1)
