"""``folio features``: vectors of pictures from a layer of a network, for use elsewhere."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from torchfolio.checkpoint import free_path
from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.cli.predict import files_of, require_inputs, unlisted_row
from torchfolio.cli.process import quick_imports
from torchfolio.cli.targets import require_writable
from torchfolio.errors import RequestError, normalise
from torchfolio.networks.catalogue import cards

DEFAULT = Path("features.parquet")


def features(
    source: str,
    *inputs: Annotated[str, Parameter(allow_leading_hyphen=True)],  # "-" is standard input
    layer: Annotated[
        str | None, Parameter(help="A layer of 'folio show'; else what the head reads.")
    ] = None,
    out: Annotated[
        Path | None,
        Parameter(help="The file: .parquet or .npz; features.parquet, or the next that is free."),
    ] = None,
    weights: Annotated[
        str | None, Parameter(help="Of a NETWORK: a weight file, a run folder, or imagenet.")
    ] = None,
    image_size: Annotated[
        int | None, Parameter(help="Of a NETWORK: the side of its input; the card's unless given.")
    ] = None,
    channels: Annotated[
        int | None, Parameter(help="Of a NETWORK: 1 or 3; the weights' unless given.")
    ] = None,
    normalize: Annotated[
        str | None, Parameter(help="Of a NETWORK: imagenet, none, or LOW:HIGH.")
    ] = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write what a layer finds in pictures, as one vector each.

    Maps are averaged over height and width. A Parquet file has the columns input and vector, an
    .npz file the arrays inputs and features. Inputs that cannot be read are named and left out, and
    the status is then 1.

    Example: folio features runs/resnet18-photos-1 holiday/ --out vectors.parquet

    Parameters
    ----------
    source
        A run folder, or a network of 'folio list' (then with --weights).
    inputs
        Files, folders (with all that is in them), patterns, or - for paths on standard input.
    """
    require_inputs("features", Path(source), inputs)
    files, unlisted = files_of(inputs)
    errors = [{"input": row["input"], "error": row["error"]} for row in map(unlisted_row, unlisted)]
    target = writable(out)
    given: dict[str, Any] = {
        "weights": weights,
        "image_size": image_size,
        "channels": channels,
        "normalize": normalize,
    }
    with quick_imports():
        from torchfolio.features import network_features, write_vectors
        from torchfolio.run import Run

    if is_network(source):
        found = network_features(source, files, layer=layer, device=device, **given)
    else:
        run = Run(source)
        for name, value in given.items():
            if value is not None:
                flag = f"--{name.replace('_', '-')}"
                raise RequestError(f"{flag} is for a NETWORK; a run has its own. Leave it out.")
        found = run.features(files, layer=layer, device=device)
    output = Output(json, quiet)
    output.say(f"{found.layer}: {found.width:,} numbers a picture; {found.preparation}")
    names, rows = list[str](), []
    for row in found:
        if row["error"] is None:
            names.append(row["input"])
            rows.append(row["vector"])
        else:
            errors.append({"input": row["input"], "error": row["error"]})
    for each in errors:
        named = each["input"] in each["error"]
        output.error(each["error"] if named else f"{each['input']}: {each['error']}")
    if rows:
        import numpy as np

        write_vectors(target, names, np.stack(rows))
    output.document(
        {
            "file": str(target) if rows else None,
            "layer": found.layer,
            "width": found.width,
            "vectors": len(rows),
            "preparation": found.preparation,
            "errors": errors,
        }
    )
    output.show(f"{len(rows):,} vectors in {target}" if rows else "no vector: nothing was written")
    if errors:
        output.error(f"{len(errors)} of {len(rows) + len(errors)} inputs could not be read.")
    return 1 if errors else 0


def writable(out: Path | None) -> Path:
    """Return where vectors go, or say why they cannot; a file that is not named must be new."""
    target = out or free_path(DEFAULT)
    if target.suffix.lower() not in (".parquet", ".npz"):
        raise RequestError(f"--out is {target}; it should end in .parquet or .npz.")
    require_writable(target, "--out")
    return target


def is_network(source: str) -> bool:
    """Return whether a network of the catalogue is meant, and no run folder."""
    if (Path(source) / "recipe.toml").is_file() or len(Path(source).parts) > 1:
        return False
    known = {normalise(name) for name in cards()}
    return normalise(source) in known or not Path(source).exists()
