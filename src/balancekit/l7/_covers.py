"""Implications between conditions: when does every request of one route also match another.

The answers are safe, not complete: ``True`` is proven, ``False`` means only that no rule here proves it.

Cost: O(segments + conditions).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from balancekit.l7._patterns import VARIABLE, Exact, PathPattern, Prefix, Regex, Template, TextPrefix
from balancekit.l7._route import Route
from balancekit.l7._values import ValueCondition

__all__ = ["contradiction", "covers", "host_covers", "overlaps"]


def covers(one: Route[Any], other: Route[Any]) -> bool:
    """Whether a route matches everything that another one matches, hosts aside."""
    return (
        path_covers(one.path, other.path)
        and (one.methods is None or (other.methods is not None and other.methods <= one.methods))
        and all(any(_implies(given, wanted) for given in other.conditions) for wanted in one.conditions)
    )


def overlaps(one: Route[Any], other: Route[Any]) -> bool:
    """Whether nothing here rules out that a request matches both, hosts and paths aside."""
    if one.methods is not None and other.methods is not None and not one.methods & other.methods:
        return False
    return contradiction((*one.conditions, *other.conditions)) is None


def host_covers(one: str, other: str) -> bool:
    """Whether a host pattern matches every host that another one matches; empty is any host.

    Example
    -------
    >>> host_covers("*.b", "a.b"), host_covers("*.b", "*.c.b"), host_covers("*.b", "b"), host_covers("", "b")
    (True, True, False, True)
    """
    if not one or one == other:
        return True
    return one.startswith("*") and other.removeprefix("*").endswith(one[1:])


def contradiction(conditions: Iterable[ValueCondition]) -> tuple[ValueCondition, ValueCondition] | None:
    """Return two conditions that cannot both hold, if one of them names the value."""
    every = list(conditions)
    for given in every:
        if given.operator not in {"is", "absent"}:
            continue
        value = given.argument if isinstance(given.argument, str) else None
        for wanted in every:
            if (wanted.kind, wanted.name) == (given.kind, given.name) and not wanted.accepts(value):
                return given, wanted
    return None


def _implies(given: ValueCondition, wanted: ValueCondition) -> bool:
    if (given.kind, given.name) != (wanted.kind, wanted.name):
        return False
    if given == wanted:
        return True
    if given.operator == "is" and isinstance(given.argument, str):
        return wanted.accepts(given.argument)
    if given.operator == "absent":
        return wanted.accepts(None)
    if given.operator == "is not":
        return False
    if wanted.operator == "present":
        return True
    if given.operator == "starts with" and wanted.operator in {"starts with", "contains"}:
        return wanted.accepts(str(given.argument))
    return given.operator == "contains" == wanted.operator and wanted.accepts(str(given.argument))


def path_covers(one: PathPattern | None, other: PathPattern | None) -> bool:
    """Whether a path pattern matches every path that another one matches."""
    if one is None or (isinstance(one, Prefix) and not one.literal):
        return True
    if other is None:
        return False
    if isinstance(other, Exact):
        return one.matches(other.literal)
    if isinstance(one, Prefix):
        start = other.literal if isinstance(other, TextPrefix | Regex) else other.literal + "/"
        return start.startswith(one.literal + "/")
    if isinstance(one, TextPrefix):
        start = other.literal + "/" if isinstance(other, Template) else other.literal or "/"
        return start.startswith(one.literal)
    if isinstance(one, Template):
        return _template_covers(one, other)
    return (
        isinstance(one, Regex)
        and isinstance(other, Regex)
        and one.expression.pattern == other.expression.pattern
    )


def _template_covers(one: Template, other: PathPattern) -> bool:
    rest = one.text.endswith(":path}")
    fixed = one.segments[:-1] if rest else one.segments
    if isinstance(other, Template):
        theirs = other.segments
        if other.text.endswith(":path}") and not rest:
            return False
    elif isinstance(other, Prefix) and rest:
        theirs = tuple(other.literal.split("/")[1:])
    else:
        return False
    if len(theirs) <= len(fixed) if rest else len(theirs) != len(fixed):
        return False
    for mine, their in zip(fixed, theirs, strict=False):
        if their.endswith(":path}") or (mine != their and not VARIABLE.fullmatch(mine)):
            return False
    return True
