"""Weights from files: what is read, what of it a network takes, and what is said about it.

``.safetensors`` files, torch's own (``.pth``, ``.pt``, ``.th``, ``.bin``; zip and the older format)
and Darknet's (``.weights``) are told apart by their content. A pickle is never executed: torch
reads such files with ``weights_only=True``, which admits tensors, plain containers and the few
types named below.
"""

import argparse
import pickle
import re
import socket
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchfolio.checkpoint import read_tensors
from torchfolio.errors import FolioError, RequestError
from torchfolio.networks.build import build, builder, sized_by
from torchfolio.networks.catalogue import Card
from torchfolio.networks.darknet_files import is_darknet, read_darknet

# Under which key training programs keep the weights within a checkpoint, in the order of trust.
WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net", "weights")
# What DataParallel, DistributedDataParallel and torch.compile put before every name.
PREFIXES = ("module.", "_orig_mod.")
# What public checkpoints hold beside the weights: settings, and figures as NumPy numbers.
HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *{type(np.dtype(code)) for code in ("f2", "f4", "f8", "i4", "i8", "?")},
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
]
ENOUGH = 0.5  # the share of a network's parameters, head aside, that a file must bring
# Arguments that the weights of a run do not hand on: for training alone, or decided by the data.
ASIDE = {
    "dropout", "attention_dropout", "init", "zero_init_residual", "aux_logits", "aux_loss",
    "proposals", "num_classes", "in_channels", "image_size",
}  # fmt: skip
TIMEOUT = 30.0  # seconds that a download may stand still

Renames = Iterable[tuple[str, str]]


@dataclass
class LoadReport:
    """Which tensors a network took from a file.

    ``loaded`` are names in the network; ``new`` those which keep their initial values, because the
    file lacks them or has another shape there (``shapes``: the network's and the file's);
    ``ignored`` are names in the file which the network lacks.
    """

    loaded: list[str]
    new: list[str]
    ignored: list[str]
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return the report as lines to print."""
        total = len(self.loaded) + len(self.new)
        new = [self.described(name) for name in self.new]
        return [
            f"loaded: {len(self.loaded)} of the network's {total} tensors",
            f"new: {listed(new) or 'none'}",
            f"ignored: {listed(self.ignored) or 'none'}",
        ]

    def described(self, name: str) -> str:
        """Return the name of a tensor, with both shapes where the file has another there."""
        if name not in self.shapes:
            return name
        ours, theirs = self.shapes[name]
        return f"{name} ({shown(ours)}; the file has {shown(theirs)})"


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the named tensors of a file, or of one of our run folders (its best weights).

    Checkpoints are unwrapped (``state_dict``, ``model`` and the like), ``module.`` and
    ``_orig_mod.`` taken off the names. Tensors come on the CPU, in the file's types. Raises
    ``RequestError`` where there is no such file or it holds no weights, ``FolioError`` where it is
    damaged.
    """
    if not isinstance(path, str | Path) or not str(path):
        raise RequestError(
            f"weights is {path!r}; it should be the path of a weight file or of a run."
        )
    path = weights_file(Path(path))
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise FolioError(
            f"{path} cannot be read: {error.strerror or error}. Give yourself the right to read "
            "it, or name another file."
        ) from error
    if not head:
        raise FolioError(f"{path} is empty (0 bytes). Copy or download it again.")
    if is_darknet(head):
        found: Any = read_darknet(path)
    elif head[8:9] == b"{":  # eight bytes of length, then JSON: safetensors
        found = _one_network(*read_tensors(path), path)
    else:
        found = _read_torch(path)
    return clean(_unwrap(found, path), path)


def weights_file(path: Path) -> Path:
    """Return the file that a path means: itself, or the best weights of a run folder."""
    if path.is_file():
        return path
    if not path.exists():
        raise RequestError(
            f"There are no weights at {path}. Give a .safetensors, .pth, .pt, .th, .bin or "
            ".weights file, or the folder of a run."
        )
    for name in ("best", "last"):
        file = path / "weights" / f"{name}.safetensors"
        if file.is_file():
            return file
    raise RequestError(
        f"{path} is a folder without weights/best.safetensors, so it is no finished run. "
        "Give a run folder or a weights file."
    )


def _one_network(tensors: dict[str, Tensor], header: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file of ours; raise where they are those of several networks."""
    parts = header.get("parts", ["network"]) if isinstance(header, Mapping) else ["network"]
    if parts != ["network"]:
        raise RequestError(
            f"{path} holds the weights of several parts ({listed(parts)}), as of an ensemble; "
            "those of one network are needed here. Name the run of a member of the ensemble."
        )
    return tensors


def _read_torch(path: Path) -> Any:
    """Read one of torch's files without executing what is in it."""
    try:
        with torch.serialization.safe_globals(HARMLESS), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Validating sparse tensor")
            warnings.filterwarnings("ignore", "Sparse invariant checks")  # torch 2.11's words
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or damaged file can raise anything
        text = str(error)
        if name := re.search(r"GLOBAL (\S+)", text):
            raise RequestError(
                f"{path} holds a Python object of the type {name[1]}, perhaps a whole pickled "
                "module: reading it would run code from the file, which is never done. Where you "
                "trust the file, save its weights alone, torch.save(model.state_dict(), FILE), in "
                "the program that wrote it, and give that file."
            ) from error
        if "TorchScript" in text:
            raise RequestError(
                f"{path} is a TorchScript program, not weights. Save its weights alone, "
                "torch.save(model.state_dict(), FILE), and give that file."
            ) from error
        raise FolioError(
            f"{path} cannot be read as weights: it is cut short, damaged or of another kind "
            f"({path.stat().st_size:,} bytes; torch says: {_reason(error)}). Expected a "
            ".safetensors file or one that torch.save wrote. Copy or download it again."
        ) from error


def _reason(error: Exception) -> str:
    """Return what is wrong with a file in torch's words, without its advice around them.

    Only some errors are sentences: of text that is no pickle the reader stumbles with a bare
    ``KeyError: 101``.
    """
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    if not isinstance(error, RuntimeError | pickle.UnpicklingError) or not text:
        return f"{type(error).__name__} {text}".strip()
    return re.split(r"(?<=\.)\s|\n", text, maxsplit=1)[0]


def _unwrap(found: Any, path: Path) -> Mapping[Any, Any]:
    """Return the mapping of names to tensors within a checkpoint."""
    if not isinstance(found, Mapping):
        raise RequestError(
            f"{path} holds a {type(found).__name__}; expected names and their tensors, as "
            "torch.save(model.state_dict(), FILE) writes them."
        )
    for key in WRAPPERS:
        if isinstance(found.get(key), Mapping):
            return _unwrap(found[key], path)
    if not any(isinstance(value, Tensor) for value in found.values()):
        raise RequestError(
            f"{path} holds no tensor: its entries are {listed([str(key) for key in found])}. "
            f"Weights are looked for at the top and below {', '.join(WRAPPERS)}."
        )
    return found


def clean(state: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """Keep the tensors, under names without the wrappers' prefixes.

    Refuses values that are not finite, and tensors without plain real numbers.
    """
    result: dict[str, Tensor] = {}
    for key, value in state.items():
        if not isinstance(value, Tensor):
            continue
        name = str(key)
        while name.startswith(PREFIXES):
            name = name.split(".", 1)[1]
        if name in result:
            raise FolioError(f"{path} holds {name!r} twice, under different prefixes.")
        if odd := _oddity(value):
            raise RequestError(
                f"{path} holds {odd} in {name}; weights are dense tensors of real numbers. Convert "
                "them in the program that wrote the file, and save them again."
            )
        if value.is_floating_point() and not value.isfinite().all():
            raise FolioError(
                f"{path} holds values that are not finite, in {name}: the file is damaged, or "
                "comes from a training that diverged. Take an earlier one."
            )
        result[name] = value.detach()
    return result


def _oddity(value: Tensor) -> str:
    """Say what a tensor is that is no dense array of real numbers; "" for one that is."""
    if value.is_meta:
        return "a tensor without values (device meta)"
    if value.layout != torch.strided:
        return f"a sparse tensor ({str(value.layout).removeprefix('torch.')})"
    if value.is_complex():
        return "complex numbers"
    return "quantized numbers" if value.is_quantized else ""


def rename(state: Mapping[str, Tensor], renames: Renames) -> dict[str, Tensor]:
    """Return the tensors under new names: each pair is a regular expression and its replacement."""
    result = {}
    for name, value in state.items():
        for pattern, replacement in renames:
            name = re.sub(pattern, replacement, name)
        result[name] = value
    return result


def load_weights(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    strict: bool = False,
    renames: Renames = (),
) -> LoadReport:
    """Copy the tensors whose names and shapes agree into a network, in the network's types.

    ``renames`` are applied to the file's names first (see :func:`rename`), then what the network
    keeps as ``renames``, then its ``adapted(weights)``. A head of another size stays new. Nothing
    is copied where too little agrees: with ``strict`` anything new or ignored, else less than half
    of the parameters, the head aside, or, of a network with a ``body``, less than all of that. That
    is a ``RequestError``, which names the nearest cause.
    """
    given = in_our_names(network, rename(weights, renames))
    own = {k: v for k, v in network.state_dict().items() if isinstance(v, Tensor)}
    loaded = [name for name in own if name in given and given[name].shape == own[name].shape]
    new = [
        name
        for name in own
        if name not in loaded and not (name.endswith("num_batches_tracked") and name not in given)
    ]
    shapes = {
        name: (tuple(own[name].shape), tuple(given[name].shape)) for name in new if name in given
    }
    report = LoadReport(loaded, new, [name for name in given if name not in own], shapes)
    if strict and (report.new or report.ignored):
        raise RequestError("The weights do not fit exactly. " + "; ".join(report.lines()) + ".")
    heads, body = head_names(network), getattr(network, "body", ())
    sizes = {
        name: parameter.numel()
        for name, parameter in network.named_parameters()
        if name.split(".")[0] not in heads and (not body or name.split(".")[0] in body)
    } or {name: parameter.numel() for name, parameter in network.named_parameters()}
    matched = sum(size for name, size in sizes.items() if name in set(loaded))
    if matched < (1.0 if body else ENOUGH) * sum(sizes.values()):
        share = f"{matched:,} of {sum(sizes.values()):,}"
        of_what = f"of its {', '.join(body)}" if body else "(the head aside)"
        raise RequestError(
            f"The weights do not fit this network: they bring {share} parameters {of_what}. "
            + _cause(own, given, report)
            + _beginnings(network)
        )
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(given[name])
    return report


def in_our_names(network: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under a network's names: its page's ``renames``, then ``adapted(weights)``."""
    given = rename(weights, getattr(network, "renames", ()))
    adapted = getattr(network, "adapted", None)
    try:
        return given if adapted is None else adapted(given)
    except ValueError as error:
        raise RequestError(f"The weights do not fit this network: {error}.") from error


def head_names(network: nn.Module) -> list[str]:
    """Return the top-level modules that make up the head, in order.

    They are those that the page names as ``class_modules``, where the number of classes decides
    the sizes of several (auxiliary heads, capsules), else the last one that has parameters.
    """
    names = with_parameters(network)
    named: tuple[str, ...] = getattr(network, "class_modules", ())
    return [name for name in names if name in named] or names[-1:]


def fixed_parameters(network: nn.Module) -> set[str]:
    """Return the names of the parameters that are never trained: of modules that are ``fixed``."""
    return {
        f"{name}.{key}"
        for name, module in network.named_modules()
        if getattr(module, "fixed", False)
        for key, _ in module.named_parameters()
    }


def with_parameters(network: nn.Module) -> list[str]:
    """Return the names of the top-level modules that have parameters, in order."""
    return [
        name for name, child in network.named_children() if any(True for _ in child.parameters())
    ]


def told_arguments(
    card: Card, weights: Mapping[str, Tensor], known: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a network's page that weights want, which their shapes do not tell.

    ``known`` are those of the run that the weights come from, where it is of the same network: all
    are wanted but those that are for training alone or follow the data. What the weights themselves
    tell, a page says by ``told_by``.
    """
    tells = getattr(builder(card), "told_by", None)
    of_run = {key: value for key, value in known.items() if key not in ASIDE}
    return of_run if tells is None else of_run | dict(tells(weights, known))


def input_channels(
    card: Card, weights: Mapping[str, Tensor], arguments: Mapping[str, Any]
) -> int | None:
    """Return how many channels the pictures have that weights were trained on.

    The kernels say so whose shape follows the channels; ``None`` where there is none of them.
    ``arguments`` are those of the network's page.
    """
    try:
        names = sized_by(card.name, "in_channels", **arguments)
        with torch.device("meta"):
            network = build(card.name, **arguments)
    except RequestError:  # arguments that allow no other number
        return None
    given = in_our_names(network, weights)
    kernels = [given[name] for name in sorted(names) if name in given and given[name].ndim == 4]
    return int(kernels[0].shape[1]) if kernels else None


def _cause(own: Mapping[str, Tensor], given: Mapping[str, Tensor], report: LoadReport) -> str:
    """Say what most likely keeps a file from fitting, and what to do."""
    if len(report.shapes) > len(report.loaded):
        name, (ours, theirs) = next(iter(report.shapes.items()))
        return (
            f"{len(report.shapes)} tensors agree by name and differ in shape, first {name}: "
            f"{shown(ours)} here, {shown(theirs)} in the file. The file belongs to a wider, "
            "narrower or otherwise different form; name the network that it was made for."
        )
    if report.loaded:
        return (
            f"{len(report.new)} of the network's tensors are not in the file, first "
            f"{report.new[0]}. The file belongs to a network of fewer layers; name that network."
        )
    first = next(iter(given), "")
    for name in own:
        if first.endswith(f".{name}"):
            return (
                f"Every name in the file begins with {first.removesuffix(name)!r}, as where a "
                "larger model held this one. Save the inner module's state_dict() alone."
            )
    return (
        f"No name agrees: the file has {listed(list(given), 3)}, the network "
        f"{listed(list(own), 3)}. Name the network that the file was made for."
    )


def _beginnings(network: nn.Module) -> str:
    """Say whose weights a network begins with, where its page names them."""
    names = getattr(network, "begins_with", ())
    return f" It begins with weights of {' or '.join(names)} (of any classes)." if names else ""


def listed(names: list[str], most: int = 8) -> str:
    """Join names with commas; of many, show the first and say how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def shown(shape: tuple[int, ...]) -> str:
    """Write a shape as ``64x3x7x7``; a single number as ``scalar``."""
    return "x".join(map(str, shape)) or "scalar"


def imagenet_weights(card: Card) -> dict[str, Tensor]:
    """Download, through torchvision, the weights that it trained on ImageNet, and read them.

    They are those of the original recipe (``IMAGENET1K_V1``), whose accuracy the literature quotes,
    not torchvision's newest default. The file is kept in torch's cache (``torch.hub.get_dir()``),
    its hash is checked, and a second call reads it from there. Raises ``RequestError`` where
    torchvision has no weights for the network, ``FolioError`` where the download fails.
    """
    if not card.weights:
        raise RequestError(
            f"There are no ImageNet weights for {card.name} in torchvision. Give a file by "
            "--weights FILE, or leave --weights out."
        )
    from torchvision.models import get_weight

    entry = get_weight(card.weights if "." in card.weights else f"{card.weights}.IMAGENET1K_V1")
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / entry.url.rsplit("/", 1)[-1]
    if not file.is_file():
        digest = re.search(r"-([0-9a-f]{8,})\.", file.name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _timeout(TIMEOUT):
                torch.hub.download_url_to_file(
                    entry.url, str(file), digest[1] if digest else None, progress=False
                )
        except (OSError, RuntimeError) as error:  # RuntimeError: another hash than in the name
            raise FolioError(
                f"The ImageNet weights of {card.name} could not be downloaded: {entry.url} "
                f"answered: {error}. Where there is no network, fetch that file elsewhere and give "
                f"it by --weights FILE, or put it into {folder}."
            ) from error
    return read_weights(file)


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Let connections made within the block give up after so many seconds of silence."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
