"""Gradual unfreezing: first the head trains, then one group of layers more at a time.

Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification", ACL 2018,
Section 3.3: the last layer first, as it contains the least general knowledge.
"""

from torch import nn

from torchfolio.training.groups import layer_groups


class Unfreezing:
    """Says which parameters of a part train in an epoch: of those that train at its end.

    One group (:func:`layer_groups`) is unfrozen after every ``every`` epochs. It depends on nothing
    but the epoch, so that a training goes on exactly.
    """

    def __init__(self, part: nn.Module, every: int) -> None:
        self.every = every
        self.names: list[str] = []
        self.groups: list[list[nn.Parameter]] = []
        parameters = dict(part.named_parameters())
        for group in layer_groups(part):
            trained = [parameters[name] for name in group.parameters]
            trained = [each for each in trained if each.requires_grad]
            if trained:
                self.names.append(group.name)
                self.groups.append(trained)
        self.count = 0  # of groups that train now

    def count_at(self, epoch: int) -> int:
        """Return how many groups train in an epoch, counted from 0."""
        return min(len(self.groups), 1 + epoch // self.every)

    def reach(self, epoch: int) -> bool:
        """Let the groups of an epoch train, and no other; return whether that is a change."""
        count = self.count_at(epoch)
        if count == self.count:
            return False
        self.count = count
        for number, parameters in enumerate(self.groups):
            for each in parameters:
                each.requires_grad_(number < count)
        return True

    def line(self, epochs: int) -> str:
        """Say when each group is unfrozen in a training of so many epochs."""
        reached = self.count_at(epochs - 1)
        later = [
            f"{name} from epoch {1 + number * self.every}"
            for number, name in enumerate(self.names[1:reached], 1)
        ]
        text = f"gradual unfreezing: {', '.join([self.names[0] + ' first', *later])}"
        if reached < len(self.names):
            rest = ", ".join(self.names[reached:])
            text += f"; {epochs} epochs are too few for {rest}: frozen to the end"
        return text
