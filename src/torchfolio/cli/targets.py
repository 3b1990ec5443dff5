"""Where a verb is to write, looked at before the work rather than after it."""

import os
from pathlib import Path

from torchfolio.errors import FolioError


def require_writable(path: Path, flag: str) -> None:
    """Raise where no file can be written to ``path``, which ``flag`` names; nothing is made."""
    folder = next(each for each in path.absolute().parents if each.exists())
    if path.is_dir():
        reason = "it is a folder"
    elif not folder.is_dir():
        reason = f"{folder} is a file"
    elif not os.access(folder, os.W_OK | os.X_OK):
        reason = f"there is no right to write into {folder}"
    else:
        return
    raise FolioError(f"{path} cannot be written: {reason}. Choose another {flag}.")
