"""Checks that refuse a string where an annotation wants a container.

For Python, ``"abc"`` is an iterable of three strings. A user who writes it has usually forgotten the brackets of a
list. So a string is refused for a container, unless the annotation allows a string too. Bytes are refused as well,
except for a container of integers.

Cost: one check of a class per value; O(items) if the items are containers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, TypeAlias

from balancekit.errors import ConfigurationError, brief

__all__ = ["TextCheck", "text_check"]

TextCheck: TypeAlias = Callable[[str, Any], None]
"""A check, called with the name of the parameter and the value. It raises ``ConfigurationError`` if the value, or an
item of it, is a string in place of a container."""

_CONTAINERS: Final = ("Iterable", "Sequence", "Collection", "tuple", "list", "frozenset", "set", "AbstractSet", "Set")  # fmt: skip
_ANYTHING: Final = frozenset({"str", "bytes", "object", "Any"})
"""Types in an annotation that allow a string."""


def text_check(annotation: object) -> TextCheck | None:
    """Return the check for an annotation; ``None`` if it wants no container, or allows a string too.

    Example
    -------
    >>> text_check("tuple[str, ...]")("names", "abc")
    Traceback (most recent call last):
        ...
    balancekit.errors.ConfigurationError: names='abc' is not allowed: expected tuple[str, ...]; one text is written ['abc']
    >>> text_check("Iterable[str] | str"), text_check("float")
    (None, None)
    """
    return _check(str(annotation))


@cache
def _check(wanted: str) -> TextCheck | None:
    find = _finder(wanted)
    if find is None:
        return None

    def check(name: str, value: Any) -> None:
        found, among_texts = find(value)
        if found is not None:
            rest = f"; one text is written [{brief(found)}]" if among_texts else ", no text"
            raise ConfigurationError(name, value, wanted + rest)

    return check


_Found: TypeAlias = tuple[Any, bool]
"""A string in place of a container (``None`` if there is none), and whether the container is one of strings."""
_NONE: Final[_Found] = (None, False)


def _finder(annotation: str) -> Callable[[Any], _Found] | None:
    parts = _alternatives(annotation)
    if not _ANYTHING.isdisjoint(parts):
        return None
    containers = [_parameters(part) for part in parts if part.startswith(_CONTAINERS)]
    if any(_is_variable(inner[0]) for inner in containers):
        return None
    mappings = [_parameters(part) for part in parts if part.startswith("Mapping[")]
    of_items = next(filter(None, [_finder(inner[0]) for inner in containers if _alike(inner)]), None)
    of_values = next(filter(None, [_finder(inner[-1]) for inner in mappings]), None)
    if not containers and of_values is None:
        return None
    kinds = (str,) if ["int"] in [inner[:1] for inner in containers] else (str, bytes, bytearray)
    among_texts = any("str" in _alternatives(inner[0]) for inner in containers)

    def find(value: Any) -> _Found:
        if containers and isinstance(value, kinds):
            return value, among_texts
        if of_values is not None and isinstance(value, Mapping):
            return _first(of_values, list(value.values()))
        if of_items is not None and isinstance(value, list | tuple | set | frozenset):
            return _first(of_items, value)
        return _NONE

    return find


def _first(find: Callable[[Any], _Found], values: Any) -> _Found:
    return next((found for found in map(find, values) if found[0] is not None), _NONE)


def _is_variable(item: str) -> bool:
    """Return whether an item type is a type variable, so that items may be strings. Such names have one letter."""
    return len(item) == 1 and item.isupper()


def _alike(inner: list[str]) -> bool:
    """Return whether all items of a container have the same type. A tuple of fixed length may have several types."""
    return len(inner) == 1 or inner[1] == "..."


def _parameters(part: str) -> list[str]:
    """Return the type parameters between the brackets of an annotation."""
    return _cut(part.partition("[")[2].rstrip()[:-1], ",") or ["Any"]


def _alternatives(annotation: str) -> list[str]:
    return _cut(annotation, "|")


def _cut(text: str, at: str) -> list[str]:
    """Split a text at a character that is not inside brackets."""
    found, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if character == at and not depth:
            found.append(text[start:place].strip())
            start = place + 1
    return [part for part in (*found, text[start:].strip()) if part]
