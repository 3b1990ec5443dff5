"""What goes wrong, said so that a person can act on it.

A message says what was found and where, what was expected, and what to do. The command exits
with 2 for a ``RequestError`` (the request was wrong) and with 1 for any other ``FolioError``
(the work failed).
"""

import difflib
from collections.abc import Iterable


class FolioError(Exception):
    """The work failed; the message says what was found, where, and what to do."""


class RequestError(FolioError):
    """The request itself was wrong: an unknown name, a value out of range, a missing path."""


class DataError(FolioError):
    """The data cannot be used as they are."""


class PeerError(FolioError):
    """Another process of the same training failed, and has said so itself."""


def normalise(name: str) -> str:
    """Return the spelling under which names are compared: lower case, hyphen as underscore."""
    return name.strip().lower().replace("-", "_")


def unknown(what: str, name: str, known: Iterable[str], advice: str = "") -> RequestError:
    """Return the error for a name that does not exist, with the nearest ones that do.

    ``what`` is the kind of thing ("network", "column"); ``advice`` says how to see all of them.
    """
    spellings = {normalise(each): each for each in known}
    near = difflib.get_close_matches(normalise(name), spellings, n=3, cutoff=0.5)
    near += [key for key in spellings if key.startswith(normalise(name)) and key not in near]
    message = f"There is no {what} named {name!r}."
    if near:
        message += f" The nearest: {', '.join(spellings[key] for key in near[:3])}."
    elif len(spellings) <= 12:
        message += f" There are: {', '.join(spellings.values())}."
    return RequestError(f"{message} {advice}".strip())
