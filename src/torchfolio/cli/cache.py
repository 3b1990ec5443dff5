"""``folio cache``: what the cache folder holds, and emptying it."""

from typing import Annotated

from cyclopts import Parameter

from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.data import cache as kept
from torchfolio.errors import FolioError


def cache(
    *,
    clear: Annotated[bool, Parameter(help="Remove all of it.", negative="")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what the cache folder holds, or empty it.

    It holds what takes time to make again: scans of data, decoded pictures, unpacked archives,
    downloads. Only that is removed; a training that runs now goes on, more slowly.

    Example: folio cache --clear
    """
    out = Output(json, quiet)
    folder, limit, before = kept.cache_folder(), kept.cache_limit(), kept.contents()
    after = before
    if clear:
        kept.clear()
        after = kept.contents()
    out.document(
        {
            "folder": str(folder),
            "limit": limit,
            "contents": [
                {"kind": kind, "entries": entries, "bytes": size}
                for kind, (entries, size) in after.items()
            ],
            "removed": sum(size for _, size in before.values())
            - sum(size for _, size in after.values()),
        }
    )
    if clear and after:
        raise FolioError(
            f"Some of {folder} could not be removed: it is in use, or you may not write there."
        )
    if clear:
        out.show(f"emptied {folder}")
        return
    rows = [
        (kept.KINDS[kind], f"{entries:,}", f"{size / 2**20:,.1f} MiB")
        for kind, (entries, size) in after.items()
    ]
    out.table(("held", "entries", "at most"), rows, right=(1, 2))
    out.say(f"{folder}: up to {limit / 2**30:.3g} GiB (TORCHFOLIO_CACHE_LIMIT)")
