"""Writing a trained network in each format."""

import importlib.util
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchfolio.checkpoint import write_tensors
from torchfolio.errors import FolioError, RequestError
from torchfolio.export.engines import INSTALL, first_line
from torchfolio.export.facts import KEY
from torchfolio.export.quiet import quietly

OPSET = 18  # of ONNX: the one that torch's exporter is written for
LARGEST = 2**31  # bytes that Protocol Buffers, and so an ONNX file, may have
FEW = 4  # steps in a side that is traced, at least, for the same reason
LONGEST = 2**16  # pixels of a side that may be any
BATCH = 2  # examples in the batch that is traced: any but one, so that no size is taken for fixed


def require(kind: str) -> None:
    """Raise unless the libraries that a format needs are installed: they are an extra."""
    names = ("onnx", "onnxscript", "onnxruntime") if kind == "onnx" else ()
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise RequestError(f"ONNX files need {', '.join(missing)}. {INSTALL}")


def examples_of(inputs: Sequence[Mapping[str, Any]]) -> tuple[Tensor, ...]:
    """Return a batch of zeros for each input; its sides differ where they may."""
    return tuple(
        torch.zeros(BATCH, each["channels"], *sides_of(each), dtype=getattr(torch, each["dtype"]))
        for each in inputs
    )


def sides_of(takes: Mapping[str, Any]) -> tuple[int, int]:
    """Return the height and width of an example of an input."""
    if "sides" not in takes:
        return takes["size"], takes["size"]
    step, rest, least = takes["sides"]
    side = max(least, FEW * step + rest, takes["size"] // step * step + rest)
    return side, side + step


def shapes_of(network: nn.Module, inputs: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    """Say to the exporter which sizes may be any: that of the batches of all inputs, and sides."""
    batch = torch.export.Dim("batch")
    shapes = tuple({0: batch} | free_sides(each) for each in inputs)
    kinds = [each.kind for each in inspect.signature(network.forward).parameters.values()]
    return (shapes,) if inspect.Parameter.VAR_POSITIONAL in kinds else shapes


def free_sides(takes: Mapping[str, Any]) -> dict[int, Any]:
    """Return what the height and width of an input may be, where they are not fixed."""
    if "sides" not in takes:
        return {}
    step, rest, least = takes["sides"]
    if step == 1:
        return {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}  # as the network's layers allow
    most = LONGEST // step
    sides = [torch.export.Dim(name, min=least // step, max=most) for name in ("rows", "columns")]
    return {axis: side * step + rest for axis, side in enumerate(sides, 2)}


def write_onnx(
    network: nn.Module, inputs: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], path: Path
) -> None:
    """Write an ONNX file, with the facts among its metadata."""
    import onnx

    size = sum(each.numel() * each.itemsize for each in network.state_dict().values())
    if size >= LARGEST:
        raise FolioError(
            f"The weights have {size:,} bytes; an ONNX file holds less than {LARGEST:,}. Take "
            "--format torch."
        )
    with quietly():
        program = torch.onnx.export(
            network,
            examples_of(inputs),
            dynamo=True,
            dynamic_shapes=shapes_of(network, inputs),
            input_names=[each["name"] for each in inputs],
            output_names=[facts["output"]],
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None
        model = program.model
        for node in model.graph.all_nodes():
            node.metadata_props.clear()  # where in our files, on this machine, it comes from
        model.metadata_props[KEY] = json.dumps(facts)
        onnx.save_model(program.model_proto, path, format="protobuf")


def write_torch(
    network: nn.Module, inputs: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], path: Path
) -> None:
    """Write a program of ``torch.export``, with the facts as an extra file in its archive."""
    with quietly():
        program = torch.export.export(
            network,
            examples_of(inputs),
            dynamic_shapes=shapes_of(network, inputs),
        )
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # where in our files, on this machine
        with path.open("wb") as file:
            torch.export.save(program, file, extra_files={KEY: json.dumps(facts)})


def write_weights(network: nn.Module, facts: Mapping[str, Any], path: Path) -> None:
    """Write the weights as they were trained, under their own names, with the facts beside."""
    write_tensors(path, network.state_dict(), {KEY: facts})


def failed(network: str, kind: str, error: Exception) -> FolioError:
    """Return the error for a network that torch's exporter could not write."""
    return FolioError(
        f"{network} could not be written in the format {kind}: {first_line(error)} This is a fault "
        "of ours or of torch's exporter; another --format may do."
    )
