import re
from importlib.util import find_spec
from pathlib import Path

from benchmarks import results
from benchmarks.page import FINDINGS, write_page
from benchmarks.workloads import all_workloads

CEILING = {"matmul_fp32": 1e11, "matmul_bf16": 1e11, "conv_fp32": 2e11, "conv_bf16": 4e11}


def run(wall: float, accuracy: float, **changes: object) -> dict[str, object]:
    figures = {"wall": wall, "cpu": 2 * wall, "memory": 300 * 2**20, "anonymous": 200 * 2**20}
    told = {"accuracy": accuracy, "examples": 10_000, "first_step": 1.5, "load": 0.25, "why": ""}
    return figures | told | changes


def sitting(rounds: list[dict[str, object]], **changes: object) -> dict[str, object]:
    return {
        "workload": "lenet_mnist", "title": "LeNet-5 on MNIST", "size": "full",
        "hardware": "Abacus, 2 cores", "device": "cpu", "began": "2026-11-23T10:00:00+00:00",
        "code": "c", "commit": "abc", "measure": "wall", "mark": None, "least_rounds": 5,
        "operations": 1.2e12, "operations_against": "conv", "mean_bytes": None, "threads": 2,
        "versions": {"torchfolio": "1"}, "ceiling": CEILING | {"copy": 1e10},
        "commands": {"ours": "folio train lenet5 DATA --epochs 3"}, "rounds": rounds,
    } | changes  # fmt: skip


def page(folder: Path, *sittings: dict[str, object]) -> str:
    results.write(folder / "results" / "one.json", sittings)
    write_page(folder / "results", folder)
    return (folder / "performance.md").read_text(encoding="utf-8")


def test_without_results_the_page_says_so(tmp_path: Path) -> None:
    write_page(tmp_path / "none", tmp_path)
    text = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert "There are no results yet." in text
    assert "![" not in text


def test_the_table_has_medians_spread_ratios_and_shares(tmp_path: Path) -> None:
    rounds = [
        {"ours": run(10, 0.99), "pytorch": run(20, 0.98)},
        {"ours": run(12, 0.99), "pytorch": run(16, 0.98)},
        {"ours": run(14, 0.99), "pytorch": run(40, 0.98)},
    ]
    text = page(tmp_path, sitting(rounds))
    # 1.2e12 operations in 12 s are 1e11 a second: half of the convolutions' 2e11
    assert "| ours | 12 (10 to 14) | 24 | 1.5 | 300 (200) | 99.00 % | 50 % | |" in text
    assert "| 20 (16 to 40) | 40 | 1.5 | 300 (200) | 98.00 %, lower than ours | 30 % |" in text
    assert "| 0.5 (0.35 to 0.75) |" in text
    assert "3 of 5 rounds so far: not yet a result." in text
    assert "There are no results yet" not in text
    assert "(performance/lenet_mnist_abacus-2-cores.svg)" in text
    svg = (tmp_path / "performance" / "lenet_mnist_abacus-2-cores.svg").read_text("utf-8")
    assert svg.count("12 s") >= 1
    assert "pytorch" in svg


def test_failures_and_marks_are_told(tmp_path: Path) -> None:
    bad = run(1, 0.1, why="at chance: accuracy 0.1000")
    rounds = [{"ours": run(10, 0.992), "fastai": bad}, {"ours": run(10, 0.990), "fastai": bad}]
    text = page(tmp_path, sitting(rounds, mark=0.9905, least_rounds=2))
    assert "- fastai failed in 2 of 2 rounds: at chance: accuracy 0.1000" in text
    assert "| fastai | failed |" in text
    assert "mark of 99.05 % is reached by ours: the mean over 2 seeds is 99.10 %" in text
    assert "not reached by fastai: the mean over 0 seeds" in text
    assert "not yet a result" not in text


def test_who_ran_in_fewer_rounds_is_told(tmp_path: Path) -> None:
    both = {"ours": run(10, 0.992), "pytorch": run(20, 0.992)}
    shared: dict[str, object] = {"mark": 0.9905, "least_rounds": 2}
    told = {"keras_jax": "python -m benchmarks.peers.keras --network lenet5"}
    first = sitting([both | {"keras_jax": run(90, 0.992)}], commands=told, **shared)
    text = page(tmp_path, first, sitting([both], began="2026-11-24T10:00:00+00:00", **shared))
    assert "| ours | | 10 (10 to 10) |" in text
    assert "| keras_jax | 1 of 2 | 90 |" in text
    assert "- fewer than 2 rounds, so not yet a result: keras_jax\n" in text
    assert "reached by pytorch: the mean over 2 seeds is 99.20 %" in text
    assert "not yet known to be reached by keras_jax: the mean over 1 of 2 seeds is 99.20 %" in text
    assert "\n".join([*told.values(), "folio train lenet5 DATA --epochs 3"]) in text
    # the workload itself asks for five rounds
    few = "not yet a result (2 of 5 rounds) |"
    assert f"| `lenet_mnist` | ours: time | pytorch | 0.5 (0.5 to 0.5) | 0.6 | {few}" in text


def test_bf16_is_measured_against_its_own_ceiling(tmp_path: Path) -> None:
    rounds = [{"ours": run(5, 0.99, precision="bf16"), "ours_fp32": run(10, 0.99)}]
    # 2.4e11 of 4e11
    assert "| 60 % |" in page(tmp_path, sitting(rounds))


def test_findings_name_the_commands_of_their_figures_or_say_that_there_is_none() -> None:
    introduction, *entries = FINDINGS.read_text(encoding="utf-8").split("\n- ")
    assert "no command gives them" in introduction
    for entry in entries:
        named = re.findall(r"python -m (benchmarks\.\w+)", entry)
        assert named or "*(trial)*" in entry or not re.search(r"\d", entry), entry
        assert all(find_spec(each) for each in named), entry
        for workloads in re.findall(r"benchmarks\.run ([\w ]+)", entry):
            assert set(workloads.split()) <= set(all_workloads()), entry
