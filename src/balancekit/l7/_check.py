"""Mistakes in route tables that can be seen before any request comes.

Cost: O(routes x candidates): a route is compared only with those that the index offers for its host and path. Source: the
mistakes are those that users of proxies report (``docs/explanation/routers-disagree.md``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Final

from balancekit._support.record import Record
from balancekit.errors import printable
from balancekit.l7._covers import contradiction, covers, host_covers, overlaps
from balancekit.l7._index import RouteIndex, specificity
from balancekit.l7._patterns import Exact, PathPattern, Prefix, Regex, Template, TextPrefix
from balancekit.l7._route import Route
from balancekit.l7._spelling import Spelling
from balancekit.l7._split import Split

__all__ = ["RouteProblem", "route_problems"]

STANDARD_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
)
IDEMPOTENT_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"})


class RouteProblem(Record):
    """One mistake, or a likely one.

    ==================  ==================================================================================
    ``shadowed``        a route before it takes every request that it matches
    ``duplicate``       the same conditions as a route before it
    ``ambiguous``       equally specific as another that can match the same request; the name decides
    ``unreachable``     its path is one that the spelling rejects or changes
    ``contradiction``   two of its conditions cannot both hold
    ``unanchored``      its expression is found anywhere in the path
    ``open-end``        its expression ends in the middle of a segment: ``^/admin`` matches ``/administrator``
    ``loose-prefix``    its text prefix ends in the middle of a segment
    ``method-case``     a standard method that is not in upper case; methods are case-sensitive
    ``host-header``     a condition on the Host header, which has case and port; ``host=`` has not
    ``unsafe-retry``    several attempts, and only methods that are not idempotent
    ``unused-retry``    status codes to retry, and one attempt
    ``split-names``     one pool under two names in a split, or one name for two pools in two splits
    ``zero-weight``     a pool of a split that gets no requests
    ==================  ==================================================================================

    Parameters
    ----------
    kind
        One of the above.
    route
        The route's name.
    text
        What is wrong and what to do, in words.
    other
        The other route's name where there is one.
    """

    kind: str
    route: str
    text: str
    other: str | None = None

    def __str__(self) -> str:
        return printable(f"{self.route}: {self.kind}: {self.text}")


def route_problems(index: RouteIndex[Any], order: str, spelling: Spelling) -> tuple[RouteProblem, ...]:
    """Return the problems of a table, in the order of its routes."""
    found: dict[str, list[RouteProblem]] = {route.name: [] for route in index.routes}
    for problem in _each(index, order, spelling):
        found[problem.route].append(problem)
    return tuple([problem for problems in found.values() for problem in problems])


def _each(index: RouteIndex[Any], order: str, spelling: Spelling) -> Iterator[RouteProblem]:
    for route in index.routes:
        yield from _own(route, spelling)
    yield from _shadowed(index, spelling)
    if order == "specific":
        yield from _ambiguous(index)
    yield from _split_names(index.routes)


# ---------------------------------------------------------------------- one route by itself


def _own(route: Route[Any], spelling: Spelling) -> Iterator[RouteProblem]:
    if route.path is not None:
        yield from _path(route.name, route.path, spelling)
    yield from _conditions(route)
    yield from _retries(route)
    if isinstance(route.to, Split):
        for name, weight in zip(route.to.names, route.to.weights, strict=True):
            if not weight:
                yield RouteProblem(kind="zero-weight", route=route.name, text=f"{name!r} gets no requests")


def _conditions(route: Route[Any]) -> Iterator[RouteProblem]:
    pair = contradiction(route.conditions)
    if pair is not None:
        yield RouteProblem(
            kind="contradiction", route=route.name, text=f"{pair[0]!r} and {pair[1]!r} cannot both hold"
        )
    for method in sorted(route.methods or ()):
        if method not in STANDARD_METHODS and method.upper() in STANDARD_METHODS:
            yield RouteProblem(
                kind="method-case",
                route=route.name,
                text=f"{method!r} never matches; write {method.upper()!r}",
            )
    for condition in route.conditions:
        if condition.kind == "header" and condition.name == "host":
            yield RouteProblem(
                kind="host-header",
                route=route.name,
                text="compares the Host header with case and port; use host=",
            )


def _retries(route: Route[Any]) -> Iterator[RouteProblem]:
    if route.attempts > 1 and route.methods is not None and not route.methods & IDEMPOTENT_METHODS:
        yield RouteProblem(
            kind="unsafe-retry",
            route=route.name,
            text=f"attempts={route.attempts}, but {'/'.join(sorted(route.methods))} is retried only if it was not sent",
        )
    if route.retry_on and route.attempts == 1:
        yield RouteProblem(
            kind="unused-retry", route=route.name, text="retry_on has no effect with attempts=1"
        )


def _path(name: str, pattern: PathPattern, spelling: Spelling) -> Iterator[RouteProblem]:
    if isinstance(pattern, Regex):
        expression = pattern.expression.pattern
        if not expression.startswith(("^", r"\A", "(?i)^")):
            yield RouteProblem(
                kind="unanchored",
                route=name,
                text=f"{expression!r} is found anywhere in a path; begin it with '^'",
            )
        elif not expression.endswith(("$", r"\Z", "/", ".*", ")")):
            yield RouteProblem(
                kind="open-end",
                route=name,
                text=f"{expression!r} matches whatever follows; end it with '$' or '(/|$)'",
            )
        return
    if isinstance(pattern, TextPrefix) and not pattern.literal.endswith("/"):
        yield RouteProblem(
            kind="loose-prefix",
            route=name,
            text=f"{pattern.literal!r} also matches {pattern.literal + 'x'!r}; use prefix({pattern.literal!r})",
        )
    sample = pattern.literal or "/"
    if isinstance(pattern, Template):
        sample = "".join([f"/{'x' if '{' in one else one}" for one in pattern.segments])
    read = spelling.read(sample)
    if read is None:
        yield RouteProblem(
            kind="unreachable", route=name, text=f"{sample!r} is rejected: {spelling.problem(sample)}"
        )
    elif not (pattern.decoded() if spelling.decodes else pattern).matches(read):
        yield RouteProblem(
            kind="unreachable", route=name, text=f"{sample!r} is read as {read!r} by {spelling!r}; write that"
        )


# ---------------------------------------------------------------------- routes against each other


def _shadowed(index: RouteIndex[Any], spelling: Spelling) -> Iterator[RouteProblem]:
    by: dict[str, list[Route[Any] | None]] = defaultdict(list)
    for rank, (route, host) in enumerate(index.ranked):
        by[route.name].append(_taker(index, rank, route, host, spelling))
    routes = {route.name: route for route, _ in index.ranked}
    for name, takers in by.items():
        first = takers[0]
        if first is None or None in takers:
            continue
        if _same(first, routes[name]):
            text = f"the same conditions as {first.name!r}, which is tried first; remove one"
            yield RouteProblem(kind="duplicate", route=name, text=text, other=first.name)
        else:
            text = f"{first.name!r} is tried first and matches all of its requests; move it up or narrow {first.name!r}"
            yield RouteProblem(kind="shadowed", route=name, text=text, other=first.name)


def _taker(
    index: RouteIndex[Any], rank: int, route: Route[Any], host: str, spelling: Spelling
) -> Route[Any] | None:
    """Return a route with a lower rank that takes everything of a route on one host."""
    pattern = route.path
    if pattern is not None and spelling.decodes:
        pattern = pattern.decoded()
    literal = "" if pattern is None else pattern.literal
    for earlier, _, one, *_ in index.candidates(host, literal):
        if (
            earlier < rank
            and one is not route
            and host_covers(index.ranked[earlier][1], host)
            and covers(one, route)
        ):
            found: Route[Any] = one
            return found
    return None


def _same(one: Route[Any], other: Route[Any]) -> bool:
    return (
        repr(one.path) == repr(other.path)
        and one.methods == other.methods
        and set(one.conditions) == set(other.conditions)
        and set(one.hosts) == set(other.hosts)
    )


def _ambiguous(index: RouteIndex[Any]) -> Iterator[RouteProblem]:
    groups: dict[Any, list[Route[Any]]] = defaultdict(list)
    for route, host in index.ranked:
        where = repr(route.path) if isinstance(route.path, Exact | Prefix | TextPrefix | None) else None
        groups[route.priority, host, specificity(route, host), where].append(route)
    seen: set[tuple[str, str]] = set()
    for group in groups.values():
        for one, other in combinations(group, 2):
            pair = (one.name, other.name)
            if pair in seen or one is other or _same(one, other) or not _paths_meet(one.path, other.path):
                continue
            if overlaps(one, other):
                seen.add(pair)
                text = f"as specific as {one.name!r}, and a request can match both; {one.name!r} wins by name"
                yield RouteProblem(kind="ambiguous", route=other.name, text=text, other=one.name)


def _paths_meet(one: PathPattern | None, other: PathPattern | None) -> bool:
    """Whether nothing rules out that two equally specific patterns match one path."""
    if isinstance(one, Template) and isinstance(other, Template):
        long = one.text.endswith(":path}") or other.text.endswith(":path}")
        if not long and len(one.segments) != len(other.segments):
            return False
        return all(a == b or "{" in a or "{" in b for a, b in zip(one.segments, other.segments, strict=False))
    return True


def _split_names(routes: Sequence[Route[Any]]) -> Iterator[RouteProblem]:
    homes: dict[str, tuple[str, Any]] = {}
    for route in routes:
        if not isinstance(route.to, Split):
            continue
        seen: dict[int, str] = {}
        for name, pool in zip(route.to.names, route.to.pools, strict=True):
            if id(pool) in seen:
                yield RouteProblem(
                    kind="split-names",
                    route=route.name,
                    text=f"{seen[id(pool)]!r} and {name!r} are one pool; add the weights",
                )
            seen.setdefault(id(pool), name)
            if name.isdecimal():
                continue
            first, known = homes.setdefault(name, (route.name, pool))
            if known is not pool and known != pool:
                yield RouteProblem(
                    kind="split-names",
                    route=route.name,
                    text=f"{name!r} is another pool than in route {first!r}; use one name for one pool",
                    other=first,
                )
