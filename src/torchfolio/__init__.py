"""Torchfolio: the landmark networks of deep learning, exact, fast and put to work.

The names below are loaded when they are first used, so that ``import torchfolio`` stays quick.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Folds",
    "FolioError",
    "RequestError",
    "Run",
    "create",
    "ensemble",
    "list_networks",
    "open_data",
    "train",
]

if TYPE_CHECKING:
    from torchfolio.data.readers import open_data
    from torchfolio.ensembles.making import ensemble
    from torchfolio.errors import FolioError, RequestError
    from torchfolio.folds.folder import Folds
    from torchfolio.folds.training import train
    from torchfolio.networks.catalogue import list_networks
    from torchfolio.networks.creation import create
    from torchfolio.run import Run

_HOMES = {
    "FolioError": "torchfolio.errors",
    "Folds": "torchfolio.folds.folder",
    "RequestError": "torchfolio.errors",
    "Run": "torchfolio.run",
    "create": "torchfolio.networks.creation",
    "ensemble": "torchfolio.ensembles.making",
    "list_networks": "torchfolio.networks.catalogue",
    "open_data": "torchfolio.data.readers",
    "train": "torchfolio.folds.training",
}


def __getattr__(name: str) -> Any:
    """Import the module that holds a public name when the name is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'torchfolio' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
