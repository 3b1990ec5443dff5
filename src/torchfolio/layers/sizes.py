"""The error for images of a size that a network's structure does not allow."""

from torch import Tensor

from torchfolio.errors import RequestError


def require_size(network: str, images: Tensor, channels: int, height: int, width: int) -> None:
    """Raise ``RequestError`` unless images are (batch, channels, height, width)."""
    if images.dim() != 4 or images.shape[1:] != (channels, height, width):
        found = "x".join(str(size) for size in images.shape[1:])
        raise RequestError(
            f"{network} takes images of {channels}x{height}x{width} (channels, height, width) "
            f"and no other size; these are {found}. Resize or pad them."
        )
