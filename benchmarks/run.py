"""Run workloads: our command and its peers, whole processes, in turn, round after round.

    python -m benchmarks.run WORKLOAD ... [--peers A B ...] [--rounds N] [--size full|small]

"all" stands for the workloads of this machine. After every round the results are written; rounds of
several calls add up while our code stays the same. "small" tries the contestants out on a few
pictures: nothing is written unless --out is given. ``python -m benchmarks.page`` makes the page.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.process import ROOT
from benchmarks.results import RESULTS
from benchmarks.sitting import Sitter, ask_machine
from benchmarks.workloads import all_workloads


def main() -> None:
    """Read the request and run."""
    workloads = all_workloads()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workloads", nargs="+", help=f"all, or of: {', '.join(workloads)}")
    parser.add_argument("--peers", nargs="*", help="who runs beside ours, if not the usual ones")
    parser.add_argument("--rounds", type=int, help="rounds of this call: as many as it needs")
    parser.add_argument("--size", choices=["full", "small"], default="full")
    parser.add_argument("--out", type=Path, help="where the results go: benchmarks/results")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "benchmarks",
                        help="where data, caches and run folders are kept")  # fmt: skip
    parser.add_argument("--peer-python", default=sys.executable, help="the Python of the peers")
    parser.add_argument("--limit", type=float, default=3600, help="seconds until a run is killed")
    request = parser.parse_args()
    out = request.out or (RESULTS if request.size == "full" else None)
    sitter = Sitter(
        work=request.work.resolve(),
        size=request.size,
        peer_python=str(Path(request.peer_python).absolute()),  # a link in a venv: not followed
        limit=request.limit,
        out=out,
    )
    names = request.workloads
    for name in names:
        if name not in workloads and name != "all":
            raise SystemExit(f"There is no workload {name!r}; there are: {', '.join(workloads)}.")
    if "all" in names:
        device = ask_machine()["device"]
        names = [name for name, each in workloads.items() if device in each.devices]
    for name in names:
        rounds = request.rounds or workloads[name].least_rounds
        sitter.sit(workloads[name], request.peers, rounds)


if __name__ == "__main__":
    main()
