"""CapsNet: capsules whose length is the probability of a thing and whose direction is its pose.

Sabour, Frosst, Hinton, "Dynamic Routing Between Capsules", NeurIPS 2017, arXiv 1710.09829. Layers:
Section 4 and Figure 1; squashing and routing: Section 2, Equations 1 to 3, Procedure 1; loss:
Section 3, Equation 4; decoder: Section 4.1 and Figure 2.

Differences: 1e-8 under the root of each length, whose slope at zero has no bound. Weights start as
PyTorch's, those between capsules with deviation 0.01; the paper names none. Where a picture shows
several things they are drawn together; in the paper (Section 6) each alone. ``form="official"`` is
the authors' code (Sarasra/models): a routing step over the 32 kinds of primary capsules, which
divides their convolution by 32, a bias for each value of the last capsules, half the margin loss
and its mean over the classes for their sum, and its own initial weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.errors import RequestError
from torchfolio.layers.sizes import require_size

KINDS, POSE = 32, 8  # Section 4: kinds of primary capsules, and values of each
LAST_POSE = 16  # Section 4: values of the last capsules
PRESENT, ABSENT, DOWN = 0.9, 0.1, 0.5  # Equation 4: m+, m-, lambda
RECONSTRUCTION = 0.0005  # Section 4.1: of the sum of squared differences
TWEAK, TWEAKS = 0.05, 5  # Figure 4: dimensions move in steps of 0.05 from -0.25 to 0.25


def squash(x: Tensor) -> Tensor:
    """Return capsules (..., pose) with lengths between 0 and 1 (Equation 1)."""
    squares = x.square().sum(-1, keepdim=True)
    return x * (squares + 1e-8).sqrt() / (1 + squares)


def truncated_normal(weight: Tensor, std: float) -> None:
    """Draw initial weights as the authors' code does: none is further off than two deviations."""
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def presence(targets: Tensor, num_classes: int) -> Tensor:
    """Return ones where a class is there (batch, num_classes), of classes (batch,) or as it is."""
    return F.one_hot(targets, num_classes) if targets.ndim == 1 else targets


class PrimaryCapsules(nn.Module):
    """Shape: (batch, 256, height, width) -> (batch, 32 * rows * columns, 8)."""

    def __init__(self, official: bool) -> None:
        super().__init__()
        self.share = KINDS if official else 1
        self.conv2d = nn.Conv2d(256, KINDS * POSE, 9, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2d(x if self.share == 1 else x / self.share)
        kinds = x.reshape(x.shape[0], KINDS, POSE, *x.shape[2:])
        return squash(kinds.movedim(2, -1).flatten(1, 3))


class ClassCapsules(nn.Module):
    """Shape: (batch, capsules, 8) -> (batch, num_classes, 16), by routing (Procedure 1)."""

    def __init__(self, capsules: int, num_classes: int, routings: int, official: bool) -> None:
        super().__init__()
        self.routings = routings
        self.weight = nn.Parameter(torch.empty(num_classes, capsules, LAST_POSE, POSE))
        nn.init.normal_(self.weight, std=0.01)
        self.bias: nn.Parameter | None = None
        if official:
            truncated_normal(self.weight, 0.1)
            self.bias = nn.Parameter(torch.full((num_classes, LAST_POSE), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        votes = torch.einsum("nipq,biq->bnip", self.weight, x)  # Equation 2
        logits = votes.new_zeros(votes.shape[:3])
        for routing in range(self.routings):
            shares = logits.softmax(1)  # Equation 3: over the classes
            total = torch.einsum("bni,bnip->bnp", shares, votes)
            capsules = squash(total if self.bias is None else total + self.bias)
            if routing + 1 < self.routings:
                logits = logits + torch.einsum("bnip,bnp->bni", votes, capsules)
        return capsules


class CapsNet(nn.Module):
    """Shape: (batch, in_channels, height, width) -> lengths (batch, num_classes), in [0, 1).

    ``image_size`` is (height, width), 28x28 in the paper; images are in [0, 1]. With a ``decoder``
    it returns in training mode (lengths, capsules (batch, num_classes, 16), images), which the loss
    reads.
    """

    class_modules = ("digitcaps", "decoder")  # both have the size of the number of classes

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: tuple[int, int] = (28, 28),
        routings: int = 3,
        form: str = "paper",
        decoder: bool = True,
    ) -> None:
        super().__init__()
        if form not in ("paper", "official"):
            raise ValueError(f"form is 'paper' or 'official', not {form!r}")
        rows, columns = ((side - 8 - 9) // 2 + 1 for side in image_size)
        if min(rows, columns) < 1:
            raise ValueError(f"images of {image_size} are too small: two 9x9 convolutions need 17")
        official = form == "official"
        self.margin = 0.5 / num_classes if official else 1.0
        self.size = (in_channels, *image_size)
        pixels = in_channels * image_size[0] * image_size[1]
        self.conv1 = nn.Conv2d(in_channels, 256, 9)
        self.primarycaps = PrimaryCapsules(official)
        self.digitcaps = ClassCapsules(KINDS * rows * columns, num_classes, routings, official)
        self.decoder: nn.Sequential | None = None
        if decoder:
            self.decoder = nn.Sequential(
                nn.Linear(num_classes * LAST_POSE, 512),
                nn.ReLU(),
                nn.Linear(512, 1024),
                nn.ReLU(),
                nn.Linear(1024, pixels),
                nn.Sigmoid(),
            )
        for layer in self.modules() if official else ():
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                truncated_normal(layer.weight, 0.05 if layer is self.conv1 else 0.1)
                nn.init.constant_(layer.bias, 0.1)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        capsules = self.capsules(images)
        lengths = torch.linalg.vector_norm(capsules, dim=-1)
        return (lengths, capsules, images) if self.training and self.decoder else lengths

    def capsules(self, images: Tensor) -> Tensor:
        """Return the last capsules (batch, num_classes, 16)."""
        require_size("This capsnet", images, *self.size)
        return self.digitcaps(self.primarycaps(F.relu(self.conv1(images))))

    def reconstruct(self, capsules: Tensor, targets: Tensor) -> Tensor:
        """Return the images (batch, in_channels, height, width) of the capsules that are there."""
        if self.decoder is None:
            raise RequestError("This capsnet has no decoder and draws nothing (decoder=False).")
        mask = presence(targets, capsules.shape[1])[..., None]
        return self.decoder((capsules * mask).flatten(1)).unflatten(1, self.size)

    def loss(self, outputs: Tensor | tuple[Tensor, Tensor, Tensor], targets: Tensor) -> Tensor:
        """Return the margin loss, in training with that of the reconstruction, if there is one.

        ``targets`` are classes (batch,), or the labels of pictures that show several things, ones
        and zeros (batch, num_classes): Equation 4 has a term for each class by itself.
        """
        lengths = outputs if isinstance(outputs, Tensor) else outputs[0]
        present = presence(targets, lengths.shape[1])
        missing = F.relu(PRESENT - lengths).square()
        excess = F.relu(lengths - ABSENT).square()
        loss = self.margin * (present * missing + DOWN * (1 - present) * excess).sum(1)
        if not isinstance(outputs, Tensor):
            _, capsules, images = outputs
            difference = self.reconstruct(capsules, targets) - images
            loss = loss + RECONSTRUCTION * difference.square().flatten(1).sum(1)
        return loss.mean()

    def tweaked(self, capsules: Tensor, label: int) -> Tensor:
        """Return what is drawn as each dimension of a class's capsule moves (Figure 4).

        Shape: (num_classes, 16) -> (16, 11, in_channels, height, width)
        """
        steps = TWEAK * torch.arange(-TWEAKS, TWEAKS + 1, device=capsules.device)
        moved = capsules.repeat(LAST_POSE, len(steps), 1, 1)
        for dimension in range(LAST_POSE):
            moved[dimension, :, label, dimension] += steps
        classes = torch.full((LAST_POSE * len(steps),), label, device=capsules.device)
        drawn = self.reconstruct(moved.flatten(0, 1), classes)
        return drawn.reshape(LAST_POSE, len(steps), *self.size)

    def presences(self, lengths: Tensor) -> Tensor:
        """Return the probability of each class by itself: its length (Section 2)."""
        return lengths

    def probabilities(self, lengths: Tensor) -> Tensor:
        """Return the probability of each class, given that there is one: lengths, scaled."""
        return lengths / lengths.sum(1, keepdim=True)
