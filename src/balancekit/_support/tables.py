"""Reading of tables of a configuration file, that is of mappings with plain values.

An unknown name is an error that lists the known ones. Every function takes the place of the table in the file, such as
``"checks"`` or ``"balancer.health"``. Errors begin with this place.

Cost: O(size of the table).
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, TypeAlias

from balancekit.errors import ConfigurationError

__all__ = [
    "Kinds",
    "Words",
    "call",
    "choice",
    "located",
    "make",
    "one_of",
    "reject_unknown",
    "table",
    "words",
]

Words: TypeAlias = tuple[Callable[..., Any], tuple[str, ...]]
"""A constructor and the names of the parameters that a file may set."""
Kinds: TypeAlias = Mapping[str, Words]
"""The constructors among which ``kind`` of a table chooses."""

CODE: Final = frozenset({"address", "child", "choose", "selector", "tls", "values"})
"""Parameters that a file cannot set, because their values are objects: a child, a function, a TLS context."""
MAX_WORD_CHARS: Final = 100
"""Characters of an unknown name that are compared with the known ones."""


def words(kind: Callable[..., Any]) -> Words:
    """Return a class and the names of its parameters that take plain values."""
    return kind, tuple([name for name in inspect.signature(kind).parameters if name not in CODE])


def table(where: str, value: object) -> dict[str, Any]:
    """Return a copy of a table.

    Raises
    ------
    ConfigurationError
        If the value is no mapping, or has a key that is no string.
    """
    if not isinstance(value, Mapping):
        raise ConfigurationError(where, value, "a table")
    for word in value:
        if not isinstance(word, str):
            raise ConfigurationError(where, word, "names that are strings")
    return dict(value)


def reject_unknown(where: str, left: Iterable[str], known: Collection[str]) -> None:
    """Raise ``ConfigurationError`` if unknown names are left in a table. The error lists the known ones and the closest."""
    for word in left:
        raise ConfigurationError(where, word, one_of(word, known))


def choice(where: str, word: object, known: Collection[str]) -> str:
    """Return a word if it is one of the known ones; else raise ``ConfigurationError``."""
    if isinstance(word, str) and word in known:
        return word
    raise ConfigurationError(where, word, one_of(word, known))


def call(where: str, make: Callable[..., Any], options: Mapping[str, Any], known: Collection[str]) -> Any:
    """Call a constructor with the options of a table. Errors name their place in the file."""
    reject_unknown(where, [word for word in options if word not in known], known)
    try:
        return make(**options)
    except ConfigurationError as error:
        raise located(where, error) from None
    except TypeError as error:
        raise ConfigurationError(where, dict(options), str(error)) from None


def located(where: str, error: ConfigurationError) -> ConfigurationError:
    """Return a copy of an error whose parameter begins with the place of its table."""
    return ConfigurationError(f"{where}.{error.parameter}", error.value, error.allowed)


def make(where: str, value: object, kinds: Kinds) -> Any:
    """Return the object that a table with a ``kind`` describes."""
    options = table(where, value)
    kind = choice(f"{where}.kind", options.pop("kind", None), kinds)
    constructor, known = kinds[kind]
    return call(where, constructor, options, known)


def one_of(word: object, known: Collection[str]) -> str:
    """Return the list of known words as text, with the one that was probably meant."""
    if not known:
        return "an empty table"
    close = difflib.get_close_matches(word[:MAX_WORD_CHARS], known, n=1) if isinstance(word, str) else []
    return f"one of {', '.join(known)}" + (f"; did you mean {close[0]!r}?" if close else "")
