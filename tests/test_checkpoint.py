import errno
import hashlib
import json
import os
import struct
import subprocess
import sys
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from torchfolio import checkpoint
from torchfolio.checkpoint import (
    digest,
    pack,
    read_json,
    read_tensors,
    remove_leftovers,
    replacing,
    unpack,
    write_bytes,
    write_json,
    write_tensors,
    write_text,
)
from torchfolio.errors import FolioError


def only(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


# Atomic writes


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "file.txt"
    write_text(path, "first\n")
    write_text(path, "zweite Zeile: äöü\n")
    assert path.read_bytes() == "zweite Zeile: äöü\n".encode()
    assert only(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(errno.EIO, "bad")])
def test_an_interruption_in_the_middle_leaves_the_old_file(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"ne")
            assert path.read_bytes() == b"old"
            raise error

    with pytest.raises(FolioError if isinstance(error, OSError) else type(error)):
        interrupted()
    assert path.read_bytes() == b"old"
    assert only(tmp_path) == ["file"]


KILLED = """
import os, signal, sys
from pathlib import Path
from torchfolio.checkpoint import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half of the n")
    os._exit(9)
"""


def test_a_killed_writer_leaves_the_old_file_and_a_leftover_that_can_be_removed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    died = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert died.returncode == 9
    assert path.read_bytes() == b"old"
    assert len(only(tmp_path)) == 2
    (tmp_path / "other.part").write_bytes(b"")  # not ours
    remove_leftovers(tmp_path)
    assert only(tmp_path) == ["file", "other.part"]


@pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")
def test_a_file_has_the_rights_that_the_person_wants_for_new_files(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_bytes(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    before = os.umask(0o022)
    try:
        write_tensors(tmp_path / "tensors", {})
    finally:
        os.umask(before)
    assert (tmp_path / "tensors").stat().st_mode & 0o777 == 0o644


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["fsync", "write_bytes", "replace"])
def test_a_full_disk_is_named_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"old": 1})
    with monkeypatch.context() as patched:
        if call == "fsync":
            patched.setattr(os, "fsync", full)
        else:
            patched.setattr(Path, call, full)
        with pytest.raises(
            FolioError, match=r"file\.json cannot be written: No space left.*unchang"
        ):
            write_json(path, {"new": 2})
    assert read_json(path) == {"old": 1}
    assert only(tmp_path) == ["file.json"]


def test_a_full_disk_keeps_the_old_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    write_tensors(path, {"a": torch.ones(3)}, {"old": True})
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(
            FolioError, match=r"state\.safetensors cannot be written: No space left"
        ):
            write_tensors(path, {"a": torch.zeros(3)})
    tensors, state = read_tensors(path)
    assert tensors["a"].tolist() == [1, 1, 1]
    assert state == {"old": True}
    assert only(tmp_path) == ["state.safetensors"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_the_right_to_write(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(FolioError, match=r"file cannot be written: Permission denied.*right"):
            write_bytes(path, b"new")
    finally:
        tmp_path.chmod(0o700)
    assert path.read_bytes() == b"old"


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    write_bytes(tmp_path / "file", b"")
    with pytest.raises(FolioError, match="cannot be written"):
        write_bytes(tmp_path / "file" / "inside", b"")


def test_damaged_and_missing_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolioError, match=r"none\.json is missing"):
        read_json(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"a": ', encoding="utf-8")
    with pytest.raises(FolioError, match=r"half\.json is damaged: it is not JSON"):
        read_json(tmp_path / "half.json")
    (tmp_path / "latin.json").write_bytes(b'"\xe4"')
    with pytest.raises(FolioError, match=r"latin\.json is damaged"):
        read_json(tmp_path / "latin.json")
    with pytest.raises(FolioError, match="cannot be read"):
        read_json(tmp_path)


def test_names_that_are_no_utf8_are_valid_text_and_come_back(tmp_path: Path) -> None:
    name = b"caf\xe9 \xc4\xe3.png".decode("utf-8", "surrogateescape")  # Latin-1 and GBK
    write_json(tmp_path / "file.json", {name: [name, "猫\\"]})
    assert json.loads((tmp_path / "file.json").read_bytes().decode("utf-8")) == {
        name: [name, "猫\\"]
    }
    assert read_json(tmp_path / "file.json") == {name: [name, "猫\\"]}
    write_text(tmp_path / "file.html", f"猫 {name}")
    assert (tmp_path / "file.html").read_text(encoding="utf-8") == (
        r"猫 caf\udce9 \udcc4\udce3.png"
    )
    write_text(tmp_path / "file.toml", name, errors="surrogateescape")
    assert (tmp_path / "file.toml").read_bytes() == b"caf\xe9 \xc4\xe3.png"


# Tensors


@pytest.mark.parametrize(
    "kind", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool]
)
def test_tensors_come_back_as_they_were(tmp_path: Path, kind: torch.dtype) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {
        "matrix": torch.arange(6).view(2, 3).to(kind),
        "turned": torch.arange(6).view(2, 3).t().to(kind),
        "number": torch.tensor(1).to(kind),
        "nothing": torch.empty(0, 4, dtype=kind),
    }
    write_tensors(path, tensors, {"key": [1, 2.5, None, "ä"]})
    read, state = read_tensors(path)
    assert state == {"key": [1, 2.5, None, "ä"]}
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        assert read[name].dtype == kind
        assert torch.equal(read[name], tensor)


def test_shared_memory_is_written_twice(tmp_path: Path) -> None:
    base = torch.arange(10.0)
    tied = nn.Linear(3, 3)
    tensors = {
        "same": base,
        "again": base,
        "front": base[:6],
        "overlapping": base[3:8],
        "a": tied.weight,
        "b": tied.weight,
    }
    write_tensors(tmp_path / "a.safetensors", tensors)
    read, state = read_tensors(tmp_path / "a.safetensors")
    assert state is None
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


def test_a_file_cut_at_any_place_is_damaged(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    write_tensors(whole, {"a": torch.arange(500.0)}, {"b": list(range(50))})
    content = whole.read_bytes()
    for tenth in range(10):
        cut = tmp_path / "cut.safetensors"
        cut.write_bytes(content[: len(content) * tenth // 10])
        with pytest.raises(FolioError, match=r"cut\.safetensors is damaged or no safetensors file"):
            read_tensors(cut)
    with pytest.raises(FolioError, match=r"none\.safetensors is missing"):
        read_tensors(tmp_path / "none.safetensors")


def test_a_file_with_other_bytes_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "whole.safetensors"
    write_tensors(path, {"a": torch.arange(500.0)}, {"b": 1})
    content = path.read_bytes()
    for place, byte in ((len(content) - 1, 1), (len(content) - 900, 255)):
        path.write_bytes(content[:place] + bytes([content[place] ^ byte]) + content[place + 1 :])
        with pytest.raises(FolioError, match=r"whole\.safetensors is damaged .*the checksum"):
            read_tensors(path)


def test_a_file_of_others_without_a_checksum_is_read(tmp_path: Path) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "a.safetensors", {"state": '{"b": 1}'})
    tensors, state = read_tensors(tmp_path / "a.safetensors")
    assert torch.equal(tensors["a"], torch.ones(3))
    assert state == {"b": 1}


def test_a_header_that_is_not_ours_is_damaged(tmp_path: Path) -> None:
    header = json.dumps({"__metadata__": {"state": "{half"}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(FolioError, match="damaged"):
        read_tensors(path)


# Nested state

KEYS = st.one_of(st.text(max_size=4), st.integers(-5, 2**70), st.booleans(), st.none())
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=5),
    st.lists(st.floats(width=32), max_size=3).map(torch.tensor),
    st.integers(-3, 3).map(torch.tensor),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_leaves=12,
)


def same(first: Any, second: Any) -> bool:
    """Whether two nested values are equal in types and bits; NaN equals NaN."""
    if type(first) is not type(second):
        return False
    if isinstance(first, Tensor):
        return first.dtype == second.dtype and digest({"": first}) == digest({"": second})
    if isinstance(first, dict):
        keys = list(zip(first, second, strict=True))
        return all(type(a) is type(b) and a == b for a, b in keys) and all(
            same(first[key], second[key]) for key in first
        )
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, float):
        return struct.pack("d", first) == struct.pack("d", second) or first != first != second
    return bool(first == second)


@settings(max_examples=150, deadline=None)
@given(TREES)
def test_a_nested_value_comes_back_as_it_was(tree: Any) -> None:
    tensors: dict[str, Tensor] = {}
    text = json.dumps(pack(tree, tensors))
    assert same(unpack(json.loads(text), tensors), tree)


def test_nested_values_survive_a_file(tmp_path: Path) -> None:
    state = {0: {"step": torch.tensor(3.0), "betas": (0.9, 0.99)}, "x": [None, float("inf"), -0.0]}
    tensors: dict[str, Tensor] = {}
    packed = pack(state, tensors)
    write_tensors(tmp_path / "a.safetensors", tensors, packed)
    read, packed = read_tensors(tmp_path / "a.safetensors")
    assert same(unpack(packed, read), state)


def test_tensors_whose_paths_look_alike_stay_apart() -> None:
    one, two, three = torch.tensor(1), torch.tensor(2), torch.tensor(3)
    for tree in (
        {"a/b": one, "a": {"b": two}},
        {1: one, "1": two},
        {"": one, "/": {"": two}},
        [one, {"0": two}, (three,)],
        {"a": {"b": one}, "a/b": two, "a/b'": three},
    ):
        tensors: dict[str, Tensor] = {}
        assert same(unpack(json.loads(json.dumps(pack(tree, tensors))), tensors), tree)


@pytest.mark.parametrize("value", [{1, 2}, b"x", np.int64(3), np.zeros(2), object(), 1j])
def test_what_cannot_be_saved_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(TypeError, match=rf"/a/1 is a {type(value).__name__}, which cannot be"):
        pack({"a": [0, value]}, {})


def test_keys_that_cannot_be_saved_are_refused() -> None:
    with pytest.raises(TypeError, match=r"/a has a key \(1, 2\)"):
        pack({"a": {(1, 2): 3}}, {})


def test_every_optimizer_state_of_torch_can_be_packed() -> None:
    parameter = nn.Parameter(torch.ones(2, 2))
    for kind in (torch.optim.LBFGS, torch.optim.NAdam, torch.optim.ASGD, torch.optim.Adafactor):
        optimizer = kind([parameter])

        def closure() -> Tensor:
            parameter.grad = parameter.detach().clone()
            return parameter.detach().square().sum()

        for _ in range(2):
            optimizer.step(closure)
        tensors: dict[str, Tensor] = {}
        state = optimizer.state_dict()
        assert same(unpack(json.loads(json.dumps(pack(state, tensors))), tensors), state)


# Digests


def test_the_digest_is_a_sha256_of_names_types_shapes_and_bytes() -> None:
    total = hashlib.sha256()
    total.update(b"a torch.int64 (2,)" + np.array([1, 2], np.int64).tobytes())
    total.update(b"b torch.float32 (1, 1)" + np.array([0.5], np.float32).tobytes())
    tensors = {"b": torch.tensor([[0.5]]), "a": torch.tensor([1, 2])}
    assert digest(tensors) == total.hexdigest()


def test_the_digest_sees_every_change_and_no_layout() -> None:
    base = torch.arange(24.0).view(1, 2, 3, 4)
    first = digest({"a": base})
    assert digest({"a": base.to(memory_format=torch.channels_last)}) == first
    assert digest({"a": base.double()}) != first
    assert digest({"a": base.view(2, 1, 3, 4)}) != first
    assert digest({"b": base}) != first
    changed = base.clone()
    changed[0, 0, 0, 0] = -0.0
    assert digest({"a": changed}) != first
    names = OrderedDict([("x", base), ("a", base)])
    assert digest(names) == digest(dict(reversed(names.items())))


def test_the_digest_takes_every_type() -> None:
    kinds = [torch.bool, torch.bfloat16, torch.int8, torch.complex64]
    found = {digest({"a": torch.ones(3, dtype=kind)}) for kind in kinds}
    found |= {digest({"a": torch.tensor(1.0)}), digest({"a": torch.empty(0)}), digest({})}
    assert len(found) == 7


def test_nothing_is_a_pickle(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", {"t": torch.ones(1)}, {"s": 1})
    content = (tmp_path / "a").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    ours = json.loads(header["__metadata__"][checkpoint.STATE_KEY])
    assert ours == {"value": {"s": 1}, "checksum": f"{zlib.crc32(content[8 + length :]):08x}"}
    assert content[8 + length :] == struct.pack("<f", 1.0)


def test_what_is_written_is_what_safetensors_reads(tmp_path: Path) -> None:
    kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32]
    kinds += [torch.int16, torch.int8, torch.uint8, torch.bool]
    tensors = {f"{kind} \N{GREEK SMALL LETTER BETA}": torch.arange(3).to(kind) for kind in kinds}
    pixels = torch.arange(24.0).reshape(2, 3, 2, 2)
    tensors |= {
        "last": pixels.to(memory_format=torch.channels_last),
        "turned": pixels.permute(3, 1, 0, 2),
        "shared": pixels[:1],
        "scalar": torch.tensor(5),
        "empty": torch.zeros(0, 3),
        "learnt": torch.nn.Parameter(torch.ones(2)),
    }
    write_tensors(tmp_path / "all.safetensors", tensors, {"value": 1})
    for found in (
        load_file(tmp_path / "all.safetensors"),
        read_tensors(tmp_path / "all.safetensors")[0],
    ):
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert found[name].dtype == tensor.dtype
            assert found[name].equal(tensor)
