"""Frozen is frozen, for the smallest form of every family, by the rule of the design."""

from typing import Any

import pytest
import torch
from torch import nn
from toys import Listener, digit_loop, weights

from torchfolio.networks.build import build
from torchfolio.networks.catalogue import cards, find_card
from torchfolio.training.transfer import freeze, frozen_modules

# The head, and the last top-level module with parameters before it; both stand in the papers' code.
HEADS = {
    "mlp": ("output", "layers"),
    "mlp_bn": ("output", "layers"),
    "maxout_mlp": ("y", "h1"),
    "maxout_conv_mnist": ("y", "h2"),
    "lenet5_original": ("f6", "c5"),
    "lenet5": ("output", "f6"),
    "lenet_caffe": ("ip2", "ip1"),
    "resnet18": ("fc", "layer4"),
    "resnet18_plain": ("fc", "layer4"),
    "resnet20": ("linear", "layer3"),
    "resnet20_b": ("linear", "layer3"),
    "googlenet": ("fc", "inception5b"),
    "googlenet_original": ("fc", "inception5b"),
    "densenet121": ("classifier", "features"),
    "densenet40_k12": ("classifier", "features"),
    "densenet100_k12_bc": ("classifier", "features"),
    "mobilenet_v1_0.25": ("classifier", "blocks"),
    "mobilenet_v2_0.35": ("classifier", "features"),
    "capsnet_no_decoder": ("digitcaps", "primarycaps"),
    "vit_ti_16": ("heads", "encoder"),
    "cifar_quick": ("ip2", "ip1"),
    "darknet19": ("out", "stages"),
    "alexnet": ("classifier", "features"),
    "alexnet_2012": ("fc8", "fc7"),
    "vgg11_bn": ("classifier", "features"),
}
# Where the number of classes decides the sizes of several modules, all of them are the head.
SEVERAL = {
    "googlenet_aux": {"aux1", "aux2", "fc"},
    "googlenet_original_aux": {"aux1", "aux2", "fc"},
    "capsnet": {"digitcaps", "decoder"},
    "capsnet_official": {"digitcaps", "decoder"},
}
NO_CLASSIFIERS = {
    "yolov3": {"heads", "laterals"},
    "yolov3_tiny": {"heads", "laterals"},
    "fasterrcnn_vgg16": {"cls_score", "bbox_pred"},
    "fcn_resnet50": {"classifier", "aux_classifier"},
    "fcn_resnet101": {"classifier", "aux_classifier"},
    "fcn32s": {"score_fr"},
    "fcn16s": {"score_fr", "score_pool4"},
    "fcn8s": {"score_fr", "score_pool3", "score_pool4"},
}
LARGE = ("alexnet", "alexnet_2012", "vgg11_bn")  # 60, 20 and 120 million parameters
SIDES = {"alexnet_2012": 67}  # the smallest; usually 227
CASES: list[Any] = [
    (name, transfer, set(modules[:count]))
    for name, modules in HEADS.items()
    for transfer, count in (("head", 1), ("last:2", 2))
]
CASES += [(name, each, modules) for name, modules in SEVERAL.items() for each in ("head", "last:2")]


@pytest.mark.parametrize(
    ("name", "transfer", "trained"),
    [pytest.param(*case, marks=[pytest.mark.slow] if case[0] in LARGE else []) for case in CASES],
)
def test_what_is_not_trained_stays_bit_equal(name: str, transfer: str, trained: set[str]) -> None:
    def prepared(network: nn.Module) -> None:
        torch.manual_seed(0)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                module.num_batches_tracked.fill_(10)  # 10 * 0.9 + 10 * 0.1 would be cut to 9
            if isinstance(module, nn.Linear) and not module.weight.any():
                nn.init.normal_(module.weight, std=0.01)  # nothing passes a zero
        freeze(network, transfer)

    loop = digit_loop(
        name,
        {"name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.1},
        {"image_size": SIDES.get(name)},
        count=20, val=4, epochs=1, batch_size=8, ema=0.9, prepare=prepared,
    )  # fmt: skip
    before = weights(loop)
    loop.run(Listener())
    assert loop.progress.update == 2
    learnt = {name for name, each in loop.parts.network.named_parameters() if each.requires_grad}
    for now in (weights(loop), loop.tensors(loop.usable_parts())):
        for key, value in before.items():
            module, inside = key.removeprefix("network."), key.split(".")[1] in trained
            if not inside:
                assert torch.equal(now[key], value), key
            elif module in learnt and value.any():
                assert not torch.equal(now[key], value), key


@pytest.mark.parametrize("name", [name for name in cards() if "1202" not in name])
def test_what_trains_is_what_the_design_says(name: str) -> None:
    """``head``: the new head alone; ``last:N``: the last N modules, and the head."""
    with torch.device("meta"):
        network = build(name)
    trainable = [
        (key, [one for one in each.parameters() if one.requires_grad])
        for key, each in network.named_children()
    ]
    modules = [key for key, parameters in trainable if parameters]
    head = (SEVERAL | NO_CLASSIFIERS).get(name) or (
        {"aux1", "aux2", "fc"} & set(modules) if find_card(name).family == "googlenet" else set()
    )
    assert set(freeze(network, "head")) == (head or {modules[-1]})
    assert moving_norms(network) <= (head or {modules[-1]})
    if len(modules) > 1:
        assert set(freeze(network, "last:2")) == head | set(modules[-2:])
        assert moving_norms(network) <= head | set(modules[-2:])


def moving_norms(network: nn.Module) -> set[str]:
    """Return the top-level modules with a batch norm whose statistics move in training."""
    resting = {id(each) for each in frozen_modules(network)}
    return {
        key.split(".")[0]
        for key, each in network.named_modules()
        if isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d) and id(each) not in resting
    }
