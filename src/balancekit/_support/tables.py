"""Tables of plain values, read word by word: an unknown word is an error that lists the known ones.

Every function takes where the table stands in its file (``"checks"``, ``"balancer.health"``) and puts that in front of the
name of whatever is wrong. Cost: proportional to the table.
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
"""A constructor and the parameters that a file may set."""
Kinds: TypeAlias = Mapping[str, Words]
"""What a table may make, by its ``kind``."""

CODE: Final = frozenset({"address", "child", "choose", "selector", "tls", "values"})
"""Parameters whose values are objects of a program: a child, a function, a TLS context."""
MAX_WORD_CHARS: Final = 100
"""Of a word that is compared with known ones."""


def words(kind: Callable[..., Any]) -> Words:
    """Return a class and its parameters that take plain values."""
    return kind, tuple([name for name in inspect.signature(kind).parameters if name not in CODE])


def table(where: str, value: object) -> dict[str, Any]:
    """Return a copy of a table."""
    if not isinstance(value, Mapping):
        raise ConfigurationError(where, value, "a table")
    for word in value:
        if not isinstance(word, str):
            raise ConfigurationError(where, word, "names that are strings")
    return dict(value)


def reject_unknown(where: str, left: Iterable[str], known: Collection[str]) -> None:
    """Raise for the first word that is left in a table, naming the known ones and the closest."""
    for word in left:
        raise ConfigurationError(where, word, one_of(word, known))


def choice(where: str, word: object, known: Collection[str]) -> str:
    """Return a word that is one of the known ones."""
    if isinstance(word, str) and word in known:
        return word
    raise ConfigurationError(where, word, one_of(word, known))


def call(where: str, make: Callable[..., Any], options: Mapping[str, Any], known: Collection[str]) -> Any:
    """Call a constructor with the options of a table; its errors name their place in the file."""
    reject_unknown(where, [word for word in options if word not in known], known)
    try:
        return make(**options)
    except ConfigurationError as error:
        raise located(where, error) from None
    except TypeError as error:
        raise ConfigurationError(where, dict(options), str(error)) from None


def located(where: str, error: ConfigurationError) -> ConfigurationError:
    """Return an error with the place of its table in front of its parameter."""
    return ConfigurationError(f"{where}.{error.parameter}", error.value, error.allowed)


def make(where: str, value: object, kinds: Kinds) -> Any:
    """Make one of several kinds of thing from a table with a ``kind``."""
    options = table(where, value)
    kind = choice(f"{where}.kind", options.pop("kind", None), kinds)
    constructor, known = kinds[kind]
    return call(where, constructor, options, known)


def one_of(word: object, known: Collection[str]) -> str:
    """Return the known words, and the one that was probably meant."""
    if not known:
        return "no words at all here"
    close = difflib.get_close_matches(word[:MAX_WORD_CHARS], known, n=1) if isinstance(word, str) else []
    return f"one of {', '.join(known)}" + (f"; did you mean {close[0]!r}?" if close else "")
