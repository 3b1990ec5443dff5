"""What a person sees while a training runs: a bar in a terminal, plain lines elsewhere."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import torchfolio
from torchfolio.cli import progress
from torchfolio.cli.output import Output
from torchfolio.cli.progress import TrainingMonitor

SETTINGS = {"epochs": 2, "batch_size": 300, "device": "cpu", "threads": 1, "workers": 0}


class Eager(TrainingMonitor):
    """Tells of every update, and keeps what the bar showed."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self.bars: list[tuple[int, str, str, float, float]] = []
        self.rows: list[dict[str, Any]] = []

    def updated(self, loop: Any, loss: float | None) -> None:
        self.told = 0.0
        super().updated(loop, loss)
        if self.bar is not None:
            task = self.bar.tasks[0]
            self.bars.append(
                (
                    loop.progress.epoch,
                    task.description,
                    task.fields["figures"],
                    task.completed,
                    task.total,
                )
            )

    def epoch_ended(self, loop: Any, row: dict[str, Any]) -> None:
        super().epoch_ended(loop, row)
        self.rows.append(row)


def train(monitor: TrainingMonitor, out: Path, **settings: Any) -> None:
    with monitor:
        torchfolio.train(
            "softmax_regression",
            "digits",
            out=out,
            watcher=monitor,
            report=False,
            **(SETTINGS | settings),
        )


def in_terminal() -> tuple[Output, io.StringIO]:
    output, screen = Output(), io.StringIO()
    output.stderr = Console(file=screen, force_terminal=True, width=120, highlight=False)
    return output, screen


def test_the_bar_shows_the_training_figure_until_there_is_one_of_validation(
    tmp_path: Path,
) -> None:
    output, screen = in_terminal()
    monitor = Eager(output)
    train(monitor, tmp_path / "run")
    first, second = ([bar for bar in monitor.bars if bar[0] == epoch] for epoch in (0, 1))
    assert len(first) == len(second) == 5  # 1,257 examples in batches of 300
    assert all("train accuracy" in figures and "val" not in figures for _, _, figures, *_ in first)
    assert f"train accuracy {monitor.rows[0]['train_accuracy']:.4f} " in first[-1][2]
    value = f"val accuracy {monitor.rows[0]['val_accuracy']:.4f} "
    assert all(value in figures and "train" not in figures for _, _, figures, *_ in second)
    assert [bar[3:] for bar in monitor.bars] == [(update, 10) for update in range(1, 11)]
    assert {bar[1] for bar in first} == {"epoch 1"}
    assert monitor.bar is None  # taken away at the end
    assert "10/10" in screen.getvalue()


def test_without_validation_the_training_figure_stays(tmp_path: Path) -> None:
    monitor = Eager(in_terminal()[0])
    train(monitor, tmp_path / "run", val_split=0.0)
    assert all("train accuracy" in figures for _, _, figures, *_ in monitor.bars)


def test_elsewhere_plain_lines_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    monitor = Eager(Output())
    train(monitor, tmp_path / "run")
    assert monitor.bars == []
    told = capsys.readouterr()
    lines = told.out.splitlines()
    [half] = [line for line in lines if line.startswith("  50% loss ")]
    assert f" train accuracy {monitor.rows[0]['train_accuracy']:.4f} " in half
    assert " time left " in half
    [last] = [line for line in lines if line.startswith("  100% loss ")]
    assert f" val accuracy {monitor.rows[0]['val_accuracy']:.4f} " in last
    [ended] = [line for line in lines if line.startswith("epoch   1  loss ")]
    assert f"  val accuracy {monitor.rows[0]['val_accuracy']:.4f} (best)  lr " in ended
    assert "\x1b" not in told.out + told.err


def test_short_trainings_and_quiet_ones_print_no_line_of_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train(Eager(Output()), tmp_path / "short", epochs=1)
    assert "time left" not in capsys.readouterr().out
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    output, screen = in_terminal()
    output.quiet = True
    train(Eager(output), tmp_path / "quiet", epochs=1)
    assert capsys.readouterr().out == screen.getvalue() == ""


def test_reading_is_counted_in_a_terminal_only() -> None:
    output, screen = in_terminal()
    monitor = TrainingMonitor(output)
    for done in range(1, 4):
        monitor.reading(done, 3)
    assert "reading 1 of 3 files" in screen.getvalue()
    assert "reading 3 of 3 files\n" in screen.getvalue()
    output.stderr = Console(file=(plain := io.StringIO()))
    monitor.reading(3, 3)
    assert plain.getvalue() == ""


def test_the_bar_says_which_of_several_trainings_it_is_at(tmp_path: Path) -> None:
    output, _ = in_terminal()
    monitor = Eager(output)
    train(monitor, tmp_path / "runs", folds=2, epochs=1)
    assert [bar[1] for bar in monitor.bars] == [
        f"fold {number} of 2, epoch 1" for number in (1, 2) for _ in range(3)
    ]  # 763 examples in batches of 300
    assert [bar[3:] for bar in monitor.bars] == [(update, 3) for update in (1, 2, 3)] * 2
    first, second = monitor.rows
    assert first["train_loss"] != second["train_loss"]
    assert "train accuracy" in monitor.bars[3][2]  # not the validation of the fold before
    assert monitor.bar is None
