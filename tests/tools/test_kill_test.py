"""Where ``tools/kill_test.py`` strikes; it kills in tests/training/test_resume.py."""

import math
import random
import sys
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TOOLS))
    import kill_test

    yield kill_test
    for name in ("kill_test", "origin"):
        sys.modules.pop(name, None)


def save(out: Path, update: int) -> None:
    (out / "state").mkdir(parents=True, exist_ok=True)
    (out / "state" / f"update-{update:09d}.safetensors").touch()


def test_a_run_folder_says_which_phase_its_training_is_in(tool: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert tool.phase(out, set()) == (-1, False)
    save(out, 26)
    assert tool.phase(out, set()) == (26, False)
    (out / "state" / ".update-000000052.safetensors.0a1b.part").touch()
    assert tool.phase(out, set()) == (26, True)
    assert tool.phase(out, tool.writing(out)) == (26, False)  # left by a process that was killed
    (out / "log.txt").write_text("2026-11-28 13:00:00 ended: finished\n", encoding="utf-8")
    assert tool.phase(out, set()) == (math.inf, False)
    phases = [(-1, False), (-1, True), (0, False), (26, True), (math.inf, False)]
    assert phases == sorted(phases)
    assert [tool.doing(each) for each in phases] == [
        "reading", "saving", "training", "saving", "evaluating",
    ]  # fmt: skip


def test_a_phase_lasts_until_the_next(tool: Any) -> None:
    reached = {(-1, False): 0.0, (0, False): 9.0, (0, True): 30.0, (math.inf, False): 31.0}
    assert list(tool.lengths(reached, 33.0).values()) == [9, 21, 1, 2]


def test_kills_strike_in_phases_still_to_come(
    tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that dies at once when it is struck, after it has saved what the phase says."""
    alone: dict[tuple[float, bool], float] = {(-1, False): 9, (0, False): 20, (26, True): 1}
    alone |= {(52, False): 19, (math.inf, False): 3}
    strikes: list[tuple[tuple[float, bool], float]] = []

    def run(arguments: list[str], out: Path, strike: Any = None) -> Any:
        if strike is None:
            return {"digest": "same"}, {}
        strikes.append(strike)
        out.mkdir(exist_ok=True)
        if strike[0][0] == math.inf:
            (out / "log.txt").write_text("2026-11-28 13:00:00 ended: finished\n", encoding="utf-8")
        elif strike[0][0] >= 0:
            save(out, strike[0][0])
        return None, {strike[0]: 0.0}

    monkeypatch.setattr(tool, "run", run)
    drawn: set[tuple[float, bool]] = set()
    for seed in range(30):
        strikes.clear()
        out = tmp_path / str(seed)
        result, struck = tool.disturb(out, ["lenet5", "digits"], 4, alone, random.Random(seed))
        assert result == {"digest": "same"}
        assert [kill["during"] for kill in struck] == [tool.doing(at) for at, _ in strikes]
        assert len(strikes) <= 4
        updates = [at[0] for at, _ in strikes]
        assert updates == sorted(updates)
        assert all(0 <= seconds <= alone[at] for at, seconds in strikes)
        drawn |= {at for at, _ in strikes}
    assert drawn == alone.keys()
