"""torch's optimizers by their names, and the group of several that one part may have."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchfolio.errors import RequestError, unknown
from torchfolio.training.groups import LayerRates, layer_groups, rates_by_layer
from torchfolio.training.recipes import spelling
from torchfolio.training.sharding import is_split, split_moments

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": torch.optim.SGD,
    "asgd": torch.optim.ASGD,
    "adadelta": torch.optim.Adadelta,
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "rprop": torch.optim.Rprop,
    "sparse_adam": torch.optim.SparseAdam,
    "adafactor": torch.optim.Adafactor,
    "lbfgs": torch.optim.LBFGS,
    "muon": torch.optim.Muon,
}
FUSED = ("sgd", "adam", "adamw", "adagrad")  # have one kernel for all parameters, CPU and CUDA
FUSED_SPLIT = ("adam", "adamw")  # also for parameters that are split among processes
OURS = ("name", "decay_norms", "layer_decay")  # keys of an [optimizer] section that are not torch's


class OptimizerGroup:
    """The optimizer of one part: one of torch's, or several over different parameters.

    The rate of each parameter group is its own base rate times the schedule's factor.
    """

    def __init__(self, name: str, optimizers: list[Optimizer]) -> None:
        self.name = name
        self.optimizers = optimizers
        self.base = [[group["lr"] for group in each.param_groups] for each in optimizers]
        self.closure_based = any(isinstance(each, torch.optim.LBFGS) for each in optimizers)

    def parameters(self) -> list[Tensor]:
        """Return every parameter that this group trains."""
        groups = [group for each in self.optimizers for group in each.param_groups]
        return [parameter for group in groups for parameter in group["params"]]

    def zero_grad(self) -> None:
        for parameter in self.parameters():
            parameter.grad = None

    def step(self) -> None:
        for each in self.optimizers:
            each.step()

    def step_closure(self, closure: Callable[[], Tensor]) -> Tensor:
        """Take a step that evaluates the loss several times; return the loss it began with."""
        return torch.as_tensor(self.optimizers[0].step(closure))  # type: ignore[arg-type]

    def set_factor(self, factor: float) -> None:
        """Set every rate to its base rate times ``factor``."""
        for optimizer, bases in zip(self.optimizers, self.base, strict=True):
            for group, base in zip(optimizer.param_groups, bases, strict=True):
                group["lr"] = base * factor

    @property
    def rate(self) -> float:
        """The current rate of the first group; where layers have rates of their own, the head's."""
        groups = [group for each in self.optimizers for group in each.param_groups]
        return float(max(group["lr"] for group in groups))

    def state_dict(self) -> list[Any]:
        return [each.state_dict() for each in self.optimizers]

    def load_state_dict(self, states: list[Any]) -> None:
        """Take back a state; moments get the memory layout of their parameters.

        A file holds plain tensors, and fused kernels walk parameter and moment side by side.
        """
        for optimizer, state in zip(self.optimizers, states, strict=True):
            kept = own_kernel(optimizer, state)
            optimizer.load_state_dict(split_moments(optimizer, kept))
            for parameter, values in optimizer.state.items():
                for key, value in values.items():
                    if isinstance(value, Tensor) and value.shape == parameter.shape:
                        values[key] = torch.empty_like(
                            parameter, dtype=value.dtype, device=value.device
                        ).copy_(value)


def own_kernel(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Return a saved state in which ``fused`` is as the optimizer has it now.

    The parameters of this process may be split, and those of the saved ones not.
    """
    groups = [
        {**saved, "fused": own["fused"]} if "fused" in own else saved
        for saved, own in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    return {**state, "param_groups": groups}


def uncompiled(kind: type[Optimizer]) -> type[Optimizer]:
    """Return torch's optimizer with its methods taken out of what torch.compile wraps around them.

    The wrappers serve an optimizer that is itself compiled, which ours never is; the first call of
    one imports ``torch._dynamo``: 1.5 s at the start of every training. What is computed is the
    same, bit for bit.
    """
    wrapped = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in wrapped}
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), {**methods, "step": step})


def canonical(name: str) -> str:
    """Return our spelling of an optimizer's name, which may be torch's own ("AdamW", "L-BFGS")."""
    spellings = {spelling(each): each for each in OPTIMIZERS}
    if spelling(name) not in spellings:
        raise unknown("optimizer", name, OPTIMIZERS, f"torch's are: {', '.join(OPTIMIZERS)}.")
    return spellings[spelling(name)]


def allowed_settings(name: str) -> list[str]:
    """Return the settings that torch's optimizer of this name takes."""
    parameters = inspect.signature(OPTIMIZERS[canonical(name)]).parameters
    hidden = ("params", "foreach", "capturable", "differentiable", "maximize")
    return [each for each in parameters if each not in hidden]


def with_kernel(settings: Mapping[str, Any], *, split: bool) -> dict[str, Any]:
    """Return an optimizer's settings with ``fused`` chosen by a fixed rule: wherever it can be.

    That is for optimizers that torch has one kernel for all parameters of; of parameters that are
    ``split`` among processes fewer have it, and it is off for the others.
    """
    name = canonical(str(settings["name"]))
    if name not in FUSED:
        return dict(settings)
    possible = not split or name in FUSED_SPLIT
    return {**settings, "fused": possible and settings.get("fused", True)}


def make_optimizer(
    part: str,
    module: nn.Module,
    settings: Mapping[str, Any],
    factor: float = 1.0,
    *,
    by_layer: bool = False,
) -> OptimizerGroup:
    """Make the optimizer of one part from its section of the recipe.

    ``settings`` holds ``name``, ``decay_norms`` (whether weight decay reaches norms, biases and
    other parameters of one dimension; true unless said), ``layer_decay`` (what the rate is
    multiplied by with each layer away from the head) and torch's own settings (``fused`` by
    :func:`with_kernel` unless given). Rates are multiplied by ``factor``. Parameters that require
    no gradient are left out. ``by_layer`` keeps layers apart that begin to train one after another:
    torch's fused SGD wants the momentum of a group to begin as one.
    """
    name = canonical(str(settings["name"]))
    kind = OPTIMIZERS[name]
    trained = {key: each for key, each in module.named_parameters() if each.requires_grad}
    if not trained:
        raise RequestError(f"Nothing of {part} is trained: every parameter is frozen.")
    settings = with_kernel(settings, split=any(map(is_split, trained.values())))
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in settings.items()
        if key not in OURS
    }
    allowed = allowed_settings(name)
    for key in given:
        if key not in allowed:
            raise unknown(f"setting of the optimizer {name}", key, allowed)
    default_rate = inspect.signature(kind).parameters["lr"].default
    given["lr"] = float(given.get("lr", default_rate)) * factor
    if given.get("fused") is False:
        del given["fused"]  # torch then chooses among its other ways
    spare = not settings.get("decay_norms", True)
    decay = checked_decay(part, name, settings.get("layer_decay"))
    rates: LayerRates = {}
    if by_layer or decay is not None:
        rates = rates_by_layer(module, given["lr"], 1.0 if decay is None else decay)
    try:
        if name == "muon":
            return OptimizerGroup(name, muon_with_adamw(module, trained, given, spare, rates))
        if name == "sparse_adam":
            refuse_dense_gradients(part, module, trained)
        make: Any = uncompiled(kind)
        if name == "lbfgs":
            return OptimizerGroup(name, [make(list(trained.values()), **given)])
        return OptimizerGroup(name, [make(parameter_groups(trained, spare, rates), **given)])
    except (ValueError, TypeError) as error:  # torch checks the values
        raise RequestError(f"{name} of {part} does not take its settings: {error}") from error


def checked_decay(part: str, optimizer: str, decay: Any) -> float | None:
    """Return what rates are multiplied by from layer to layer, if that is a number that can be."""
    if decay is None:
        return None
    number = isinstance(decay, int | float) and not isinstance(decay, bool)
    if not number or not 0 < decay <= 1:
        raise RequestError(
            f"layer_decay of {part} is {decay!r}; it should be a number above 0, and 1 at most."
        )
    if optimizer == "lbfgs":
        raise RequestError("lbfgs has one rate for all layers. Leave --layer-decay out.")
    return float(decay)


def rate_line(part: str, module: nn.Module, settings: Mapping[str, Any]) -> str:
    """Say which layers learn at which rate, where they differ; else ""."""
    decay = settings.get("layer_decay")
    if decay is None:
        return ""
    trained = {name for name, each in module.named_parameters() if each.requires_grad}
    factors = [
        f"{group.name} {decay**steps:.3g}"
        for steps, group in enumerate(layer_groups(module))
        if trained & set(group.parameters)
    ]
    return f"rates of {part} by layer, as shares of the rate: {', '.join(factors)}"


def parameter_groups(
    trained: Mapping[str, Tensor], spare: bool, rates: LayerRates
) -> list[dict[str, Any]]:
    """Return a parameter group for each layer in ``rates``, and of it for what decay spares.

    That is what has one dimension, if ``spare``. The head comes first; without ``rates`` all layers
    go together.
    """
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, each in trained.items():
        steps, rate = rates.get(name, (0, None))
        spared = spare and each.ndim <= 1
        own = {} if rate is None else {"lr": rate}
        own |= {"weight_decay": 0.0} if spared else {}
        groups.setdefault((steps, spared), {"params": [], **own})["params"].append(each)
    return [groups[key] for key in sorted(groups)]


def muon_with_adamw(
    module: nn.Module,
    trained: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    spare: bool,
    rates: LayerRates,
) -> list[Optimizer]:
    """Muon for the hidden matrices, AdamW for everything else (Jordan et al., 2024).

    Muon takes matrices only. Embeddings, the last matrix, which makes the outputs, and all that is
    no matrix (norms, biases, convolutions) go to AdamW. Muon's steps are scaled to AdamW's size
    (``adjust_lr_fn = "match_rms_adamw"``), so that one rate serves both.
    """
    embeddings = {
        id(each.weight)
        for each in module.modules()
        if isinstance(each, nn.Embedding | nn.EmbeddingBag)
    }
    matrices = [
        name for name, each in trained.items() if each.ndim == 2 and id(each) not in embeddings
    ]
    hidden = {name: trained[name] for name in matrices[:-1]}
    rest = {name: each for name, each in trained.items() if name not in hidden}
    shared = {key: settings[key] for key in ("lr", "weight_decay") if key in settings}
    muon: Any = uncompiled(torch.optim.Muon)
    adamw: Any = uncompiled(torch.optim.AdamW)
    made: list[Optimizer] = []
    if hidden:
        groups = parameter_groups(hidden, False, rates)
        made.append(muon(groups, **{"adjust_lr_fn": "match_rms_adamw", **settings}))
    made.append(adamw(parameter_groups(rest, spare, rates), **shared, fused=True))
    return made


def refuse_dense_gradients(part: str, module: nn.Module, trained: Mapping[str, Tensor]) -> None:
    """Say which parameters have gradients that SparseAdam cannot take."""
    sparse = {
        id(each.weight)
        for each in module.modules()
        if isinstance(each, nn.Embedding | nn.EmbeddingBag) and each.sparse
    }
    dense = [name for name, each in trained.items() if id(each) not in sparse]
    if dense:
        raise RequestError(
            "sparse_adam takes sparse gradients only, which embeddings made with sparse=True have; "
            f"those of {len(dense)} parameters of {part} are dense, first {dense[0]}. Take adam."
        )
