"""LeNet as Caffe's MNIST example has it.

Berkeley Vision and Learning Center, Caffe, examples/mnist/lenet_train_test.prototxt, 2014, after
LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.
Layers and their names are the file's; the paper's own form is in lenet.py.

Differences: none in the network. The example's biases learn twice as fast; our recipes have one
rate for all.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from torchfolio.layers.fillers import xavier
from torchfolio.layers.sizes import require_size


class LeNet(nn.Module):
    """Shape: (batch, in_channels, 28, 28) -> class scores (batch, num_classes)."""

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 20, kernel_size=5)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(20, 50, kernel_size=5)
        self.pool2 = nn.MaxPool2d(2)
        self.ip1 = nn.Linear(50 * 4 * 4, 500)
        self.ip2 = nn.Linear(500, num_classes)
        for layer in (self.conv1, self.conv2, self.ip1, self.ip2):
            xavier(layer)

    def forward(self, images: Tensor) -> Tensor:
        require_size("lenet_caffe", images, self.conv1.in_channels, 28, 28)
        x = self.pool1(self.conv1(images))  # (batch, 20, 12, 12); no activation before ip1
        x = self.pool2(self.conv2(x))  # (batch, 50, 4, 4)
        return self.ip2(F.relu(self.ip1(x.flatten(1))))
