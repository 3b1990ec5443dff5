"""Grading persons' own modules: other names, other orders, and departures with their causes."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from torchfolio.cli.app import run as folio
from torchfolio.errors import FolioError, RequestError
from torchfolio.verification.departures import DEPARTURES
from torchfolio.verification.grading import grade, grade_file

TUTORIAL = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, inp, out, step=1):
        super().__init__()
        self.skip = nn.Sequential()
        if step != 1 or inp != out:
            self.skip = nn.Sequential(
                nn.Conv2d(inp, out, 1, step, bias=False), nn.BatchNorm2d(out{eps})
            )
        self.a = nn.Conv2d(inp, out, 3, step, 1, bias=False)
        self.an = nn.BatchNorm2d(out{eps})
        self.b = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(out{eps})

    def forward(self, x):
        way = self.skip(x)
        x = torch.relu(self.an(self.a(x)))
        x = self.bn(self.b(x))
        return {end}


class MyResNet(nn.Module):
    def __init__(self, n_classes=1000):
        super().__init__()
        print("made by hand")
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64{eps}), nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        blocks, width = [], 64
        for out in (64, 128, 256, 512):
            blocks += [Block(width, out, 1 if out == width else 2), Block(out, out)]
            width = out
        self.body = nn.Sequential(*blocks)
        self.head = nn.Linear(512, n_classes)

    def forward(self, x):
        x = self.body(self.stem(x))
        return self.head(x.mean((2, 3)))
"""


def written(folder: Path, eps: str = "", end: str = "torch.relu(x + way)") -> Path:
    file = folder / "mine.py"
    file.write_text(TUTORIAL.format(eps=eps, end=end), encoding="utf-8")
    return file


def test_another_persons_resnet_with_other_names_passes(tmp_path: Path) -> None:
    found = grade_file(written(tmp_path), "MyResNet", "resnet18")
    assert found.passed, found.failures
    assert found.parameters == found.expected == 11_689_512
    assert found.matched == 122 - 20  # every value but the counters of its norms
    assert found.layers["body.2.skip.0"] == "layer2.0.downsample.0"
    assert found.layers["head"] == "fc"


def test_keras_epsilon_is_named_with_its_layer(tmp_path: Path) -> None:
    found = grade_file(written(tmp_path, eps=", eps=1e-3"), "MyResNet", "resnet18")
    assert not found.passed
    assert found.layer == "stem.1"
    assert "epsilon 1e-3, as Keras has it" in found.cause


def test_a_missing_relu_is_named(tmp_path: Path) -> None:
    found = grade_file(written(tmp_path, end="x + way"), "MyResNet", "resnet18")
    assert not found.passed
    assert found.layer == "body.1.a"  # the first that reads the sum


LIBRARIES = [
    ("torchvision.models", "mobilenet_v2()", "mobilenet_v2"),
    ("timm", "create_model('mobilenetv1_100')", "mobilenet_v1_relu6"),  # activations in its norms
    ("timm", "create_model('vit_tiny_patch16_224')", "vit_ti_16"),  # tokens outside layers
    ("pytorchcv.models.densenet_cifar", "densenet100_k12_bc_cifar10()", "densenet100_k12_bc"),
    ("pytorchcv.models.mobilenet", "mobilenet_wd4()", "mobilenet_v1_0.25"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("library", "call", "network"), LIBRARIES)
def test_other_libraries_networks_pass_under_their_own_names(
    library: str, call: str, network: str
) -> None:
    module = eval(f"made.{call}", {"made": pytest.importorskip(library)})
    found = grade(module, network)
    assert found.passed, found.failures


@pytest.mark.slow
def test_the_other_activation_is_told_apart() -> None:
    timm = pytest.importorskip("timm")
    found = grade(timm.create_model("mobilenetv1_100"), "mobilenet_v1")
    assert not found.passed
    assert "(mobilenet-relu6)" in found.cause


def test_a_linear_layer_stands_for_a_convolution_over_all() -> None:
    class Dense(nn.Module):
        """LeNet-5 whose C5 is a convolution, as some write it."""

        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(1, 6, 5)
            self.two = nn.Conv2d(6, 16, 5)
            self.three = nn.Linear(400, 120)
            self.four = nn.Linear(120, 84)
            self.five = nn.Linear(84, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.avg_pool2d(torch.tanh(self.one(x)), 2)
            x = F.avg_pool2d(torch.tanh(self.two(x)), 2).flatten(1)
            return self.five(torch.tanh(self.four(torch.tanh(self.three(x)))))

    found = grade(Dense(), "lenet5")
    assert found.passed, found.failures
    assert found.layers == {"one": "c1", "two": "c3", "three": "c5", "four": "f6", "five": "output"}


SOME = ["epsilon", "momentum", "relu-missing", "norm-after-activation", "shortcut-missing"]


@pytest.mark.parametrize("name", SOME)
def test_planted_departures_are_named(name: str) -> None:
    [departure] = [each for each in DEPARTURES if each.name == name]
    found = grade(departure.build("resnet20"), "resnet20")
    assert not found.passed
    assert f"({name})" in found.cause


def test_a_module_of_another_size_is_counted_and_named() -> None:
    found = grade(nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.Linear(100, 10)), "mlp")
    assert not found.passed
    assert "there are 79,510 parameters; mlp has 203,530" in found.failures[0]


def test_a_map_pairs_what_shapes_do_not_tell(tmp_path: Path) -> None:
    text = """
from torch import nn
class Twisted(nn.Module):
    def __init__(self):
        super().__init__()
        self.q = nn.Linear(784, 256)
        self.r = nn.Linear(256, 10)
    def forward(self, x):
        return self.r(self.q(x.flatten(1)).relu())
"""
    file = tmp_path / "twisted.py"
    file.write_text(text, encoding="utf-8")
    mapping = tmp_path / "map.toml"
    mapping.write_text('"q" = "layers.0"\n', encoding="utf-8")
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('"q" = "nowhere"\n', encoding="utf-8")
    with pytest.raises(RequestError, match="no layer with values in the network named"):
        grade_file(file, "Twisted", "mlp", wrong)
    assert grade_file(file, "Twisted", "mlp", mapping).passed


def test_errors_of_the_persons_code_are_told(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("from torch import nn\n\ndef make():\n    return 1 / 0\n", encoding="utf-8")
    with pytest.raises(RequestError, match=r"cannot be made: ZeroDivisionError: .* \(line 4\)"):
        grade_file(file, "make", "lenet5")
    with pytest.raises(RequestError, match="has no Net; it has make"):
        grade_file(file, "Net", "lenet5")
    file.write_text("def make():\n    return 3\n", encoding="utf-8")
    with pytest.raises(RequestError, match=r"makes a int, not a torch\.nn\.Module"):
        grade_file(file, "make", "lenet5")
    file.write_text("import sys\nsys.exit(3)\n", encoding="utf-8")
    with pytest.raises(RequestError, match=r"cannot be made: SystemExit: 3 \(line 2\)"):
        grade_file(file, "make", "lenet5")
    file.write_text("while True:\n    pass\n", encoding="utf-8")
    with pytest.raises(FolioError, match=r"did not end within 3 s\. Put what trains or tests"):
        grade_file(file, "make", "lenet5", limit=3)
    with pytest.raises(RequestError, match="There is no file"):
        grade_file(tmp_path / "none.py", "make", "lenet5")


def test_a_file_with_the_name_of_a_library_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "json.py"
    text = "from torch import nn\nNet = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
    file.write_text(text, encoding="utf-8")
    assert grade_file(file, "Net", "softmax_regression").passed


def test_the_command_says_that_it_runs_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, eps=", eps=1e-3")
    assert folio(["verify", f"{file}:MyResNet", "--as", "resnet18"]) == 1
    told = capsys.readouterr().out
    assert "in a process of its own" in told
    assert "probable cause: epsilon 1e-3" in told
    assert folio(["verify", f"{file}:MyResNet", "--as", "resnet18", "--json"]) == 1
    [document] = json.loads(capsys.readouterr().out)
    assert document["passed"] is False
    assert document["layer"] == "stem.1"
    assert folio(["verify", f"{file}:MyResNet"]) == 2
    assert "--as NETWORK" in capsys.readouterr().err
