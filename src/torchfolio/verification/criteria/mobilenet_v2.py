"""MobileNetV2 against torchvision's."""

from functools import partial

from torchfolio.networks.catalogue import Card
from torchfolio.verification.criteria import Criteria, Form, from_torchvision
from torchfolio.verification.initialization import batch_norm_rules, constant, fan_out, normal

IMAGE = (67, 45)  # (height, width): odd, not square


def criteria(card: Card, form: Form) -> Criteria:
    """Return the reference of ``mobilenet_v2``, with a width after it or none."""
    width = float(card.name.removeprefix("mobilenet_v2").removeprefix("_") or 1)
    given = {} if width == 1 else {"width_mult": width}
    rules = [
        normal(
            r"features\..*\.weight",
            lambda values, name: (2 / fan_out(values, name)) ** 0.5,
            "He et al. 2015, backward form, as torchvision's",
            dims=4,
        ),
        *batch_norm_rules(r"features\..*"),
        normal(r"classifier\.1\.weight", lambda values, name: 0.01, "as torchvision's"),
        constant(r"classifier\.1\.bias", 0, "as torchvision's"),
    ]
    return Criteria([partial(from_torchvision, "mobilenet_v2", form, **given)], IMAGE, rules)
