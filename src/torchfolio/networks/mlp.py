"""The multilayer perceptron: plain, activated, batch-normalised.

Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", Nature
323, 1986. Batch-normalised form: Ioffe, Szegedy, "Batch Normalization", 2015, arXiv 1502.03167,
Section 4.1.

Differences: the 1986 paper has sigmoid units and squared error; here any activation, and class
scores. Weights start as PyTorch's, uniform within 1 / sqrt(fan-in); the batch-normalised form as
Section 4.1 says, with small Gaussian values (we take a deviation of 0.1).
"""

from collections.abc import Sequence

from torch import Tensor, nn

from torchfolio.layers.maxout import Maxout
from torchfolio.layers.sizes import require_size

FORMS = ("plain", "activated", "batch-normalised")
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
}


class MLP(nn.Module):
    """Shape: (batch, in_channels, *image_size) -> class scores (batch, num_classes).

    ``widths`` are the units of each hidden layer. ``form`` is "plain" (linear layers only),
    "activated", or "batch-normalised" (normalised before the activation). ``activation`` is
    "sigmoid", "tanh", "relu", "elu", "leaky_relu", or "maxout" (the larger of two linear
    functions, normalised after it). ``dropout`` is the share of hidden units dropped.
    """

    def __init__(
        self,
        widths: Sequence[int] = (256,),
        activation: str = "relu",
        form: str = "activated",
        dropout: float = 0.0,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: tuple[int, int] = (28, 28),
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"form is one of {', '.join(FORMS)}, not {form!r}")
        if activation not in (*ACTIVATIONS, "maxout"):
            known = ", ".join((*ACTIVATIONS, "maxout"))
            raise ValueError(f"activation is one of {known}, not {activation!r}")
        if any(width < 1 for width in widths):
            raise ValueError(f"widths are positive, not {list(widths)}")
        self.size = (in_channels, *image_size)
        self.layers = nn.Sequential()
        features = in_channels * image_size[0] * image_size[1]
        for width in widths:
            if activation == "maxout" and form != "plain":
                self.layers.append(Maxout(features, width))
            else:
                self.layers.append(nn.Linear(features, width))
            if form == "batch-normalised":
                self.layers.append(nn.BatchNorm1d(width))
            if form != "plain" and activation != "maxout":
                self.layers.append(ACTIVATIONS[activation]())
            if dropout:
                self.layers.append(nn.Dropout(dropout))
            features = width
        self.output = nn.Linear(features, num_classes)
        if form == "batch-normalised":
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.normal_(layer.weight, std=0.1)
                    nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        require_size("This mlp", images, *self.size)
        return self.output(self.layers(images.flatten(1)))
