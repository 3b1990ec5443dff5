"""Judging a network: counts, names, initial values, every layer, gradients and buffers.

The network and its references compute with the same parameters, not copies of them: the largest
networks take gigabytes. That values can be carried both ways is looked at before, and that a pass
leaves them alone after each.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from torchfolio.networks.build import build, settings
from torchfolio.networks.catalogue import Card, find_card
from torchfolio.networks.summary import summarise
from torchfolio.verification.carrying import check_carrying, check_names, shortened
from torchfolio.verification.comparison import Difference, compare, first_layer, others
from torchfolio.verification.criteria import Criteria, Form, find_criteria, other_form
from torchfolio.verification.draw import calibrate, draw
from torchfolio.verification.initialization import check_initial
from torchfolio.verification.observation import observe
from torchfolio.verification.reference import Reference

# Relative to the largest value of a tensor. For float32 the usual bound for convolutional networks
# on the CPU; float64 tells rounding from a wrong layer.
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}
TYPES = {torch.float32: "float32", torch.float64: "float64"}


@dataclass
class Layer:
    """The largest relative difference of one layer's output, by type."""

    name: str
    float32: float = 0.0
    float64: float = 0.0


@dataclass
class Verification:
    """The verdict on one network.

    ``reference`` names what it was compared with, with versions. ``max_difference`` is the largest
    relative difference of any layer, output, gradient or buffer in float32 (in float64, where that
    already differs), ``max_difference_64`` in float64; None where names or shapes did not allow a
    comparison. ``macs`` are the multiply-adds at the card's input, None where a module was given.
    ``failures`` say what is wrong and in which layer.
    """

    name: str
    reference: str = ""
    max_difference: float | None = None
    max_difference_64: float | None = None
    tolerance: float = TOLERANCES[torch.float32]
    tolerance_64: float = TOLERANCES[torch.float64]
    parameters: int = 0
    macs: int | None = None
    failures: list[str] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.failures

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as plain values; a difference that is not finite becomes None."""
        return {
            "name": self.name,
            "passed": self.passed,
            "reference": self.reference,
            "max_difference": _finite(self.max_difference),
            "tolerance": self.tolerance,
            "max_difference_float64": _finite(self.max_difference_64),
            "tolerance_float64": self.tolerance_64,
            "parameters": self.parameters,
            "macs": self.macs,
            "failures": self.failures,
            "notes": self.notes,
            "layers": [
                {
                    "name": layer.name,
                    "float32": _finite(layer.float32),
                    "float64": _finite(layer.float64),
                }
                for layer in self.layers
            ],
        }


def _finite(value: float | None) -> float | None:
    return value if value is not None and value < float("inf") else None


def verify(name: str, *, network: nn.Module | None = None) -> Verification:
    """Compare a network with its canonical implementation and its paper.

    Without ``network`` the catalogue's own is built and judged, and, where its structure depends on
    the image, once more with other sizes. Given a ``network`` (freshly built, float32, on the CPU),
    it is judged as the form of that name, whoever wrote it; it is left with other weights. Raises
    ``RequestError`` for an unknown name. A wrong network is no error: its faults are listed.
    """
    card = find_card(name)
    form = Form(num_classes_of(card), card.input[0], (card.input[1], card.input[2]))
    given = network is not None
    if network is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = build(name)
    verdict = Verification(card.name, parameters=sum(p.numel() for p in network.parameters()))
    if verdict.parameters != card.parameters:
        verdict.failures.append(
            f"there are {verdict.parameters:,} parameters; its card says {card.parameters:,}"
        )
    if not given:
        count_multiply_adds(network, card, verdict)
    judge(network, find_criteria(card, form), form, verdict)
    if not given and "image_size" in settings(card):
        other = other_form(card)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = build(
                name,
                num_classes=other.num_classes,
                in_channels=other.in_channels,
                image_size=other.image_size,
            )
        judge(network, find_criteria(card, other), other, verdict)
    return verdict


def num_classes_of(card: Card) -> int:
    """Return the number of classes that a card's network has unless told otherwise."""
    return int(settings(card)["num_classes"])


def count_multiply_adds(network: nn.Module, card: Card, verdict: Verification) -> None:
    """Count the multiply-adds of an image of the card's size."""
    channels, height, width = card.input
    verdict.macs = summarise(network, (channels, height, width)).macs
    if verdict.macs != card.macs:
        verdict.failures.append(
            f"there are {verdict.macs:,} multiply-adds at {channels}x{height}x{width}; its card "
            f"says {card.macs:,}"
        )


def judge(network: nn.Module, criteria: Criteria, form: Form, verdict: Verification) -> None:
    """Add what the criteria show about a network to a verdict."""
    verdict.failures += seen_at_rest(network, criteria)
    verdict.notes += [note for note in criteria.notes if note not in verdict.notes]
    references, buffers = _ready(network, criteria, form, verdict)
    if references:
        _compare(network, references, buffers, criteria, form, verdict)


def seen_at_rest(network: nn.Module, criteria: Criteria) -> list[str]:
    """Return what is wrong before any pass: first values, counts, and what the paper also fixes."""
    failures = shortened(check_initial(network.state_dict(), criteria.initial))
    for top, count in criteria.counts.items():
        found = sum(p.numel() for n, p in network.named_parameters() if n.split(".")[0] == top)
        if found != count:
            failures.append(f"{top} has {found:,} parameters; the paper's has {count:,}")
    for check in criteria.checks:
        try:
            failures += check(network)
        except Exception as error:  # a wrong network may fail in any way
            failures.append(f"a check could not be made: {type(error).__name__}: {error}")
    return failures


def images_of(criteria: Criteria, form: Form) -> Tensor:
    """Return the images that the networks see, drawn from a seed."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(criteria.batch, form.in_channels, *criteria.image, generator=generator)


def _ready(
    network: nn.Module, criteria: Criteria, form: Form, verdict: Verification
) -> tuple[list[Reference], dict[str, Tensor]]:
    """Make the references, compare names, and carry the same values to all and back.

    Returns the references, which share the network's parameters, and the buffers to begin with;
    none where names or shapes differ. After a fault there is one reference: a second one would say
    the same.
    """
    references: list[Reference] = []
    values: dict[str, Tensor] = {}
    for make in criteria.references:
        reference = make()
        if reference.title not in verdict.reference.split("; "):
            verdict.reference += f"{'; ' if verdict.reference else ''}{reference.title}"
        if faults := check_names(network, reference):
            verdict.failures += [fault for fault in faults if fault not in verdict.failures]
            return [], {}
        if not references:
            values = _drawn(network, reference, images_of(criteria, form))
        verdict.failures += check_carrying(network, reference, values)
        reference.share(network.state_dict())
        references.append(reference)
        if verdict.failures:
            break
    trained = {name for name, each in network.named_parameters() if each.requires_grad}
    return references, {name: value for name, value in values.items() if name not in trained}


def _drawn(network: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
    """Return values to compare with; running statistics are near those of the images."""
    values = draw(network.state_dict(), seed=1)
    if any(name.endswith("running_mean") for name in values):
        reference.load(values)
        calibrate(values, reference.observe(images.double(), training=True), seed=2)
    return values


def _compare(
    network: nn.Module,
    references: list[Reference],
    buffers: Mapping[str, Tensor],
    criteria: Criteria,
    form: Form,
    verdict: Verification,
) -> None:
    """Compare every pass with every reference: both types, both modes."""
    images = images_of(criteria, form)
    layers = {layer.name: layer for layer in verdict.layers}
    told: set[str] = set()
    before = len(verdict.failures)
    for kind in (torch.float64, torch.float32):
        if len(verdict.failures) > before:  # float32 would say the same less clearly
            break
        network.to(kind).load_state_dict(buffers, strict=False)
        sums = _sums(network)
        for training in (False, True):  # eval mode first: it leaves the buffers as they are
            found = observe(network, images.to(kind), training)
            mode = f"{TYPES[kind]}, {'train' if training else 'eval'} mode"
            changed = [name for name, total in _sums(network).items() if total != sums[name]]
            verdict.failures += shortened([f"a pass changes {name} ({mode})" for name in changed])
            for reference in references:
                reference.share({**network.state_dict(), **buffers})
                differences = list(compare(reference.observe(images.to(kind), training), found))
                _record(differences, kind, verdict, layers)
                faults = list(_faults(differences, found.error, found.stopped_in, kind))
                for where, fault in faults:
                    if where not in told:
                        told.add(where)
                        verdict.failures.append(f"{fault} ({mode}, against {reference.title})")
                if faults:  # the next reference would say the same
                    break
            del found  # it holds gradients of the size of the network
    if verdict.max_difference is None:
        verdict.max_difference = verdict.max_difference_64
    network.float()
    verdict.layers = list(layers.values())


def _sums(network: nn.Module) -> dict[str, float]:
    """Return the sum of each parameter, which tells whether it was changed."""
    return {name: float(each.detach().sum()) for name, each in network.named_parameters()}


def _faults(
    differences: list[Difference], error: str, stopped_in: str, kind: torch.dtype
) -> Iterator[tuple[str, str]]:
    """Yield each fault of a pass, and before it the place that it is told once for."""
    tolerance = TOLERANCES[kind]
    layer = first_layer(differences, tolerance)
    if layer is not None:
        yield layer.text.split(" differs")[0], layer.text
    if error:
        yield "error", f"{stopped_in or 'the network'} failed: {error}"
    if layer is None and not error:
        for fault in others(differences, tolerance):
            yield fault.text.split(" differ")[0], fault.text


def _record(
    differences: list[Difference],
    kind: torch.dtype,
    verdict: Verification,
    layers: dict[str, Layer],
) -> None:
    """Keep the largest differences."""
    for each in differences:
        if each.kind == "layer" and each.side == "output":
            layer = layers.setdefault(each.name, Layer(each.name))
            if kind == torch.float32:
                layer.float32 = max(layer.float32, each.relative)
            else:
                layer.float64 = max(layer.float64, each.relative)
    largest = max((each.relative for each in differences), default=0.0)
    if kind == torch.float32:
        verdict.max_difference = max(verdict.max_difference or 0.0, largest)
    else:
        verdict.max_difference_64 = max(verdict.max_difference_64 or 0.0, largest)
