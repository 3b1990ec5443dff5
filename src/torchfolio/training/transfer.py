"""Which modules a training from given weights trains, and which stay as they are."""

from torch import nn

from torchfolio.errors import RequestError
from torchfolio.networks.weights import fixed_parameters, head_names, with_parameters


def freeze(network: nn.Module, transfer: str) -> list[str]:
    """Freeze what ``transfer`` leaves alone; return the names of the modules that train.

    "all" trains everything, "head" the head (:func:`head_names`), "last:N" the last N top-level
    modules that have parameters to train, the head included. Frozen parameters require no gradient,
    and the loop keeps modules without any trained parameter in evaluation mode, so that their
    buffers rest too.
    """
    fixed = fixed_parameters(network)
    free = {name.split(".", 1)[0] for name, _ in network.named_parameters() if name not in fixed}
    names = [name for name in with_parameters(network) if name in free]
    last = names[len(names) - count_trained(transfer, len(names)) :]
    heads = head_names(network)
    trained = [name for name in names if name in last or name in heads]
    if len(trained) < len(names):
        for name, parameter in network.named_parameters():
            if name not in fixed:
                parameter.requires_grad_(name.split(".", 1)[0] in trained)
    return trained


def count_trained(transfer: str, modules: int) -> int:
    """Return how many of the last modules are trained."""
    if transfer in ("all", "none"):
        return modules
    if transfer == "head":
        return min(1, modules)
    word, _, number = transfer.partition(":")
    if word == "last" and number.isdecimal() and int(number) >= 1:
        if int(number) > modules:
            raise RequestError(
                f"transfer is {transfer}; the network has {modules} top-level modules that have "
                "parameters."
            )
        return int(number)
    raise RequestError(f"transfer is {transfer!r}; it should be all, head, last:N or none.")


def frozen_modules(part: nn.Module) -> list[nn.Module]:
    """Return the modules that stay in evaluation mode, so that their statistics rest too.

    They are those of which no parameter is trained, and, in front of the first one that is
    trained, those which have buffers only (a batch norm without scale and shift).
    """
    if is_trained_whole(part):
        return []
    frozen = [
        module
        for module in part.modules()
        if any(True for _ in module.parameters()) and not is_trained(module)
    ]
    return frozen + buffers_in_front(part)


def buffers_in_front(module: nn.Module) -> list[nn.Module]:
    """Return what has buffers and no parameters, up to the first module that is trained whole."""
    found = list[nn.Module]()
    for child in module.children():
        if is_trained(child):
            return found if is_trained_whole(child) else found + buffers_in_front(child)
        if any(True for _ in child.buffers()) and not any(True for _ in child.parameters()):
            found.append(child)
    return found


def is_trained_whole(module: nn.Module) -> bool:
    """Return whether every parameter of a module is trained."""
    return all(each.requires_grad for each in module.parameters())


def is_trained(module: nn.Module) -> bool:
    """Return whether any parameter of a module is trained."""
    return any(each.requires_grad for each in module.parameters())
