"""Softmax regression: one linear layer from pixels to class scores.

The one-layer net of LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document
Recognition", 1998, Section III-C.1, trained as multinomial logistic regression.

Differences: the paper trains its ten outputs by squared error; here they are scores under a
softmax.
"""

from torch import Tensor, nn

from torchfolio.layers.sizes import require_size


class SoftmaxRegression(nn.Module):
    """Shape: (batch, in_channels, *image_size) -> class scores (batch, num_classes).

    ``image_size`` is (height, width). All weights start at zero: the loss is convex.
    """

    def __init__(
        self, num_classes: int = 10, in_channels: int = 1, image_size: tuple[int, int] = (28, 28)
    ) -> None:
        super().__init__()
        height, width = image_size
        self.size = (in_channels, height, width)
        self.linear = nn.Linear(in_channels * height * width, num_classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, images: Tensor) -> Tensor:
        require_size("This softmax_regression", images, *self.size)
        return self.linear(images.flatten(1))
