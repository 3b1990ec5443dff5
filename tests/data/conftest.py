from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that only this test uses."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("TORCHFOLIO_CACHE", str(folder))
    monkeypatch.delenv("TORCHFOLIO_CACHE_LIMIT", raising=False)
    return folder


class Draw:
    """Writes pictures of noise, each different."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)

    def __call__(self, path: Path, mode: str = "RGB", size: tuple[int, int] = (8, 6)) -> Path:
        """Write a picture of width and height ``size`` in the format of the suffix."""
        shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.random.integers(0, 256, shape).astype(np.uint8)).save(path)
        return path


@pytest.fixture
def draw() -> Draw:
    return Draw()


@pytest.fixture
def pets(tmp_path: Path, draw: Draw) -> Path:
    """Class folders: four cats, three dogs."""
    for index in range(4):
        draw(tmp_path / "pets" / "cat" / f"{index}.png")
    for index in range(3):
        draw(tmp_path / "pets" / "dog" / f"{index}.png")
    return tmp_path / "pets"
