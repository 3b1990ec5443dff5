"""Our own calculation of a paper's equations, layer by layer, from named values.

It stands in where no implementation can be installed. It uses no module of :mod:`torch.nn` and
nothing of ``torchfolio.networks``; batch normalization, pooling, maxout and shortcuts are written
out from their definitions, convolution is torch's own function or a product of unfolded patches.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from torchfolio.verification.observation import Place


class Calculation:
    """The named values of one pass, and what each named layer read and gave."""

    def __init__(self, values: Mapping[str, Tensor], training: bool) -> None:
        self.values = values
        self.training = training
        self.layers: dict[Place, Tensor] = {}
        self.buffers: dict[str, Tensor] = {}

    def begin(self, name: str, x: Tensor) -> Tensor:
        """Note what a layer reads."""
        self.layers[name, "input", 0] = x.detach()
        return x

    def end(self, name: str, y: Tensor) -> Tensor:
        """Note what a layer gives."""
        self.layers[name, "output", 0] = y.detach()
        return y

    def convolution(self, name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        """Return the convolution with ``name.weight``; no bias."""
        self.begin(name, x)
        return self.end(
            name, F.conv2d(x, self.values[f"{name}.weight"], stride=stride, padding=padding)
        )

    def affine_convolution(
        self, name: str, x: Tensor, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> Tensor:
        """Return the convolution with ``name.weight``, plus ``name.bias`` where there is one."""
        self.begin(name, x)
        weight, bias = self.values[f"{name}.weight"], self.values.get(f"{name}.bias")
        return self.end(name, F.conv2d(x, weight, bias, stride, padding, groups=groups))

    def linear(self, name: str, x: Tensor) -> Tensor:
        """Return x W^T + b. Shape: (batch, in) -> (batch, out)."""
        self.begin(name, x)
        weight, bias = self.values[f"{name}.weight"], self.values[f"{name}.bias"]
        return self.end(name, torch.einsum("bi,oi->bo", x, weight) + bias)

    def normalization(self, name: str, x: Tensor, epsilon: float, momentum: float) -> Tensor:
        """Return Algorithm 1 of Ioffe and Szegedy (2015), or its inference form; keep averages.

        The running variance takes the unbiased batch variance (their Algorithm 2, step 10);
        ``momentum`` is the weight of the new value.
        """
        self.begin(name, x)
        scale, shift = self.values[f"{name}.weight"], self.values[f"{name}.bias"]
        mean, variance = self.values[f"{name}.running_mean"], self.values[f"{name}.running_var"]
        tracked = self.values[f"{name}.num_batches_tracked"]
        if self.training:
            flat = x.transpose(0, 1).flatten(1)  # (channels, examples and places)
            count = flat.shape[1]
            batch_mean = flat.sum(1) / count
            batch_variance = (flat - batch_mean[:, None]).square().sum(1) / count
            unbiased = batch_variance.detach() * count / (count - 1)
            self.buffers |= {
                f"{name}.running_mean": mean + momentum * (batch_mean.detach() - mean),
                f"{name}.running_var": variance + momentum * (unbiased - variance),
                f"{name}.num_batches_tracked": tracked + 1,
            }
            mean, variance = batch_mean, batch_variance
        else:
            self.buffers |= {
                f"{name}.running_mean": mean,
                f"{name}.running_var": variance,
                f"{name}.num_batches_tracked": tracked,
            }
        if x.dtype == torch.float32:
            # the same equation, rounded as torch rounds it: float64 shows whether it is the same
            used = (None, None) if self.training else (mean, variance)
            y = F.batch_norm(x, used[0], used[1], scale, shift, self.training, 0.0, epsilon)
            return self.end(name, y)
        shape = (1, -1, *[1] * (x.dim() - 2))
        factor = scale / (variance + epsilon).sqrt()
        return self.end(name, (x - mean.view(shape)) * factor.view(shape) + shift.view(shape))


def normalization_shapes(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the values that :meth:`Calculation.normalization` reads."""
    kinds = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{kind}": (channels,) for kind in kinds} | {f"{name}.num_batches_tracked": ()}


def responses(x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Return Krizhevsky et al. (2012), Section 3.3: b = a / (k + alpha * sum of a ** 2) ** beta.

    The sum runs over ``size`` channels around each one, as far as they exist.
    """
    squares = x.square()
    rows = []
    for channel in range(x.shape[1]):
        first, last = max(0, channel - size // 2), min(x.shape[1], channel + size // 2 + 1)
        rows.append(squares[:, first:last].sum(1))
    return x / (k + alpha * torch.stack(rows, 1)) ** beta


def patches(x: Tensor, kernel: int, padding: int = 0) -> Tensor:
    """Return every kernel x kernel patch of an image, with zeros around it.

    Shape: (batch, channels, height, width) -> (batch, channels, rows, columns, kernel, kernel)
    """
    padded = F.pad(x, (padding,) * 4)
    return padded.unfold(2, kernel, 1).unfold(3, kernel, 1)


def largest(x: Tensor, window: int, stride: int, padding: int, round_up: bool) -> Tensor:
    """Return the maximum over windows; where sizes round up, the last window may reach outside.

    Shape: (batch, channels, height, width) -> (batch, channels, rows, columns)
    """
    sizes = []
    for size in x.shape[2:]:
        steps = size + 2 * padding - window
        count = -(-steps // stride) + 1 if round_up else steps // stride + 1
        if round_up and (count - 1) * stride >= size + padding:
            count -= 1  # the last window must start inside
        sizes.append(count)
    height, width = ((count - 1) * stride + window for count in sizes)
    after = (padding, width - x.shape[3] - padding, padding, height - x.shape[2] - padding)
    padded = F.pad(x, after, value=-torch.inf)
    views = [
        padded[:, :, row::stride, column::stride][:, :, : sizes[0], : sizes[1]]
        for row in range(window)
        for column in range(window)
    ]
    return torch.stack(views).amax(0)
