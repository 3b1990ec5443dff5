"""What tells layers apart: the sizes of their values."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

Size = tuple[int, ...]
Layers = Mapping[str, dict[str, Tensor]]  # their own values, by short names


def size_of(value: Tensor) -> Size:
    """Return the rows of a value and the numbers in each: a 1x1 convolution is a linear layer."""
    shape = list(value.shape)
    while len(shape) > 1 and shape[-1] == 1:
        shape.pop()
    return (shape[0], value.numel() // max(1, shape[0])) if len(shape) > 1 else tuple(shape)


def sizes(values: Mapping[str, Tensor]) -> tuple[Size, ...]:
    """Return what tells a layer from others: the sizes of its weights, of a norm its width."""
    found = [size_of(value) for value in values.values() if value.dim() > 0]
    return tuple(size for size in found if len(size) > 1) or tuple(sorted(set(found)))


def is_flat(values: Mapping[str, Tensor]) -> bool:
    """Return whether a layer has no matrix of weights: a norm, a scale."""
    return all(len(size) < 2 for size in sizes(values))


def signatures(order: Sequence[str], layers: Layers) -> list[tuple[Size, ...]]:
    """Return what tells layers in their order apart.

    Norms of one width are alike, so that the sizes of the layer before count as well.
    """
    found: list[tuple[Size, ...]] = []
    before: tuple[Size, ...] = ()
    for name in order:
        own = sizes(layers[name])
        flat = is_flat(layers[name])
        found.append((*own, *before) if flat else own)
        before = before if flat else own
    return found


def is_leaf(module: nn.Module, name: str) -> bool:
    """Return whether a layer has no layers of its own."""
    return next(module.get_submodule(name).children(), None) is None


def kind_of(module: nn.Module, name: str) -> str:
    """Return what layers are told apart by that stand in one place with other sizes.

    "wide" for a layer with a matrix of weights, "flat" for a norm, the class of one that has layers
    of its own.
    """
    layer = module.get_submodule(name)
    if not is_leaf(module, name):
        return type(layer).__qualname__
    own = dict(layer.named_parameters(recurse=False)) | dict(layer.named_buffers(recurse=False))
    return "flat" if is_flat(own) else "wide"
