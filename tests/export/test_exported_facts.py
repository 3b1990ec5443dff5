"""The facts in exported files, read without the libraries that wrote them."""

import json
import zipfile
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from torchfolio.checkpoint import write_tensors
from torchfolio.errors import FolioError, RequestError
from torchfolio.export.exported import Exported
from torchfolio.export.facts import KEY, facts_of_weights, format_of, read_facts

TAKES = {
    "name": "images", "dtype": "uint8", "channels": 1, "size": 8, "depth": 8, "resize": "crop",
    "fill": 0.0,
}  # fmt: skip
FACTS: dict[str, Any] = {
    "format_version": 1, "task": "image-classification", "network": "lenet5", "run": "手写 \udce9",
    "inputs": [TAKES], "output": "probabilities", "classes": ["ant", "bee"],
}  # fmt: skip


def model(path: Path, entries: dict[str, str]) -> None:
    """Write an ONNX model by ONNX's own library, with some metadata."""
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    weights = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [50_000], [0.5] * 50_000)
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([node], "g", [value], [result], [weights])
    made = onnx.helper.make_model(graph, producer_name="by hand")
    onnx.helper.set_model_props(made, entries)
    onnx.save_model(made, path)


def test_facts_are_found_among_the_metadata_of_onnx(tmp_path: Path) -> None:
    file = tmp_path / "a.onnx"
    model(file, {"before": "x" * 5000, KEY: json.dumps(FACTS), "after": ""})
    assert read_facts(file, "onnx") == FACTS


def test_facts_are_found_in_an_archive_and_in_a_header(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt2", "w") as archive:
        archive.writestr("a/extra/other", "x")
        archive.writestr(f"a/extra/{KEY}", json.dumps(FACTS))
    assert read_facts(tmp_path / "a.pt2", "torch") == FACTS
    write_tensors(tmp_path / "a.safetensors", {"w": torch.ones(2)}, {KEY: FACTS})
    assert read_facts(tmp_path / "a.safetensors", "safetensors") == FACTS
    assert facts_of_weights(tmp_path / "a.safetensors") == FACTS


def test_weights_of_others_have_no_facts(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pth")
    write_tensors(tmp_path / "a.safetensors", {"w": torch.ones(2)}, {"format_version": 1})
    write_tensors(tmp_path / "bare.safetensors", {"w": torch.ones(2)})
    (tmp_path / "short").write_bytes(b"{")
    for file in (*tmp_path.iterdir(), tmp_path, tmp_path / "none"):
        assert facts_of_weights(file) == {}


@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".safetensors"])
def test_files_of_others_and_of_none_are_named(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"a{suffix}"
    kind = format_of(file)
    with pytest.raises(RequestError, match="There is no file"):
        read_facts(file, kind)
    others = {
        ".onnx": lambda: model(file, {"mine": "{}"}),
        ".pt2": lambda: zipfile.ZipFile(file, "w").close(),
        ".safetensors": lambda: write_tensors(file, {"w": torch.ones(2)}),
    }
    others[suffix]()
    with pytest.raises(RequestError, match="was not made by 'folio export', or is cut off"):
        read_facts(file, kind)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00", b"\xff" * 40, b"\xf2" + b"\xff" * 8 + b"\x7f", b"GIF89a" * 9, b"r\xff\xff\xff"],
)
@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".safetensors"])
def test_rubbish_is_an_error_that_names_the_file(
    content: bytes, suffix: str, tmp_path: Path
) -> None:
    file = tmp_path / f"a{suffix}"
    file.write_bytes(content)
    with pytest.raises(FolioError, match=f"a{suffix}"):
        Exported(file)


def test_an_onnx_file_that_is_cut_off_at_any_byte_is_an_error(tmp_path: Path) -> None:
    model(tmp_path / "whole.onnx", {KEY: json.dumps(FACTS)})
    whole = (tmp_path / "whole.onnx").read_bytes()
    file = tmp_path / "cut.onnx"
    for length in (*range(0, 60), *range(len(whole) - 400, len(whole))):
        file.write_bytes(whole[:length])
        with pytest.raises(FolioError, match=r"cut\.onnx"):
            Exported(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "has format version 2; this release reads 1"),
        ({"inputs": None}, "facts in .* are damaged"),
        ({"inputs": [TAKES | {"resize": "fold"}]}, "facts in .* are damaged"),
        ({"inputs": [TAKES | {"channels": 2}]}, "facts in .* are damaged"),
        ({"inputs": [TAKES | {"size": 0}]}, "facts in .* are damaged"),
        ({"inputs": [TAKES | {"size": "8"}]}, "facts in .* are damaged"),
        ({"inputs": []}, "facts in .* are damaged"),
        ({"classes": 3}, "facts in .* are damaged"),
        ({"task": "dreaming"}, "no task with exported files named 'dreaming'"),
    ],
)
def test_facts_that_are_not_whole_are_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.onnx"
    model(file, {KEY: json.dumps(FACTS | change)})
    with pytest.raises(FolioError, match=message):
        Exported(file)


def test_missing_facts_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.onnx"
    model(file, {KEY: json.dumps({"format_version": 1, "task": "x"})})
    with pytest.raises(FolioError, match="lack network, run, inputs, output"):
        Exported(file)
    model(file, {KEY: "[1"})
    with pytest.raises(FolioError, match="are damaged"):
        Exported(file)


def test_weights_alone_say_what_they_are_for(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    write_tensors(file, {"w": torch.ones(2)}, {KEY: FACTS})
    with pytest.raises(RequestError, match=r"'folio train lenet5 DATA --weights .*a\.safetensors'"):
        Exported(file)
    with pytest.raises(RequestError, match=r"suffix '\.bin'; exported files end in \.onnx, \.pt2"):
        Exported(tmp_path / "a.bin")
