"""The verbs of ``folio`` and how a request ends: output, errors and exit status."""

import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn

from torchfolio import __version__
from torchfolio.cli.process import leave
from torchfolio.errors import FolioError, PeerError, RequestError, unknown

# verb: (module:function, its line in ``folio --help``)
VERBS = {
    "list": ("torchfolio.cli.list:list_", "Networks, tasks, parameters and papers."),
    "show": ("torchfolio.cli.show:show", "The card of a network and its layer table."),
    "verify": ("torchfolio.cli.verify:verify", "Exactness against the canonical implementation."),
    "check": ("torchfolio.cli.check:check", "What is in the data, and what is wrong with it."),
    "train": ("torchfolio.cli.train:train", "Train, evaluate and report."),
    "resume": ("torchfolio.cli.resume:resume", "Go on where a training stopped, exactly."),
    "evaluate": (
        "torchfolio.cli.evaluate:evaluate",
        "Metrics and report on held-out or other data.",
    ),
    "predict": ("torchfolio.cli.predict:predict", "Answers as a table, JSON or pictures."),
    "explain": ("torchfolio.cli.explain:explain", "What answers to pictures rest on, drawn."),
    "compare": ("torchfolio.cli.compare:compare", "Runs side by side, with a paired test."),
    "ensemble": ("torchfolio.cli.ensemble:ensemble", "Several runs that answer as one."),
    "features": ("torchfolio.cli.features:features", "Vectors of pictures, for use elsewhere."),
    "export": (
        "torchfolio.cli.export:export",
        "ONNX and other formats, checked on the run's data.",
    ),
    "cache": ("torchfolio.cli.cache:cache", "What the cache folder holds; --clear empties it."),
    "demo": ("torchfolio.cli.demo:demo", "The main job on data that come with the installation."),
}
# verbs whose flags follow from the data, the network or the run that is named
READ_THEIR_FLAGS = ("check", "train", "evaluate", "predict")

HELP = """Usage: folio VERB ...

The landmark networks of deep learning: exact, fast, and put to work on your own data.

{verbs}

  folio VERB --help      the flags of a verb
  folio --version        the version

Example: folio train lenet5 digits
Exit status: 0 done, 1 the work failed, 2 the request was wrong. --json prints one JSON document.
"""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and end the process with its status: 0 done, 1 failed, 2 wrong request."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: every name can be printed
    try:
        status = run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    leave(status)


def run(arguments: list[str]) -> int:
    """Run one request and return its exit status."""
    as_json = "--json" in arguments
    try:
        return int(dispatch(arguments) or 0)
    except RequestError as error:
        return fail(str(error), 2, as_json)
    except PeerError as error:
        return fail(str(error), 1, as_json) if process() == 0 else 1
    except FolioError as error:
        return fail(str(error), 1, as_json)
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        return fail(
            f"{place}{error.strerror or error}. Look at the path and at your rights there, or "
            "choose another.",
            1,
            as_json,
        )
    except KeyboardInterrupt:
        return fail("Stopped by Ctrl-C.", 130, as_json)


def dispatch(arguments: list[str]) -> Any:
    """Hand the request to its verb."""
    verb, rest = (arguments or ["--help"])[0], arguments[1:]
    if verb in ("--help", "-h"):
        lines = [f"  {name:<10} {line}" for name, (_, line) in VERBS.items()]
        print(HELP.format(verbs="\n".join(lines)), end="")
        return 0
    if verb == "--version":
        print(__version__)
        return 0
    if verb not in VERBS:
        raise unknown("verb", verb, VERBS, "'folio --help' shows all of them.")
    refuse_empty(rest)
    module, _, name = VERBS[verb][0].partition(":")
    function = getattr(import_module(module), name)
    if verb in READ_THEIR_FLAGS:
        return function(rest)
    from torchfolio.cli.flags import run_verb

    return run_verb(verb, function, rest)


def refuse_empty(tokens: list[str]) -> None:
    """Raise for an empty argument or value of a flag: as a path it would mean this folder."""
    before = ""
    for token in tokens:
        flag, equals, value = token.partition("=")
        if not token or (flag.startswith("--") and equals and not value):
            what = flag or (before if before.startswith("--") and before != "--" else "")
            raise RequestError(
                f"{what or 'An argument'} is empty: an unset variable, perhaps. Give it a value, "
                "or leave it out."
            )
        before = token


def fail(message: str, status: int, as_json: bool) -> int:
    """Say what went wrong on stderr (and as JSON on stdout where that was asked for)."""
    number = process()
    if as_json and number == 0:
        print(json.dumps({"error": message}, ensure_ascii=False))
    place = f"process {number}: " if number else ""
    print(f"{place}error: {message}", file=sys.stderr)
    return status


def process() -> int:
    """Return which of torchrun's processes this is; 0 is the first, or the only one."""
    number = os.environ.get("RANK", "0") if "WORLD_SIZE" in os.environ else "0"
    return int(number) if number.isdecimal() else 0
