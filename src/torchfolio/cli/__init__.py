"""The command ``folio``: one verb a file; settings become calls."""

from torchfolio.cli.app import main

__all__ = ["main"]
