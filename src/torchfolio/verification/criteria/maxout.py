"""Maxout networks against our own calculation of Goodfellow et al. (2013), Section 2 and 5.1.

Sizes, pooling, dropout and norms: the authors' settings (pylearn2, papers/maxout: mnist_pi, mnist).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, largest, patches
from torchfolio.verification.criteria import Criteria, Form
from torchfolio.verification.initialization import constant, uniform
from torchfolio.verification.reference import CalculatedReference

TITLE = "the authors' counts, and our own calculation of Section 2 (nothing can be installed)"
# mnist: channels, pieces, kernel, padding, pooling window; every pool moves by 2
CONVOLUTIONS = {"h0": (48, 2, 8, 0, 4), "h1": (48, 2, 8, 3, 4), "h2": (24, 4, 5, 3, 2)}
NORMS = {
    "maxout_mlp": {"h0.linear": 1.9365, "h1.linear": 1.9365, "y": 1.9365},
    "maxout_conv_mnist": {"h0.conv": 0.9, "h1.conv": 1.9365, "h2.conv": 1.9365, "y": 1.9365},
}


def criteria(card: Card, form: Form) -> Criteria:
    """Judge by the calculation, U(-0.005, 0.005), zero biases, and the bound on norms."""
    make = reference_mlp if card.name == "maxout_mlp" else reference_convolutional
    initial = [
        uniform(r".*\.weight", lambda values, name: 0.005, "irange of the authors' settings"),
        constant(r".*\.bias", 0),
    ]
    return Criteria(
        [lambda: make(form)],
        form.image_size,
        initial,
        checks=[lambda network: check_norms(network, NORMS[card.name])],
    )


def reference_mlp(form: Form) -> CalculatedReference:
    """Two layers of 240 units of 5 pieces; keep 0.8 of the input and 0.5 of the hidden units."""
    features = form.in_channels * form.image_size[0] * form.image_size[1]
    shapes = {"h0.linear.weight": (1200, features), "h0.linear.bias": (1200,)}
    shapes |= {"h1.linear.weight": (1200, 240), "h1.linear.bias": (1200,)}
    shapes |= {"y.weight": (form.num_classes, 240), "y.bias": (form.num_classes,)}

    def forward(c: Calculation, images: Tensor) -> Tensor:
        x = images.reshape(len(images), -1)
        for name, kept in (("h0", 0.8), ("h1", 0.5)):
            x = c.begin(name, F.dropout(x, 1 - kept, c.training))
            pieces = c.linear(f"{name}.linear", x)
            # unit u is the largest of the outputs 5u ... 5u + 4
            x = c.end(name, torch.stack([pieces[:, i::5] for i in range(5)]).amax(0))
        return c.linear("y", F.dropout(x, 0.5, c.training))

    return CalculatedReference(TITLE, shapes, forward)


def reference_convolutional(form: Form) -> CalculatedReference:
    """Three layers: dropout, convolution, bias by channel, largest of pieces, largest of window."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels, sizes = form.in_channels, list(form.image_size)
    for name, (maps, pieces, kernel, padding, window) in CONVOLUTIONS.items():
        shapes[f"{name}.bias"] = (maps * pieces, 1, 1)
        shapes[f"{name}.conv.weight"] = (maps * pieces, channels, kernel, kernel)
        channels = maps
        sizes = [n + 2 * padding - kernel + 1 for n in sizes]
        sizes = [-(-(n - window) // 2) + 1 for n in sizes]  # rounded up
    shapes["y.weight"] = (form.num_classes, channels * sizes[0] * sizes[1])
    shapes["y.bias"] = (form.num_classes,)

    def forward(c: Calculation, images: Tensor) -> Tensor:
        x = images
        for name, (_, pieces, kernel, padding, window) in CONVOLUTIONS.items():
            x = c.begin(name, F.dropout(x, 0.2 if name == "h0" else 0.5, c.training))
            x = c.begin(f"{name}.conv", x)
            weight = c.values[f"{name}.conv.weight"]
            x = torch.einsum("bchwij,ocij->bohw", patches(x, kernel, padding), weight)
            x = c.end(f"{name}.conv", x) + c.values[f"{name}.bias"]
            x = torch.stack([x[:, i::pieces] for i in range(pieces)]).amax(0)
            x = c.begin(f"{name}.pool", x)
            x = c.end(f"{name}.pool", largest(x, window, 2, 0, round_up=True))
            c.end(name, x)
        return c.linear("y", F.dropout(x.reshape(len(x), -1), 0.5, c.training))

    return CalculatedReference(TITLE, shapes, forward)


def check_norms(network: nn.Module, norms: dict[str, float]) -> list[str]:
    """Compare ``constrain`` with the rule: longer weights of a unit shrink to the bound."""
    constrain = getattr(network, "constrain", None)
    if constrain is None:
        return [f"{', '.join(norms)}: nothing bounds the norms (there is no constrain())"]
    parameters = dict(network.named_parameters())
    generator = torch.Generator().manual_seed(5)
    expected = {}
    with torch.no_grad():
        for name, parameter in parameters.items():
            bound = norms.get(name.removesuffix(".weight"))
            rows = torch.randn(parameter.shape, generator=generator).reshape(len(parameter), -1)
            # lengths from a quarter of the bound to four times it
            lengths = 4.0 ** (2 * torch.rand(len(rows), 1, generator=generator) - 1)
            rows = rows / rows.norm(dim=1, keepdim=True) * lengths * (bound or 2.0)
            parameter.copy_(rows.view_as(parameter))
            if bound is not None:
                rows = torch.stack([row * min(1.0, bound / float(row.norm())) for row in rows])
            expected[name] = rows
        constrain()
    wrong = []
    for name, rows in expected.items():
        found = parameters[name].detach().reshape(len(rows), -1)
        if not torch.allclose(found, rows, rtol=1e-5, atol=0):
            rule = norms.get(name.removesuffix(".weight"), "none: it is not bounded")
            wrong.append(
                f"{name}: after constrain() the longest weights of a unit measure "
                f"{float(found.norm(dim=1).max()):.4g}; the bound is {rule}"
            )
    return wrong
