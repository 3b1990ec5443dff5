from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from toys import Listener, Regression, digit_loop, row_loop, weights

from torchfolio.errors import RequestError
from torchfolio.networks.build import build
from torchfolio.training.transfer import freeze, frozen_modules

# The top-level modules of resnet20 that have parameters: conv1, bn1, layer1, layer2, layer3, fc.


@pytest.mark.parametrize(
    ("transfer", "trained"),
    [
        ("all", ["conv1", "bn1", "layer1", "layer2", "layer3", "linear"]),
        ("none", ["conv1", "bn1", "layer1", "layer2", "layer3", "linear"]),
        ("head", ["linear"]),
        ("last:1", ["linear"]),
        ("last:2", ["layer3", "linear"]),
        ("last:6", ["conv1", "bn1", "layer1", "layer2", "layer3", "linear"]),
    ],
)
def test_modes(transfer: str, trained: list[str]) -> None:
    network = build("resnet20")
    head = [name for name, _ in network.named_children()][-1]
    expected = [head if name == "linear" else name for name in trained]
    assert freeze(network, transfer) == expected
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == (name.split(".")[0] in expected)


@pytest.mark.parametrize(
    "transfer", ["last:0", "last:", "last:x", "last:-1", "last:²", "tail", "last:1.5"]
)
def test_modes_that_do_not_exist(transfer: str) -> None:
    with pytest.raises(RequestError, match="it should be all, head, last:N or none"):
        freeze(build("resnet20"), transfer)


def test_more_modules_than_there_are() -> None:
    with pytest.raises(RequestError, match="transfer is last:7; the network has 6 top-level"):
        freeze(build("resnet20"), "last:7")


def test_parameters_of_the_network_itself_are_frozen_with_the_rest() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.zeros(2))
            self.body = nn.Linear(2, 2)
            self.head = nn.Linear(2, 2)

    network = Own()
    freeze(network, "head")
    assert not network.token.requires_grad


def split_by(loop_weights: dict[str, Tensor], trained: list[str]) -> tuple[set[str], set[str]]:
    names = {name for name in loop_weights if name.split(".")[1] in trained}
    return names, set(loop_weights) - names


@pytest.mark.parametrize("transfer", ["head", "last:2"])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_frozen_parameters_and_statistics_stay_bit_equal(transfer: str, ema: float | None) -> None:
    trained: list[str] = []

    def prepare(network: nn.Module) -> None:
        network(torch.rand(8, 1, 32, 32))  # statistics that are not those of the beginning
        for _ in range(9):
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.num_batches_tracked += 1  # 10: 10 * 0.9 + 10 * 0.1 is cut to 9
        trained.extend(freeze(network, transfer))

    loop = digit_loop(
        "resnet20",
        {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
        count=40,
        val=8,
        epochs=2,
        batch_size=16,
        ema=ema,
        prepare=prepare,
    )
    before = weights(loop)
    loop.run(Listener())
    for now in (weights(loop), loop.tensors(loop.usable_parts())):
        changing, resting = split_by(before, trained)
        for name in resting:
            assert torch.equal(now[name], before[name]), name
        for name in changing:
            assert not torch.equal(now[name], before[name]), name
    if transfer == "last:2":
        assert loop.parts.network.layer3[0].bn1.num_batches_tracked == 14  # 10 and 4 updates


def test_buffers_without_parameters_rest_in_front_of_what_is_trained() -> None:
    def make() -> nn.Module:
        norms = [nn.BatchNorm1d(width, affine=False) for width in (4, 3, 3)]
        layers = [norms[0], nn.Linear(4, 3), norms[1], nn.Linear(3, 3), norms[2], nn.Linear(3, 1)]
        return nn.Sequential(
            OrderedDict((f"l{number}", each) for number, each in enumerate(layers))
        )

    task = Regression(make)
    loop = row_loop(task)
    freeze(loop.parts.network, "last:2")
    loop.frozen = frozen_modules(loop.parts.network)
    before = weights(loop)
    loop.run(Listener())
    now = weights(loop)
    same = {name.split(".")[1] for name in now if torch.equal(now[name], before[name])}
    assert same == {"l0", "l1", "l2"}
    changed = {name.split(".")[1] for name in now if not torch.equal(now[name], before[name])}
    assert changed == {"l3", "l4", "l5"}


def test_nothing_rests_where_everything_is_trained() -> None:
    assert frozen_modules(build("resnet20")) == []


def test_the_optimizer_has_the_trained_parameters_alone() -> None:
    loop = digit_loop("lenet5", prepare=lambda network: freeze(network, "last:2"))
    given = {id(each) for each in loop.optimizers["network"].parameters()}
    wanted = {id(each) for each in loop.parts.network.parameters() if each.requires_grad}
    assert given == wanted
    assert 0 < len(wanted) < len(list(loop.parts.network.parameters()))


def test_a_bound_on_weights_leaves_frozen_ones_alone() -> None:
    class Bounded(nn.Sequential):
        def constrain(self) -> None:
            for layer in self:
                layer.weight.mul_(0.5)

    def make() -> nn.Module:
        network = Bounded(nn.Linear(4, 4), nn.Linear(4, 1))
        freeze(network, "head")
        return network

    loop = row_loop(
        Regression(make), {"network": {"name": "sgd", "lr": 0.0}}, count=8, val=0, epochs=1
    )
    before = weights(loop)
    loop.run(Listener())  # one update
    now = weights(loop)
    assert torch.equal(now["network.0.weight"], before["network.0.weight"])
    assert torch.equal(now["network.1.weight"], before["network.1.weight"] * 0.5)
