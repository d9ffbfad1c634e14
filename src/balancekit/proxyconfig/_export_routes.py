"""Routes to export: in the order in which they are tried, with pools by name and paths as expressions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from balancekit.errors import ConfigurationError
from balancekit.l7 import PathPattern, RouteTable, Split, ValueCondition
from balancekit.l7._index import in_order
from balancekit.l7._patterns import Exact, Prefix, Regex, Template, TextPrefix
from balancekit.proxyconfig._export_text import expression, literal

__all__ = [
    "OTHER_KEYS",
    "RouteRule",
    "between",
    "host_expression",
    "path_expression",
    "rules_of",
    "whole_value",
]

NO_MATCH: Final = "no match"
OTHER_KEYS: Final = "the shares are the same, but of other keys; requests without one all go to one pool"
"""The difference of a split by a value, which the proxy hashes in its own way."""


class RouteRule(NamedTuple):
    """A route with one of its hosts."""

    name: str
    host: str
    path: PathPattern | None
    methods: tuple[str, ...]
    conditions: tuple[ValueCondition, ...]
    targets: tuple[tuple[str, float], ...]
    """Pools and their shares; those with a share of 0 are left out."""
    by: str | None
    timeout: float | None
    attempts: int
    retry_on: tuple[int, ...]
    rewrite: str | None


def rules_of(table: RouteTable[Any], pools: Collection[str]) -> list[RouteRule]:
    """Return the routes of a table in the order in which they are tried, and last what it does without one.

    Raises
    ------
    ConfigurationError
        If a route leads to a pool that is not exported.
    """
    found = [
        RouteRule(
            name=route.name,
            host=host,
            path=route.path,
            methods=tuple(sorted(route.methods or ())),
            conditions=route.conditions,
            targets=_targets(route.to, pools),
            by=route.to.by if isinstance(route.to, Split) else None,
            timeout=route.timeout,
            attempts=route.attempts,
            retry_on=tuple(sorted(route.retry_on)),
            rewrite=route.rewrite,
        )
        for route, host in in_order(table.routes, table.order)
    ]
    if table.no_match is not None:
        by = table.no_match.by if isinstance(table.no_match, Split) else None
        targets = _targets(table.no_match, pools)
        found.append(RouteRule(NO_MATCH, "", None, (), (), targets, by, None, 1, (), None))
    return found


def _targets(to: Any, pools: Collection[str]) -> tuple[tuple[str, float], ...]:
    shares: Mapping[Any, float] = {to: 1.0}
    if isinstance(to, Split):
        total = sum(to.weights)
        shares = {pool: weight / total for pool, weight in zip(to.pools, to.weights, strict=True) if weight}
    for pool in shares:
        if pool not in pools:
            raise ConfigurationError(
                "routes", pool, f"names of pools that are exported: {', '.join(sorted(pools))}"
            )
    return tuple(shares.items())


def path_expression(pattern: PathPattern, *, end: str = "$", inside: str = "") -> str:
    """Return an expression for a path, without a ``^`` in front.

    Parameters
    ----------
    pattern
        Any but an expression of the user's.
    end
        What stands for the end of the path.
    inside
        Letters that are not in a path, besides the slash.
    """
    if isinstance(pattern, Exact):
        return literal(pattern.literal) + end
    if isinstance(pattern, Prefix):
        return f"{literal(pattern.literal)}(?:/|{end})"
    if isinstance(pattern, TextPrefix):
        return literal(pattern.literal)
    if isinstance(pattern, Template):
        parts = []
        for segment in pattern.segments:
            if segment.startswith("{") and segment.endswith(":path}"):
                parts.append(f"/[^{inside}]*" if inside else "/.*")
            else:
                parts.append(f"/[^/{inside}]+" if segment.startswith("{") else f"/{literal(segment)}")
        return "".join(parts) + end
    if isinstance(pattern, Regex):
        return expression(pattern.expression.pattern)
    raise AssertionError(pattern)


def host_expression(host: str) -> str:
    """Return an expression for the whole of a host in lower case, without port and final dot."""
    if not host or host == "*":
        return "[^ ]*"
    if host.startswith("*."):
        return rf"[^ ]+\.{literal(host[2:])}"
    return literal(host)


def whole_value(condition: ValueCondition) -> str:
    """Return an expression for the whole value that a condition accepts if it were not negated."""
    operator, argument = condition.operator, condition.argument
    if operator in {"present", "absent"}:
        return ".+"
    if operator == "between":
        low, high = argument if isinstance(argument, tuple) else (0, 0)
        return between(low, high)
    text = str(argument)
    if operator in {"is", "is not"}:
        return literal(text)
    if operator == "starts with":
        return f"{literal(text)}.*"
    if operator == "contains":
        return f".*{literal(text)}.*"
    return f"(?:{expression(text)})"


def between(low: int, high: int) -> str:
    """Return an expression for decimal integers within bounds, leading zeros allowed.

    Example
    -------
    >>> between(7, 123)
    '(?:0*(?:[7-9]|[1-9][0-9]|1[0-1][0-9]|12[0-3]))'
    """
    found = []
    if low < 0:
        found.append(f"-0*(?:{'|'.join(_numbers(max(1, -high), -low))})")
    if low <= 0 <= high:
        found.append("-0+")
    if high >= 0:
        found.append(f"0*(?:{'|'.join(_numbers(max(0, low), high))})")
    return f"(?:{'|'.join(found)})"


def _numbers(low: int, high: int) -> list[str]:
    """Return expressions for numbers of at least 0: each for those that have all digits but the last few in common."""
    found = []
    while low <= high:
        size, free = 1, 0
        while low % (size * 10) == 0 and low + size * 10 - 1 <= high:
            size, free = size * 10, free + 1
        head, first = divmod(low // size, 10)
        last = min(9, first + (high - low + 1) // size - 1)
        low += (last - first + 1) * size
        if not head and not first and free:  # fewer digits are as good
            found.append(f"[0-9]{{1,{free}}}")
            first = 1
        digit = f"[{first}-{last}]" if first < last else str(first)
        rest = "[0-9]" if free == 1 else f"[0-9]{{{free}}}"
        if first <= last:
            found.append(f"{head or ''}{digit}{rest if free else ''}")
    return found
