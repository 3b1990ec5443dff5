"""The tables of the page that are of no workload: networks of others, layouts, precision, ..."""

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.precision import PRECISIONS, SEEDS, cleared
from benchmarks.schedules import TAKEN
from benchmarks.statistics import OURS, Spread, interval

CANONICAL = """\
Our networks as `create` makes them beside the same networks of others, with the same weights, in
float32 and the plain memory layout, in turn in one process: forward in evaluation mode under
`inference_mode`, and forward and backward in train mode with cross-entropy. Milliseconds of a
pass, median; *ours / it* is the ratio of the same round, median and quartiles. It is *slower* where
the lower quartile is above 1 and the median above {ALIKE}, *faster* where the upper quartile is
below 1 and the median below {BELOW}, else *alike*: `python -m benchmarks.canonical`.
"""
ALIKE, BELOW = 1.02, 0.98  # ratios between which two are alike, whatever their spread
LOCAL_RESPONSE = """\
Ways to write the local response normalisation of AlexNet (2012), in turn; milliseconds of a pass,
median. `ours` is `torchfolio.layers.local_response`, `torch` is `torch.nn.functional`'s:
`python -m benchmarks.local_response`.
"""
LAYOUTS = """\
Milliseconds of one training step (forward, backward, optimizer), median, the variants in turn:
`python -m benchmarks.layouts`, on a GPU with `--device cuda`, where `graph` is the passes replayed
as a CUDA graph. The rules are `wants_channels_last` and `resolve_arithmetic` in
`torchfolio.training.device`, and `resolve_graphs` in `torchfolio.training.graphs`; the precision is
that of the next table.
"""
WEIGHT_GRADIENTS = """\
The gradient by the weights of ResNet-18's convolutions of 3x3 at 128 and 224 pixels, batch 32,
channels-last, by oneDNN and as matrix products; milliseconds, median, in turn:
`python -m benchmarks.weight_gradients`. The rule is `torchfolio.training.convolution`: products
from 256 channels on in bf16 with AMX, from 128 on in float32 without avx512.
"""
PRECISION = """\
Whole trainings by the recipe in float32 and in bf16, the same seeds side by side, accuracy on the
test split in %, mean with its 95 % interval: `python -m benchmarks.precision`. A network is cleared
where the mean in bf16 is not below the interval of float32, and is then trained in bf16 on
processors with instructions for it where it is large enough (`wants_bf16` in
`torchfolio.training.device`). The trainings ran on a CPU. On GPUs what they cleared is taken over
for networks with batch norm, whose steps are quicker in bf16 there (the table before); whole
trainings in both precisions have not been compared on a GPU. Several processes have the losses of
one to 1e-5 over 100 updates in float32 (`tests/training/test_processes.py`); no test says how far
they are apart in bf16. The seconds are those of trainings that share a machine.
"""
SCHEDULES = """\
Mean accuracy of the last epoch on the validation split: `python -m benchmarks.schedules`. The test
split has no say in the choice. *Taken* is, of MNIST, the shortest that reaches the mark: the fewest
epochs, then the larger batch. Three epochs reach that of notMNIST, too, by a third of a point at
most; its test split is small (a standard error of 0.4 points), so one epoch more is taken.
"""
GROWTH = "Measured by `python -m benchmarks.growth`.\n"
LOAD = """\
Pictures of 16x16 pixels in class folders or beside a table, in very many classes (20 pictures in
each), and on a disk whose every access takes {slow_disk_ms:g} ms; the first class has one picture.
One epoch of a linear network, one thread, whole processes, on {machine}; torch {torch},
torchfolio {torchfolio}: `python -m benchmarks.load`.
"""
KEPT = """\
Training steps of ResNet-18 in bf16, batch 32, in processes that take turns: malloc keeps what a
step frees (`torchfolio.training.malloc`), or is left alone: `python -m benchmarks.kept_memory`.
"""
COMPILED = """\
A training step in float32 as written and compiled (`--compile`), in turn, on pictures of the page's
size, and the seconds of compiling both forms of batch that an epoch has, none of it cached: CPU
time of one thread, on GPUs by the clock. It pays after as many updates as those seconds divided by
what a step gains: `python -m benchmarks.compiled`. No rule of ours turns it on. Both ways are in
float32 alone, while `resnet20` trains in bf16 by itself where the processor has instructions for
it: what compiling is worth there has not been measured.
"""
DECODING = """\
A JPEG of 500x375, CPU time of one thread, the parts in turn: `python -m benchmarks.decoding`.
"""
PRECISION_OF_BOXES = """\
COCO's twelve numbers from arrays of boxes, as a run computes them after every epoch, beside
pycocotools, in turn in one process: `python -m benchmarks.average_precision`.
"""
GROWTHS = {
    "time": "Seconds of an epoch of LeNet-5 at batch 64, with its validation",
    "memory": "MiB that a training on JPEGs of 500x375 holds at most, and what of it is anonymous",
    "loop": "Milliseconds of an update, CPU time of one thread, and the loop's own share",
}


def canonical(folder: Path) -> list[str]:
    """Return the tables of ``benchmarks.canonical``, one for each hardware."""
    lines = (
        ["## Beside the canonical networks", "", CANONICAL.format(ALIKE=ALIKE, BELOW=BELOW)]
        if any(folder.glob("*.json"))
        else []
    )
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        rows = found["networks"]
        places = dict.fromkeys(
            f"{row['threads']} threads, torch {row['torch']}, {row['began'][:10]}" for row in rows
        )
        lines += [f"{found['hardware']}, {'; '.join(places)}:", "",
                  "| network | pass | batch | rounds | ours | beside | theirs | ours / it | ours |",
                  "|" + "---|" * 9]  # fmt: skip
        for row in rows:
            turns = dict(row["turns"])
            ours = turns.pop(OURS)
            for title, theirs in turns.items():
                ratio = Spread.of([one / other for one, other in zip(ours, theirs, strict=True)])
                assert ratio is not None
                lines.append(
                    f"| {row['network']} | {row['pass']} | {row['batch']} | {ratio.count} | "
                    f"{statistics.median(ours):.4g} | {title} | {statistics.median(theirs):.4g} | "
                    f"{ratio.median:.3f} ({ratio.lower:.3f} to {ratio.upper:.3f}) | "
                    f"{answer(ratio)} |"
                )
        lines.append("")
    return lines


def answer(ratio: Spread) -> str:
    """Return in a word how ours stands to another, by the ratios of the same rounds."""
    if ratio.lower > 1 and ratio.median > ALIKE:
        return "slower"
    return "faster" if ratio.upper < 1 and ratio.median < BELOW else "alike"


def local_response(folder: Path) -> list[str]:
    """Return the tables of ``benchmarks.local_response``, one for each hardware."""
    files = sorted(folder.glob("*.json"))
    lines = ["## Local response normalisation", "", LOCAL_RESPONSE] if files else []
    for path in files:
        found = json.loads(path.read_text(encoding="utf-8"))
        names = list(found["distances"])
        lines += [
            f"{found['hardware']}, {found['threads']} threads, torch {found['torch']}, "
            f"{found['began'][:10]}, {found['rounds']} rounds:",
            "",
            "| shape | layout | pass | " + " | ".join(names) + " | ours / torch |",
            "|" + "---|" * (len(names) + 4),
        ]
        for row in found["rows"]:
            times = row["milliseconds"]
            cells = [row["shape"], row["layout"], row["pass"]]
            cells += [f"{times[name]:.3g}" for name in names]
            lines.append("| " + " | ".join([*cells, f"{times[OURS] / times['torch']:.2f}"]) + " |")
        far = ", ".join(
            f"{name} {values:.1e} and {gradients:.1e}"
            for name, (values, gradients) in found["distances"].items()
        )
        lines += [
            "",
            "Values and gradients in float32 from torch's in float64, relative to the largest: "
            f"{far}.",
            "",
        ]
    return lines


def weight_gradients(folder: Path) -> list[str]:
    """Return the tables of ``benchmarks.weight_gradients``, one for each hardware."""
    files = sorted(folder.glob("*.json"))
    lines = ["## Weight gradients", "", WEIGHT_GRADIENTS] if files else []
    for path in files:
        found = json.loads(path.read_text(encoding="utf-8"))
        amx = "with" if found["amx"] else "without"
        lines += [
            f"{found['hardware']}, {amx} AMX, {found['threads']} threads, torch {found['torch']}, "
            f"{found['began'][:10]}, {found['rounds']} rounds:",
            "",
            "| precision | channels | maps | side | stride | oneDNN | products | products / oneDNN "
            "|\n|" + 8 * "---|",
        ]
        for row in found["rows"]:
            times = row["milliseconds"]
            cells = [str(row[key]) for key in ("precision", "channels", "maps", "side", "stride")]
            cells += [f"{times[name]:.3g}" for name in ("oneDNN", "products")]
            cells.append(f"{times['products'] / times['oneDNN']:.2f}")
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return lines


def layouts(folder: Path) -> list[str]:
    """Return the tables of ``benchmarks.layouts``, one for each hardware."""
    lines = ["## Layouts and precision", "", LAYOUTS] if any(folder.glob("*.json")) else []
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        names = list(found["networks"][0]["milliseconds"])
        lines += [
            f"{found['hardware']}, {found['threads']} threads, torch {found['torch']}, "
            f"{found['began'][:10]}, {found['rounds']} rounds:",
            "",
            "| network | batch | size | " + " | ".join(names) + " | the rule takes |",
            "|" + "---|" * (len(names) + 4),
        ]
        for row in found["networks"]:
            cells = [f"{row['milliseconds'][name]:.4g}" for name in names]
            lines.append(
                f"| {row['network']} | {row['batch']} | {row['size']} | {' | '.join(cells)} | "
                f"{row['chosen']} |"
            )
        lines.append("")
    return lines


def precisions(folder: Path) -> list[str]:
    """Return the table of ``benchmarks.precision``."""
    documents = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    if not documents:
        return []
    lines = ["## Float32 and bf16", "", PRECISION]
    lines += ["| network | seeds | fp32 | bf16 | seconds fp32, bf16 | cleared | command |",
              "|---|---|---|---|---|---|---|"]  # fmt: skip
    for document in documents:
        rows = document["rows"]
        found = {kind: [100 * row[kind]["accuracy"] for row in rows] for kind in PRECISIONS}
        means = [
            "{:.2f} ± {:.2f}".format(*interval(each)) if len(rows) > 1 else f"{each[0]:.2f}"
            for each in found.values()
        ]
        seconds = [statistics.median(row[kind]["seconds"] for row in rows) for kind in found]
        answer = "yes" if cleared(found) else "no"
        lines.append(
            f"| {document['network']} | {len(rows)} | {' | '.join(means)} | "
            f"{seconds[0]:.0f}, {seconds[1]:.0f} | "
            f"{answer if len(rows) >= SEEDS else f'needs {SEEDS} seeds'} | "
            f"`{document['command']}` |"
        )
    rows = [row for document in documents for row in document["rows"]]
    places = dict.fromkeys(f"{row['hardware']}, torch {row['torch']}" for row in rows)
    return [*lines, "", f"Measured on {'; '.join(places)}, one thread each.", ""]


def schedules(folder: Path) -> list[str]:
    """Return the tables of ``benchmarks.schedules``."""
    documents = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    lines = ["## Schedules of the time to accuracy", "", SCHEDULES] if documents else []
    for document in documents:
        taken = {TAKEN[document["workload"]]: " (taken)"}
        lines += [f"`{document['workload']}`, mark {100 * document['mark']:.2f} %:", "",
                  "| candidate | validation | seeds | flags |", "|---|---|---|---|"]  # fmt: skip
        lines += [
            f"| {row['name']}{taken.get(row['name'], '')} | "
            f"{100 * statistics.mean(row['val_accuracy']):.2f} % | "
            f"{len(row['seeds'])} | `{row['flags']}` |"
            for row in document["candidates"]
        ]
        lines.append("")
    return lines


def growth(folder: Path) -> list[str]:
    """Return the tables of ``benchmarks.growth``, for each hardware."""
    lines = ["## Growth", "", GROWTH] if any(folder.glob("*.json")) else []
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        for what, title in GROWTHS.items():
            if what not in found:
                continue
            rows, about = found[what]["rows"], found[what]
            lines += [
                f"{title}: {found['hardware']}, torch {about['torch']}, {about['began'][:10]}:",
                "",
                "| " + " | ".join(rows[0]) + " |",
                "|" + "---|" * len(rows[0]),
                *("| " + " | ".join(map(figure, row.values())) + " |" for row in rows),
                "",
            ]  # fmt: skip
    return lines


def figure(value: Any) -> str:
    """Return a value, or the range that a list of two holds, as a cell."""
    if isinstance(value, list):
        return " to ".join(map(figure, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def kept_memory(folder: Path) -> list[str]:
    """Return the table of ``benchmarks.kept_memory``, for each hardware."""
    lines = ["## Memory that a step frees", "", KEPT] if any(folder.glob("*.json")) else []
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        lines += [
            f"{found['hardware']}, {found['rounds']} processes of each, {found['began'][:10]}:",
            "",
            "| pixels | malloc | ms, median | smallest to largest | page faults a step | MiB |",
            "|---|---|---|---|---|---|",
        ]
        for row in found["steps"]:
            every = row["all_milliseconds"]
            lines.append(
                f"| {row['size']} | {row['way']} | {row['milliseconds']:.0f} | {min(every):.0f} to "
                f"{max(every):.0f} | {row['page_faults']:,.0f} | {row['memory_mib']:,.0f} |"
            )
        lines.append("")
    return lines


def compiled(folder: Path) -> list[str]:
    """Return the table of ``benchmarks.compiled``, for each hardware."""
    lines = ["## torch.compile", "", COMPILED] if any(folder.glob("*.json")) else []
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        places = dict.fromkeys(
            f"torch {row['torch']}, {row['rounds']} rounds, {row['began'][:10]}; load of the "
            f"machine {row['load']}"
            for row in found["networks"]
        )
        lines += [
            f"{found['hardware']}, {'; '.join(places)}:",
            "",
            "| network | batch | ms, plain | quartiles | ms, compiled | quartiles | compiling, s "
            "| pays after, updates |",
            "|" + "---|" * 8,
        ]
        for row in found["networks"]:
            cells = [row["network"], str(row["batch"])]
            for way in ("plain", "compiled"):
                low, high = row["quartiles"][way]
                cells += [f"{row['milliseconds'][way]:.2f}", f"{low:.2f} to {high:.2f}"]
            after = row["pays_after"]
            cells += [f"{row['compiling']:.0f}", "never" if after is None else f"{after:,}"]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return lines


def decoding(folder: Path) -> list[str]:
    """Return the table of ``benchmarks.decoding``, for each hardware."""
    lines = ["## One JPEG", "", DECODING] if any(folder.glob("*.json")) else []
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        rows = [f"| {row['part']} | {row['milliseconds']:.2f} |" for row in found["parts"]]
        about = f"{found['hardware']}, {found['rounds']} rounds, {found['began'][:10]}:"
        lines += [about, "", "| part | ms |", "|---|---|", *rows, ""]
    return lines


def average_precision(folder: Path) -> list[str]:
    """Return the table of ``benchmarks.average_precision``, for each hardware."""
    lines = ["## Average precision", "", PRECISION_OF_BOXES] if any(folder.glob("*.json")) else []
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        heads = ("pictures", "classes", "objects", "detections")
        columns = (*heads, "ours, s", "pycocotools, s", "ours / it", "largest difference")
        lines += [f"{found['hardware']}, {found['began'][:10]}:", ""]
        lines += ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
        for row in found["rows"]:
            own, other = row["seconds"]["ours"], row["seconds"]["pycocotools"]
            ratio = statistics.median(a / b for a, b in zip(own, other, strict=True))
            cells = [f"{row[each]:,}" for each in heads]
            cells += [f"{statistics.median(each):.3f}" for each in (own, other)]
            lines.append(
                "| " + " | ".join([*cells, f"{ratio:.3f}", f"{row['difference']:.1g}"]) + " |"
            )
        lines.append("")
    return lines


def load(path: Path) -> list[str]:
    """Return the table of ``benchmarks.load``."""
    if not path.is_file():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    which = ("data", "files", "classes", "verb", "cache")
    columns = (*which, "wall", "first_step", "memory_mb", "anonymous_mb", "run_mb", "date")
    heads = (
        *which,
        "s",
        "first step, s",
        "memory, MB",
        "of that anonymous",
        "run folder, MB",
        "date",
    )
    about = LOAD.format(**found, **found["versions"])
    lines = ["## Load", "", about, "| " + " | ".join(heads) + " |"]
    lines.append("|" + "---|" * len(heads))
    for row in found["rows"]:
        cells = ("" if row.get(name) is None else row[name] for name in columns)
        told = [f"{each:,}" if isinstance(each, int) else str(each) for each in cells]
        if row["status"] != 0:
            told[5] = f"failed after {told[5]}"
        lines.append("| " + " | ".join(told) + " |")
    return [*lines, ""]
