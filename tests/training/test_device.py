from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from torchfolio.data.draws import key
from torchfolio.errors import RequestError
from torchfolio.networks.build import build
from torchfolio.options import plain
from torchfolio.training.device import (
    again,
    autocast,
    configure,
    has_tf32,
    moved,
    place,
    resolve_arithmetic,
    resolve_device,
    seed_for,
    wants_bf16,
    wants_channels_last,
)
from torchfolio.training.graphs import resolve_graphs
from torchfolio.training.options import TrainingOptions
from torchfolio.training.sharding import resolve_norms


def resolved(**settings: object) -> TrainingOptions:
    return resolve_device(TrainingOptions(**settings))  # type: ignore[arg-type]


def test_everything_left_open_is_chosen() -> None:
    options = resolved()
    usual = "cuda" if torch.cuda.is_available() else "cpu"
    usual = "mps" if torch.backends.mps.is_available() else usual
    assert options.device == usual
    usual = "tf32" if has_tf32(torch.device(usual)) else "fp32"
    assert resolve_arithmetic(options, []).precision == usual
    assert 1 <= options.workers <= (2 if options.device == "cpu" else 8)
    assert options.threads == torch.get_num_threads()
    assert resolve_device(options) == options


def test_on_the_cpu_the_loop_copies_what_lies_in_memory() -> None:
    assert resolve_device(TrainingOptions(device="cpu"), in_memory=True).workers == 0
    asked = TrainingOptions(device="cpu", workers=2)
    assert resolve_device(asked, in_memory=True).workers == 2


NORMED = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


@pytest.mark.parametrize(
    ("avx512_bf16", "amx", "settings", "others", "chosen"),
    [
        (True, False, {}, {}, "bf16"),
        (False, True, {}, {}, "bf16"),
        (False, False, {}, {}, "fp32"),
        (True, True, {}, {"cleared": False}, "fp32"),
        (True, True, {}, {"closures": True}, "fp32"),
        (True, True, {"precision": "fp32"}, {}, "fp32"),
        (False, False, {"precision": "bf16"}, {"cleared": False}, "bf16"),
    ],
)
def test_bf16_where_network_and_processor_allow_it(
    monkeypatch: pytest.MonkeyPatch,
    avx512_bf16: bool,
    amx: bool,
    settings: Any,
    others: Any,
    chosen: str,
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    options = TrainingOptions(**({"device": "cpu"} | settings))
    found = resolve_arithmetic(options, [NORMED], **({"cleared": True} | others))
    assert found.precision == chosen


@pytest.mark.parametrize(
    ("capability", "settings", "others", "chosen"),
    [
        ((9, 0), {}, {}, "bf16"),
        ((8, 0), {}, {"cleared": False}, "tf32"),
        ((7, 5), {}, {}, "fp32"),
        ((9, 0), {}, {"closures": True}, "fp32"),
        ((9, 0), {"precision": "fp32"}, {}, "fp32"),
        ((9, 0), {"precision": "tf32"}, {}, "tf32"),
    ],
)
def test_precision_where_network_and_gpu_allow_it(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    settings: Any,
    others: Any,
    chosen: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    options = TrainingOptions(device="cuda", **settings)
    found = resolve_arithmetic(options, [NORMED], **({"cleared": True} | others))
    assert found.precision == chosen


@pytest.mark.parametrize(
    ("settings", "others", "chosen"),
    [
        ({}, {}, True),
        ({"graphs": False}, {}, False),
        ({"accumulate": 2}, {}, False),
        ({"compile": True}, {}, False),
        ({"device": "cpu"}, {}, False),
        ({}, {"one_step": False}, False),
        ({}, {"alone": False}, False),
    ],
)
def test_graphs_wherever_they_can_be(settings: Any, others: Any, chosen: bool) -> None:
    options = TrainingOptions(**({"device": "cuda"} | settings))
    given = {"one_step": True, "alone": True} | others
    assert resolve_graphs(options, **given).graphs == chosen
    if not chosen and options.graphs is None:
        with pytest.raises(RequestError, match="graphs are for a CUDA device, one process"):
            resolve_graphs(replace(options, graphs=True), **given)


def test_what_only_one_device_has_is_chosen_anew_for_another() -> None:
    there = TrainingOptions(device="cuda:1", precision="tf32", graphs=True, workers=8)
    here = moved(there, "cpu")
    assert (here.device, here.precision, here.graphs, here.workers) == ("cpu", "fp32", None, None)
    kept = TrainingOptions(device="cpu", precision="bf16", weight_gradients="products", workers=5)
    assert moved(kept, "cpu") == kept
    assert moved(replace(there, sync_norm=True), "cpu").sync_norm is None
    assert moved(TrainingOptions(workers=3), "cpu").workers is None  # of an ensemble, on no device


def test_of_a_stored_training_graphs_are_chosen_anew() -> None:
    stored = TrainingOptions(device="cpu", graphs=True, workers=5)
    assert again(stored) == again(stored, "cpu") == replace(stored, graphs=None)
    assert again(replace(stored, graphs=False)).graphs is False
    there = replace(stored, device="cuda", precision="tf32")
    assert again(there, "cpu") == moved(there, "cpu")


@pytest.mark.parametrize(
    ("device", "asked", "alone", "chosen"),
    [
        ("cuda", None, False, True),
        ("cuda", False, False, False),
        ("cuda", True, False, True),
        ("cpu", None, False, False),
        ("cuda", None, True, None),
        ("cpu", True, True, True),
    ],
)
def test_batch_norm_sees_the_batch_of_all_processes_on_gpus(
    device: str, asked: bool | None, alone: bool, chosen: bool | None
) -> None:
    found = resolve_norms(TrainingOptions(device=device, sync_norm=asked), alone=alone)
    assert found.sync_norm is chosen
    assert plain(found).get("sync_norm") is chosen  # what is chosen is stored


@pytest.mark.parametrize(
    ("part", "large"),
    [
        (NORMED, True),
        (nn.SyncBatchNorm(4), True),
        (nn.Sequential(nn.Linear(784, 512), nn.Linear(512, 10)), True),
        (nn.Sequential(nn.Linear(784, 256), nn.Linear(256, 10)), False),
        (nn.Conv2d(3, 4, 3), False),
    ],
)
def test_the_parts_decide_whether_bf16_pays(part: nn.Module, large: bool) -> None:
    assert wants_bf16([part], torch.device("cpu")) == large


def test_a_gpu_takes_bf16_for_batch_norm_only() -> None:
    gpu = torch.device("cuda")
    assert wants_bf16([NORMED], gpu)
    assert not wants_bf16([nn.Linear(784, 512)], gpu)


def test_what_is_asked_for_is_kept() -> None:
    options = resolved(device="cpu", precision="bf16", workers=0, threads=3)
    assert (options.device, options.precision, options.workers, options.threads) == (
        "cpu",
        "bf16",
        0,
        3,
    )


@pytest.mark.parametrize("device", ["gpu", "tpu", "cuda:x", ""])
def test_devices_that_do_not_exist(device: str) -> None:
    with pytest.raises(RequestError, match="it should be auto, cpu, cuda, cuda:N or mps"):
        resolved(device=device)


@pytest.mark.parametrize("device", ["cuda:99", "xpu", "meta"])
def test_devices_that_are_not_here(device: str) -> None:
    with pytest.raises(RequestError, match=f"There is no device '{device}' on this machine"):
        resolved(device=device)


def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(RequestError, match="fp16 needs a GPU; on the CPU take bf16 or fp32"):
        resolved(device="cpu", precision="fp16")


def test_threads_and_determinism_are_set() -> None:
    before = torch.get_num_threads()
    try:
        assert configure(resolved(device="cpu", threads=2, deterministic=True)).type == "cpu"
        assert torch.get_num_threads() == 2
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
    finally:
        configure(resolved(device="cpu", threads=before))
    assert not torch.are_deterministic_algorithms_enabled()


def test_seeds_belong_to_a_place() -> None:
    def drawn(*place: int | str) -> float:
        seed_for(*place)
        return torch.rand(()).item()

    assert drawn("update", 0, 5) == drawn("update", 0, 5)
    assert len({drawn("update", seed, update) for seed in range(5) for update in range(5)}) == 25
    assert drawn("step", 0, 5) != drawn("update", 0, 5)
    torch.manual_seed(key("update", 0, 5))
    assert torch.rand(()).item() == drawn("update", 0, 5)


def test_bf16_is_used_where_it_is_asked_for() -> None:
    layer, inputs = nn.Linear(2, 2), torch.ones(1, 2)
    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with autocast(resolved(device="cpu", precision=precision)):
            assert layer(inputs).dtype == kind


@pytest.mark.parametrize(
    ("second", "asked", "last"),
    [
        (nn.BatchNorm2d(4), None, True),
        (nn.MaxPool2d(2), None, True),
        (nn.ReLU(), None, False),
        (nn.BatchNorm2d(4), False, False),
        (nn.ReLU(), True, True),
    ],
)
def test_channels_last_by_rule_or_as_asked(
    second: nn.Module, asked: bool | None, last: bool
) -> None:
    part: nn.Module = nn.Sequential(nn.Conv2d(3, 4, 3), second)
    options = resolve_arithmetic(resolved(device="cpu", channels_last=asked), [part])
    part = place(part, options)
    weight = part[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == last
    assert weight.is_contiguous() != last


def test_a_page_may_want_the_plain_layout() -> None:
    assert wants_channels_last([build("lenet_caffe")])
    assert not wants_channels_last([build("maxout_conv_mnist")])
