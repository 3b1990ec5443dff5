"""Small mistakes that ``verify`` is put to the test with: each is planted and must be caught.

``DEPARTURES`` is the published list; ``table()`` is its form in the guide.
"""

from torchfolio.verification.departures.alexnet import ALEXNET
from torchfolio.verification.departures.base import Departure
from torchfolio.verification.departures.capsnet import CAPSULES
from torchfolio.verification.departures.cifar_quick import QUICK
from torchfolio.verification.departures.densenet import DENSE
from torchfolio.verification.departures.detection import DETECTION
from torchfolio.verification.departures.inception import INCEPTION
from torchfolio.verification.departures.lenet import LENET
from torchfolio.verification.departures.lenet_caffe import LENET_CAFFE
from torchfolio.verification.departures.linear import LINEAR
from torchfolio.verification.departures.mobilenet import MOBILE
from torchfolio.verification.departures.residual import RESIDUAL
from torchfolio.verification.departures.segmentation import SEGMENTATION
from torchfolio.verification.departures.vit import TRANSFORMER

__all__ = ["DEPARTURES", "Departure", "table"]

DEPARTURES: tuple[Departure, ...] = (
    *RESIDUAL, *LENET, *LENET_CAFFE, *LINEAR, *ALEXNET, *INCEPTION, *DENSE, *MOBILE, *CAPSULES,
    *TRANSFORMER, *QUICK, *SEGMENTATION, *DETECTION,
)  # fmt: skip


def table() -> str:
    """Return the list as a Markdown table."""
    lines = [
        "| departure | what is wrong | planted in (the layer that is named) |",
        "|---|---|---|",
    ]
    for each in DEPARTURES:
        places = ", ".join(f"`{network}` (`{layer}`)" for network, layer in each.on.items())
        lines.append(f"| `{each.name}` | {each.description} | {places} |")
    return "\n".join(lines) + "\n"
