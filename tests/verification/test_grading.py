"""Grading persons' own modules: the file, the process, the map, the words.

What is found in implementations from elsewhere: test_elsewhere.py.
"""

import inspect
import json
from pathlib import Path

import pytest
import torch
import tutorials
from torch import nn
from torch.nn import functional as F

from torchfolio.cli.app import run as folio
from torchfolio.errors import FolioError, RequestError
from torchfolio.networks.build import build
from torchfolio.networks.catalogue import find_card
from torchfolio.verification.departures import DEPARTURES
from torchfolio.verification.grading import Grade, form_of, grade, grade_file
from torchfolio.verification.grading.files import load, read_map

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


def test_the_last_relu_missing_in_every_block_is_named(tmp_path: Path) -> None:
    found = grade_file(written(tmp_path, end="x + way"), "MyResNet", "resnet18")
    assert not found.passed
    assert (found.layer, found.side) == ("body.1.a", "input")  # the first that reads the sum
    assert found.after == "body.0.bn"
    assert found.causes == ["relu-last-missing"]
    assert found.explained
    assert "in layer1.0, layer1.1, layer2.0 and 5 more" in found.cause


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


SOME = [
    ("epsilon", "bn1", "output"),
    ("momentum", "bn1", "buffer"),
    ("relu-missing", "layer1.1.conv2", "input"),
    ("norm-after-activation", "layer1.1.bn1", "input"),
    ("shortcut-missing", "layer1.2.conv1", "input"),
    ("shortcut-detached", "layer3.0.conv1", "gradient"),
    ("frozen", "layer1.0.bn2", "gradient"),
    ("width", "layer2.0.conv1", "output"),
    ("bias-added", "conv1", "values"),
]


@pytest.mark.parametrize(("name", "layer", "side"), SOME)
def test_planted_departures_are_named_with_their_layer(name: str, layer: str, side: str) -> None:
    [departure] = [each for each in DEPARTURES if each.name == name]
    found = grade(departure.build("resnet20"), "resnet20")
    assert not found.passed
    assert (found.layer, found.side) == (layer, side)
    assert f"({name})" in found.cause
    assert found.causes == [name]


def test_a_module_of_another_size_is_counted_and_named() -> None:
    found = grade(nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.Linear(100, 10)), "mlp")
    assert not found.passed
    assert "there are 79,510 parameters; mlp has 203,530" in found.failures[0]


class Aside(nn.Module):
    """An mlp whose hidden units are those of two layers, side by side, the last that runs first."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Linear(784, 128), nn.Linear(784, 128)
        self.out = nn.Linear(256, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low, high = self.low(x.flatten(1)), self.high(x.flatten(1))
        return self.out(torch.cat([high, low], 1).relu())


def test_a_map_pairs_what_sizes_do_not_tell() -> None:
    assert not grade(Aside(), "mlp").passed  # by their order the two are exchanged
    found = grade(Aside(), "mlp", given={"high": "layers.0", "low": "layers.0"})
    assert found.passed, found.failures


def test_a_map_is_read_from_a_file_and_its_names_are_looked_up(tmp_path: Path) -> None:
    file = tmp_path / "twisted.py"
    text = "import torch\nfrom torch import nn\n\n\n" + inspect.getsource(Aside)
    file.write_text(text, encoding="utf-8")
    mapping = tmp_path / "map.toml"
    mapping.write_text('"high" = "layers.0"\n"low" = "layers.0"\n', encoding="utf-8")
    assert grade_file(file, "Aside", "mlp", mapping).passed
    for line, words in (
        ('"low" = "nowhere"', "no layer with values in the network named"),
        ('"nowhere" = "output"', "no layer with values in your module named"),
        ('"low" = "layers.0"\n"out" = "layers.0"', r"low and out, which together have 103,050"),
        ('"low" = 3', "and no others"),
        ("low", "cannot be read"),
    ):
        mapping.write_text(line, encoding="utf-8")
        with pytest.raises(RequestError, match=words):
            grade_file(file, "Aside", "mlp", mapping)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = 3\n", r"x in .*broken\.py is of type int\. Name a torch\.nn\.Module, or a class"),
        ("y = 3\n", r"broken\.py has no x; nor anything that makes a module\."),
        ("def x(a, b):\n    pass\n", r"2 required .* Add a function to .* that gives them"),
    ],
)
def test_what_is_no_module_is_told(code: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text(code, encoding="utf-8")
    with pytest.raises(RequestError, match=words):
        load(file, "x", form_of(find_card("mlp")))


def test_a_process_that_vanishes_and_a_map_that_is_no_text_are_told(tmp_path: Path) -> None:
    file, mapping = tmp_path / "broken.py", tmp_path / "map.toml"
    file.write_text("import os\nos._exit(3)\n", encoding="utf-8")
    with pytest.raises(FolioError, match=r"ended with status 3 .* python .*broken\.py"):
        grade_file(file, "make", "lenet5")
    mapping.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match=r"map\.toml cannot be read"):
        read_map(mapping)


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
    assert "first in your stem.1\n" in told
    assert "probable cause: epsilon 1e-3" in told
    assert folio(["verify", f"{file}:MyResNet", "--as", "resnet18", "--json"]) == 1
    [document] = json.loads(capsys.readouterr().out)
    assert document["passed"] is False
    assert document["layer"] == "stem.1"
    assert folio(["verify", f"{file}:MyResNet"]) == 2
    assert "--as NETWORK" in capsys.readouterr().err


def test_a_layer_named_as_a_word_of_a_sentence_is_not_taken_for_it() -> None:
    # lenet5 has a layer "output"; faults say "the output differs"
    found = grade(tutorials.FirstLeNet(bias=False, act=nn.Tanh, pool="mean"), "lenet5")
    assert not found.passed
    assert (found.layer, found.side, found.at) == ("conv1", "output", "c1")
    assert found.causes == ["bias"]
    assert found.failures[1] == "c1.bias (6) of the network has no partner in yours"
    found = grade(tutorials.Perceptron(drop=0.5), "mlp")
    assert (found.layer, found.side, found.at) == ("classifier", "input", "output")


class Sprawling(tutorials.FirstLeNet):
    """LeNet with a layer more on its first maps, and one mistake, much later.

    What the layer gives comes out beside the scores, or ``leads`` to where the mistake is.
    """

    def __init__(self, leads: bool) -> None:
        super().__init__(act=nn.Tanh, pool="mean")
        self.leads = leads
        self.aux = nn.Linear(28, 3 if leads else 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        maps = self.conv1(x)
        aux = self.aux(maps)
        x = self.pool(self.act(self.conv2(self.pool(self.act(maps), 2))), 2).flatten(1)
        x = torch.relu(self.fc2(self.act(self.fc1(x))))  # for tanh
        return self.fc3(x + aux.flatten(1)[:, :84]) if self.leads else (self.fc3(x), aux)


@pytest.mark.parametrize(("leads", "named"), [(False, ("fc3", "input")), (True, ("aux", "extra"))])
def test_a_layer_more_is_named_where_it_leads_to_what_differs(
    leads: bool, named: tuple[str, str]
) -> None:
    found = grade(Sprawling(leads), "lenet5", seconds=1.0)
    assert (found.layer, found.side) == named


def test_buffers_of_theirs_are_noted_and_not_judged() -> None:
    found = grade(tutorials.Normalising(), "lenet5")
    assert found.passed, found.failures
    assert found.notes == ["mean (1x1x1x1) is a buffer of yours that the network has not"]


class Square(nn.Module):
    """A pool for square maps: as wide as high."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(maps, maps.size(3))


@pytest.mark.parametrize("pool", [nn.AvgPool2d(7), Square()])
def test_what_fits_the_papers_size_alone_is_judged_there(pool: nn.Module) -> None:
    module = build("mobilenet_v1_0.25")
    module.avgpool = pool
    found = grade(module, "mobilenet_v1_0.25")
    assert found.passed, found.failures
    assert found.notes == [
        "compared with pictures of 224x224: those of 67x45 it does not take, or takes otherwise"
    ]


def test_a_module_that_does_not_run_is_told_where_it_stops() -> None:
    class Broken(tutorials.FirstLeNet):
        def __init__(self) -> None:
            super().__init__(act=nn.Tanh, pool="mean")
            self.fc2 = nn.Linear(100, 84)

    found = grade(Broken(), "lenet5")
    assert not found.passed
    assert any("mat1 and mat2 shapes cannot be multiplied" in each for each in found.failures)
    assert (found.layer, found.side) == ("fc2", "error")


def test_padding_for_smaller_pictures_is_named() -> None:
    found = grade(tutorials.lazy_lenet(), "lenet5")
    assert found.layer == "0"
    assert found.causes[0] == "lenet-padding"
    assert found.explained


class Single(nn.Module):
    """An mlp that computes in float32 whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.one = tutorials.Perceptron(), torch.ones(1, 784)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(F.linear(x.flatten(1), torch.eye(784, dtype=self.one.dtype)))


def test_what_does_not_run_in_float64_is_compared_in_float32() -> None:
    found = grade(Single(), "mlp")
    assert found.passed, found.failures
    assert found.notes == ["it does not run in float64; compared in float32 alone"]


class Answer(dict):
    """What some libraries return."""


class Several(tutorials.Perceptron):
    """Returns more than the scores."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def forward(self, x: torch.Tensor) -> object:
        scores = super().forward(x)
        return {"pair": (scores, x), "few": (scores, None), "answer": Answer(logits=scores)}[
            self.way
        ]


@pytest.mark.parametrize("way", ["pair", "few", "answer"])
def test_the_scores_are_found_in_what_is_returned(way: str) -> None:
    found = grade(Several(way), "mlp")
    assert found.passed, found.failures


def test_the_search_for_a_cause_is_bounded() -> None:
    found = grade(tutorials.FirstLeNet(), "lenet5", seconds=0)
    assert not found.passed
    assert (found.layer, found.cause) == ("conv2", "")
    assert "the search for a cause ended for want of time" in found.notes


def test_what_has_no_known_cause_is_said_to_be_explained_in_part() -> None:
    class Odd(tutorials.FirstLeNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.pool(torch.relu(self.conv1(x)), 2)  # known
            x = self.pool(self.act(self.conv2(x)), 2).flatten(1)
            return self.fc3(self.act(self.fc2(self.act(self.fc1(x).roll(1, 1)))))  # unknown

    found = grade(Odd(act=nn.Tanh, pool="mean"), "lenet5")
    assert not found.explained
    assert found.cause.startswith("relu for tanh (function)")
    assert "the probable cause explains the first difference, not all of them" in found.notes


def test_the_network_is_graded_as_itself() -> None:
    found = grade(build("lenet5_original"), "lenet5_original")
    assert found == Grade(
        "LeNet5", "lenet5_original", True, 60_000, 60_000, matched=found.matched,
        max_difference=found.max_difference, layers=found.layers,
    )  # fmt: skip
