"""Where a convolutional network looked: Grad-CAM, by captum.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", 2017, Section 3: the maps of the last convolutional stage, each weighted by the mean
gradient of the class score (Equation 1), summed and cut at zero (Equation 2).
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchfolio.errors import FolioError

BATCH = 16  # pictures explained at a time

# From unseen to decisive: transparent indigo, magenta, orange, yellow (lightness rises throughout,
# so that it reads without colour).
HEAT = np.array([[45, 20, 110], [150, 30, 130], [230, 85, 70], [252, 165, 30], [250, 245, 120]])


def last_convolution(network: nn.Module, images: Tensor) -> str | None:
    """Return the name of the module whose maps Grad-CAM weighs, or ``None`` without convolution.

    ``images`` (batch, channels, height, width) are run through once. Of the last convolution that
    leaves more than one position, the module is the last to finish with as many positions: in a
    ResNet the last stage with its shortcuts, in VGG the activation before the last pooling. Where
    it has one map only (each of the sixteen convolutions that make LeNet-5's C3), the next module
    with more maps stands in.
    """
    finished: list[tuple[str, nn.Module, tuple[int, ...]]] = []
    hooks = [
        module.register_forward_hook(_remember(finished, name))
        for name, module in network.named_modules()
        if name
    ]
    try:
        with _calm(network), torch.no_grad():
            network(images[:1].detach())
    finally:
        for hook in hooks:
            hook.remove()
    calls = Counter(name for name, _, _ in finished)
    found, shape = None, (0, 0, 0, 0)
    for name, module, maps in finished:
        if calls[name] > 1 or len(maps) != 4 or maps[2] * maps[3] < 2:
            continue
        same = maps[2:] == shape[2:] or shape[1] == 1 < maps[1]
        if isinstance(module, nn.Conv2d) or same:
            found, shape = name, maps
        else:
            shape = (0, 0, 0, 0)  # pooled: nothing after it counts, up to another convolution
    return found


def _remember(finished: list[tuple[str, nn.Module, tuple[int, ...]]], name: str) -> Any:
    """Return a hook that notes the shape of a module's output when it has finished."""

    def hook(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            finished.append((name, module, tuple(output.shape)))

    return hook


def grad_cam(
    network: nn.Module, images: Tensor, targets: Tensor, layer: str
) -> NDArray[np.float32]:
    """Return where the score of a class came from: (batch, height, width) in 0..1.

    ``images`` (batch, channels, height, width) are as the network takes them; ``targets`` (batch,)
    are class indices; ``layer`` is a name as from :func:`last_convolution`. Each map is scaled so
    that its largest value is 1, unless nothing speaks for the class: then it is 0 throughout. The
    network is left as it was: mode, gradients and weights.
    """
    from captum.attr import LayerAttribution, LayerGradCam  # type: ignore[import-untyped]

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
    heats = []
    try:
        with torch.inference_mode(False), torch.enable_grad(), _calm(network):
            explainer = LayerGradCam(network, capture)
            for start in range(0, len(images), BATCH):
                # Gradients must reach the layer even where all weights before it are frozen.
                some = images[start : start + BATCH].detach().clone().requires_grad_()
                chosen = targets[start : start + BATCH].to(some.device)
                heat = explainer.attribute(some, chosen, relu_attributions=True)
                size = (images.shape[2], images.shape[3])
                heat = LayerAttribution.interpolate(heat.detach(), size, "bilinear")
                heats.append(heat[:, 0].float().cpu().numpy())
    finally:
        hook.remove()
    heat = np.concatenate(heats)
    largest = heat.max((1, 2), keepdims=True)
    return np.divide(heat, largest, out=np.zeros_like(heat), where=largest > 0)


@contextmanager
def _calm(network: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode for a while."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def overlay(picture: NDArray[np.uint8], heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Lay heat (height, width) in 0..1 over a picture (height, width[, 1 or 3]): (..., 3).

    The picture turns grey so that the only colour is that of the heat, which covers up to 75 %.
    A heat of another size is stretched to the picture's.
    """
    from PIL import Image

    picture = picture.reshape(*picture.shape[:2], -1)[..., :3].astype(np.float32)
    red, green, blue = picture[..., 0], picture[..., picture.shape[2] // 2], picture[..., -1]
    grey = 0.299 * red + 0.587 * green + 0.114 * blue  # luma of ITU-R BT.601
    height, width = grey.shape
    if heat.shape != grey.shape:
        stretched = Image.fromarray(heat.astype(np.float32)).resize((width, height))
        heat = np.asarray(stretched)
    heat = np.clip(heat, 0, 1)[..., None]
    steps = np.linspace(0, 1, len(HEAT))
    colour = np.stack([np.interp(heat[..., 0], steps, HEAT[:, channel]) for channel in range(3)], 2)
    cover = 0.75 * heat
    return np.round((1 - cover) * grey[..., None] + cover * colour).astype(np.uint8)
