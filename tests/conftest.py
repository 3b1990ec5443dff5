import os
from pathlib import Path

import pytest


@pytest.fixture
def public_data() -> Path:
    """The folder of public data sets; tests that need them are skipped where it is not named."""
    folder = os.environ.get("TORCHFOLIO_DATA")
    if not folder:
        pytest.skip("TORCHFOLIO_DATA does not name the folder of the public data sets")
    return Path(folder)
