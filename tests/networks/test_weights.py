import argparse
import os
import pickle
import socket
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from torchfolio.errors import FolioError, RequestError
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import find_card
from torchfolio.networks.weights import (
    clean,
    head_names,
    imagenet_weights,
    load_weights,
    read_weights,
)


def fresh(name: str, seed: int, **arguments: Any) -> nn.Module:
    torch.manual_seed(seed)
    return build(name, **arguments)


def same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def akamaster(network: nn.Module) -> dict[str, Any]:
    """Return a checkpoint in the form of the public CIFAR files: DataParallel's names, a score."""
    state = OrderedDict((f"module.{k}", v) for k, v in network.state_dict().items())
    return {"state_dict": state, "best_prec1": 92.6}


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("suffix", [".th", ".pth", ".pt", ".bin"])
def test_a_public_cifar_file_loads_into_resnet20_whole(
    tmp_path: Path, suffix: str, new_format: bool
) -> None:
    trained, network = fresh("resnet20", 0), fresh("resnet20", 1)
    file = tmp_path / f"resnet20-12fca82f{suffix}"
    torch.save(akamaster(trained), file, _use_new_zipfile_serialization=new_format)
    report = load_weights(network, read_weights(file), strict=True)
    assert report.new == report.ignored == []
    assert same(trained, network)
    # the keys that the repository names, beside our page's
    assert {"conv1.weight", "layer3.2.bn2.running_var", "linear.weight"} <= set(report.loaded)


def test_files_of_before_num_batches_tracked_load_whole(tmp_path: Path) -> None:
    network = fresh("resnet20", 0)
    old = {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
    torch.save(old, tmp_path / "old.pth")
    report = load_weights(fresh("resnet20", 1), read_weights(tmp_path / "old.pth"), strict=True)
    assert len(report.loaded) == len(old)
    assert report.new == []


def test_safetensors_and_a_run_folder_are_read(tmp_path: Path) -> None:
    trained = fresh("lenet5", 0)
    (tmp_path / "run" / "weights").mkdir(parents=True)
    file = tmp_path / "run" / "weights" / "best.safetensors"
    save_file(trained.state_dict(), file)
    for source in (file, tmp_path / "run", str(file)):
        network = fresh("lenet5", 1)
        load_weights(network, read_weights(source), strict=True)
        assert same(trained, network)


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module."])
def test_wrappers_and_prefixes_are_taken_off(tmp_path: Path, wrapper: str, prefix: str) -> None:
    state = {f"{prefix}c1.weight": torch.ones(2), "n_averaged": torch.tensor(3)}
    torch.save({wrapper: state, "epoch": 7, "optimizer": {"state": {}}}, tmp_path / "x.pt")
    assert list(read_weights(tmp_path / "x.pt")) == ["c1.weight", "n_averaged"]


def test_settings_and_numpy_scores_beside_the_weights_do_no_harm(tmp_path: Path) -> None:
    for new_format in (True, False):
        torch.save(
            {
                "model": {"w": torch.ones(2)},
                "args": argparse.Namespace(lr=0.1),
                "best": np.float64(0.93),
                "epoch": np.int64(4),
            },
            tmp_path / "x.pth",
            _use_new_zipfile_serialization=new_format,
        )
        assert list(read_weights(tmp_path / "x.pth")) == ["w"]


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "legacy"])
def test_a_pickle_is_never_executed(tmp_path: Path, new_format: bool) -> None:
    trap, file = tmp_path / "trap", tmp_path / "evil.pth"
    content = {"state_dict": {"w": torch.ones(2)}, "extra": Payload(trap)}
    torch.save(content, file, _use_new_zipfile_serialization=new_format)
    with pytest.raises(RequestError, match="would run code"):
        read_weights(file)
    file.write_bytes(pickle.dumps(Payload(trap)))
    with pytest.raises(FolioError, match=r"evil\.pth"):
        read_weights(file)
    assert not trap.exists()


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "legacy"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch.save of a module
def test_a_pickled_module_is_refused_with_the_reason(tmp_path: Path, new_format: bool) -> None:
    file = tmp_path / "whole.pt"
    torch.save(nn.Linear(2, 2), file, _use_new_zipfile_serialization=new_format)
    with pytest.raises(RequestError, match=r"torch\.nn\.modules\.linear\.Linear.*state_dict\(\)"):
        read_weights(file)


@pytest.mark.parametrize("writer", ["zip", "legacy", "safetensors"])
def test_a_file_cut_anywhere_is_an_error_that_names_it(tmp_path: Path, writer: str) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut.pth"
    state = {"weight": torch.randn(40, 40), "bias": torch.randn(40)}
    if writer == "safetensors":
        save_file(state, whole)
    else:
        torch.save(state, whole, _use_new_zipfile_serialization=writer == "zip")
    content = whole.read_bytes()
    for size in [0, 1, 8, 9, 50, len(content) // 2, len(content) - 1]:
        cut.write_bytes(content[:size])
        with pytest.raises(FolioError, match=r"cut\.pth"):
            read_weights(cut)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.ones(3), "holds a Tensor; expected names"),
        ([torch.ones(3)], "holds a list; expected names"),
        ({"epoch": 3, "lr": 0.1}, "holds no tensor: its entries are epoch, lr"),
        ({"w": torch.tensor([1.0, float("nan")])}, "not finite, in w"),
        ({"w": torch.ones(1), "module.w": torch.ones(1)}, "'w' twice"),
        ({"w": torch.eye(2).to_sparse()}, r"a sparse tensor \(sparse_coo\) in w"),
        ({"w": torch.empty(2, device="meta")}, r"a tensor without values \(device meta\) in w"),
        ({"w": torch.ones(2, dtype=torch.complex64)}, "complex numbers in w"),
    ],
)
def test_files_without_usable_weights_are_named(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(FolioError, match=message) as caught:
        read_weights(tmp_path / "odd.pth")
    assert "odd.pth" in str(caught.value)


def test_paths_that_are_no_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no weights at .*nowhere\.pth"):
        read_weights(tmp_path / "nowhere.pth")
    with pytest.raises(RequestError, match=r"without weights/best\.safetensors"):
        read_weights(tmp_path)
    (tmp_path / "cat.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a network")
    with pytest.raises(FolioError, match=r"cat\.jpg cannot be read as weights"):
        read_weights(tmp_path / "cat.jpg")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello world this is text", "KeyError 101"),  # e: no such operation
        (b"<html>404 not found</html>", "Unsupported operand 60"),  # 60: "<"
        (b"elephants are nice", "IndexError pop from empty list"),
    ],
)
def test_what_torch_says_of_a_damaged_file_is_the_line_that_says_it(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(FolioError, match=rf"torch says: {reason}\)\. Expected"):
        read_weights(tmp_path / "x.pth")


def test_a_cut_zip_file_says_so_in_one_sentence(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(100)}, tmp_path / "x.pth")
    (tmp_path / "x.pth").write_bytes((tmp_path / "x.pth").read_bytes()[:300])
    with pytest.raises(FolioError, match=r"torch says: [^.\n]*central directory\.\)\. Expected"):
        read_weights(tmp_path / "x.pth")


@pytest.mark.parametrize("path", [5, "", None, ["a.pth"]])
def test_weights_that_are_no_path_are_refused(path: Any) -> None:
    with pytest.raises(RequestError, match="should be the path of a weight file or of a run"):
        read_weights(path)


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: Path, *_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "x.pth").write_bytes(b"weights")
    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(FolioError, match=r"x\.pth cannot be read: Permission denied\. Give"):
        read_weights(tmp_path / "x.pth")


def test_a_head_of_another_size_stays_new() -> None:
    network = fresh("resnet20", 1, num_classes=3)
    before = network.linear.weight.clone()
    weights = fresh("resnet20", 0).state_dict() | {"mean": torch.zeros(3)}
    report = load_weights(network, weights)
    assert report.new == ["linear.weight", "linear.bias"]
    assert report.ignored == ["mean"]
    assert torch.equal(network.linear.weight, before)
    assert torch.equal(network.conv1.weight, weights["conv1.weight"])
    assert report.lines() == [
        f"loaded: {len(report.loaded)} of the network's {len(report.loaded) + 2} tensors",
        "new: linear.weight (3x64; the file has 10x64), linear.bias (3; the file has 10)",
        "ignored: mean",
    ]


def test_half_precision_weights_become_the_networks_type() -> None:
    trained, network = fresh("lenet5", 0), fresh("lenet5", 1)
    load_weights(network, {k: v.half() for k, v in trained.state_dict().items()}, strict=True)
    assert network.c1.weight.dtype == torch.float32
    assert torch.equal(network.c1.weight, trained.c1.weight.half().float())


def test_too_little_matched_is_an_error_with_its_cause_and_changes_nothing() -> None:
    network = fresh("resnet20", 1)
    before = {k: v.clone() for k, v in network.state_dict().items()}

    def fails(weights: dict[str, Tensor], message: str) -> None:
        with pytest.raises(RequestError, match=message):
            load_weights(network, weights)
        assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())

    fails(fresh("lenet5", 0).state_dict(), r"No name agrees: the file has c1\.weight")
    own = fresh("resnet20", 0).state_dict()
    fails({f"backbone.{k}": v for k, v in own.items()}, "begins with 'backbone.'")
    fails(fresh("resnet18", 0).state_dict(), r"differ in shape, first conv1\.weight: 16x3x3x3 here")
    few = {k: v for k, v in own.items() if not k.startswith("layer3")}
    fails(few, r"not in the file, first layer3\.0\.conv1\.weight.*fewer layers")
    fails({}, "No name agrees")


def test_strict_admits_nothing_new_or_ignored() -> None:
    network = fresh("lenet5", 1)
    with pytest.raises(RequestError, match="ignored: extra"):
        load_weights(network, network.state_dict() | {"extra": torch.ones(1)}, strict=True)


def test_names_of_another_library_are_renamed_by_pattern() -> None:
    trained, network = fresh("lenet5", 0), fresh("lenet5", 1)
    other = {k.replace("c1.", "features.conv1."): v for k, v in trained.state_dict().items()}
    load_weights(network, other, strict=True, renames=[(r"^features\.conv(\d)\.", r"c\1.")])
    assert same(trained, network)


def test_the_only_layer_counts_as_the_network() -> None:
    network = fresh("softmax_regression", 0)
    assert head_names(network) == ["linear"]
    state = {"linear.weight": torch.ones(10, 784), "linear.bias": torch.ones(10)}
    assert load_weights(network, state).new == []
    with pytest.raises(RequestError, match="do not fit"):
        load_weights(network, fresh("softmax_regression", 0, num_classes=4).state_dict())


def test_names_are_cleaned_only_at_their_start() -> None:
    state = clean({"layer.module.w": torch.ones(1)}, Path("x"))
    assert list(state) == ["layer.module.w"]


def test_networks_without_imagenet_weights_say_so() -> None:
    with pytest.raises(RequestError, match=r"no ImageNet weights for lenet5 in torchvision.*FILE"):
        imagenet_weights(find_card("lenet5"))


def test_without_a_network_the_error_says_what_was_tried_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(FolioError, match=r"resnet18-\w+\.pth answered.*name resolution.*--weights"):
        imagenet_weights(find_card("resnet18"))
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_imagenet_weights_already_in_the_cache_need_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import ResNet18_Weights, resnet18

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)  # calling it would fail
    (tmp_path / "checkpoints").mkdir()
    torch.manual_seed(0)
    name = ResNet18_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[-1]
    theirs = resnet18()
    torch.save(theirs.state_dict(), tmp_path / "checkpoints" / name)
    network = fresh("resnet18", 1)
    load_weights(network, imagenet_weights(find_card("resnet18")), strict=True)
    assert same(network, theirs)
