"""Our command in this process, as a person calls it, with a mark after the first training step.

``python -m benchmarks.ours train lenet5 DATA ...`` does what ``folio train lenet5 DATA ...`` does.
"""

import torchfolio.cli.progress as progress
from benchmarks.process import mark
from torchfolio.cli import main
from torchfolio.training.loop import Loop


class Marked(progress.TrainingMonitor):
    """The monitor of the command, which also marks the first step."""

    marked = False

    def updated(self, loop: Loop, loss: float | None) -> None:
        if not self.marked:
            mark("first_step")
            self.marked = True
        super().updated(loop, loss)


if __name__ == "__main__":
    progress.TrainingMonitor = Marked  # type: ignore[misc]
    main()
