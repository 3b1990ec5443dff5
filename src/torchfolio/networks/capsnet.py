"""CapsNet: capsules whose length is the probability of a thing and whose direction is its pose.

Sabour, Frosst, Hinton, "Dynamic Routing Between Capsules", NeurIPS 2017, arXiv 1710.09829. Layers:
Section 4 and Figure 1; squashing and routing: Section 2, Equations 1 to 3, Procedure 1; loss:
Section 3, Equation 4; decoder: Section 4.1 and Figure 2.

Differences: 1e-8 under the root of each length, whose slope at zero has no bound. Weights start as
PyTorch's, those between capsules with deviation 0.01; the paper names none. ``form="official"`` is
the authors' code (Sarasra/models): a routing step over the 32 kinds of primary capsules, which
divides their convolution by 32, a bias for each value of the last capsules, half the margin loss,
and its own first weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KINDS, POSE = 32, 8  # Section 4: kinds of primary capsules, and values of each
LAST_POSE = 16  # Section 4: values of the last capsules
PRESENT, ABSENT, DOWN = 0.9, 0.1, 0.5  # Equation 4: m+, m-, lambda
RECONSTRUCTION = 0.0005  # Section 4.1: of the sum of squared differences


def squash(x: Tensor) -> Tensor:
    """Return capsules (..., pose) with lengths between 0 and 1 (Equation 1)."""
    squares = x.square().sum(-1, keepdim=True)
    return x * (squares + 1e-8).sqrt() / (1 + squares)


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
        nn.init.normal_(self.weight, std=0.1 if official else 0.01)
        self.bias: nn.Parameter | None = None
        if official:
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

    ``image_size`` is (height, width), 28x28 in the paper; images are in [0, 1]. In training mode it
    returns (lengths, capsules (batch, num_classes, 16), images), which the loss reads.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: tuple[int, int] = (28, 28),
        routings: int = 3,
        form: str = "paper",
    ) -> None:
        super().__init__()
        if form not in ("paper", "official"):
            raise ValueError(f"form is 'paper' or 'official', not {form!r}")
        rows, columns = ((side - 8 - 9) // 2 + 1 for side in image_size)
        if min(rows, columns) < 1:
            raise ValueError(f"images of {image_size} are too small: two 9x9 convolutions need 17")
        official = form == "official"
        self.margin = 0.5 if official else 1.0
        self.size = (in_channels, *image_size)
        pixels = in_channels * image_size[0] * image_size[1]
        self.conv1 = nn.Conv2d(in_channels, 256, 9)
        self.primarycaps = PrimaryCapsules(official)
        self.digitcaps = ClassCapsules(KINDS * rows * columns, num_classes, routings, official)
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
                std = 0.05 if layer is self.conv1 else 0.1
                nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
                nn.init.constant_(layer.bias, 0.1)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        capsules = self.capsules(images)
        lengths = torch.linalg.vector_norm(capsules, dim=-1)
        return (lengths, capsules, images) if self.training else lengths

    def capsules(self, images: Tensor) -> Tensor:
        """Return the last capsules (batch, num_classes, 16)."""
        return self.digitcaps(self.primarycaps(F.relu(self.conv1(images))))

    def reconstruct(self, capsules: Tensor, classes: Tensor) -> Tensor:
        """Return the images (batch, in_channels, height, width) of one capsule each."""
        mask = F.one_hot(classes, capsules.shape[1])[..., None]
        return self.decoder((capsules * mask).flatten(1)).unflatten(1, self.size)

    def loss(self, outputs: Tensor | tuple[Tensor, Tensor, Tensor], targets: Tensor) -> Tensor:
        """Return the margin loss, in training with that of the reconstruction."""
        lengths = outputs if isinstance(outputs, Tensor) else outputs[0]
        present = F.one_hot(targets, lengths.shape[1])
        missing = F.relu(PRESENT - lengths).square()
        excess = F.relu(lengths - ABSENT).square()
        loss = self.margin * (present * missing + DOWN * (1 - present) * excess).sum(1)
        if not isinstance(outputs, Tensor):
            _, capsules, images = outputs
            difference = self.reconstruct(capsules, targets) - images
            loss = loss + RECONSTRUCTION * difference.square().flatten(1).sum(1)
        return loss.mean()

    def probabilities(self, lengths: Tensor) -> Tensor:
        """Return the probability of each class, given that there is one: lengths, scaled."""
        return lengths / lengths.sum(1, keepdim=True)
