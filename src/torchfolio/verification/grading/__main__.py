"""What :func:`torchfolio.verification.grading.grade_file` starts: a process for a person's code."""

import contextlib
import io
import json
import sys
from dataclasses import asdict
from pathlib import Path

from torchfolio.errors import FolioError
from torchfolio.networks.catalogue import find_card
from torchfolio.verification.grading.files import load, read_map
from torchfolio.verification.grading.modules import form_of, grade


def main() -> None:
    """Grade as asked for, and print a verdict as JSON; the person's own prints are kept away."""
    file, name, network, *mapping = sys.argv[1:]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            given = read_map(Path(mapping[0])) if mapping else None
            module = load(Path(file), name, form_of(find_card(network)))
            verdict = asdict(grade(module, network, name=f"{file}:{name}", given=given))
    except FolioError as error:
        verdict = {"refused": str(error)}
    sys.stdout.write("\n\0" + json.dumps(verdict))


if __name__ == "__main__":
    main()
