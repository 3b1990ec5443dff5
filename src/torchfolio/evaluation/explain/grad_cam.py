"""Where a convolutional network looked: Grad-CAM, by captum.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", 2017, Section 3: the maps of the last convolutional stage, each weighted by the mean
gradient of the class score (Equation 1), summed and cut at zero (Equation 2).

Differences: the paper stretches the map over the picture. So it is here, but for networks without
padding, whose outer cells look far inside the picture: those are laid where they look.
"""

from collections import Counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchfolio.errors import FolioError
from torchfolio.evaluation.explain.heat import BATCH, Heat, between, spread, tiled
from torchfolio.layers.modes import evaluating

Looks = tuple[float, float]  # the pixel that the first cell of a map looks at; from cell to cell
Finished = tuple[str, nn.Module, tuple[int, ...]]  # a module by its name, and its output's shape


def feature_maps(network: nn.Module, images: Tensor) -> list[Finished]:
    """Return the modules that Grad-CAM can weigh, in the order in which they finish.

    Each runs once and gives (batch, channels, rows, columns) of two positions or more. ``images``
    (batch, channels, height, width) are run through once.
    """
    finished: list[Finished] = []
    hooks = [
        module.register_forward_hook(_remember(finished, name))
        for name, module in network.named_modules()
        if name
    ]
    try:
        with evaluating(network), torch.no_grad():
            network(images[:1].detach())
    finally:
        for hook in hooks:
            hook.remove()
    calls = Counter(name for name, _, _ in finished)
    return [
        each
        for each in finished
        if calls[each[0]] == 1 and len(each[2]) == 4 and each[2][2] * each[2][3] > 1
    ]


def _remember(finished: list[Finished], name: str) -> Any:
    """Return a hook that notes the shape of a module's output when it has finished."""

    def hook(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            finished.append((name, module, tuple(output.shape)))

    return hook


def last_convolution(network: nn.Module, images: Tensor) -> str | None:
    """Return the name of the module whose maps Grad-CAM weighs, or ``None`` without convolution.

    ``images`` (batch, channels, height, width) are run through once. Of the last convolution that
    leaves more than one position, the module is the last to finish with as many positions: in a
    ResNet the last stage with its shortcuts, in VGG the activation before the last pooling. Where
    it has one map only (each of the sixteen convolutions that make LeNet-5's C3), the next module
    with more maps stands in.
    """
    found: str | None = None
    shape: tuple[int, ...] = (0, 0, 0, 0)
    for name, module, maps in feature_maps(network, images):
        same = maps[2:] == shape[2:] or shape[1] == 1 < maps[1]
        if isinstance(module, nn.Conv2d) or same:
            found, shape = name, maps
        else:
            shape = (0, 0, 0, 0)  # pooled: nothing after it counts, up to another convolution
    return found


def grad_cam(
    network: nn.Module,
    images: Tensor,
    targets: Tensor,
    layer: str,
    looks: tuple[Looks, Looks] | None = None,
) -> list[Heat]:
    """Return where the score of a class came from, for each picture.

    ``images`` (batch, channels, height, width) are as the network takes them; ``targets`` (batch,)
    are class indices; ``layer`` is a name as from :func:`last_convolution`; ``looks`` says which
    pixels its cells look at, along height and width. Each map is scaled so that its largest value
    is 1, unless nothing speaks for the class: then it is 0 throughout. The network is left as it
    was: mode, gradients and weights.
    """
    maps = weighted_maps(network, images, targets, layer)
    height, width = images.shape[2:]
    tall = laid(maps.shape[1], height, looks[0] if looks else None)
    wide = laid(maps.shape[2], width, looks[1] if looks else None)
    heat = spread(maps, tall, wide)
    largest = heat.max((1, 2), keepdims=True)
    heat = np.divide(heat, largest, out=np.zeros_like(heat), where=largest > 0)
    return [Heat(each, "nothing", "most") for each in heat]


def weighted_maps(
    network: nn.Module, images: Tensor, targets: Tensor, layer: str
) -> NDArray[np.float32]:
    """Return Equation 2: (batch, rows, columns) of the layer, zero or more."""
    from captum.attr import LayerGradCam  # type: ignore[import-untyped]

    modules = dict(network.named_modules())
    if layer not in modules:
        raise FolioError(
            f"The network has no layer {layer!r} to explain by. "
            "Take a name of named_modules(), or that of last_convolution()."
        )
    # The maps are captured here, and what follows works on a copy: an activation that overwrites
    # its input would otherwise overwrite them as well.
    capture = nn.Identity()
    hook = modules[layer].register_forward_hook(lambda _, __, maps: capture(maps).clone())
    found = []
    try:
        with torch.inference_mode(False), torch.enable_grad(), evaluating(network):
            explainer = LayerGradCam(network, capture)
            for start in range(0, len(images), BATCH):
                # Gradients must reach the layer even where all weights before it are frozen.
                some = images[start : start + BATCH].detach().clone().requires_grad_()
                chosen = targets[start : start + BATCH].to(some.device)
                maps = explainer.attribute(some, chosen, relu_attributions=True)
                found.append(maps.detach()[:, 0].float().cpu().numpy())
    finally:
        hook.remove()
    return np.concatenate(found)


def laid(cells: int, pixels: int, looks: Looks | None) -> NDArray[np.float64]:
    """Return what each cell of a map counts at each pixel, along one axis: (pixels, cells).

    Cells tile the picture, as in the paper, unless one of them looks more than half a cell away
    from there, and all look inside the picture: then each counts where it looks, and towards the
    picture's edges, which the outermost only just see, the heat falls to nothing.
    """
    if looks is None or looks[1] == 0:
        return tiled(cells, pixels)
    first, step = looks
    last = first + (cells - 1) * step
    even = pixels / cells
    off = max(abs(first - (even - 1) / 2), abs(last - (pixels - 1) + (even - 1) / 2))
    if first < 0 or last > pixels - 1 or off <= step / 2:
        return tiled(cells, pixels)
    places = np.arange(pixels)
    fading = np.interp(places, [-0.5, first, last, pixels - 0.5], [0, 1, 1, 0])
    return fading[:, None] * between(cells, (places - first) / step)
