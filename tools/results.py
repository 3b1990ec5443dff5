"""Run the trainings of docs/results.md and write its tables.

    python tools/results.py run [NAME ...] [--seeds 0 1 2]     needs TORCHFOLIO_DATA
    python tools/results.py write

Each training is one ``folio train`` in a process of its own; what it printed goes to
``docs/results/<name>.json``, one entry a seed, with the command, the machine and the versions.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from datetime import date
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"

# name: (section, what it is, the mark to reach, arguments of folio train)
TRAININGS: dict[str, tuple[str, str, str, str]] = {
    "mnist_softmax": (
        "MNIST",
        "softmax regression",
        "about 92 %",
        "softmax_regression {data}/mnist",
    ),
    "mnist_mlp": (
        "MNIST",
        "MLP 784-512-512-10",
        "98.4 %",
        "mlp {data}/mnist --set widths=[512,512]",
    ),
    "mnist_maxout": ("MNIST", "Maxout MLP", "98.8 % (1.2 % error)", "maxout_mlp {data}/mnist"),
    "mnist_lenet5": ("MNIST", "LeNet-5, dense form", "99.05 %", "lenet5 {data}/mnist"),
    "mnist_lenet5_original": (
        "MNIST",
        "LeNet-5 as in the paper",
        "99.05 % in the paper",
        "lenet5_original {data}/mnist",
    ),
    "notmnist_plain": (
        "notMNIST-small",
        "ResNet-18, split 50/30/20 plainly, as the source did",
        "94.00 % published",
        "resnet18 {data}/notmnist_small/notMNIST_small.tar.gz --val-split 0.3 --test-split 0.2 "
        "--duplicates ignore --epochs 12 --batch-size 128 --lr 0.01 --schedule cosine "
        "--augment none",
    ),
    "notmnist_together": (
        "notMNIST-small",
        "the same, copies of a picture kept on one side (our default)",
        "",
        "resnet18 {data}/notmnist_small/notMNIST_small.tar.gz --val-split 0.3 --test-split 0.2 "
        "--epochs 12 --batch-size 128 --lr 0.01 --schedule cosine --augment none",
    ),
    "cifar_resnet20": (
        "CIFAR-10, 4,000 pictures",
        "ResNet-20",
        "",
        "resnet20 {data}/cifar10_small/cifar10_png.tar.gz",
    ),
    "cifar_resnet56": (
        "CIFAR-10, 4,000 pictures",
        "ResNet-56",
        "",
        "resnet56 {data}/cifar10_small/cifar10_png.tar.gz",
    ),
    "cifar_resnet56_plain": (
        "CIFAR-10, 4,000 pictures",
        "56 layers without shortcuts",
        "",
        "resnet56_plain {data}/cifar10_small/cifar10_png.tar.gz",
    ),
    "cifar_resnet18": (
        "CIFAR-10, 4,000 pictures",
        "ResNet-18 at 64 x 64: the source of the transfer below",
        "",
        "resnet18 {data}/cifar10_small/cifar10_png.tar.gz --image-size 64 --epochs 15",
    ),
    "ants_bees_scratch": (
        "Ants and bees",
        "ResNet-18 from scratch",
        "65 to 70 % usual",
        "resnet18 {data}/hymenoptera --image-size 128",
    ),
    **{
        f"ants_bees_{mode.replace(':', '')}": (
            "Ants and bees",
            f"transfer from the CIFAR-10 run, --transfer {mode}",
            "",
            "resnet18 {data}/hymenoptera --image-size 128 --weights {cifar_resnet18} "
            f"--transfer {mode}",
        )
        for mode in ("all", "head", "last:2", "none")
    },
}


def main() -> None:
    """Read the request."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(TRAININGS)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, help="where the run folders go and stay")
    arguments = parser.parse_args()
    if arguments.what == "write":
        (ROOT / "docs" / "results.md").write_text(page(), encoding="utf-8")
        return
    data = os.environ.get("TORCHFOLIO_DATA")
    if not data:
        sys.exit("TORCHFOLIO_DATA is not set: it names the folder with the public data.")
    runs = arguments.runs or Path(tempfile.mkdtemp(prefix="folio-results-"))
    for seed in arguments.seeds:
        for name in arguments.names or TRAININGS:
            if name not in TRAININGS:
                sys.exit(f"There is no training {name!r}; there are: {', '.join(TRAININGS)}.")
            run(name, seed, Path(data), runs)


def run(name: str, seed: int, data: Path, runs: Path) -> None:
    """Train once and add what came out to the training's file."""
    template = TRAININGS[name][3]
    if "{cifar_resnet18}" in template and not (runs / f"cifar_resnet18-{seed}").exists():
        run("cifar_resnet18", seed, data, runs)
    places = {"data": data, "cifar_resnet18": runs / f"cifar_resnet18-{seed}"}
    target = runs / f"{name}-{seed}"
    arguments = [*template.format(**places).split(), "--seed", str(seed), "--out", str(target)]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "torchfolio", "train", *arguments, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{name}, seed {seed} failed: {done.stdout}")
    result = json.loads(done.stdout)
    entry = {
        "seed": seed,
        "command": "folio train "
        + template.format(data="DATA", cifar_resnet18="RUN")
        + f" --seed {seed}",
        "seconds": round(time.perf_counter() - start, 1),
        "metrics": result["metrics"],
        "baseline": result["baseline"],
        "training": result["training"],
        "date": date.today().isoformat(),
        "machine": machine(),
        "threads": threads(target),
        "versions": {each: version(each) for each in ("torchfolio", "torch")},
    }
    path = RESULTS / f"{name}.json"
    entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    entries = [each for each in entries if each["seed"] != seed] + [entry]
    RESULTS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    accuracy = result["metrics"]["accuracy"]
    print(f"{name} seed {seed}: {accuracy['value']:.4f} in {entry['seconds']:.0f} s", flush=True)


def threads(run: Path) -> int:
    """Return how many threads a run computed with."""
    recipe = tomllib.loads((run / "recipe.toml").read_text(encoding="utf-8"))
    return int(recipe["training"]["threads"])


def machine() -> str:
    """Return the processor in words."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores"


def page() -> str:
    """Return docs/results.md from the files in docs/results."""
    lines = [
        "# Results",
        "",
        "Each figure comes from the command below it, run once a seed (which also draws the split "
        "where the data have none), and is that of the test split, read once, with the weights "
        "that were best on validation data. "
        "Intervals are 95 % bootstrap intervals over test pictures, of the first seed. "
        "`python tools/results.py run` makes them anew, `python tools/results.py write` this page. "
        "`DATA` is the folder with the public data.",
        "",
    ]
    section = ""
    for name, (title, what, mark, _) in TRAININGS.items():
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        entries = sorted(
            json.loads(path.read_text(encoding="utf-8")), key=lambda each: each["seed"]
        )
        if title != section:
            section = title
            lines += [f"## {title}", ""]
        values = [100 * each["metrics"]["accuracy"]["value"] for each in entries]
        first = entries[0]
        low, high = (100 * first["metrics"]["accuracy"][end] for end in ("low", "high"))
        base = 100 * first["baseline"]["accuracy"]["value"]
        mean = statistics.mean(values)
        spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        seconds = statistics.mean(each["seconds"] for each in entries)
        lines += [
            f"### {what}",
            "",
            f"- accuracy: **{mean:.2f} %**{spread} over {len(values)} seed(s) "
            f"({', '.join(f'{value:.2f}' for value in values)}); first seed's interval "
            f"{low:.2f} to {high:.2f}; majority class {base:.2f}",
            *([f"- the mark: {mark}"] if mark else []),
            f"- time: {seconds:.0f} s for the whole process, "
            f"{first['training']['epochs']} epochs, {first['training']['updates']:,} updates",
            f"- on: {first['machine']}, {first['threads']} thread(s); torch {first['versions']['torch']}; {first['date']}",
            "",
            "```",
            first["command"],
            "```",
            "",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
