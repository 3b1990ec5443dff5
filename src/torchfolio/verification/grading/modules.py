"""Laying a person's module beside a network of the catalogue, and judging it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from torchfolio.networks.build import build
from torchfolio.networks.catalogue import Card, find_card
from torchfolio.verification.criteria import Form, find_criteria
from torchfolio.verification.grading.beside import Beside
from torchfolio.verification.grading.causes import find_causes
from torchfolio.verification.grading.verdict import Grade, count, explain, look
from torchfolio.verification.judge import num_classes_of

SECONDS = 120.0  # that the search for a cause may take


def form_of(card: Card) -> Form:
    """Return the sizes of a card."""
    return Form(num_classes_of(card), card.input[0], (card.input[1], card.input[2]))


def grade(
    module: nn.Module,
    network: str,
    *,
    name: str = "",
    given: Mapping[str, str] | None = None,
    seconds: float = SECONDS,
) -> Grade:
    """Compare a person's module with a network of the catalogue; it is left with other weights.

    ``given`` pairs layers of theirs with the network's, where that is not found out. The cause of a
    difference is searched for ``seconds`` at the most.
    """
    card = find_card(network)
    result = Grade(name or type(module).__name__, card.name, expected=card.parameters)
    module = module.float()
    if any(isinstance(each, UninitializedParameter) for each in module.parameters()):
        error = pass_error(module, torch.zeros(2, *card.input))  # lazy layers take their sizes
        if error:
            result.failures.append(f"it does not run: {error}")
            return result
    result.parameters = sum(each.numel() for each in module.parameters())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ours = build(card.name)
    beside, notes = laid_beside(module, ours, card, given)
    try:
        judge(result, beside, notes)
        if not result.passed and beside.exact:
            causes = find_causes(beside, card, seconds)
            others = beside.paired_otherwise(causes.layers) if causes.complete else {}
            if others:
                beside.close()
                beside = Beside(module, ours, beside.images, {**(given or {}), **others})
                judge(result, beside, notes)
            explain(result, beside, causes)
    finally:
        beside.close()
    return result


def judge(result: Grade, beside: Beside, notes: list[str]) -> None:
    """Say where the two part; ``notes`` come first."""
    result.matched, result.layers = len(beside.found.values), dict(beside.found.layers)
    result.failures, result.notes = [], list(notes)
    count(result, beside)
    look(result, beside)
    result.passed = not result.failures


def laid_beside(
    module: nn.Module, ours: nn.Module, card: Card, given: Mapping[str, str] | None
) -> tuple[Beside, list[str]]:
    """Lay a module beside the network, with images of an odd size if it takes them.

    What is right of the paper's size alone is judged there, and a note says so; networks that
    answer for every pixel are of no size.
    """
    criteria = find_criteria(card, form_of(card))
    odd, usual = criteria.image, (card.input[1], card.input[2])

    def images(size: tuple[int, int]) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        return torch.randn(criteria.batch, card.input[0], *size, generator=generator)

    beside = Beside(module, ours, images(odd), given)
    any_size = "image-classification" not in card.tasks
    if odd == usual or any_size or not is_of_size(beside, images(usual)):
        return beside, []
    beside.close()
    note = (
        f"compared with pictures of {usual[0]}x{usual[1]}: those of {odd[0]}x{odd[1]} it does not "
        "take, or takes otherwise"
    )
    return Beside(module, ours, images(usual), given), [note]


def is_of_size(beside: Beside, images: Tensor) -> bool:
    """Return whether a module is right of the size of these images, and not of the others."""
    if beside.found.error:
        return not pass_error(beside.module, images)
    in_eval_mode = beside.look()[0][1]
    return any(each.side == "outputs" for each in in_eval_mode) and beside.agrees_on(images)


def pass_error(module: nn.Module, images: Tensor) -> str:
    """Return why a module does not take images; nothing where it does."""
    try:
        with torch.no_grad():
            module.eval()(images)
    except Exception as error:  # a person's code may fail in any way
        return f"{type(error).__name__}: {error}"
    return ""
