"""Flags made from option dataclasses: one field a flag.

Which flags apply depends on the network, the data or the run that is named, so the signature that
the command-line library reads is put together for each request.
"""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from cyclopts import App, CycloptsError, Group, Parameter

from torchfolio.errors import FolioError, RequestError, normalise
from torchfolio.options import convert


def flag_parameters(kind: type, title: str, *, defaults: bool = False) -> list[inspect.Parameter]:
    """Return one keyword-only parameter for each field of an options dataclass.

    Its default is None, where a recipe has the say, or with ``defaults`` that of the field.
    """
    hints = get_type_hints(kind)
    group = Group(title, sort_key=ORDER.index(title) if title in ORDER else len(ORDER))
    parameters = []
    for each in dataclasses.fields(kind):
        if each.name == "set":
            hint: Any = list[str]
        else:
            hint = hints[each.name]
        help_text = each.metadata.get("help", "")
        extra: dict[str, Any] = {"negative_iterable": ""} if each.name == "set" else {}
        if is_choice(hint):
            extra["converter"] = choice
        annotation = Annotated[
            hint | None, Parameter(help=help_text, group=group, show_default=defaults, **extra)
        ]
        parameters.append(
            inspect.Parameter(
                each.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=each.default if defaults else None,
                annotation=annotation,
            )
        )
    return parameters


def is_choice(hint: Any) -> bool:
    """Return whether a flag of this type takes one of a few values."""
    return get_origin(hint) is Literal or any(is_choice(each) for each in get_args(hint))


def choice(hint: Any, tokens: Sequence[Any]) -> Any:
    """Return the value that is meant; hyphens and underscores are the same."""
    text = tokens[0].value
    return convert(int(text) if text.isdecimal() else text, hint, tokens[0].keyword)


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


def with_flags(
    function: Callable[..., Any], flags: Sequence[inspect.Parameter]
) -> Callable[..., Any]:
    """Return a function whose ``**settings`` are these flags, for the command-line library."""
    own = [
        each
        for each in inspect.signature(function).parameters.values()
        if each.kind is not each.VAR_KEYWORD
    ]
    for name in {each.name for each in own} & {each.name for each in flags}:
        raise FolioError(f"--{name} is a flag of the verb and one of an options class. Rename one.")
    return with_signature(function, [*own, *flags], function.__doc__ or "")


def flag_value(tokens: Sequence[str], name: str) -> str | None:
    """Return what follows ``--name`` or ``--name=`` in the tokens, if it is there."""
    for index, token in enumerate(tokens):
        flag, equals, value = token.partition("=")
        if flag.startswith("--") and normalise(flag[2:]) == name:
            return value if equals else next(iter(tokens[index + 1 :]), None)
    return None


def positional_tokens(tokens: Sequence[str], switches: set[str]) -> list[str]:
    """Return the tokens that are neither flags nor their values; ``switches`` take no value.

    After ``--`` all are.
    """
    found: list[str] = []
    takes_value = False
    for index, token in enumerate(tokens):
        if token == "--":
            return [*found, *tokens[index + 1 :]]
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
