"""``folio check``: what is in the data, and what is wrong with it."""

import inspect
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from torchfolio.cli.flags import (
    flag_parameters,
    flag_value,
    positional_tokens,
    run_verb,
    with_flags,
)
from torchfolio.cli.output import Json, Output, Quiet
from torchfolio.cli.process import quick_imports
from torchfolio.cli.targets import require_writable
from torchfolio.errors import DataError, FolioError, RequestError

if TYPE_CHECKING:
    from rich.table import Table

    from torchfolio.data.check import Findings
    from torchfolio.data.dataset import Dataset
    from torchfolio.data.splits import Splits
    from torchfolio.run import Run

SHOWN = 3  # problems of a kind that a person sees at once
CLASSES_SHOWN = 30
SETS = 5  # sets of labels that are told
SWITCHES = {"download", "json", "quiet", "help", "h"}


def check(tokens: list[str]) -> None:
    """Read the request, whose flags are also those of the reader of the data, and check them."""
    data = next(iter(positional_tokens(tokens, SWITCHES)), None)
    flags = reader_flags(data, tokens) if data is not None else []
    run_verb("check", with_flags(check_data, flags), tokens)


def reader_flags(data: str, tokens: list[str], run: str | None = None) -> list[inspect.Parameter]:
    """Return the flags of the reader that reads the data; help fetches no data to know them.

    They have the reader's defaults, or none where data are for a ``run``, which says them.
    """
    from torchfolio.data.readers import find_reader

    helping = "--help" in tokens or "-h" in tokens
    try:
        find = find_reader if run is None else opened_run(run).find_reader
        found, _ = find(
            data,
            flag_value(tokens, "reader"),
            download="--download" in tokens and not helping,
            progress=Counter(Output("--json" in tokens, "--quiet" in tokens), "fetched"),
        )
    except FolioError:
        if helping:
            return []
        raise
    return flag_parameters(found.Options, f"Reader {found.name}", defaults=run is None)


def opened_run(path: str) -> "Run":
    """Return the run of a folder."""
    with quick_imports():
        from torchfolio.run import Run
    return Run(path)


def check_data(
    data: str,
    *,
    reader: str | None = None,
    network: str | None = None,
    val_split: float = 0.15,
    test_split: float = 0.15,
    seed: int = 0,
    duplicates: Literal["together", "ignore"] = "together",
    on_error: Literal["skip", "stop"] = "skip",
    download: Annotated[bool, Parameter(negative="")] = False,
    fix: Path | None = None,
    html: Path | None = None,
    json: Json = False,
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Tell what is in the data, how they would be split, and what is wrong with them.

    'folio check DATA --help' shows the flags that apply to those data.

    Example: folio check photos/ --network resnet18 --html photos.html

    Parameters
    ----------
    data
        A folder, file or archive, or a data set by name: digits, mnist, fashion-mnist, cifar10,
        cifar100.
    reader
        What reads the data, where they could be read in two ways.
    network
        A network whose smallest input the pictures are compared with.
    val_split
        Share of validation, of the examples that the data give to no split.
    test_split
        Share of test, of the examples that the data give to no split.
    seed
        Random seed of the split.
    duplicates
        Keep exact duplicates on one side of the split, or ignore that they are.
    on_error
        Leave bad files out, or stop at them.
    download
        Fetch a data set known by name into the cache folder.
    fix
        Write a clean copy into this new folder: class folders (or a table of labels) without bad
        files, exact duplicates and pictures that stand in two classes (or with different labels).
    html
        Write a page with all of it, and pictures, to this file.
    """
    from torchfolio.data.check import inspect_dataset
    from torchfolio.data.check_boxes import inspect_boxes
    from torchfolio.data.check_masks import inspect_masks
    from torchfolio.data.kinds import BOXED, MASKED
    from torchfolio.data.readers import open_dataset
    from torchfolio.data.splits import SplitOptions, make_splits

    out = Output(json, quiet)
    if fix is not None:
        if fix.is_dir() and any(fix.iterdir()):
            raise RequestError(f"{fix} exists and is not an empty folder. Give a new one to --fix.")
        require_writable(fix / "removed.csv", "--fix")
    if html is not None:
        require_writable(html, "--html")
    least = smallest_input(network) if network is not None else None
    dataset = open_dataset(
        data,
        reader=reader,
        reader_options=settings,
        on_error=on_error,
        download=download,
        progress=Counter(out, "read"),
    )
    if fix is not None and dataset.kind in (MASKED, BOXED):
        raise RequestError(
            "--fix writes copies of classified pictures; these have masks or boxes. Leave it out "
            "to see what is in them."
        )
    options = SplitOptions(val_split, test_split, duplicates)
    splits, impossible = None, ""
    try:
        splits = make_splits(dataset, options, seed)
    except DataError as error:
        impossible = str(error)
    inspect = {MASKED: inspect_masks, BOXED: inspect_boxes}.get(dataset.kind, inspect_dataset)
    findings = inspect(dataset, splits, least, Counter(out, "compared"))
    if impossible:
        findings.add("split", ".", impossible)
    document = as_document(dataset, splits, findings)
    if not json:
        show(out, dataset, splits, findings)
    if fix is not None:
        from torchfolio.data.clean import fix as write_clean
        from torchfolio.data.clean import removed_file

        done = write_clean(dataset, findings, fix)
        document["fixed"] = {"folder": str(fix), **done}
        out.show(
            f"A clean copy is in {fix}: {done['kept']:,} pictures; {done['removed']:,} left out "
            f"({removed_file(dataset)} says why)."
        )
    if html is not None:
        from torchfolio.cli.check_page import write_page

        write_page(html, dataset, splits, findings)
        document["html"] = str(html)
        out.show(f"page: {html}")
    out.document(document)


def smallest_input(network: str) -> tuple[int, int]:
    """Return the smallest height and width that a network takes."""
    from torchfolio.networks.catalogue import find_card

    size = find_card(network).min_input
    return size[-2], size[-1]


def as_document(
    dataset: "Dataset", splits: "Splits | None", findings: "Findings"
) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    from torchfolio.data.splits import NAMES

    labelled = {} if dataset.targets is None else labels_document(dataset)
    return labelled | {
        "kind": dataset.kind,
        "name": dataset.name,
        "path": dataset.path,
        "reader": dataset.reader,
        "examples": len(dataset),
        "classes": list(dataset.classes),
        "splits": split_counts(dataset, splits),
        "rule": splits.rule if splits is not None else None,
        "split_digest": splits.digest if splits is not None else None,
        "counts": {
            name: dict(zip(NAMES, row, strict=True))
            for name, row in zip(dataset.classes, findings.counts.tolist(), strict=True)
        },
        "facts": dataset.facts,
        "fingerprint": dataset.fingerprint,
        "problems": [
            {"path": problem.path, "problem": problem.problem, "kind": kind}
            for kind, problem in findings.rows()
        ],
    }


def labels_document(dataset: "Dataset") -> dict[str, Any]:
    """Return what ``--json`` says of pictures with several labels beside what it says of others."""
    from torchfolio.data.check import label_sets

    assert dataset.targets is not None
    having = dataset.targets.sum(1)
    sets = label_sets(dataset)
    return {
        "labels_a_picture": float(having.mean()),
        "without_label": int((having == 0).sum()),
        "label_sets": len(sets),
        "commonest_sets": [{"labels": name, "pictures": count} for name, count in sets[:SETS]],
    }


def label_lines(dataset: "Dataset") -> list[str]:
    """Return in words how many labels pictures have, and which sets are the commonest."""
    told = labels_document(dataset)
    sets = "; ".join(f"{each['labels']} ({each['pictures']:,})" for each in told["commonest_sets"])
    return [
        f"labels: {told['labels_a_picture']:.2f} a picture; {told['without_label']:,} pictures "
        "have none",
        f"label sets: {told['label_sets']:,}, the commonest: {sets}",
    ]


def split_counts(dataset: "Dataset", splits: "Splits | None") -> dict[str, int]:
    """Return the examples of each split; all in train where no split can be made."""
    if splits is None:
        return {"train": len(dataset), "val": 0, "test": 0}
    return {name: len(rows) for name, rows in splits.indices.items()}


def facts_line(dataset: "Dataset") -> str:
    """Return size, channels and depth of the pictures in words."""
    facts = dataset.facts
    low, middle, high = (
        f"{h} x {w}" for h, w in (facts["size_min"], facts["size_median"], facts["size_max"])
    )
    size = low if facts["uniform"] else f"{low} to {high}, median {middle}"
    count = facts["channels"]
    channels = {1: "grey", 3: "colour"}.get(count, f"{count} channels")
    return f"{size} pixels (height x width), {channels}, {facts['depth']} bits"


def classes_in_words(dataset: "Dataset") -> str:
    """Return how many classes or labels there are: "in 3 classes", "with 1 label"."""
    number = len(dataset.classes)
    if dataset.targets is not None:
        return f"with {number:,} {'label' if number == 1 else 'labels'}"
    return f"in {number:,} {'class' if number == 1 else 'classes'}"


def show(out: Output, dataset: "Dataset", splits: "Splits | None", findings: "Findings") -> None:
    """Print a summary for a person."""
    from torchfolio.data.check import KINDS

    out.show(
        f"{dataset.path}: {len(dataset):,} pictures {classes_in_words(dataset)}, read by "
        f"{dataset.reader} (--reader)"
    )
    if dataset.reading:
        out.show(f"read as: {dataset.reading}")
    for line in label_lines(dataset) if dataset.targets is not None else []:
        out.show(line)
    out.show(f"pictures: {facts_line(dataset)}")
    if splits is not None:
        out.show(f"split: {splits.rule}")
    out.show()
    out.show(count_table(dataset, splits, findings))
    out.show()
    total = sum(len(problems) for problems in findings.problems.values())
    if not total:
        out.show("No problem was found.")
        return
    cut = False
    for kind, heading in KINDS.items():
        problems = findings.problems.get(kind, [])
        if not problems:
            continue
        out.show(f"{heading} ({len(problems):,})")
        for problem in problems[:SHOWN]:
            where = "" if problem.path == "." else f"{problem.path}: "
            out.show(f"  {where}{problem.problem}")
        if len(problems) > SHOWN:
            cut = True
            out.show(f"  and {len(problems) - SHOWN:,} more")
    if cut:
        from torchfolio.data.kinds import BOXED, MASKED

        copy = "" if dataset.kind in (MASKED, BOXED) else "; --fix DIR writes a clean copy"
        out.show(f"--html FILE or --json tells all of them{copy}.")


def count_table(dataset: "Dataset", splits: "Splits | None", findings: "Findings") -> "Table":
    """Return the pictures of each class and split; of many classes the largest and smallest."""
    from rich.table import Table

    from torchfolio.data.kinds import BOXED

    several = dataset.targets is not None
    table = Table(box=None, header_style="bold", pad_edge=False)
    boxed = dataset.kind == BOXED
    heading = "label" if several else "objects of" if boxed else "class"
    table.add_column(heading, overflow="ellipsis", max_width=50, no_wrap=True)
    for name in ("train", "val", "test", "all"):
        table.add_column(name, justify="right")
    counts = findings.counts.tolist()
    order = range(len(counts))
    if len(counts) > CLASSES_SHOWN:
        by_size = sorted(order, key=lambda index: -sum(counts[index]))
        half = CLASSES_SHOWN // 2
        order = [*by_size[:half], -1, *by_size[-half:]]  # type: ignore[assignment]
    for index in order:
        if index < 0:
            table.add_row(f"({len(counts) - CLASSES_SHOWN:,} more)")
            continue
        cells = [f"{each:,}" for each in (*counts[index], sum(counts[index]))]
        table.add_row(dataset.classes[index], *cells)
    sums = [sum(column) for column in zip(*counts, strict=True)]
    if several:  # a picture counts once for each of its labels
        none = without_label(dataset, splits)
        table.add_row("(no label)", *(f"{each:,}" for each in (*none, sum(none))))
    if dataset.labels is None:
        sums = list(split_counts(dataset, splits).values())
    last = "all pictures" if boxed else "all"
    table.add_row(last, *(f"{each:,}" for each in (*sums, sum(sums))), style="bold")
    return table


def without_label(dataset: "Dataset", splits: "Splits | None") -> list[int]:
    """Return how many pictures of train, val and test have no label."""
    assert dataset.targets is not None
    bare = dataset.targets.sum(1) == 0
    if splits is None:
        return [int(bare.sum()), 0, 0]
    return [int(bare[rows].sum()) for rows in splits.indices.values()]


class Counter:
    """Counts on one line of a terminal; silent elsewhere."""

    def __init__(self, out: Output, done: str) -> None:
        self.on = not out.quiet and out.stderr.is_terminal
        self.console = out.stderr
        self.word = done
        self.told = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Tell how far it is, five times a second at most."""
        now = time.monotonic()
        if self.on and (done == total or now - self.told > 0.2):
            self.told = now
            end = "\n" if done == total else "\r"
            self.console.print(f"{self.word} {done:,} of {total:,}", end=end)
