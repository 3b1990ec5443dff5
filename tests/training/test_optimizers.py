import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn
from toys import Listener, Regression, RowBatch, row_data, row_loop, small_network

from torchfolio.errors import RequestError
from torchfolio.tasks.base import Parts, Step
from torchfolio.training.optimizers import OPTIMIZERS, make_optimizer, with_kernel

RATES = {"sgd": 0.1, "asgd": 0.1, "adadelta": 2.0, "adagrad": 0.1, "lbfgs": 0.5}
DENSE = [name for name in OPTIMIZERS if name != "sparse_adam"]


def section(name: str) -> dict[str, Any]:
    more = {"line_search_fn": "strong_wolfe"} if name == "lbfgs" else {}
    return {"name": name, "lr": RATES.get(name, 0.05)} | more


def test_the_optimizers_are_those_that_the_documentation_names() -> None:
    named = [
        "SGD",
        "ASGD",
        "Adadelta",
        "Adagrad",
        "Adam",
        "AdamW",
        "Adamax",
        "SparseAdam",
        "RMSprop",
        "Rprop",
        "L-BFGS",
        "RAdam",
        "Muon",
    ]
    network = small_network()
    for name in named:
        if name != "SparseAdam":
            made = make_optimizer("network", network, {"name": name})
            assert type(made.optimizers[0]).__name__.lower() == name.lower().replace("-", "")


@pytest.mark.parametrize("name", DENSE)
def test_the_loss_falls(name: str) -> None:
    size = 40 if name == "lbfgs" else 8  # L-BFGS wants the whole: its curvature is of one function
    loop = row_loop(optimizers={"network": section(name)}, epochs=8, batch_size=size)
    before = loop.validate()["loss"]
    loop.run(Listener())
    assert loop.validate()["loss"] < 0.8 * before


@pytest.mark.parametrize("name", [name for name in DENSE if name not in ("muon", "lbfgs")])
def test_the_loop_takes_the_updates_of_a_plain_torch_loop_bit_for_bit(name: str) -> None:
    loop = row_loop(optimizers={"network": section(name)}, epochs=2)
    loop.run(Listener())

    task = Regression()
    network = task.parts().network
    fused = {"fused": True} if name in ("sgd", "adam", "adamw", "adagrad") else {}
    optimizer = OPTIMIZERS[name](network.parameters(), lr=section(name)["lr"], **fused)
    for epoch in range(2):
        for rows in loop.plan(epoch):
            batch = task.load(row_data(48), rows, epoch, 0)
            optimizer.zero_grad()
            (network(batch.inputs) - batch.targets).square().mean().backward()
            optimizer.step()
    for ours, theirs in zip(loop.parts.network.parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


class Counted(Regression):
    """Counts how often the loss is computed."""

    evaluations = 0

    def error(self, parts: Parts, batch: RowBatch) -> torch.Tensor:
        self.evaluations += 1
        return super().error(parts, batch)


def test_lbfgs_evaluates_the_loss_several_times_an_update_and_as_torch_does() -> None:
    task = Counted()
    settings = {"name": "lbfgs", "lr": 0.5, "max_iter": 5, "line_search_fn": "strong_wolfe"}
    loop = row_loop(task, {"network": settings}, epochs=1, val=0)
    loop.run(Listener())

    counted = 0
    network = Regression().parts().network
    optimizer = torch.optim.LBFGS(
        network.parameters(), lr=0.5, max_iter=5, line_search_fn="strong_wolfe"
    )
    for rows in loop.plan(0):
        batch = task.load(row_data(48), rows, 0, 0)

        def closure(batch: RowBatch = batch) -> torch.Tensor:
            nonlocal counted
            counted += 1
            optimizer.zero_grad()
            loss = (network(batch.inputs) - batch.targets).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)
    assert task.evaluations == counted > 3 * len(loop.plan(0))
    for ours, theirs in zip(loop.parts.network.parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_lbfgs_accumulates() -> None:
    settings = {"name": "lbfgs", "lr": 0.5, "max_iter": 4}
    whole = row_loop(optimizers={"network": settings}, epochs=1, accumulate=1)
    pieces = row_loop(optimizers={"network": settings}, epochs=1, accumulate=4)
    whole.run(Listener())
    pieces.run(Listener())
    one, other = whole.parts.network.parameters(), pieces.parts.network.parameters()
    for first, second in zip(one, other, strict=True):
        assert torch.allclose(first, second, atol=1e-5)


def test_lbfgs_sees_the_same_dropout_in_every_evaluation() -> None:
    seen: dict[int, list[float]] = {}

    class Dropped(Regression):
        def steps(self, parts: Parts, batch: RowBatch) -> Any:
            mask = nn.Dropout(0.5)
            ones = torch.ones(64)

            def loss() -> torch.Tensor:
                seen.setdefault(id(batch), []).append(float((mask(ones) * torch.arange(64)).sum()))
                return self.error(parts, batch)

            yield Step(loss)

    loop = row_loop(Dropped(), {"network": {"name": "lbfgs"}}, epochs=1, val=0, count=24)
    loop.run(Listener())
    assert all(len(values) > 1 and len(set(values)) == 1 for values in seen.values())
    assert len({values[0] for values in seen.values()}) == len(seen) == 3


def test_lbfgs_refuses_fp16() -> None:
    loop = row_loop(optimizers={"network": {"name": "lbfgs"}})
    object.__setattr__(loop.options, "precision", "fp16")
    with pytest.raises(RequestError, match=r"L-BFGS \(network\) has no loss scaling.*bf16 or fp32"):
        loop.check_request()


class Words(nn.Module):
    """An embedding, two hidden matrices, a norm, a convolution and an output."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.convolution = nn.Conv1d(4, 4, 1)
        self.first = nn.Linear(4, 6)
        self.norm = nn.LayerNorm(6)
        self.second = nn.Linear(6, 6, bias=False)
        self.output = nn.Linear(6, 3)


def names_of(network: nn.Module, parameters: list[torch.Tensor]) -> set[str]:
    wanted = {id(each) for each in parameters}
    return {name for name, each in network.named_parameters() if id(each) in wanted}


def test_muon_takes_hidden_matrices_and_adamw_the_rest() -> None:
    network = Words()
    made = make_optimizer("network", network, {"name": "muon", "lr": 0.01, "momentum": 0.9})
    muon, adamw = made.optimizers
    assert isinstance(muon, torch.optim.Muon)
    assert isinstance(adamw, torch.optim.AdamW)
    assert muon.param_groups[0]["momentum"] == 0.9
    taken = names_of(network, muon.param_groups[0]["params"])
    assert taken == {"first.weight", "second.weight"}
    rest = names_of(network, [each for group in adamw.param_groups for each in group["params"]])
    assert rest == {name for name, _ in network.named_parameters()} - taken
    assert [group["lr"] for group in (*muon.param_groups, *adamw.param_groups)] == [0.01, 0.01]


def test_muon_without_hidden_matrices_is_adamw() -> None:
    made = make_optimizer("network", nn.Linear(3, 2), {"name": "muon"})
    (adamw,) = made.optimizers
    assert isinstance(adamw, torch.optim.AdamW)


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_decay_norms_off_spares_parameters_of_one_dimension(name: str) -> None:
    network = Words()
    nn.init.ones_(network.output.bias)
    settings = {"name": name, "lr": 0.1, "weight_decay": 0.5, "decay_norms": False}
    made = make_optimizer("network", network, settings)
    before = {key: each.detach().clone() for key, each in network.named_parameters()}
    for each in network.parameters():
        each.grad = torch.zeros_like(each)
    made.step()
    for key, each in network.named_parameters():
        # without gradient only the decay acts: 1 - lr * weight_decay
        factor = 1.0 if each.ndim == 1 else 0.95
        assert torch.allclose(each, before[key] * factor, atol=1e-7), key


def test_decay_reaches_everything_unless_said() -> None:
    made = make_optimizer("network", Words(), {"name": "sgd", "weight_decay": 0.5})
    assert [group["weight_decay"] for group in made.optimizers[0].param_groups] == [0.5]


def test_only_trained_parameters_are_given_to_the_optimizer() -> None:
    network = Words()
    network.first.requires_grad_(False)
    for name in ("sgd", "muon", "lbfgs"):
        made = make_optimizer("network", network, {"name": name})
        assert names_of(network, made.parameters()) == {
            name for name, each in network.named_parameters() if each.requires_grad
        }
    network.requires_grad_(False)
    with pytest.raises(RequestError, match="Nothing of network is trained"):
        make_optimizer("network", network, {"name": "sgd"})


def test_sparse_adam_trains_sparse_embeddings() -> None:
    embedding = nn.Embedding(6, 2, sparse=True)
    made = make_optimizer("network", embedding, {"name": "SparseAdam", "lr": 0.1})
    target = torch.ones(2, 2)
    losses = []
    for _ in range(30):
        made.zero_grad()
        loss = (embedding(torch.tensor([1, 3])) - target).square().mean()
        loss.backward()
        made.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_sparse_adam_names_dense_gradients() -> None:
    with pytest.raises(
        RequestError, match=r"2 parameters of network are dense, first weight.*adam"
    ):
        make_optimizer("network", nn.Linear(2, 2), {"name": "sparse_adam"})
    mixed = nn.Sequential(nn.Embedding(3, 2, sparse=True), nn.Linear(2, 1))
    with pytest.raises(RequestError, match=r"first 1\.weight"):
        make_optimizer("network", mixed, {"name": "sparse_adam"})


def test_unknown_names_and_settings_name_the_nearest() -> None:
    network = nn.Linear(2, 2)
    with pytest.raises(RequestError, match=r"no optimizer named 'adamm'.*adam"):
        make_optimizer("network", network, {"name": "adamm"})
    with pytest.raises(RequestError, match=r"optimizer sgd named 'momentun'.*momentum"):
        make_optimizer("network", network, {"name": "sgd", "momentun": 0.9})
    with pytest.raises(RequestError, match=r"optimizer adam named 'momentum'"):
        make_optimizer("network", network, {"name": "adam", "momentum": 0.9})


@pytest.mark.parametrize(
    ("settings", "split", "chosen"),
    [
        ({"name": "sgd"}, False, True),
        ({"name": "adagrad"}, False, True),
        ({"name": "AdamW", "fused": False}, False, False),
        ({"name": "adamw"}, True, True),
        ({"name": "sgd"}, True, False),
        ({"name": "sgd", "fused": True}, True, False),
        ({"name": "rmsprop"}, False, None),
    ],
)
def test_one_kernel_for_all_parameters_wherever_there_is_one(
    settings: dict[str, Any], split: bool, chosen: bool | None
) -> None:
    assert with_kernel(settings, split=split).get("fused") is chosen


def test_the_kernel_can_be_overruled_and_is_kept_over_a_state() -> None:
    network = small_network()
    fused = make_optimizer("network", network, {"name": "sgd"})
    other = make_optimizer("network", network, {"name": "sgd", "fused": False})
    assert fused.optimizers[0].param_groups[0]["fused"] is True
    assert not other.optimizers[0].param_groups[0]["fused"]
    other.load_state_dict(fused.state_dict())
    assert not other.optimizers[0].param_groups[0]["fused"]
    with pytest.raises(RequestError, match="optimizer rmsprop named 'fused'"):
        make_optimizer("network", network, {"name": "rmsprop", "fused": True})


def test_values_that_torch_refuses_are_a_wrong_request() -> None:
    with pytest.raises(RequestError, match=r"sgd of network does not take its settings.*Nesterov"):
        make_optimizer("network", nn.Linear(2, 2), {"name": "sgd", "nesterov": True})


def test_rates_follow_the_factor_and_lists_become_tuples() -> None:
    settings = {"name": "adam", "lr": 0.2, "betas": [0.8, 0.9]}
    made = make_optimizer("network", nn.Linear(2, 2), settings, factor=0.5)
    assert made.rate == 0.1
    assert made.optimizers[0].param_groups[0]["betas"] == (0.8, 0.9)
    made.set_factor(0.25)
    assert made.rate == 0.025


def test_loaded_moments_have_the_layout_of_their_parameters() -> None:
    network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    made = make_optimizer("network", network, {"name": "sgd", "momentum": 0.9})
    network(torch.ones(1, 3, 5, 5)).sum().backward()
    made.step()
    state = made.state_dict()
    moment = state[0]["state"][0]["momentum_buffer"]
    state[0]["state"][0]["momentum_buffer"] = moment.contiguous()  # as a file holds it
    made.load_state_dict(state)
    loaded = made.state_dict()[0]["state"][0]["momentum_buffer"]
    assert torch.equal(loaded, moment)
    assert loaded.stride() == network.weight.stride()


def test_no_optimizer_imports_torch_dynamo() -> None:
    code = (
        "import sys, torch\n"
        "from torchfolio.training.optimizers import OPTIMIZERS, make_optimizer\n"
        "for name in OPTIMIZERS:\n"
        "    sparse = name == 'sparse_adam'\n"
        "    part = torch.nn.Embedding(4, 3, sparse=True) if sparse else torch.nn.Linear(4, 3)\n"
        "    made = make_optimizer('network', part, {'name': name})\n"
        "    def closure():\n"
        "        made.zero_grad()\n"
        "        loss = part(torch.tensor([1, 2]) if sparse else torch.ones(2, 4)).square().sum()\n"
        "        loss.backward()\n"
        "        return loss\n"
        "    if made.closure_based:\n"
        "        made.step_closure(closure)\n"
        "    else:\n"
        "        closure()\n"
        "        made.step()\n"
        "    made.load_state_dict(made.state_dict())\n"
        "    assert 'torch._dynamo' not in sys.modules, name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_hooks_of_torch_still_see_every_step() -> None:
    seen = []
    network = nn.Linear(2, 1)
    made = make_optimizer("network", network, {"name": "adam"})
    made.optimizers[0].register_step_post_hook(lambda *_: seen.append(1))
    network(torch.ones(1, 2)).sum().backward()
    made.step()
    assert seen == [1]
