import json
from pathlib import Path

import pytest

from benchmarks import results


def sitting(began: str, code: str, rounds: int, **changes: object) -> dict[str, object]:
    whole = {"workload": "w", "hardware": "H", "size": "full", "began": began, "code": code}
    return whole | {"rounds": [{"ours": {"wall": began}}] * rounds} | changes


def test_a_file_is_named_by_workload_hardware_and_date(tmp_path: Path) -> None:
    path = results.result_file(tmp_path, "lenet_mnist", "AMD EPYC 9B45, 2 cores", "2026-11-23")
    assert path.name == "lenet_mnist_amd-epyc-9b45-2-cores_2026-11-23.json"


def test_sittings_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "results" / "w.json"
    assert results.read(path) == []
    sittings = [sitting("2026-01-01", "a", 1)]
    results.write(path, sittings)
    results.write(path, [*results.read(path), sitting("2026-01-02", "a", 2)])
    assert [len(each["rounds"]) for each in results.read(path)] == [1, 2]
    assert [each.name for each in path.parent.iterdir()] == ["w.json"]
    path.write_text(json.dumps({"format_version": 9, "sittings": []}), encoding="utf-8")
    with pytest.raises(ValueError, match="format version 9"):
        results.read(path)


def test_rounds_of_several_sittings_add_up_while_our_code_stays(tmp_path: Path) -> None:
    results.write(tmp_path / "a.json", [sitting("2026-01-03", "new", 2)])
    results.write(
        tmp_path / "b.json",
        [
            sitting("2026-01-01", "old", 5),
            sitting("2026-01-02", "new", 1),
            sitting("2026-01-04", "other", 4, size="small"),
            sitting("2026-01-05", "else", 7, hardware="G"),
        ],
    )
    gathered = results.gather(tmp_path)
    assert {key: len(results.rounds_of(each)) for key, each in gathered.items()} == {
        ("w", "H"): 3,
        ("w", "G"): 7,
    }
    assert [each["began"] for each in gathered["w", "H"]] == ["2026-01-02", "2026-01-03"]


def test_comments_and_docstrings_are_no_change_of_the_code(tmp_path: Path) -> None:
    page = tmp_path / "page.py"
    page.write_text('"""Old."""\n\n\ndef f(x):\n    """Add."""\n    return x + 1\n', "utf-8")
    before = results.code_digest(tmp_path)
    page.write_text('"""New."""\n\ndef f(x):\n    return x + 1  # one more\n', "utf-8")
    assert results.code_digest(tmp_path) == before
    page.write_text('"""New."""\n\ndef f(x):\n    return x + 2\n', "utf-8")
    assert results.code_digest(tmp_path) != before
    page.write_text('"""Old."""\n\n\ndef f(x):\n    return x + 1\n', "utf-8")
    (tmp_path / "recipe.toml").write_text("lr = 1\n", encoding="utf-8")
    assert results.code_digest(tmp_path) != before


def test_what_lies_apart_is_no_change_of_the_code(tmp_path: Path) -> None:
    for place in ("page.py", "apart.py", "inside/one.py", "inside.py"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text("x = 1\n", "utf-8")
    before = results.code_digest(tmp_path, apart=("apart.py", "inside"))
    (tmp_path / "apart.py").write_text("x = 2\n", "utf-8")
    (tmp_path / "inside" / "two.py").write_text("x = 2\n", "utf-8")
    assert results.code_digest(tmp_path, apart=("apart.py", "inside")) == before
    (tmp_path / "inside.py").write_text("x = 2\n", "utf-8")
    assert results.code_digest(tmp_path, apart=("apart.py", "inside")) != before
