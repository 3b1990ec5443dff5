import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def public_data() -> Path:
    """The folder of public data sets; tests that need them are skipped where it is not named."""
    folder = os.environ.get("TORCHFOLIO_DATA")
    if not folder:
        pytest.skip("TORCHFOLIO_DATA does not name the folder of the public data sets")
    return Path(folder)


@pytest.fixture(autouse=True, scope="session")
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder of the tests: what a person keeps in theirs stays as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHFOLIO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
