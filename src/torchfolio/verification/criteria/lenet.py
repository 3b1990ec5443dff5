"""LeNet-5 against the counts of Section II-B and our own calculation of its equations."""

import math

import torch
from torch import Tensor, nn

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, patches
from torchfolio.verification.comparison import relative
from torchfolio.verification.criteria import Criteria, Form
from torchfolio.verification.initialization import (
    check_initial,
    constant,
    fan_in,
    torch_bound,
    uniform,
)
from torchfolio.verification.reference import CalculatedReference, Reference

# Table I as printed: a row for each S2 map, a column for each C3 map.
TABLE_I = (
    "X...XXX..XXXX.XX",
    "XX...XXX..XXXX.X",
    "XXX...XXX..X.XXX",
    ".XXX..XXXX..X.XX",
    "..XXX..XXXX.XX.X",
    "...XXX..XXXX.XXX",
)
# the (S2 map, C3 map) of each of the 60 kernels, row by row
PAIRS = [(s2, c3) for s2, row in enumerate(TABLE_I) for c3, mark in enumerate(row) if mark == "X"]
COUNTS = {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164, "output": 0}


def criteria(card: Card, form: Form) -> Criteria:
    """Judge by the counts, the initial values of Appendix A, the codes, Equations 7 and 9."""
    source = "Appendix A: 2.4 / fan-in"
    initial = [
        uniform(r"(c1|c5|f6)\.weight", lambda v, n: 2.4 / fan_in(v, n), source),
        uniform(r"(c1|c5|f6)\.bias", torch_bound, "torch's default; the paper is silent"),
        constant(r"c3\.bias", 0, "ours; the paper is silent"),
        constant(r"s[24]\.coefficient", 0.25, "an average"),
        constant(r"s[24]\.bias", 0, "an average"),
    ]
    checks = [check_table_start, check_codes, check_loss]
    return Criteria([lambda: original(form)], form.image_size, initial, COUNTS, checks)


def original(form: Form) -> Reference:
    """Return our own calculation of Section II-B, map by map, patch by patch."""
    shapes: dict[str, tuple[int, ...]] = {"c1.weight": (6, 1, 5, 5), "c1.bias": (6,)}
    shapes |= {"s2.coefficient": (6, 1, 1), "s2.bias": (6, 1, 1)}
    shapes |= {"c3.bias": (16, 1, 1), "c3.pairs.weight": (60, 1, 5, 5)}
    shapes |= {"s4.coefficient": (16, 1, 1), "s4.bias": (16, 1, 1)}
    shapes |= {"c5.weight": (120, 16, 5, 5), "c5.bias": (120,)}
    shapes |= {"f6.weight": (84, 120), "f6.bias": (84,), "output.codes": (form.num_classes, 84)}
    title = (
        "the counts of Section II-B, and our own calculation of its equations "
        "(nothing can be installed)"
    )
    return CalculatedReference(title, shapes, forward, buffers={"output.codes"})


def squash(a: Tensor) -> Tensor:
    """Return f(a) = A tanh(S a), A = 1.7159, S = 2/3 (Equation 6), by exponentials."""
    e = torch.exp(-2 * (2 / 3) * a)
    return 1.7159 * (1 - e) / (1 + e)


def subsampled(c: Calculation, name: str, x: Tensor) -> Tensor:
    """Return the sum of each 2x2 patch, times the map's coefficient, plus its bias."""
    c.begin(name, x)
    sums = x[..., ::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, ::2] + x[..., 1::2, 1::2]
    return c.end(name, sums * c.values[f"{name}.coefficient"] + c.values[f"{name}.bias"])


def one_map(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return one 5x5 feature map.

    Shape: (batch, maps, height, width) -> (batch, height - 4, width - 4)
    """
    return (patches(x, 5) * weight[None, :, None, None]).sum((1, 4, 5)) + bias


def forward(c: Calculation, images: Tensor) -> Tensor:
    """Return minus the distance to each class's code (Equation 7)."""
    v = c.values
    x = c.begin("c1", images)
    maps = [one_map(x, w, b) for w, b in zip(v["c1.weight"], v["c1.bias"], strict=True)]
    x = squash(c.end("c1", torch.stack(maps, 1)))
    x = squash(subsampled(c, "s2", x))
    c.begin("c3", x)
    maps = list(v["c3.bias"])  # each grows by what it reads
    for (s2, c3), kernel in zip(PAIRS, v["c3.pairs.weight"], strict=True):
        maps[c3] = maps[c3] + one_map(x[:, s2 : s2 + 1], kernel, torch.zeros(()))
    x = squash(c.end("c3", torch.stack(maps, 1)))
    x = squash(subsampled(c, "s4", x))
    x = c.begin("c5", x)
    maps = [one_map(x, w, b) for w, b in zip(v["c5.weight"], v["c5.bias"], strict=True)]
    x = squash(c.end("c5", torch.stack(maps, 1))).reshape(len(x), 120)
    x = c.begin("output", squash(c.linear("f6", x)))
    scores = [-(x - code).square().sum(1) for code in v["output.codes"]]
    return c.end("output", torch.stack(scores, 1))


def check_table_start(network: nn.Module) -> list[str]:
    """Each kernel of C3 starts within 2.4 over the 75, 100 or 150 values that its map reads."""
    kernels = network.state_dict().get("c3.pairs.weight")
    if kernels is None or len(kernels) != len(PAIRS):
        return []  # told with the names
    reads = torch.tensor([sum(row[c3] == "X" for row in TABLE_I) for _, c3 in PAIRS])
    scaled = kernels.double() * 25 * reads.view(-1, 1, 1, 1) / 2.4
    rule = uniform(r"c3\.pairs\.weight", lambda v, n: 1.0, "Appendix A: scaled by fan-in / 2.4")
    return check_initial({"c3.pairs.weight": scaled}, [rule])


def check_codes(network: nn.Module) -> list[str]:
    """Codes are -1 or 1, 84 of them for each of ten classes, all ten different (Section II-B)."""
    codes = network.state_dict().get("output.codes")
    if codes is None:
        return []  # its absence is told with the names
    distinct = len({tuple(code.tolist()) for code in codes})
    if codes.shape == (10, 84) and codes.abs().eq(1).all() and distinct == 10:
        return []
    return [f"output.codes are not ten different codes of 84 values -1 or 1: {distinct} differ"]


def check_loss(network: nn.Module) -> list[str]:
    """Compare ``loss`` with Equation 9, summed term by term; its scores are minus the distances."""
    loss, j = getattr(network, "loss", None), getattr(network, "j", None)
    if loss is None or j is None:
        return ["output: there is no loss(outputs, labels) with its constant j (Equation 9)"]
    if j <= 0:
        return [f"output: the constant j of Equation 9 is {j}, not positive"]
    generator = torch.Generator().manual_seed(9)
    distances = 3 * torch.rand(5, 10, generator=generator)
    labels = torch.tensor([3, 0, 9, 3, 5])
    total = 0.0
    for row, label in zip(distances.double().tolist(), labels.tolist(), strict=True):
        rivals = math.exp(-j) + sum(math.exp(-distance) for distance in row)
        total += row[label] + math.log(rivals)
    expected, found = torch.tensor(total / 5), loss(-distances, labels)
    far, note = relative(expected, found.detach())
    if far <= 1e-5:
        return []
    amount = note or f"it is {float(found):.6g}, Equation 9 gives {float(expected):.6g}"
    return [f"output: the loss differs from Equation 9: {amount}"]
