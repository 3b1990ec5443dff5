"""Networks by their names with weights of a run, whose settings shapes do not tell."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from torchfolio import FolioError, create
from torchfolio.networks.build import build


def test_weights_of_a_run_bring_its_anchors(tmp_path: Path) -> None:
    run = tmp_path / "运行"
    (run / "weights").mkdir(parents=True)
    told = '[network]\nname = "yolov2"\n[network.set]\nvoc = true\n'
    (run / "recipe.toml").write_text(told, encoding="utf-8")
    trained: Any = build("yolov2", num_classes=2, voc=True)
    save_file(trained.half().state_dict(), run / "weights" / "best.safetensors")
    network: Any = create("yolov2", num_classes=2, weights=run)
    assert network.anchors == trained.anchors
    assert network.anchors[0] == (1.3221 * 32, 1.73145 * 32)  # of yolov2-voc.cfg
    (run / "recipe.toml").write_text("[network", encoding="utf-8")
    with pytest.raises(FolioError, match=r"recipe\.toml is damaged"):
        create("yolov2", num_classes=2, weights=run)
