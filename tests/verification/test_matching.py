"""Which values of two modules belong together, and what is computed between their layers."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.verification.departures import DEPARTURES
from torchfolio.verification.grading.alignment import aligned
from torchfolio.verification.grading.edits import reshapes
from torchfolio.verification.grading.matching import Match, match
from torchfolio.verification.grading.operations import (
    Site,
    exchange,
    instead,
    left_out,
    reordered,
    trace,
)
from torchfolio.verification.grading.readings import chains_of, put


@pytest.mark.parametrize(
    ("one", "other", "pairs"),
    [
        ("abc", "abc", [(0, 0), (1, 1), (2, 2)]),
        ("abab", "ababab", [(0, 0), (1, 1), (2, 2), (3, 3)]),  # the last is missing, not the first
        ("axbc", "aybc", [(0, 0), (2, 2), (3, 3)]),
        ("xab", "abx", [(1, 0), (2, 1)]),
        ("", "a", []),
        ("abcbdab", "bdcaba", [(1, 0), (4, 1), (5, 3), (6, 4)]),  # of length 4, as in textbooks
    ],
)
def test_the_longest_common_sequence_is_the_earliest(
    one: str, other: str, pairs: list[tuple[int, int]]
) -> None:
    assert len(aligned(one, other)) == len(pairs)
    assert aligned(one, other) == pairs


class Chain(nn.Module):
    """Layers under given names, which run in this order."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.order = list(layers)

    def forward(self, x: Tensor) -> Tensor:
        for name in self.order:
            x = self.get_submodule(name)(x)
        return x


def test_layers_of_one_size_pair_as_they_run_and_not_as_they_are_defined() -> None:
    theirs = Chain(a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    theirs.order = ["b", "a"]
    ours = Chain(first=nn.Linear(4, 4), second=nn.Linear(4, 4))
    found = match(theirs, ours, torch.zeros(1, 4))
    assert found.layers == {"b": "first", "a": "second"}
    assert found.in_order


def test_names_of_half_of_the_layers_decide() -> None:
    theirs = Chain(first=nn.Linear(4, 4), second=nn.Linear(4, 4), other=nn.Linear(4, 2))
    theirs.order = ["second", "first", "other"]  # a mistake, not a matter of names
    ours = Chain(first=nn.Linear(4, 4), second=nn.Linear(4, 4), last=nn.Linear(4, 2))
    found = match(theirs, ours, torch.zeros(1, 4))
    assert found.layers == {"first": "first", "second": "second", "other": "last"}
    assert not found.in_order


def test_norms_of_one_width_are_told_apart_by_what_comes_before() -> None:
    theirs = Chain(a=nn.Linear(4, 3), n=nn.BatchNorm1d(3), b=nn.Linear(3, 3))
    ours = Chain(a1=nn.Linear(4, 3), n1=nn.BatchNorm1d(3), b1=nn.Linear(3, 3), n2=nn.BatchNorm1d(3))
    found = match(theirs, ours, torch.zeros(2, 4))
    assert found.layers == {"a": "a1", "n": "n1", "b": "b1"}
    assert found.missing == ["n2.weight", "n2.bias"]


def test_layers_of_other_sizes_pair_by_their_place_and_their_values_do_not() -> None:
    theirs = Chain(a=nn.Linear(4, 4), b=nn.Linear(4, 5), c=nn.Linear(5, 2))
    ours = Chain(x=nn.Linear(4, 4), y=nn.Linear(4, 7), z=nn.Linear(7, 2))
    found = match(theirs, ours, torch.zeros(1, 4))
    assert found.layers == {"a": "x", "b": "y", "c": "z"}
    assert found.extra == ["b.weight", "b.bias", "c.weight"]
    assert found.missing == ["y.weight", "y.bias", "z.weight"]
    assert found.values["c.bias"] == "z.bias"


class Joined(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.in_weight = nn.Parameter(torch.zeros(9, 3))
        self.in_bias = nn.Parameter(torch.zeros(9))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.in_weight, self.in_bias)


class Apart(nn.Module):
    def __init__(self, names: str) -> None:
        super().__init__()
        self.names = names.split()
        for name in self.names:
            self.add_module(name, nn.Linear(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.get_submodule(name)(x) for name in self.names], 1)


@pytest.mark.parametrize(
    ("names", "order"),
    [
        ("w_k w_v w_q", "w_q w_k w_v"),  # by their names
        ("key value query", "query key value"),
        ("v_proj q_proj k_proj", "q_proj k_proj v_proj"),
        ("one two three", "one two three"),  # as they run
    ],
)
def test_three_projections_are_one(names: str, order: str) -> None:
    found = match(Apart(names), Joined(), torch.zeros(1, 3))
    pieces = found.pieces()
    assert pieces["in_weight"] == [f"{name}.weight" for name in order.split()]
    assert pieces["in_bias"] == [f"{name}.bias" for name in order.split()]
    assert found.unmatched == 0


class Own(nn.Module):
    """A norm in a person's words."""

    def __init__(self) -> None:
        super().__init__()
        self.beta, self.gamma = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.ones(4))
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("steps", torch.zeros(7))

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_parameters_pair_with_parameters_and_buffers_with_buffers() -> None:
    found = match(Chain(a=nn.Linear(4, 4), n=Own()), Chain(b=nn.Linear(4, 4), m=nn.BatchNorm1d(4)),
                  torch.zeros(2, 4))  # fmt: skip
    assert found.values["n.mean"] == "m.running_mean"
    assert {found.values["n.beta"], found.values["n.gamma"]} == {"m.weight", "m.bias"}
    assert found.buffers == ["n.steps"]


def test_a_module_that_fails_is_matched_all_the_same() -> None:
    theirs = Chain(a=nn.Linear(4, 4), b=nn.Linear(5, 5), c=nn.Linear(4, 2))
    ours = Chain(x=nn.Linear(4, 4), y=nn.Linear(4, 4), z=nn.Linear(4, 2))
    found = match(theirs, ours, torch.zeros(1, 4))
    assert found.error.startswith("RuntimeError")
    assert found.layers == {"a": "x", "b": "y", "c": "z"}


# What is called


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.one(x))
        y = self.two(y)
        y += x
        return torch.cat([F.relu(y, inplace=True), x], 1)


def test_operations_are_seen_with_their_sites() -> None:
    network = nn.Sequential(Block(), nn.Tanh(), nn.Dropout(0.3))
    called = [e.operation for e in trace(network, torch.ones(1, 3), True) if e.operation]
    assert [(each.site, each.label) for each in called] == [
        (Site("0", "relu", 0), "relu"),
        (Site("0", "add", 0), "add"),
        (Site("0", "relu", 1), "relu"),
        (Site("0", "cat", 0), "cat"),
        (Site("1", "tanh", 0), "tanh"),
        (Site("2", "dropout", 0), "dropout(0.3)"),
    ]


def test_labels_say_what_differs_and_leave_out_what_is_usual() -> None:
    class Several(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = F.max_pool2d(F.avg_pool2d(x, 2), 2, padding=1)
            x = F.leaky_relu(F.relu6(x), 0.2, inplace=True)
            return x.mean((2, 3))[:, 0].softmax(dim=0)

    called = trace(Several(), torch.ones(1, 2, 8, 8), False)
    assert [e.operation.label for e in called if e.operation] == [
        "avg_pool2d(2)", "max_pool2d(2, padding=1)", "relu6", "leaky_relu(negative_slope=0.2)",
        "mean((2, 3))", "[:, 0]", "softmax(dim=0)",
    ]  # fmt: skip


def test_other_functions_are_called_at_a_site_and_nowhere_else() -> None:
    x = torch.tensor([[1.0, -2.0, 3.0]])
    network = Block()
    with torch.no_grad():
        for layer in (network.one, network.two):
            layer.weight.copy_(torch.eye(3))
            layer.bias.zero_()
    tanh = next(e.operation for e in trace(nn.Tanh(), x, False) if e.operation)
    exchange(network, {Site("", "relu", 1): instead(tanh)})
    expected = torch.tanh(torch.tensor([[2.0, -2.0, 6.0]]))
    assert torch.equal(network(x), torch.cat([expected, x], 1))
    exchange(network, {Site("", "relu", 0): left_out, Site("", "cat", 0): reordered((1, 0))})
    expected = torch.tanh(torch.tensor([[2.0, -4.0, 6.0]]))
    assert torch.equal(network(x), torch.cat([x, expected], 1))


def test_a_norm_counts_its_batches_and_that_is_no_sum() -> None:
    called = trace(nn.BatchNorm1d(3), torch.randn(4, 3), True)
    assert [e.operation for e in called if e.operation] == []


class Twice(nn.Module):
    """A norm of its own on the input, called right behind the first convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        return self.two(y + self.norm(x))


@pytest.mark.parametrize(
    ("module", "ends", "behind", "before"),
    [
        ((nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 3)), ("0", "2"), ["1"], []),
        ((nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 3)), ("0", "3"),
         [], ["2"]),
        ((nn.Conv2d(1, 2, 3), nn.Flatten(), nn.BatchNorm1d(72), nn.Linear(72, 1)), ("0", "3"),
         [], ["2"]),
        ((nn.Conv2d(1, 2, 3), nn.Sequential(nn.BatchNorm2d(2), nn.PReLU()), nn.Conv2d(2, 1, 3)),
         ("0", "2"), ["1.0", "1.1"], []),
    ],
)  # fmt: skip
def test_a_layer_more_stands_behind_another_only_where_it_reads_what_that_gives(
    module: tuple[nn.Module, ...], ends: tuple[str, str], behind: list[str], before: list[str]
) -> None:
    theirs = nn.Sequential(*module)
    found = Match({ends[0]: "conv", ends[1]: "last"})
    without = {*behind, *before}
    chains = chains_of(found, without, theirs, trace(theirs, torch.randn(2, 1, 8, 8), False))
    assert chains == ({"conv": behind} if behind else {}, {"last": before} if before else {})


def test_a_layer_more_that_reads_another_tensor_stands_before_the_next() -> None:
    theirs = Twice()
    events = trace(theirs, torch.randn(2, 1, 8, 8), False)
    behind, before = chains_of(Match({"one": "a", "two": "b"}), {"norm"}, theirs, events)
    assert behind == {}
    assert before["b"][0] == "norm"


def test_a_second_layer_more_leaves_the_first_in_its_place() -> None:
    layer = nn.Linear(2, 2)
    x = torch.tensor([[1.0, 2.0]])
    expected = torch.tanh(F.relu(-layer(x)) + 3)
    put(layer, "behind", [Scale(-1, 0), nn.ReLU()])
    put(layer, "behind", [Scale(1, 3), nn.Tanh()])
    assert torch.equal(layer(x), expected)


class Scale(nn.Module):
    def __init__(self, factor: float, shift: float) -> None:
        super().__init__()
        self.factor, self.shift = factor, shift

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x + self.shift


@pytest.mark.slow
def test_departures_that_change_values_or_order_are_known() -> None:
    found = {each.name for each in DEPARTURES for n in each.on if reshapes(each.name, n)}
    some = {"width", "depth", "tied", "bias-added", "preactivation", "vit-after", "googlenet-order"}
    assert some <= found
    assert not {"epsilon", "relu-missing", "lenet-padding", "start-small", "vit-heads"} & found
