import math

import pytest
import torch
from torch import Tensor, nn

from torchfolio.verification.comparison import compare, first_layer, others, relative
from torchfolio.verification.draw import calibrate, draw
from torchfolio.verification.initialization import (
    batch_norm_rules,
    check_initial,
    constant,
    cut,
    fan_in,
    fan_out,
    normal,
    torch_bound,
    uniform,
)
from torchfolio.verification.observation import Observation, observe
from torchfolio.verification.reference import CalculatedReference, ModuleReference


def values(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def test_differences_are_relative_to_the_largest_value() -> None:
    assert relative(values(1, -4), values(1.5, -4))[0] == 0.125
    assert relative(values(0, 0), values(0, 0)) == (0.0, "")
    assert relative(values(0, 0), values(0, 1e-9))[0] == math.inf
    assert relative(values(1, 2), values(1, math.nan)) == (math.inf, "it is not finite")
    assert relative(values(1, 2), values(1))[1] == "its shape is 1, not 2"
    assert relative(values(1e-6), values(2e-6), floor=1.0)[0] == pytest.approx(1e-6)


def observation(**layers: float) -> Observation:
    """Layers as ``a_input``, ``a_output``, in order."""
    return Observation({(*name.split("_"), 0): values(x) for name, x in layers.items()})


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ("b_output", "b: the output differs by 5.0e-01"),
        ("b_input", "between a and b: the input of b differs"),
        ("a_input", "before a: its input differs"),
        ("block.c_output", "block.c: the output differs"),
        ("block_output", "block, after block.c: the output differs"),
    ],
)
def test_the_first_layer_that_differs_is_named(wrong: str, place: str) -> None:
    names = [
        *("a_input", "a_output", "b_input", "b_output"),
        *("block_input", "block.c_input", "block.c_output", "block_output"),
    ]
    right = dict.fromkeys(names, 2.0)
    seen = {name: 1.0 if names.index(name) >= names.index(wrong) else 2.0 for name in names}
    differences = list(compare(observation(**right), observation(**seen)))
    found = first_layer(differences, 1e-10)
    assert found is not None
    assert found.text.startswith(place)
    assert [found.layer, found.side] == wrong.split("_")
    assert first_layer(differences, 0.6) is None


def test_the_gradient_nearest_to_the_outputs_is_named() -> None:
    names = ["images", "a.weight", "b.weight", "c.weight"]
    right = Observation(gradients={name: values(1.0) for name in names})
    found = Observation(gradients={"images": values(1.1), "b.weight": values(1.2)})
    found.gradients["c.weight"] = values(1.0)
    (fault,) = others(list(compare(right, found)), 1e-5)
    assert fault.text.startswith("gradient of b.weight differs by 2.0e-01")
    assert "and 2 more gradients; that of c.weight is right" in fault.text
    assert fault.layer == "c"  # all before it are wrong: it got lost between c and b
    found.gradients["images"] = values(1.0)
    (fault,) = others(list(compare(right, found)), 1e-5)
    assert fault.layer == "b"


def test_rounding_in_a_gradient_that_should_vanish_is_no_fault() -> None:
    right = Observation(gradients={"a.weight": values(1.0), "a.bias": values(1e-17)})
    found = Observation(gradients={"a.weight": values(1.0), "a.bias": values(-3e-17)})
    assert others(list(compare(right, found)), 1e-10) == []


def test_buffers_are_named() -> None:
    right = Observation(buffers={"n.running_mean": values(1.0), "n.running_var": values(1.0)})
    found = Observation(buffers={"n.running_mean": values(1.0), "n.running_var": values(1.1)})
    (fault,) = others(list(compare(right, found)), 1e-5)
    assert fault.text.startswith("buffer n.running_var after the pass differs by 1.0e-01")
    assert fault.layer == "n"


def test_outputs_that_differ_after_the_last_layer_name_it() -> None:
    right = observation(a_input=1, a_output=2, b_input=2, b_output=3)
    found = observation(a_input=1, a_output=2, b_input=2, b_output=3)
    right.outputs, found.outputs = values(3.0), values(0.5)
    (fault,) = others(list(compare(right, found)), 1e-5)
    assert (fault.layer, fault.side) == ("b", "outputs")
    assert fault.text.startswith("the outputs differ by 8.3e-01")


def test_an_observation_sees_through_changes_in_place() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(inplace=True))
    with torch.no_grad():
        network[0].weight.copy_(-torch.eye(2))
        network[0].bias.zero_()
    seen = observe(network, torch.ones(1, 2), training=True)
    assert seen.layers["0", "output", 0].tolist() == [[-1, -1]]
    assert seen.layers["1", "output", 0].tolist() == [[0, 0]]


def test_what_a_layer_reads_as_the_one_before_gave_it_is_copied_once() -> None:
    layers = [torch.nn.Linear(2, 2), torch.nn.Tanh(), torch.nn.ReLU(inplace=True)]
    seen = observe(torch.nn.Sequential(*layers), torch.ones(1, 2), training=False).layers
    assert seen["0", "output", 0] is seen["1", "input", 0]
    assert seen["1", "output", 0] is seen["2", "input", 0]
    assert seen["2", "output", 0] is not seen["2", "input", 0]  # changed in place


def test_a_network_keeps_no_gradient() -> None:
    layer = torch.nn.Linear(2, 3)
    seen = observe(layer, torch.ones(1, 2), training=True)
    assert layer.weight.grad is None
    assert seen.gradients["weight"].shape == (3, 2)


def test_values_of_one_name_are_laid_end_to_end() -> None:
    def joined(name: str) -> str:
        return name.replace("0.", "both.").replace("1.", "both.")

    class Apart(torch.nn.ModuleList):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([layer(x) for layer in self], 1)

    network = Apart([torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)])
    reference = ModuleReference("apart", network, [(r"^[01]\.", "both.")])
    assert {name: tuple(each.shape) for name, each in reference.state().items()} == {
        "both.weight": (6, 2),
        "both.bias": (6,),
    }
    assert reference.parameters() == {"both.weight", "both.bias"}
    values = {"both.weight": torch.randn(6, 2), "both.bias": torch.randn(6)}
    reference.load(values)
    assert torch.equal(network[1].weight, values["both.weight"][3:])
    together = torch.nn.Linear(2, 6)
    together.weight.data, together.bias.data = values["both.weight"], values["both.bias"]
    images = torch.randn(4, 2)
    expected = observe(together, images, training=True, names=lambda name: f"both.{name}")
    for found in (observe(network, images, True, joined), reference.observe(images, True)):
        assert torch.allclose(found.outputs, expected.outputs)
        for name, gradient in expected.gradients.items():
            assert torch.allclose(found.gradients[name], gradient), name


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_shared_parameters_are_the_same_memory_and_buffers_are_not(kind: torch.dtype) -> None:
    ours = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).to(kind)
    theirs = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    reference = ModuleReference("theirs", theirs)
    reference.share(ours.state_dict())
    assert theirs[0].weight.data_ptr() == ours[0].weight.data_ptr()
    before = ours[1].running_mean.clone()
    reference.observe(torch.randn(4, 2, dtype=kind), training=True)
    assert torch.equal(ours[1].running_mean, before)
    assert not torch.equal(theirs[1].running_mean, before)
    shapes = {name: tuple(each.shape) for name, each in ours.state_dict().items()}
    calculated = CalculatedReference("ours", shapes, lambda c, x: c.linear("0", x))
    calculated.share(ours.state_dict())
    assert calculated.state()["0.weight"].data_ptr() == ours[0].weight.data_ptr()
    seen = calculated.observe(torch.randn(4, 2, dtype=kind), training=True)
    assert seen.gradients["0.weight"].shape == (3, 2)
    assert ours[0].weight.grad is None


def test_a_layer_called_twice_is_seen_twice() -> None:
    layer = torch.nn.Linear(2, 2)
    seen = observe(torch.nn.Sequential(layer, layer), torch.ones(1, 2), training=False)
    assert [place for place in seen.layers if place[1] == "output"] == [
        ("0", "output", 0),
        ("0", "output", 1),
    ]


def test_small_variances_are_drawn_so_that_an_epsilon_shows() -> None:
    shapes = {
        "conv.weight": torch.empty(64, 64, 3, 3),
        "bn.weight": torch.empty(64),
        "bn.bias": torch.empty(64),
        "bn.running_mean": torch.empty(64),
        "bn.running_var": torch.empty(64),
        "bn.num_batches_tracked": torch.tensor(0),
        "fc.weight": torch.empty(10, 64),
    }
    drawn = draw(shapes, seed=1)
    assert list(drawn) == list(shapes)
    lengths = drawn["conv.weight"].flatten(1).norm(dim=1)
    assert lengths.min() < 0.03
    assert lengths.max() > 0.5
    x = torch.randn(8, 64, 5, 5, dtype=torch.float64) * 10 + 3
    calibrate(drawn, Observation({("bn", "input", 0): x}), seed=2)
    assert (drawn["bn.running_mean"] - 3).abs().max() < 12
    assert 50 < drawn["bn.running_var"].min() < drawn["bn.running_var"].max() < 200
    again = draw(shapes, seed=1)
    assert all(torch.equal(again[name], drawn[name]) for name in ("conv.weight", "fc.weight"))


# Initial values


def fresh(seed: int = 0, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_fans() -> None:
    state = {"a.weight": torch.empty(8, 3, 5, 5), "a.bias": torch.empty(8)}
    assert fan_in(state, "a.weight") == 75
    assert fan_in(state, "a.bias") == 75
    assert fan_out(state, "a.weight") == 200
    assert torch_bound({"l.weight": torch.empty(4, 16)}, "l.weight") == 0.25


@pytest.mark.parametrize(
    ("start", "fault"),
    [
        (lambda n: 0.1 * fresh(n, 100, 100), ""),
        (lambda n: 0.12 * fresh(n, 100, 100), "its deviation is 0.1"),
        (lambda n: 0.1 * fresh(n, 100, 100) + 0.012, "its mean is 0.0"),
        (
            lambda n: (
                torch.rand(100, 100, generator=torch.Generator().manual_seed(n))
                .sub(0.5)
                .mul(12**0.5 / 10)
            ),
            "it is not normal",
        ),
    ],
)
def test_gaussian_starts_are_judged(start: object, fault: str) -> None:
    rule = normal(r"w", lambda v, n: 0.1, "a paper")
    for seed in range(20):
        found = check_initial({"w": start(seed)}, [rule])  # type: ignore[operator]
        if fault:
            assert len(found) == 1
            assert f"w starts wrong: {fault}" in found[0]
            assert found[0].endswith("(a paper)")
        else:
            assert found == []


def test_uniform_starts_are_judged() -> None:
    rule = uniform(r"w", lambda v, n: 0.5, "")
    for seed in range(20):
        w = torch.rand(50, 50, generator=torch.Generator().manual_seed(seed)) - 0.5
        assert check_initial({"w": w}, [rule]) == []
        assert "beyond the bound 0.5" in check_initial({"w": w * 1.01}, [rule])[0]
        assert "the bound is 0.5" in check_initial({"w": w * 0.9}, [rule])[0]
        gaussian = (fresh(seed, 50, 50) * 0.29).clamp(-0.5, 0.5)
        assert "starts wrong" in check_initial({"w": gaussian}, [rule])[0]


def test_starts_cut_off_at_two_deviations_are_judged() -> None:
    rule = cut(r"w", lambda v, n: 0.1, "a paper")
    for seed in range(20):
        w = nn.init.trunc_normal_(torch.empty(100, 100), std=0.1, a=-0.2, b=0.2)
        assert check_initial({"w": w}, [rule]) == []
        assert (
            "beyond the bound 0.2" in check_initial({"w": 0.1 * fresh(seed, 100, 100)}, [rule])[0]
        )
        assert "its deviation is 0.0" in check_initial({"w": w * 0.9}, [rule])[0]
        flat = 0.08796257 * 3**0.5 * (2 * torch.rand(100, 100) - 1)  # uniform, as spread
        assert "it is not cut" in check_initial({"w": flat}, [rule])[0]


def test_a_rule_may_be_for_kernels_alone() -> None:
    rules = [normal(r"\d\.weight", lambda v, n: 0.1, "a paper", dims=4), *batch_norm_rules(r"\d")]
    state = {"0.weight": 0.1 * fresh(0, 8, 8, 3, 3), "1.weight": torch.ones(8)}
    assert check_initial(state, rules) == []
    assert len(check_initial({name: value + 1 for name, value in state.items()}, rules)) == 2


def test_constants_are_judged_and_the_first_rule_decides() -> None:
    rules = [constant(r"a\.weight", 2), *batch_norm_rules("a|b")]
    state = {
        "a.weight": torch.full((3,), 2.0),
        "b.bias": torch.zeros(3),
        "b.weight": torch.zeros(3),
    }
    assert check_initial(state, rules) == [
        "b.weight starts wrong: its values are off 1 by up to 1 (batch norm starts as the identity)"
    ]
