"""YOLO against our own calculation of Figure 3."""

import torch
from torch import Tensor

from torchfolio.networks.catalogue import Card
from torchfolio.verification.calculation import Calculation, largest
from torchfolio.verification.criteria import Criteria, Form
from torchfolio.verification.initialization import torch_bound, uniform
from torchfolio.verification.reference import CalculatedReference

# Figure 3: maps, side and stride of each convolution; None is a pool.
LAYERS: list[tuple[int, int, int] | None] = [
    (64, 7, 2), None, (192, 3, 1), None,
    (128, 1, 1), (256, 3, 1), (256, 1, 1), (512, 3, 1), None,
    *[(256, 1, 1), (512, 3, 1)] * 4, (512, 1, 1), (1024, 3, 1), None,
    *[(512, 1, 1), (1024, 3, 1)] * 2, (1024, 3, 1), (1024, 3, 2), (1024, 3, 1), (1024, 3, 1),
]  # fmt: skip
OTHER_FORM = Form(num_classes=7, in_channels=2, image_size=(64, 128))


def criteria(card: Card, form: Form) -> Criteria:
    """Return the reference of YOLO. It sees pictures of the size that the network is built for."""
    cells = (form.image_size[0] // 64, form.image_size[1] // 64)
    shapes: dict[str, tuple[int, ...]] = {}
    place, channels = 0, form.in_channels
    for layer in LAYERS:
        if layer is not None:
            maps, side, _ = layer
            shapes[f"features.{place}.weight"] = (maps, channels, side, side)
            shapes[f"features.{place}.bias"] = (maps,)
            place, channels = place + 1, maps
        place += 1
    outputs = cells[0] * cells[1] * (10 + form.num_classes)
    shapes |= {"fc1.weight": (4096, 1024 * cells[0] * cells[1]), "fc1.bias": (4096,)}
    shapes |= {"fc2.weight": (outputs, 4096), "fc2.bias": (outputs,)}

    def answers(c: Calculation, images: Tensor) -> Tensor:
        x, place = images, 0
        for layer in LAYERS:
            if layer is None:
                x = largest(x, 2, 2, 0, round_up=False)
            else:
                _, side, stride = layer
                y = c.affine_convolution(f"features.{place}", x, stride, padding=side // 2)
                x = torch.where(y > 0, y, 0.1 * y)
                place += 1
            place += 1
        y = c.linear("fc1", x.reshape(len(images), -1))
        y = torch.where(y > 0, y, 0.1 * y)
        if c.training:
            y = torch.nn.functional.dropout(y, 0.5, training=True)
        return c.linear("fc2", y).reshape(len(images), *cells, -1)

    title = "our own calculation of the paper's Figure 3 (nothing can be installed)"
    rules = [uniform(r".*\.(weight|bias)", torch_bound, "as PyTorch's")]
    return Criteria(
        [lambda: CalculatedReference(title, shapes, answers)], form.image_size, rules, batch=1
    )
