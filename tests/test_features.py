"""``folio features``: vectors of a layer, in files that others read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet

import torchfolio
from torchfolio.checkpoint import read_tensors, write_tensors
from torchfolio.cli.app import run as folio
from torchfolio.data.readers import open_dataset
from torchfolio.errors import FolioError, RequestError
from torchfolio.features import network_features
from torchfolio.run import Run

SETTINGS: dict[str, Any] = {
    "device": "cpu", "threads": 1, "workers": 0, "report": False, "epochs": 1, "batch_size": 256,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "手写 digits"
    return torchfolio.train("lenet5", "digits", out=out, **SETTINGS)


@pytest.fixture(scope="module")
def pictures(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The first test pictures of the run as PNG files."""
    folder = tmp_path_factory.mktemp("图 pictures")
    dataset = open_dataset("digits")
    paths = []
    for index in trained.folder.splits()["test"][:20]:
        paths.append(folder / f"{index:04d}.png")
        Image.fromarray(dataset.records.pixels(int(index))[..., 0]).save(paths[-1])
    return sorted(paths)


def by_hand(run: Run, paths: list[Path]) -> torch.Tensor:
    """What the output layer of LeNet-5 reads, layer by layer."""
    task, parts = run.load()
    network = parts.network
    images = task.pictures.normalised(torch.stack([task.pictures.read(path) for path in paths]))
    with torch.no_grad():
        x = network.s2(torch.tanh(network.c1(images)))
        x = network.s4(torch.tanh(network.c3(x)))
        return torch.tanh(network.f6(torch.tanh(network.c5(x.flatten(1)))))


def test_a_run_gives_what_its_head_reads(trained: Run, pictures: list[Path]) -> None:
    found = trained.features(pictures)
    assert (found.layer, found.width) == ("what output reads", 84)
    assert found.preparation == (
        "32 x 32 pixels (resized by: pad), 1 channel(s), normalised as in training"
    )
    rows = list(found)
    assert [row["input"] for row in rows] == [str(path) for path in pictures]
    assert [row["error"] for row in rows] == [None] * 20
    vectors = torch.from_numpy(np.stack([row["vector"] for row in rows]))
    torch.testing.assert_close(vectors, by_hand(trained, pictures))


def test_features_answer_as_the_run_does(trained: Run, pictures: list[Path]) -> None:
    vectors = torch.from_numpy(np.stack([row["vector"] for row in trained.features(pictures)]))
    with torch.no_grad():
        answers = trained.network.output(vectors).argmax(1).tolist()
    assert [row["prediction"] for row in trained.predict(pictures)] == [
        str(each) for each in answers
    ]


def test_the_command_writes_parquet(
    trained: Run, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new folder" / "vectors.parquet"
    folder = str(pictures[0].parent)
    assert folio(["features", str(trained.path), folder, "--out", str(out), "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "what output reads: 84 numbers a picture; 32 x 32 pixels" in told
    assert f"20 vectors in {out}" in told
    table = parquet.read_table(out)
    assert table.schema.names == ["input", "vector"]
    assert table.schema.field("input").type == pyarrow.string()
    assert table.schema.field("vector").type == pyarrow.list_(pyarrow.float32(), 84)
    assert table["input"].to_pylist() == [str(path) for path in pictures]
    expected = by_hand(trained, pictures).numpy()
    np.testing.assert_allclose(table["vector"].to_pylist(), expected, atol=1e-6)


def test_the_command_writes_npz(
    trained: Run, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "vectors.npz"
    words = ["features", str(trained.path), *map(str, pictures[:3]), "--layer", "c3"]
    assert folio([*words, "--out", str(out), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {
        "file": str(out),
        "layer": "what c3 gives",
        "width": 16,
        "vectors": 3,
        "preparation": (
            "32 x 32 pixels (resized by: pad), 1 channel(s), normalised as in training"
        ),
        "errors": [],
    }
    with np.load(out, allow_pickle=False) as archive:
        assert archive["inputs"].tolist() == [str(path) for path in pictures[:3]]
        assert archive["features"].shape == (3, 16)
        assert archive["features"].dtype == np.float32


def test_what_cannot_be_read_is_named_and_left_out(
    trained: Run, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, out = tmp_path / "坏 broken.png", tmp_path / "v.npz"
    broken.write_bytes(b"no picture")
    inputs = [str(broken), str(pictures[0]), str(tmp_path / "gone.png")]
    assert folio(["features", str(trained.path), *inputs, "--out", str(out)]) == 1
    told = capsys.readouterr()
    assert f"error: {broken}: not a picture of a format that is read." in told.err
    assert f"error: There is no file {tmp_path / 'gone.png'}." in told.err
    assert "2 of 3 inputs could not be read." in told.err
    assert f"1 vectors in {out}" in told.out
    with np.load(out) as archive:
        assert archive["inputs"].tolist() == [str(pictures[0])]


def test_without_any_vector_nothing_is_written(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "v.parquet"
    words = ["features", str(trained.path), str(tmp_path / "gone.png"), "--out", str(out)]
    assert folio([*words, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["file"], document["vectors"]) == (None, 0)
    assert [each["input"] for each in document["errors"]] == [str(tmp_path / "gone.png")]
    assert not out.exists()


def test_a_file_that_is_not_named_overwrites_none(
    trained: Run,
    pictures: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert folio(["features", str(trained.path), str(pictures[0])]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "features.parquet", "features-2.parquet",
    }  # fmt: skip
    assert "1 vectors in features-2.parquet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x.png", "--layer", "c4"], "There is no layer named 'c4'. The nearest: s4, c5"),
        (["x.png", "--out", "v.csv"], "--out is v.csv; it should end in .parquet or .npz"),
        ([], "features needs an input: a file, a folder, a pattern"),
        (["x.png", "--lyer", "c1"], "Unknown option: --lyer"),
        (["x.png", "--weights", "w.pth"], "--weights is for a NETWORK; a run has its own"),
        (["x.png", "--image-size", "32"], "--image-size is for a NETWORK; a run has its own"),
        (["nothing*.png"], "No file matches 'nothing*.png'"),
    ],
)
def test_wrong_requests(
    words: list[str], message: str, trained: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folio(["features", str(trained.path), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_is_no_run_and_a_name_that_is_no_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folio(["features", str(tmp_path), "x.png"]) == 2
    assert "is no run" in capsys.readouterr().err
    assert folio(["features", "resnet19", "x.png"]) == 2
    assert "no network named 'resnet19'. The nearest: resnet1" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_said_before_the_work(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    out = tmp_path / "file" / "v.npz"
    assert folio(["features", str(trained.path), "x.png", "--out", str(out)]) == 1
    assert "file is a file. Choose another --out" in capsys.readouterr().err


# Networks without a run


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet20.pth"
    torch.manual_seed(0)
    torch.save(torchfolio.create("resnet20", in_channels=1, num_classes=7).state_dict(), path)
    return path


def test_a_network_with_weights_gives_what_its_head_reads(
    weights: Path, pictures: list[Path]
) -> None:
    found = network_features(
        "resnet20", pictures[:4], weights=weights, normalize="0:1", device="cpu"
    )
    assert (found.layer, found.width) == ("what linear reads", 64)
    assert found.preparation == (
        "32 x 32 pixels (resized by: crop), 1 channel(s), black becomes 0, white 1"
    )
    vectors = torch.from_numpy(np.stack([row["vector"] for row in found]))
    network = torchfolio.create("resnet20", in_channels=1, num_classes=7, weights=weights).eval()
    pixels = [torch.from_numpy(np.array(Image.open(path))) for path in pictures[:4]]
    images = torch.stack(pixels)[:, None] / 255
    with torch.no_grad():
        x = torch.relu(network.bn1(network.conv1(images)))
        x = network.layer3(network.layer2(network.layer1(x)))
    torch.testing.assert_close(vectors, x.mean((2, 3)))


def test_the_preparation_of_a_network_is_said(
    weights: Path, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["features", "resnet20", str(pictures[0]), "--weights", str(weights)]
    out = ["--out", str(tmp_path / "v.npz")]
    assert folio([*words, *out, "--normalize", "none", "--image-size", "24"]) == 0
    assert (
        "what linear reads: 64 numbers a picture; 24 x 24 pixels (resized by: crop), 1 channel(s), "
        "pixels from 0 to 1, not normalised"
    ) in capsys.readouterr().out


def test_a_network_with_the_weights_of_a_run_prepares_as_the_run(
    trained: Run, pictures: list[Path]
) -> None:
    found = network_features("lenet5", pictures, weights=trained.path, device="cpu")
    assert found.preparation.endswith("resized by: pad), 1 channel(s), normalised as in the run")
    vectors = torch.from_numpy(np.stack([row["vector"] for row in found]))
    torch.testing.assert_close(vectors, by_hand(trained, pictures))


def test_a_file_of_exported_weights_tells_how_its_run_prepared_pictures(
    trained: Run, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "权 weights.safetensors"
    trained.export("safetensors", file)
    found = network_features("lenet5", pictures, weights=file, device="cpu")
    assert found.preparation == (
        "32 x 32 pixels (resized by: pad), 1 channel(s), normalised as in the run"
    )
    vectors = torch.from_numpy(np.stack([row["vector"] for row in found]))
    torch.testing.assert_close(vectors, by_hand(trained, pictures))
    words = ["features", "lenet5", str(pictures[0]), "--weights", str(file)]
    assert folio([*words, "--out", str(tmp_path / "v.npz")]) == 0
    assert "normalised as in the run" in capsys.readouterr().out
    other = network_features("lenet5", [], weights=file, normalize="none", device="cpu")
    assert other.preparation.endswith("pixels from 0 to 1, not normalised")


def test_exported_weights_tell_the_settings_of_their_network(
    pictures: list[Path], tmp_path: Path
) -> None:
    run = torchfolio.train(
        "mlp_bn", "digits", out=tmp_path / "run", set={"widths": [20]}, normalize="pixel-mean",
        **SETTINGS,
    )  # fmt: skip
    file = run.export("safetensors")["file"]
    found = network_features("mlp_bn", pictures, weights=file, device="cpu")
    for mine, theirs in zip(found, run.features(pictures, device="cpu"), strict=True):
        np.testing.assert_allclose(mine["vector"], theirs["vector"], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": None}, r"The facts in .*w\.safetensors are damaged .* Export it again"),
        ({"inputs": []}, r"The facts in .*w\.safetensors are damaged .* Export it again"),
        ({"format_version": 2}, "has format version 2; this release reads 1"),
    ],
)
def test_damaged_facts_of_weights_are_named(
    change: dict[str, Any], message: str, trained: Run, tmp_path: Path
) -> None:
    file = tmp_path / "w.safetensors"
    trained.export("safetensors", file)
    tensors, header = read_tensors(file)
    write_tensors(file, tensors, {"torchfolio": header["torchfolio"] | change})
    with pytest.raises(FolioError, match=message):
        network_features("lenet5", [], weights=file, device="cpu")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": None}, "resnet20 without weights finds nothing: its own are random"),
        ({}, "do not tell how their training normalised pictures. Say it by --normalize"),
        ({"normalize": "standard"}, "fitted on training pictures, and there are none"),
        ({"normalize": "grey"}, "normalize is 'grey'; it should be imagenet, none or LOW:HIGH"),
        ({"normalize": "imagenet"}, "normalize = imagenet needs 3 channels"),
        ({"normalize": "none", "channels": 3}, r"The weights lack conv1\.weight, or have other"),
        ({"normalize": "none", "layer": "linear"}, r"The weights lack linear\.bias, linear\.weig"),
        ({"normalize": "none", "channels": 2}, "channels in the settings is 2; it should be one"),
        ({"normalize": "none", "layer": "layer4"}, "no layer named 'layer4'. The nearest: layer"),
    ],
)
def test_networks_that_cannot_be_used(
    settings: dict[str, Any], message: str, weights: Path
) -> None:
    with pytest.raises(RequestError, match=message):
        network_features("resnet20", [], **{"weights": weights, "device": "cpu"} | settings)
