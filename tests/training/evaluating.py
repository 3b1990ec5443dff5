"""``folio`` whose final evaluation never ends: test_processes.py kills the first process in it."""

import os
import time
from pathlib import Path
from typing import Any

from torchfolio.cli import main
from torchfolio.run import Run


def never_ending(run: Run, *_: Any, **__: Any) -> None:
    """Tell that the evaluation has begun, and stay in it."""
    Path(os.environ["EVALUATING"]).touch()
    time.sleep(600)


if __name__ == "__main__":
    Run.finish = never_ending  # type: ignore[method-assign]
    main()
