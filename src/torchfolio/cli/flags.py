"""Flags made from option dataclasses: one field a flag, none of them set unless the person does.

Which flags apply to a training depends on its network and data, so the signature that the
command-line library reads is put together for each request.
"""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_type_hints

from cyclopts import App, CycloptsError, Group, Parameter

from torchfolio.errors import RequestError, normalise


def flag_parameters(kind: type, title: str) -> list[inspect.Parameter]:
    """Return one keyword-only parameter for each field of an options dataclass, default None."""
    hints = get_type_hints(kind)
    group = Group(title, sort_key=ORDER.index(title) if title in ORDER else len(ORDER))
    parameters = []
    for each in dataclasses.fields(kind):
        if each.name == "set":
            hint: Any = list[str]
        else:
            hint = hints[each.name]
        help_text = each.metadata.get("help", "")
        extra = {"negative_iterable": ""} if each.name == "set" else {}
        annotation = Annotated[
            hint | None, Parameter(help=help_text, group=group, show_default=False, **extra)
        ]
        parameters.append(
            inspect.Parameter(
                each.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
            )
        )
    return parameters


ORDER = ("Network", "Data", "Task", "Training", "Optimizer")


def with_signature(
    function: Callable[..., Any], parameters: Sequence[inspect.Parameter], documentation: str
) -> Callable[..., Any]:
    """Return a function that the command-line library sees with these parameters."""
    defaults = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}

    def command(*arguments: Any, **settings: Any) -> Any:
        return function(*arguments, **(defaults | settings))

    command.__signature__ = inspect.Signature(list(parameters))  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = documentation
    return command


def positional_tokens(tokens: Sequence[str], switches: set[str]) -> list[str]:
    """Return the tokens that are neither flags nor their values; ``switches`` take no value."""
    found = []
    takes_value = False
    for token in tokens:
        if token.startswith("-") and len(token) > 1:
            name = normalise(token.lstrip("-").split("=", 1)[0])
            bare = name.removeprefix("no_")
            takes_value = "=" not in token and name not in switches and bare not in switches
        elif takes_value:
            takes_value = False
        else:
            found.append(token)
    return found


def run_verb(name: str, command: Callable[..., Any], arguments: Sequence[str]) -> Any:
    """Run a verb on its arguments; what cannot be parsed is a ``RequestError``."""
    app = App(
        name=f"folio {name}",
        help_format="markdown",
        version_flags=[],
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
    )
    app.default(command)
    try:
        return app(list(arguments))
    except CycloptsError as error:
        raise RequestError(f"{error} 'folio {name} --help' shows the flags.") from error
