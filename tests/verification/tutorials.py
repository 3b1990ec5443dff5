"""Networks as tutorials and repositories write them, in our words: right ones and usual mistakes.

Each is built of torch's layers alone, with names, structure and habits of its kind.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# LeNet, as a first tutorial has it: ReLU and maxima for tanh and averages


class FirstLeNet(nn.Module):
    def __init__(self, bias: bool = True, act: type[nn.Module] = nn.ReLU, pool: str = "max"):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, bias=bias)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)
        self.act, self.pool = act(), {"max": F.max_pool2d, "mean": F.avg_pool2d}[pool]

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.act(self.conv1(x)), (2, 2))
        x = self.pool(self.act(self.conv2(x)), 2)
        x = x.view(x.size(0), -1)
        return self.fc3(self.act(self.fc2(self.act(self.fc1(x)))))


def lazy_lenet(act: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    """For pictures of 28 pixels: the first convolution pads."""
    return nn.Sequential(
        nn.LazyConv2d(6, kernel_size=5, padding=2), act(), nn.AvgPool2d(2, 2),
        nn.LazyConv2d(16, kernel_size=5), act(), nn.AvgPool2d(2, 2), nn.Flatten(),
        nn.LazyLinear(120), act(), nn.LazyLinear(84), act(), nn.LazyLinear(10),
    )  # fmt: skip


# A residual network of lazy layers, as a textbook has it: biases, and projections without a norm


class Residual(nn.Module):
    def __init__(self, channels: int, project: bool = False, strides: int = 1, right: bool = False):
        super().__init__()
        bias = not right
        self.conv1 = nn.LazyConv2d(channels, kernel_size=3, padding=1, stride=strides, bias=bias)
        self.conv2 = nn.LazyConv2d(channels, kernel_size=3, padding=1, bias=bias)
        self.conv3 = None
        if project:
            self.conv3 = nn.LazyConv2d(channels, kernel_size=1, stride=strides, bias=bias)
            if right:
                self.conv3 = nn.Sequential(self.conv3, nn.LazyBatchNorm2d())
        self.bn1 = nn.LazyBatchNorm2d()
        self.bn2 = nn.LazyBatchNorm2d()

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.conv3 is not None:
            x = self.conv3(x)
        y += x
        return F.relu(y)


def textbook_resnet18(right: bool = False) -> nn.Sequential:
    stem = nn.Sequential(
        nn.LazyConv2d(64, kernel_size=7, stride=2, padding=3, bias=not right),
        nn.LazyBatchNorm2d(), nn.ReLU(), nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    )  # fmt: skip
    net = nn.Sequential(stem)
    for stage, channels in enumerate((64, 128, 256, 512)):
        blocks = [
            Residual(channels, project=block == 0 and stage > 0,
                     strides=2 if block == 0 and stage > 0 else 1, right=right)
            for block in range(2)
        ]  # fmt: skip
        net.add_module(f"b{stage + 2}", nn.Sequential(*blocks))
    head = nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.LazyLinear(1000))
    net.add_module("last", head)
    return net


# A residual network with bottlenecks, as many repositories have it; ``first`` is where it halves


class Bottle(nn.Module):
    expansion = 4

    def __init__(self, inp: int, planes: int, stride: int, first: bool, act_last: bool):
        super().__init__()
        self.residual_function = nn.Sequential(
            nn.Conv2d(inp, planes, 1, stride if first else 1, bias=False), nn.BatchNorm2d(planes),
            nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes, 3, 1 if first else stride, 1, bias=False),
            nn.BatchNorm2d(planes), nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes * 4, 1, bias=False), nn.BatchNorm2d(planes * 4),
        )  # fmt: skip
        self.shortcut = nn.Sequential()
        if stride != 1 or inp != planes * 4:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inp, planes * 4, 1, stride, bias=False), nn.BatchNorm2d(planes * 4)
            )
        self.act_last = act_last

    def forward(self, x: Tensor) -> Tensor:
        x = self.residual_function(x) + self.shortcut(x)
        return nn.ReLU(inplace=True)(x) if self.act_last else x


class ResNet50(nn.Module):
    def __init__(self, first: bool = False, act_last: bool = True, num_classes: int = 1000):
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )  # fmt: skip
        inp = 64
        for number, (planes, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 2):
            stage = []
            for block in range(blocks):
                stride = 2 if block == 0 and number > 2 else 1
                stage.append(Bottle(inp, planes, stride, first, act_last))
                inp = planes * 4
            setattr(self, f"conv{number}_x", nn.Sequential(*stage))
        self.avg_pool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(2048, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        for number in range(1, 6):
            x = getattr(self, "conv1" if number == 1 else f"conv{number}_x")(x)
        return self.fc(self.avg_pool(x).view(x.size(0), -1))


# The residual network for CIFAR-10 with options A and B, as a much copied repository has it


class LambdaLayer(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class CifarBlock(nn.Module):
    def __init__(self, in_planes: int, planes: int, stride: int, option: str, eps: float):
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes, eps=eps)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes, eps=eps)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != planes:
            if option == "A":
                side = planes // 4
                self.shortcut = LambdaLayer(
                    lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, side, side), "constant", 0)
                )
            else:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(in_planes, planes, 1, stride, bias=False),
                    nn.BatchNorm2d(planes, eps=eps),
                )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class CifarNet(nn.Module):
    def __init__(self, option: str = "A", eps: float = 1e-5):
        super().__init__()
        self.in_planes = 16
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16, eps=eps)
        self.stage1 = self._stage(16, 1, option, eps)
        self.stage2 = self._stage(32, 2, option, eps)
        self.stage3 = self._stage(64, 2, option, eps)
        self.linear = nn.Linear(64, 10)

    def _stage(self, planes: int, stride: int, option: str, eps: float) -> nn.Sequential:
        blocks = []
        for step in (stride, 1, 1):
            blocks.append(CifarBlock(self.in_planes, planes, step, option, eps))
            self.in_planes = planes
        return nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.stage3(self.stage2(self.stage1(out)))
        out = F.avg_pool2d(out, out.size()[3])  # square maps only
        return self.linear(out.view(out.size(0), -1))


# VGG-11 by a loop over a list


def looped_vgg11(pool: type[nn.Module] = nn.MaxPool2d) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for each in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
        if isinstance(each, str):
            layers.append(pool(kernel_size=2, stride=2))
        else:
            layers += [nn.Conv2d(channels, each, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
            channels = each
    layers += [nn.AdaptiveAvgPool2d((7, 7)), nn.Flatten()]
    layers += [nn.Linear(512 * 7 * 7, 4096), nn.ReLU(True), nn.Dropout(0.5)]
    layers += [nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout(0.5), nn.Linear(4096, 1000)]
    return nn.Sequential(*layers)


# MobileNetV2 with helpers, as most repositories have it


def conv_bn(inp: int, oup: int, kernel: int, stride: int, act: type[nn.Module]) -> nn.Sequential:
    conv = nn.Conv2d(inp, oup, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(oup), act(inplace=True))


class Inverted(nn.Module):
    def __init__(self, inp: int, oup: int, stride: int, ratio: int, act: type[nn.Module]):
        super().__init__()
        hidden = inp * ratio
        layers: list[nn.Module] = [] if ratio == 1 else [*conv_bn(inp, hidden, 1, 1, act)]
        layers += [
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden), act(inplace=True),
            nn.Conv2d(hidden, oup, 1, 1, 0, bias=False), nn.BatchNorm2d(oup),
        ]  # fmt: skip
        self.conv, self.identity = nn.Sequential(*layers), stride == 1 and inp == oup

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.identity else self.conv(x)


class MobileNet(nn.Module):
    def __init__(self, act: type[nn.Module] = nn.ReLU6, linear: bool = True):
        super().__init__()
        layers: list[nn.Module] = [conv_bn(3, 32, 3, 2, act)]
        inp = 32
        for t, c, n, s in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                           (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):  # fmt: skip
            for i in range(n):
                block = Inverted(inp, c, s if i == 0 else 1, t, act)
                if not linear:
                    block.conv.append(act())
                layers.append(block)
                inp = c
        self.features = nn.Sequential(*layers)
        self.conv = conv_bn(320, 1280, 1, 1, act)
        self.drop = nn.Dropout(0.2)
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.features(x))
        return self.classifier(self.drop(F.adaptive_avg_pool2d(x, 1).view(x.size(0), -1)))


# A vision transformer in plain torch; ``fused`` has queries, keys and values in one projection


class SelfAttention(nn.Module):
    def __init__(self, dim: int, heads: int, fused: bool, order: str):
        super().__init__()
        self.heads, self.scale, self.order = heads, (dim // heads) ** -0.5, order
        self.to_qkv = nn.Linear(dim, dim * 3) if fused else None
        if not fused:
            self.w_q, self.w_k, self.w_v = (nn.Linear(dim, dim) for _ in range(3))
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        if self.to_qkv is not None and self.order == "(qkv h d)":
            q, k, v = self.to_qkv(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        elif self.to_qkv is not None:  # (h qkv d)
            q, k, v = self.to_qkv(x).view(b, n, self.heads, 3, -1).permute(3, 0, 2, 1, 4)
        else:
            parts = (self.w_q(x), self.w_k(x), self.w_v(x))
            q, k, v = (part.view(b, n, self.heads, -1).transpose(1, 2) for part in parts)
        shares = torch.softmax(torch.einsum("bhid,bhjd->bhij", q, k) * self.scale, dim=-1)
        out = torch.einsum("bhij,bhjd->bhid", shares, v)
        return self.to_out(out.transpose(1, 2).reshape(b, n, -1))


class PreNorm(nn.Module):
    def __init__(self, dim: int, fn: nn.Module, eps: float):
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(dim, eps=eps), fn

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(self.norm(x)) + x


class ViT(nn.Module):
    def __init__(
        self, fused: bool = True, eps: float = 1e-6, order: str = "(qkv h d)", pool: str = "cls"
    ):
        super().__init__()
        dim, depth, heads = 192, 12, 3
        self.register_buffer("position_ids", torch.arange(197))  # as some libraries keep them
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embedding = nn.Parameter(torch.randn(1, 197, dim))
        self.to_patch = nn.Conv2d(3, dim, 16, 16)
        self.blocks = nn.Sequential()
        for _ in range(depth):
            hidden = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
            self.blocks.append(PreNorm(dim, SelfAttention(dim, heads, fused, order), eps))
            self.blocks.append(PreNorm(dim, hidden, eps))
        self.norm, self.pool = nn.LayerNorm(dim, eps=eps), pool
        self.mlp_head = nn.Linear(dim, 1000)

    def forward(self, img: Tensor) -> Tensor:
        x = self.to_patch(img).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls.repeat(len(img), 1, 1), x), dim=1)
        x = self.norm(self.blocks(x + self.pos_embedding))
        return self.mlp_head(x.mean(dim=1) if self.pool == "mean" else x[:, 0])


# DenseNet-BC for CIFAR-10; ``newest`` puts what a layer adds before what it read, as some do


class DenseLayer(nn.Module):
    def __init__(self, inp: int, growth: int, newest: bool):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inp), nn.Conv2d(inp, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)
        self.newest = newest

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(F.relu(self.bn1(x)))
        out = self.conv2(F.relu(self.bn2(out)))
        return torch.cat([out, x], 1) if self.newest else torch.cat([x, out], 1)


class DenseNet(nn.Module):
    def __init__(self, newest: bool = False):
        super().__init__()
        planes, growth = 24, 12
        self.conv1 = nn.Conv2d(3, planes, 3, padding=1, bias=False)
        self.dense, self.norms, self.convs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for number in range(3):
            block = [DenseLayer(planes + growth * i, growth, newest) for i in range(16)]
            self.dense.append(nn.Sequential(*block))
            planes += growth * 16
            if number < 2:
                self.norms.append(nn.BatchNorm2d(planes))
                self.convs.append(nn.Conv2d(planes, planes // 2, 1, bias=False))
                planes //= 2
        self.bn = nn.BatchNorm2d(planes)
        self.linear = nn.Linear(planes, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for number, block in enumerate(self.dense):
            x = block(x)
            if number < 2:
                x = F.avg_pool2d(self.convs[number](F.relu(self.norms[number](x))), 2)
        x = F.relu(self.bn(x))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


# A perceptron that ends in a softmax; a network with normalisation inside


class Perceptron(nn.Module):
    def __init__(self, softmax: str = "", drop: float = 0.0, norm: bool = False):
        super().__init__()
        self.hidden, self.classifier = nn.Linear(784, 256), nn.Linear(256, 10)
        self.softmax, self.drop = softmax, nn.Dropout(drop)
        self.norm = nn.BatchNorm1d(256) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.hidden(x.view(-1, 784))))
        x = self.classifier(self.drop(x))
        if self.softmax == "log":
            return F.log_softmax(x, dim=1)
        return torch.softmax(x, dim=1) if self.softmax else x


class Normalising(nn.Module):
    """Holds the mean that it subtracts as a buffer; for it to be right, it is zero here."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 1, 1, 1))
        self.net = FirstLeNet(act=nn.Tanh, pool="mean")

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x - self.mean)
