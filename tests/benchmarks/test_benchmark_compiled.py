"""When torch.compile pays; the compiler itself, which takes a minute, is stood in for."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import compiled, growth
from benchmarks.ceiling import hardware
from benchmarks.compiled import measure, pays_after
from benchmarks.results import slug
from benchmarks.tables import compiled as table


def test_compiling_pays_when_what_steps_gain_exceeds_it() -> None:
    assert pays_after(30.0, 0.010, 0.007) == 10_000
    assert pays_after(30.0, 0.010, 0.010) is None
    assert pays_after(30.0, 0.010, 0.020) is None


def stand_in(network: torch.nn.Module) -> Any:
    """Compile each form of batch by computing for a tenth of a second."""
    seen: set[int] = set()

    def called(images: torch.Tensor) -> torch.Tensor:
        if len(images) not in seen:
            seen.add(len(images))
            end = time.process_time() + 0.1
            while time.process_time() < end:
                pass
        return network(images)

    return called


def test_both_forms_of_batch_are_compiled_and_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", stand_in)
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TORCHINDUCTOR_COMPILE_THREADS"):
        monkeypatch.setenv(name, "1")  # as it is again after this test
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    found = measure("lenet5", 4, 3, torch.device("cpu"))
    assert found["compiling"] > 0.15
    monkeypatch.setitem(compiled.BATCHES, "lenet5", 4)
    here = tmp_path / f"compiled_{slug(hardware('cpu'))}.json"
    kept = {"network": "resnet20", "batch": 128, "compiling": 130.0}  # by an earlier command
    here.write_text(json.dumps({"networks": [kept, {"network": "lenet5"}]}), encoding="utf-8")
    arguments = ["compiled", "lenet5", "--rounds", "2", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    compiled.main()
    [path] = tmp_path.glob("compiled_*.json")
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["networks"].pop(0) == kept
    assert [each["rounds"] for each in told["networks"]] == [2]
    told["networks"][0] |= {"milliseconds": {"plain": 8, "compiled": 6}, "compiling": 41.7,
                            "quartiles": {"plain": [7, 9], "compiled": [5.5, 7]},
                            "pays_after": 20_850}  # fmt: skip
    path.write_text(json.dumps(told), encoding="utf-8")
    row = "| lenet5 | 4 | 8.00 | 7.00 to 9.00 | 6.00 | 5.50 to 7.00 | 42 | 20,850 |"
    assert row in table(tmp_path)
    told["networks"][0]["pays_after"] = None
    path.write_text(json.dumps(told), encoding="utf-8")
    assert row.replace("20,850", "never") in table(tmp_path)
    assert table(tmp_path / "nothing") == []


@pytest.mark.parametrize("module", [compiled, growth])
def test_what_there_is_not_is_refused_in_words(
    module: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "lenet6"])
    with pytest.raises(SystemExit):
        module.main()
    assert "there is no lenet6, but" in capsys.readouterr().err
