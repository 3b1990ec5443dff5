"""A forward pass followed operation by operation: receptive fields, multiply-adds, shortcuts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakTensorKeyDictionary

aten = torch.ops.aten
FORMULAS = {  # torch 2.11 counts the fused attention of GPUs and not that of CPUs
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[
        aten._scaled_dot_product_flash_attention
    ],
    **flop_registry,
}
ACTIVATIONS = {
    getattr(aten, name): name.strip("_")
    for name in ("relu", "relu_", "tanh", "sigmoid", "elu", "leaky_relu", "gelu", "silu")
}


@dataclass(frozen=True)
class Span:
    """What the first activation along one axis sees: pixels ``start`` to ``end``, both included.

    Padding counts, so ``start`` can be negative. The next activation sees ``step`` pixels further;
    there is none where ``step`` is 0: the axis has been summed or flattened away.
    """

    start: int = 0
    end: int = 0
    step: int = 1

    @property
    def size(self) -> int:
        """The number of pixels."""
        return self.end - self.start + 1

    @property
    def middle(self) -> float:
        """The pixel in the middle, perhaps between two."""
        return (self.start + self.end) / 2

    def window(self, kernel: int, stride: int, padding: int, dilation: int) -> "Span":
        """Return what the first window of a convolution or pooling sees."""
        start = self.start - padding * self.step
        end = self.end + ((kernel - 1) * dilation - padding) * self.step
        return Span(start, end, self.step * stride)

    def gathered(self, length: int) -> "Span":
        """Return what all ``length`` activations along the axis see together."""
        return Span(self.start, self.end + (length - 1) * self.step, 0)

    def union(self, other: "Span") -> "Span":
        """Return what the sum of two activations sees."""
        start, end = min(self.start, other.start), max(self.end, other.end)
        return Span(start, end, max(self.step, other.step))


Field = tuple[Span, Span]  # along height, along width
Seen = tuple[torch.Size, Field]  # an input of an operation


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows every tensor computed from ``images`` while active.

    ``fields`` has the receptive field of each. ``images`` are (batch, channels, height, width);
    height and width stay the two last axes of a tensor until something else than a convolution,
    pooling, padding or slice changes their lengths, and from then on a tensor counts as seeing all
    that its inputs see together.

    ``macs`` has the multiply-adds by scope (half of what ``torch.utils.flop_counter`` counts) and
    ``joins`` the scopes which add two activations, as a shortcut does. The scope is the last name
    in ``scopes``, where the caller writes which module is running. ``activations`` has the name of
    an activation by what it follows: ``latest``, which the caller sets to the name of the module
    that ran, or the scope of an addition with a "+" behind it.
    """

    def __init__(self, images: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.fields = WeakTensorKeyDictionary()
        self.fields[images] = (Span(), Span())
        self.macs: Counter[str] = Counter()
        self.joins: set[str] = set()
        self.scopes: list[str] = []
        self.activations: dict[str, str] = {}
        self.latest = ""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from importing its compiler (7 seconds) to leave this mode out of it."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operation = func.overloadpacket
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        # Looked up beforehand, because the operation may work in place.
        seen = [(each.shape, self.fields[each]) for each in tensors if each in self.fields]
        result = func(*args, **kwargs)
        if operation in FORMULAS:
            flops = FORMULAS[operation](*args, **kwargs, out_val=result)
            self.macs[self.scopes[-1]] += flops // 2
        if len(seen) == 2 and operation in (aten.add, aten.add_):
            self.joins.add(self.scopes[-1])
            self.latest = f"{self.scopes[-1]}+"
        if seen and operation in ACTIVATIONS and self.latest:
            self.activations[self.latest] = ACTIVATIONS[operation]
        if seen:
            given = {each.name: each.default_value for each in func._schema.arguments}
            given |= dict(zip(given, args, strict=False)) | kwargs
            for output in tree_leaves(result):
                if isinstance(output, Tensor):
                    self.fields[output] = after(operation, given, seen, output.shape)
        return result


def looks_at(
    network: nn.Module, layer: str, images: Tensor
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return which pixels the outputs of a layer look at: along height and along width.

    Of each, the pixel in the middle of what the first output sees, and the pixels from one output
    to the next (0 where the axis is gone). ``images`` are run through in the network's mode.
    """
    trace = Trace(images)
    trace.scopes.append("")
    found: list[Field] = []
    hook = network.get_submodule(layer).register_forward_hook(
        lambda _, __, output: found.append(trace.fields[output])
    )
    try:
        with torch.no_grad(), trace:
            network(images)
    finally:
        hook.remove()
    rows, columns = found[0]
    return (rows.middle, rows.step), (columns.middle, columns.step)


def after(operation: Any, given: dict[str, Any], seen: list[Seen], output: torch.Size) -> Field:
    """Return the field of the output of an operation with the arguments ``given``."""
    shape, field = seen[0]
    if operation is aten.convolution and not given["transposed"]:
        kernel = given["weight"].shape[2:]
        return window(field, kernel, given["stride"], given["padding"], given["dilation"])
    if operation in (aten.max_pool2d_with_indices, aten.avg_pool2d):
        kernel, stride = given["kernel_size"], given["stride"] or given["kernel_size"]
        return window(field, kernel, stride, given["padding"], given.get("dilation", 1))
    if operation is aten._adaptive_avg_pool2d:
        sizes = list(zip(shape[-2:], output[-2:], strict=True))
        return window(field, [-(-old // new) for old, new in sizes], [o // n for o, n in sizes])
    if operation is aten.constant_pad_nd:
        left, _, top, _ = (*given["pad"], 0, 0, 0)[:4]
        return window(field, padding=[top, left])
    if operation is aten.slice and given["dim"] % len(shape) >= len(shape) - 2 >= 1:
        start, step = given["start"] or 0, given["step"]
        start += shape[given["dim"]] if start < 0 else 0
        if given["dim"] % len(shape) == len(shape) - 2:
            return window(field, stride=[step, 1], padding=[-start, 0])
        return window(field, stride=[1, step], padding=[0, -start])
    height, width = gathered(*seen[0], output)
    for other in seen[1:]:
        tall, wide = gathered(*other, output)
        height, width = height.union(tall), width.union(wide)
    return height, width


def window(
    field: Field,
    kernel: int | Sequence[int] = 1,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
) -> Field:
    """Return what the first window sees. A setting is one number, or (height's, width's)."""
    tall, wide = zip(*(pair(each) for each in (kernel, stride, padding, dilation)), strict=True)
    return field[0].window(*tall), field[1].window(*wide)


def pair(setting: int | Sequence[int]) -> tuple[int, int]:
    """Return a setting for height and one for width."""
    return (setting, setting) if isinstance(setting, int) else (setting[0], setting[-1])


def gathered(shape: torch.Size, field: Field, output: torch.Size) -> Field:
    """Return the field of an input as it is, or of all of it if the output lacks its two axes."""
    if len(output) >= 3 and output[-2:] == shape[-2:]:
        return field
    height, width = (1, 1, *shape)[-2:]
    return field[0].gathered(height), field[1].gathered(width)
