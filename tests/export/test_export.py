"""``Run.export`` and ``folio export``: the file answers as the run does, or there is none."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

import torchfolio
from torchfolio import FolioError, RequestError, Run
from torchfolio.checkpoint import read_tensors, write_tensors
from torchfolio.cli.app import run as folio
from torchfolio.data.readers import open_dataset
from torchfolio.export.check import ONE_BY_ONE, Held, check
from torchfolio.export.engines import OnnxEngine
from torchfolio.export.exported import Exported
from torchfolio.networks.build import build
from torchfolio.tasks.base import Task
from torchfolio.tasks.image_classification import ImageClassification, ImageOptions

SETTINGS: dict[str, Any] = {
    "device": "cpu", "threads": 1, "workers": 0, "report": False, "epochs": 1
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "手写 digits"  # a Chinese name with a space
    return torchfolio.train("lenet5", "digits", out=out, **SETTINGS)


@pytest.fixture(scope="module")
def onnx_file(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("exported") / "数字.onnx"
    trained.export("onnx", file)
    return file


def digits(folder: Path, count: int = 6) -> list[Path]:
    """Write some digits as PNG files."""
    folder.mkdir(exist_ok=True)
    records = open_dataset("digits").records
    for index in range(count):
        Image.fromarray(records.pixels(index)[..., 0]).save(folder / f"{index}.png")
    return sorted(folder.iterdir())


def small(data: Path | str, out: Path, **settings: Any) -> Run:
    """Train the smallest network."""
    return torchfolio.train("softmax_regression", data, out=out, **settings, **SETTINGS)


# What is written


@pytest.mark.parametrize("kind", ["onnx", "torch", "safetensors"])
def test_the_figures_are_those_of_the_validation_split(trained: Run, kind: str) -> None:
    found = trained.export(kind)
    suffix = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors"}[kind]
    assert found["file"] == str(trained.path / "exports" / f"手写 digits{suffix}")
    evaluation = trained.evaluate(split="val", report=False)
    assert found["metric"] == "accuracy"
    assert found["torch"] == found["exported"]
    assert found["torch"] == pytest.approx(evaluation["metrics"]["accuracy"]["value"])
    assert (found["split"], found["examples"]) == ("val", 270)
    assert found["difference"] < 1e-5
    assert sorted(each.name for each in (trained.path / "exports").iterdir()) == sorted(
        each.name for each in (trained.path / "exports").glob("手写 digits.*")
    )  # no temporary file is left


def test_onnx_takes_pictures_and_gives_probabilities(trained: Run, onnx_file: Path) -> None:
    session = onnxruntime.InferenceSession(onnx_file)
    (takes,), (gives,) = session.get_inputs(), session.get_outputs()
    assert (takes.name, takes.type) == ("images", "tensor(uint8)")
    assert takes.shape == ["batch", 1, 32, 32]
    assert (gives.name, gives.type) == ("probabilities", "tensor(float)")
    assert gives.shape == ["batch", 10]
    facts = json.loads(session.get_modelmeta().custom_metadata_map["torchfolio"])
    assert facts == {
        "format_version": 1,
        "torchfolio": torchfolio.__version__,
        "task": "image-classification",
        "network": "lenet5",
        "settings": {},
        "run": "手写 digits",
        "inputs": [{
            "name": "images", "dtype": "uint8", "channels": 1, "size": 32, "depth": 8,
            "resize": "pad", "fill": 0.0,
        }],
        "output": "probabilities",
        "classes": [str(digit) for digit in range(10)],
    }  # fmt: skip
    model = onnx.load(onnx_file)
    onnx.checker.check_model(model, full_check=True)
    assert [each.version for each in model.opset_import if not each.domain] == [18]
    assert not any(node.metadata_props for node in model.graph.node)


def test_weights_alone_are_those_of_the_run_and_say_how_they_are_used(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "w.safetensors"
    trained.export("safetensors", file)
    tensors, header = read_tensors(file)
    best, _ = read_tensors(trained.path / "weights" / "best.safetensors")
    assert tensors.keys() == best.keys()
    assert all(torch.equal(tensors[name], best[name]) for name in best)
    facts = header["torchfolio"]
    assert (facts["network"], facts["settings"]) == ("lenet5", {})
    assert facts["mean"] == trained.load()[0].state["mean"].tolist()
    network = torchfolio.create("lenet5", weights=file).eval()
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(images), trained.network(images))
    capsys.readouterr()
    request = ["train", "lenet5", "digits", "--weights", str(file), "--epochs", "1", "--no-report"]
    assert folio([*request, "--device", "cpu", "--out", str(tmp_path / "on")]) == 0
    assert "loaded: 10 of the network's 10 tensors" in capsys.readouterr().out


def test_settings_of_the_network_are_kept(tmp_path: Path) -> None:
    run = torchfolio.train(
        "mlp_bn", "digits", out=tmp_path / "run", set={"widths": [20]}, normalize="pixel-mean",
        **SETTINGS,
    )  # fmt: skip
    for kind in ("onnx", "torch", "safetensors"):
        found = run.export(kind)
        assert found["torch"] == found["exported"] > 0.3
    _, header = read_tensors(run.path / "exports" / "run.safetensors")
    assert header["torchfolio"]["settings"] == {"widths": [20]}


def test_exported_weights_bring_settings_and_size_to_create(tmp_path: Path) -> None:
    run = torchfolio.train(
        "mlp", "digits", out=tmp_path / "run", set={"widths": [20]}, image_size=12, **SETTINGS
    )
    file = Path(run.export("safetensors")["file"])
    network = torchfolio.create("mlp", num_classes=10, weights=file).eval()
    images = torch.rand(2, 1, 12, 12)
    with torch.no_grad():
        assert torch.equal(network(images), run.network.eval()(images))
    tensors, header = read_tensors(file)
    write_tensors(file, tensors, {"torchfolio": header["torchfolio"] | {"inputs": []}})
    with pytest.raises(FolioError, match=r"The facts in .* are damaged .* Export it again"):
        torchfolio.create("mlp", num_classes=10, weights=file)


def test_a_run_in_bf16_is_exported_in_float32(tmp_path: Path) -> None:
    run = torchfolio.train("mlp", "digits", out=tmp_path / "run", precision="bf16", **SETTINGS)
    found = run.export("onnx")
    assert found["torch"] == found["exported"]
    assert found["difference"] < 1e-5  # bf16 has 8 bits: it would differ by some 1e-2
    graph = onnx.load(found["file"]).graph
    kinds = {onnx.TensorProto.DataType.Name(each.data_type) for each in graph.initializer}
    assert "BFLOAT16" not in kinds
    assert "FLOAT" in kinds


def test_pictures_of_more_than_eight_bits_go_in_as_floats(tmp_path: Path) -> None:
    data = open_dataset("digits")
    for index in range(60):
        folder = tmp_path / "deep" / str(data.labels[index])
        folder.mkdir(parents=True, exist_ok=True)
        deep = data.records.pixels(index)[..., 0].astype(np.uint16) * 257 // 2 + index
        Image.fromarray(deep).resize((40, 50)).save(folder / f"{index}.png")
    run = small(tmp_path / "deep", tmp_path / "run")
    found = run.export("onnx")
    assert found["difference"] < 1e-5
    file = Exported(found["file"])
    assert file.facts["inputs"][0]["dtype"] == "float32"
    files = sorted((tmp_path / "deep").rglob("*.png"))[:9]
    for mine, theirs in zip(file.predict(files), run.predict(files), strict=True):
        assert mine["prediction"] == theirs["prediction"]
        assert mine["probability"] == pytest.approx(theirs["probability"], abs=1e-5)


# The data that it is checked on


@pytest.mark.parametrize(("shares", "split"), [((0.0, 0.2), "test"), ((0.0, 0.0), "train")])
def test_without_a_validation_split_another_is_used(
    shares: tuple[float, float], split: str, tmp_path: Path
) -> None:
    run = small("digits", tmp_path / "run", val_split=shares[0], test_split=shares[1])
    assert run.export("safetensors")["split"] == split


def test_data_that_are_gone_are_named_and_others_may_take_their_place(tmp_path: Path) -> None:
    for name in ("mine", "yours"):
        data = open_dataset("digits")
        for index in range(60):
            folder = tmp_path / name / f"class {data.labels[index]}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(data.records.pixels(index)[..., 0]).save(folder / f"{index}.png")
    run = small(tmp_path / "mine", tmp_path / "run")
    shutil.rmtree(tmp_path / "mine")
    with pytest.raises(FolioError, match="name other data with the same classes: --check DATA"):
        run.export("onnx")
    assert not (tmp_path / "run" / "exports").exists()
    found = run.export("onnx", check=tmp_path / "yours")
    assert (found["split"], found["examples"]) == ("given", 60)
    shutil.move(tmp_path / "yours" / "class 3", tmp_path / "yours" / "class three")
    with pytest.raises(RequestError, match="no class of this run named 'class three'"):
        run.export("onnx", check=tmp_path / "yours")


def test_data_that_have_changed_are_named(tmp_path: Path) -> None:
    arrays = np.random.default_rng(0).integers(0, 256, (2, 40, 8, 8), np.uint8)
    np.savez(tmp_path / "d.npz", x_train=arrays[0], y_train=np.arange(40) % 2)
    run = small(tmp_path / "d.npz", tmp_path / "run")
    np.savez(tmp_path / "d.npz", x_train=arrays[1], y_train=np.arange(40) % 2)
    with pytest.raises(FolioError, match=r"have changed since the run began.*--check DATA"):
        run.export("safetensors")


# A file that answers otherwise


class Off(nn.Module):
    """A classifier whose probabilities are off by a little, or whose classes are turned around."""

    def __init__(self, network: nn.Module, by: float) -> None:
        super().__init__()
        self.network, self.by = network, by

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.network(images)
        return found.flip(1) if self.by == 0 else found * (1 - self.by)


@pytest.mark.parametrize("kind", ["onnx", "torch"])
@pytest.mark.parametrize(("by", "moves"), [(0.0, True), (0.01, False)])
def test_a_file_that_answers_otherwise_fails_and_is_not_there(
    kind: str, by: float, moves: bool, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ImageClassification.exported
    monkeypatch.setattr(
        ImageClassification, "exported", lambda task, parts: Off(own(task, parts), by).eval()
    )
    suffix = {"onnx": ".onnx", "torch": ".pt2"}[kind]
    file = tmp_path / f"off{suffix}"
    file.write_text("what was there before", encoding="utf-8")
    with pytest.raises(FolioError, match="does not answer as the run does, on 270 val") as raised:
        trained.export(kind, file)
    said = str(raised.value)
    value = trained.evaluate(split="val", report=False)["metrics"]["accuracy"]["value"]
    assert f"accuracy {value:.6f} by the run" in said
    assert (f"{value:.6f} by the file" in said) is not moves
    assert "probabilities differ by up to 0." in said
    assert f"{file} was not written" in said
    assert file.read_text(encoding="utf-8") == "what was there before"
    assert [each.name for each in tmp_path.iterdir()] == [file.name]


def test_weights_that_are_others_fail(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchfolio.export import exporting

    def spoilt(network: nn.Module, facts: Any, path: Path) -> None:
        other = build("lenet5")
        own(other, facts, path)

    own = exporting.write_weights
    monkeypatch.setattr(exporting, "write_weights", spoilt)
    with pytest.raises(FolioError, match="does not answer as the run does"):
        trained.export("safetensors", tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []


CLASSIFIER = ImageClassification(ImageOptions(), {"classes": [str(each) for each in range(10)]})


def held(count: int) -> Held:
    dataset = open_dataset("digits")
    return Held(dataset, np.arange(count), "val")


def test_examples_are_asked_in_batches_and_a_few_one_by_one() -> None:
    asked = []

    def ask(indices: np.ndarray, at_once: int) -> np.ndarray:
        asked.append((indices.tolist(), at_once))
        return np.full((len(indices), 10), 0.1, np.float32)

    found = check(ask, ask, held(100), 7, "file", CLASSIFIER)
    assert asked[:2] == [(list(range(100)), 7)] * 2
    alone, at_once = asked[2]
    assert at_once == 1
    assert len(alone) == ONE_BY_ONE
    assert (alone[0], alone[-1]) == (0, 99)
    labels = open_dataset("digits").labels
    assert found.torch == found.exported == (labels[:100] == 0).mean()


@pytest.mark.parametrize("where", ["batches", "one by one"])
@pytest.mark.parametrize("value", [0.1002, float("nan")])
def test_a_difference_in_any_way_of_asking_fails(where: str, value: float) -> None:
    def run(indices: np.ndarray, at_once: int) -> np.ndarray:
        return np.full((len(indices), 10), 0.1, np.float32)

    def file(indices: np.ndarray, at_once: int) -> np.ndarray:
        found = run(indices, at_once)
        if (at_once == 1) == (where == "one by one"):
            found[-1, 5] = value
        return found

    with pytest.raises(FolioError, match="does not answer as the run does"):
        check(run, file, held(20), 7, "file", CLASSIFIER)


def close(margin: float, moved: float) -> tuple[Any, Any]:
    """A run that is surer of a nought than of a one by a margin, and a file that moves the one up.

    The probabilities of both are multiples of 2**-20, so that the margin is what it is said to be.
    """

    def run(indices: np.ndarray, at_once: int) -> np.ndarray:
        found = np.full((len(indices), 10), 2**-10, np.float32)
        found[:, 0], found[:, 1] = 0.5 + margin, 0.5
        return found

    def file(indices: np.ndarray, at_once: int) -> np.ndarray:
        found = run(indices, at_once)
        found[:, 1] += moved
        return found

    return run, file


@pytest.mark.parametrize("margin", [0, 2**-20, 2**-17])  # 2**-17 is 7.6e-6: below EDGE
def test_an_answer_that_rounding_decides_does_not_fail_and_is_counted(margin: float) -> None:
    found = check(*close(margin, margin + 2**-20), held(1), 7, "file", CLASSIFIER)  # a nought
    assert (found.torch, found.exported, found.rounded) == (1, 0, 1)
    same = check(*close(margin, 0), held(1), 7, "file", CLASSIFIER)
    assert (same.torch, same.exported, same.rounded) == (1, 1, 0)


@pytest.mark.parametrize("margin", [2**-16, 2**-14])  # 1.5e-5 and 6.1e-5: above EDGE
def test_an_accuracy_that_moves_fails_however_near_the_probabilities_are(margin: float) -> None:
    with pytest.raises(
        FolioError,
        match=r"does not answer as the run does, on 1 val examples: accuracy 1\.000000 by the run, "
        rf"0\.000000 by the file; 1 other answer, where the run's is ahead by up to {margin:.2g} "
        r"\(1e-05 would be rounding\); probabilities differ by up to",
    ):
        check(*close(margin, margin + 2**-20), held(1), 7, "file", CLASSIFIER)


def test_the_rounding_of_some_answers_excuses_no_others() -> None:
    """Of ten digits the first, a nought, is a matter of rounding; a one is plainly another."""
    run, _ = close(2**-20, 0)

    def file(indices: np.ndarray, at_once: int) -> np.ndarray:
        found = run(indices, at_once)
        found[0, 1] += 2**-19
        return found

    found = check(run, file, held(10), 7, "file", CLASSIFIER)
    assert (found.torch, found.exported, found.rounded) == (0.1, 0, 1)

    def clear(indices: np.ndarray, at_once: int) -> np.ndarray:
        found = run(indices, at_once)
        found[1, :2] = 0.5, 0.5 + 2**-15
        return found

    def off(indices: np.ndarray, at_once: int) -> np.ndarray:
        found = file(indices, at_once)
        found[1, :2] = 0.5 + 2**-20, 0.5
        return found

    with pytest.raises(
        FolioError, match=r"accuracy 0\.200000 by the run, 0\.000000 by the file; 2 ot"
    ):
        check(clear, off, held(10), 7, "file", CLASSIFIER)


def test_a_run_that_diverged_is_told_from_a_wrong_file() -> None:
    def run(indices: np.ndarray, at_once: int) -> np.ndarray:
        return np.full((len(indices), 10), np.nan, np.float32)

    with pytest.raises(FolioError, match="its training diverged"):
        check(run, run, held(4), 2, "file", CLASSIFIER)


# Requests and errors


@pytest.mark.parametrize(
    ("kind", "file", "message"),
    [
        ("onx", None, "no format named 'onx'. The nearest: onnx"),
        ("onnx", "a.pt2", r"--out is a\.pt2; a file of the format onnx ends in \.onnx"),
        ("torch", "a", r"a file of the format torch ends in \.pt2"),
    ],
)
def test_wrong_requests_are_named(kind: str, file: str | None, message: str, trained: Run) -> None:
    with pytest.raises(RequestError, match=message):
        trained.export(kind, file)


def test_onnxruntimes_telemetry_is_turned_off(
    onnx_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(onnxruntime, "disable_telemetry_events", lambda: calls.append("off"))
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: calls.append("open"))
    OnnxEngine(onnx_file, ["images"]).session(alone=True)
    assert calls == ["off", "open"]


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_libraries_are_named_before_any_work(
    missing: str, trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    own = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *_: None if name == missing else own(name)
    )
    monkeypatch.setattr(Run, "held", lambda *_: pytest.fail("data were read"))
    with pytest.raises(RequestError, match=rf"need {missing}\. .*'torchfolio\[export\]'"):
        trained.export("onnx")


def test_without_onnxruntime_a_file_says_what_to_install(
    onnx_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RequestError, match=r"onnxruntime, which is missing\. .*\[export\]"):
        list(Exported(onnx_file).predict(["a.png"]))


def test_a_task_without_export_says_so() -> None:
    class Dream(Task):
        name = "dreaming"
        kinds = ("dreams",)
        parts = prepare = load = steps = predict = meter = evaluate = answer = None  # type: ignore[assignment]

    calls = [lambda task: task.export_inputs({}), lambda task: task.exported({})]
    calls += [lambda task: task.checked(None, None, None), lambda task: task.changed(None, None)]
    for call in calls:
        with pytest.raises(RequestError, match="Runs of the task dreaming cannot be exported"):
            call(Dream(None))


def test_a_fault_of_the_exporter_is_an_error_that_names_it(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Decides(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.float() if images.sum() > 3 else images.double()

    monkeypatch.setattr(ImageClassification, "exported", lambda *_: Decides())
    for kind, file in (("onnx", "a.onnx"), ("torch", "a.pt2")):
        with pytest.raises(FolioError, match=f"lenet5 could not be written in the format {kind}"):
            trained.export(kind, tmp_path / file)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_an_error_of_the_file(onnx_file: Path, tmp_path: Path) -> None:
    content = onnx_file.read_bytes()
    place = content.index(b"Conv")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(content[:place] + b"Cnov" + content[place + 4 :])
    with pytest.raises(FolioError, match=r"damaged\.onnx cannot be opened by onnxruntime"):
        list(Exported(damaged).predict(digits(tmp_path / "d")))


# The command


def test_the_command_prints_the_figures(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a b.onnx"
    assert folio(["export", str(trained.path), "--out", str(file), "--json"]) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert document["file"] == str(file)
    assert file.is_file()
    assert document.keys() >= {
        "metric", "torch", "exported", "difference", "rounded", "split", "examples",
    }  # fmt: skip
    assert document["rounded"] == 0
    assert "checking it on 270 val examples" in told.err
    assert folio(["export", str(trained.path), "--format", "safetensors", "--quiet"]) == 0
    told = capsys.readouterr()
    assert "accuracy on 270 val examples: 0." in told.out
    assert "file: " in told.out
    assert "checking" not in told.out + told.err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--format", "onx"], 2, "onx"),
        (["--out", "a.pt2"], 2, "a file of the format onnx ends in .onnx"),
        (["--out", "file/a.onnx"], 1, "file is a file. Choose another --out."),
        (["--check", "nowhere"], 2, "nowhere"),
    ],
)
def test_the_command_refuses_wrong_requests(
    arguments: list[str],
    status: int,
    message: str,
    trained: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert folio(["export", str(trained.path), *arguments]) == status
    assert message in capsys.readouterr().err


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert folio(["export", str(tmp_path)]) == 2
    assert "is no run: it has no recipe.toml" in capsys.readouterr().err
