"""Texts where several values are wanted, by what a field or a parameter is annotated with.

``"abc"`` is an iterable of three texts to Python, and one text that lacks its brackets to its author. So a text is refused
wherever a container is wanted, unless the annotation takes a text too; bytes are refused as well, but where whole numbers are
wanted.

Cost: one look at a class for each such value; O(items) where the items are containers themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, TypeAlias

from balancekit.errors import ConfigurationError, brief

__all__ = ["TextCheck", "text_check"]

TextCheck: TypeAlias = Callable[[str, Any], None]
"""Raises a ``ConfigurationError`` that names the parameter, its first argument, if the value is a text or has one as an item."""

_CONTAINERS: Final = ("Iterable", "Sequence", "Collection", "tuple", "list", "frozenset", "set", "AbstractSet", "Set")  # fmt: skip
_ANYTHING: Final = frozenset({"str", "bytes", "object", "Any"})
"""Alternatives that let a text pass."""


def text_check(annotation: object) -> TextCheck | None:
    """Return what refuses texts for an annotation; ``None`` if a text may be meant, or no container is wanted.

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
"""A text that stands where a container is wanted, and whether it is one of texts; ``None`` if there is none."""
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
    """Return whether items may be of any kind, as letters are: a type variable has a name of one letter."""
    return len(item) == 1 and item.isupper()


def _alike(inner: list[str]) -> bool:
    """Return whether the items of a container are of one kind: not so in a tuple of a fixed length."""
    return len(inner) == 1 or inner[1] == "..."


def _parameters(part: str) -> list[str]:
    """Return what is between the brackets of an annotation, cut at its commas."""
    return _cut(part.partition("[")[2].rstrip()[:-1], ",") or ["Any"]


def _alternatives(annotation: str) -> list[str]:
    return _cut(annotation, "|")


def _cut(text: str, at: str) -> list[str]:
    """Cut a text at a character, but not inside brackets."""
    found, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if character == at and not depth:
            found.append(text[start:place].strip())
            start = place + 1
    return [part for part in (*found, text[start:].strip()) if part]
