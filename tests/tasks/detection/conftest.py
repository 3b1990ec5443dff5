"""One run for all tests of detection."""

import pytest

import torchfolio
from torchfolio import Run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A YOLO after one pass: it finds next to nothing, in every way that one that is good does."""
    return torchfolio.train(
        "yolov3_tiny", "digit-boxes", out=tmp_path_factory.mktemp("runs") / "检测 run",
        recipe="modern", epochs=1, batch_size=32, image_size=64, anchors="data", augment="mosaic",
        device="cpu", threads=2, workers=0,
    )  # fmt: skip
