"""Write docs/performance.md and its charts from the results: ``python -m benchmarks.page``.

Only sittings at full size count. Rounds add up where workload, hardware and our code are the same.
"""

import statistics
from pathlib import Path

from benchmarks import results
from benchmarks.bounds import told
from benchmarks.chart import bars
from benchmarks.process import ROOT
from benchmarks.statistics import BF16, COLD, OURS, Round, Spread, ratios, values, verdict
from benchmarks.tables import (
    average_precision,
    canonical,
    compiled,
    decoding,
    growth,
    kept_memory,
    layouts,
    load,
    local_response,
    precisions,
    schedules,
    weight_gradients,
)
from benchmarks.workloads import all_workloads

FINDINGS = ROOT / "benchmarks" / "findings.md"  # written by hand

INTRODUCTION = """\
# Performance

Our command beside the usual way of its peers to do the same work, measured by the instrument in
`benchmarks/`. Contestants run as whole processes, from start to end, in turn (A B C A B C), on the
same data, with the same network, batches, optimizer, rate and augmentation, and are tested on the
same held-out pictures, so that nobody wins by doing less: who stays at chance has failed, and who
differs from us by more than chance explains is marked.

Ours is timed with its evaluation on the validation split after every epoch and on the test split at
the end, with intervals, and with all that resuming needs; without the report (`--no-report`).
`ours_report` is the same with the report. Peers validate and test too.

- *time*: median seconds by the clock, with the smallest and the largest; *CPU*: median seconds of
  user and system time, of the process and of those it started.
- *first step*: seconds from the start until the first training step is done.
- *memory*: the largest resident memory of one process, median, and in brackets what of it is not
  mapped from files; worker processes of a peer come on top.
- *rounds*: in how many a contestant ran, where not in all: who is far slower than the fastest need
  not run every time.
- *accuracy*: mean over the rounds.
- *of the ceiling*: the arithmetic of the work (backward counts as two forward passes), per second
  of the whole process (or of one answer, where latency is measured), as a share of the rate
  measured in the same sitting (on GPUs fp32 as TF32).
- *ours / it*: the ratio of the times in the same round, median, and its smallest and largest; below
  1 we are quicker. `ours_cold` is ours with an empty cache, elsewhere it holds the data.
"""
REACHED = """\
What was to be reached on two cores without a GPU, by the rounds below: ours over the peer in the
same round, or seconds. Where fewer rounds have both than the workload asks for, there is no
result yet; where it has a mark of accuracy, ours has to reach that first.
"""
NOTHING = "There are no results yet.\n"
AGAIN = """\
## Measuring again

```text
make bench                                          all workloads of this machine
python -m benchmarks.run lenet_mnist --rounds 5     one of them
python -m benchmarks.canonical                      our networks beside the same ones of others
python -m benchmarks.local_response                 local response normalisation beside torch's
python -m benchmarks.layouts                        steps in each layout and precision
python -m benchmarks.weight_gradients               weight gradients by oneDNN and as products
python -m benchmarks.precision                      whole trainings in float32 and bf16
python -m benchmarks.schedules time_mnist           schedules of the time to accuracy
python -m benchmarks.growth                         time and memory as the data grow
python -m benchmarks.kept_memory                    malloc that keeps what a step frees
python -m benchmarks.compiled                       when torch.compile pays
python -m benchmarks.decoding                       what one JPEG costs, part by part
python -m benchmarks.average_precision              COCO's figures beside pycocotools
python -m benchmarks.load                           very many pictures, classes, a slow disk
python -m benchmarks.page                           this page
```

On a machine with a GPU the same commands train on it. `TORCHFOLIO_DATA` names the folder with the
public data.
"""


def write_page(folder: Path = results.RESULTS, docs: Path = ROOT / "docs") -> None:
    """Write the page and its charts."""
    gathered = results.gather(folder)
    lines = [INTRODUCTION, *([] if gathered else [NOTHING])]
    order = list(all_workloads())
    for hardware in sorted({hardware for _, hardware in gathered}):
        lines += [f"## {hardware}", ""]
        here = {name: gathered[name, place] for name, place in gathered if place == hardware}
        if all(each["device"] == "cpu" for found in here.values() for each in found):
            lines += reached(here)
        for workload in order:
            if (workload, hardware) in gathered:
                lines += section(gathered[workload, hardware], docs)
    lines += canonical(folder.parent / "canonical")
    lines += local_response(folder.parent / "local_response")
    lines += layouts(folder.parent / "layouts")
    lines += weight_gradients(folder.parent / "weight_gradients")
    lines += precisions(folder.parent / "precision")
    lines += schedules(folder.parent / "schedules")
    lines += growth(folder.parent / "growth")
    lines += kept_memory(folder.parent / "kept_memory")
    lines += compiled(folder.parent / "compiled")
    lines += decoding(folder.parent / "decoding")
    lines += average_precision(folder.parent / "average_precision")
    lines += load(docs / "results" / "load.json")
    lines += [FINDINGS.read_text(encoding="utf-8"), AGAIN]
    (docs / "performance.md").write_text("\n".join(lines), encoding="utf-8")


def reached(gathered: dict[str, list[results.Sitting]]) -> list[str]:
    """Return the table of what was to be reached and what was, on one hardware."""
    rows = []
    for name, workload in all_workloads().items():
        if not workload.bounds or name not in gathered:
            continue
        rounds = results.rounds_of(gathered[name])
        names = {contestant for each in rounds for contestant in each}
        in_bf16 = [each for each in names if precision(rounds, each) == "bf16"]
        found = told(rounds, workload.bounds, workload.mark, in_bf16, workload.least_rounds)
        rows += [f"| `{name}` | {' | '.join(row)} |" for row in found]
    head = ["| workload | ours | over | median (range) | at most | reached |", "|" + "---|" * 6]
    return [REACHED, *head, *rows, ""] if rows else []


def section(sittings: list[results.Sitting], docs: Path) -> list[str]:
    """Return the section of one workload on one hardware, and write its chart."""
    newest, rounds = sittings[-1], results.rounds_of(sittings)
    names = list(dict.fromkeys(name for each in rounds for name in each))
    measure = newest["measure"]
    lines = [f"### {newest['title']}", "", *table(newest, rounds, names), ""]
    spreads = {name: Spread.of(values(rounds, name, measure)) for name in names}
    drawn = {name: spread for name, spread in spreads.items() if spread is not None}
    if drawn:
        stem = f"{newest['workload']}_{results.slug(newest['hardware'])}"
        (docs / "performance").mkdir(exist_ok=True)
        shown = ", ".join(f"{name} {spread.median:.3g} s" for name, spread in drawn.items())
        chart = bars(drawn, f"{newest['title']}: {shown}")
        (docs / "performance" / f"{stem}.svg").write_text(chart, encoding="utf-8")
        lines += [f"![Median seconds: {shown}](performance/{stem}.svg)", ""]
    lines += remarks(newest, rounds, names)
    lines += [*origin(sittings, rounds), "", *commands(sittings), ""]
    return lines


def table(newest: results.Sitting, rounds: list[Round], names: list[str]) -> list[str]:
    """Return the table of the contestants."""
    measure = newest["measure"]
    head = {"wall": "time", "first_step": "first step", "latency": "latency"}[measure]
    columns = ["contestant", "rounds", f"{head}, s", "CPU, s", "memory, MiB", "accuracy"]
    if measure == "wall":
        columns.insert(4, "first step, s")
    if measure != "first_step":
        columns.append("of the ceiling")
    columns += [f"{each} / it" for each in (OURS, COLD)]
    rows = []
    for name in names:
        ran = sum(name in each for each in rounds)
        over = {
            f"{each} / it": ratios(rounds, name, measure, each) if name != each else []
            for each in (OURS, COLD)
        }
        cells = {
            "contestant": name.removesuffix(BF16)
            + (" (bf16)" if precision(rounds, name) == "bf16" else ""),
            "rounds": f"{ran} of {len(rounds)}" if ran < len(rounds) else "",
            f"{head}, s": spread_of(values(rounds, name, measure)),
            "CPU, s": middle(values(rounds, name, "cpu"), "{:.3g}"),
            "first step, s": middle(values(rounds, name, "first_step"), "{:.3g}"),
            "memory, MiB": memory(rounds, name),
            "accuracy": accuracy(rounds, name),
            "of the ceiling": share(newest, rounds, name),
            **{column: spread_of(found) if found else "" for column, found in over.items()},
        }
        rows.append([cells[column] for column in columns])
    kept = [number for number, _ in enumerate(columns) if any(row[number] for row in rows)]
    lines = [[columns[number] for number in kept], ["---"] * len(kept)]
    lines += [[row[number] for number in kept] for row in rows]
    return ["|" + "|".join(f" {cell} " if cell else " " for cell in line) + "|" for line in lines]


def spread_of(found: list[float]) -> str:
    """Return the median with the smallest and the largest; of one value, the value."""
    spread = Spread.of(found)
    if spread is None:
        return "failed"
    if spread.count == 1:
        return f"{spread.median:.3g}"
    return f"{spread.median:.3g} ({spread.low:.3g} to {spread.high:.3g})"


def middle(found: list[float], form: str) -> str:
    """Return the median, "" where there is no value."""
    return form.format(statistics.median(found)) if found else ""


def memory(rounds: list[Round], name: str) -> str:
    """Return the memory in MiB, and in brackets its anonymous part."""
    whole, private = (
        middle([each / 2**20 for each in values(rounds, name, quantity)], "{:.0f}")
        for quantity in ("memory", "anonymous")
    )
    return f"{whole} ({private})" if private else whole


def accuracy(rounds: list[Round], name: str) -> str:
    """Return the mean accuracy in %, and how it stands to ours where chance does not explain it."""
    found = values(rounds, name, "accuracy")
    if not found:
        return ""
    return ", ".join(filter(None, (f"{100 * statistics.mean(found):.2f} %", verdict(rounds, name))))


def share(newest: results.Sitting, rounds: list[Round], name: str) -> str:
    """Return the arithmetic a second, as a share of the ceiling of its precision."""
    seconds = values(rounds, name, newest["measure"])
    if not newest["operations"] or not seconds:
        return ""
    kind = precision(rounds, name).replace("tf32", "fp32")  # whose ceiling on a GPU is TF32
    ceiling = newest["ceiling"][f"{newest['operations_against']}_{kind}"]
    return f"{100 * newest['operations'] / statistics.median(seconds) / ceiling:.3g} %"


def precision(rounds: list[Round], name: str) -> str:
    """Return the precision that a contestant computed in; of a peer its name tells."""
    usual = "bf16" if name.endswith(BF16) else "fp32"
    runs = [each[name] for each in rounds if name in each and not each[name]["why"]]
    return str(runs[-1].get("precision", usual)) if runs else usual


def remarks(newest: results.Sitting, rounds: list[Round], names: list[str]) -> list[str]:
    """Return what is to be said: too few rounds, a mark that is reached or not yet, failures."""
    lines: list[str] = []
    least = newest["least_rounds"]
    ran = {name: sum(name in each for each in rounds) for name in names}
    few = [name for name in names if ran[name] < least]
    if len(rounds) < least:
        lines.append(f"- {len(rounds)} of {least} rounds so far: not yet a result.")
    elif few:
        lines.append(f"- fewer than {least} rounds, so not yet a result: {', '.join(few)}")
    if newest["mark"] is not None:
        for name in names:
            found = values(rounds, name, "accuracy")
            mean = statistics.mean(found) if found else 0.0
            answer = "reached" if mean >= newest["mark"] else "not reached"
            over = f"{len(found)} seeds"
            if 0 < len(found) < least:
                answer, over = "not yet known to be reached", f"{len(found)} of {least} seeds"
            lines.append(
                f"- the mark of {100 * newest['mark']:.2f} % is {answer} by {name}: the mean over "
                f"{over} is {100 * mean:.2f} %"
            )
    for name in names:
        reasons = [each[name]["why"] for each in rounds if name in each and each[name]["why"]]
        if reasons:
            lines.append(f"- {name} failed in {len(reasons)} of {ran[name]} rounds: {reasons[-1]}")
    return lines


def origin(sittings: list[results.Sitting], rounds: list[Round]) -> list[str]:
    """Return where, when and with what the rounds were measured."""
    newest = sittings[-1]
    runs = [run for each in rounds for run in each.values()]
    found = [newest["versions"], *(run.get("versions", {}) for run in runs)]
    versions = ", ".join(dict.fromkeys(" ".join(pair) for each in found for pair in each.items()))
    loads = [run["load"] for each in rounds for run in each.values() if run.get("load") is not None]
    busy = f"; load before a run {min(loads):.1f} to {max(loads):.1f}" if loads else ""
    days = dict.fromkeys(each["began"][:10] for each in sittings)
    return [
        f"- rounds: {len(rounds)}, on {', '.join(days)}; threads: {newest['threads']}{busy}; "
        f"commit {newest['commit']}",
        f"- versions: {versions}",
        *([f"- ceilings: {'; '.join(rates(newest))}"] if newest["ceiling"] else []),
    ]


def rates(newest: results.Sitting) -> list[str]:
    """Return the ceilings in words."""
    ceiling = newest["ceiling"]
    found = [
        f"{kind} {ceiling[f'{key}_fp32'] / 1e9:,.3g} GFLOP/s in fp32, "
        f"{ceiling[f'{key}_bf16'] / 1e9:,.3g} in bf16"
        for key, kind in (("matmul", "matrix product"), ("conv", "3x3 convolution"))
    ]
    found.append(f"copying {ceiling['copy'] / 1e9:.3g} GB/s read and written")
    if "jpeg" in ceiling:
        found.append(
            f"{ceiling['jpeg']:,.0f} JPEGs/s decoded by one thread, {ceiling['jpeg_all']:,.0f} by "
            f"all, of {newest['mean_bytes'] / 1000:.0f} kB"
        )
    return found


def commands(sittings: list[results.Sitting]) -> list[str]:
    """Return a command of every contestant, the newest; long ones are broken before a flag."""
    found: dict[str, str] = {}
    for sitting in sittings:
        found |= sitting["commands"]
    lines = []
    for command in found.values():
        line, *flags = command.split(" --")
        for flag in flags:
            if len(line) + len(flag) > 90:
                lines.append(line + " \\")
                line = "   "
            line += f" --{flag}"
        lines.append(line)
    return ["```text", *lines, "```"]


if __name__ == "__main__":
    write_page()
