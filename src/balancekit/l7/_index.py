"""The compiled form of a route table: from a host and a path to the first route that matches, without a scan.

Routes get their final order once, as ranks. Then they are kept by path, and there by host: exact paths and prefixes in
dictionaries, text prefixes in one with the lengths that occur, expressions and templates under the segments with which their
matches begin. A lookup probes the dictionaries and tests the remaining conditions of candidates in the order of ranks.

Cost: O(labels + segments + candidates), flat in the number of routes; probing ends where no
longer pattern begins, so a long path costs no more. One combined regular expression instead would be tried branch by branch:
200 times slower at 10,000 routes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar, final

from balancekit.l7._patterns import Exact, PathPattern, Prefix, Regex, Template, TextPrefix
from balancekit.l7._request import Request
from balancekit.l7._route import Route
from balancekit.l7._spelling import Spelling

__all__ = ["RouteIndex", "in_order", "specificity"]

P = TypeVar("P")
Test = Callable[[Request, str], bool]
Search = Callable[[str], object]
Entry = tuple[int, str, Any, Search | None, frozenset[str] | None, tuple[Test, ...]]
"""Rank, host, route, and what is left to test once the index has found it: an expression, methods, conditions."""
Bucket = tuple[int, Sequence[tuple[Entry, ...]], dict[str, tuple[Entry, ...]] | None, bool]
"""The least rank, entries in the order of ranks, the same by host if they are many, and whether longer prefixes begin with
this one. A tuple of few is read faster than a dictionary, and touches less memory."""

NO_RANK: Final = sys.maxsize
FEW_ENTRIES: Final = 4
MAX_REMEMBERED_HOSTS: Final = 1024
MAX_REMEMBERED_LENGTH: Final = 255
"""Characters; a host name has no more (RFC 1035 3.1)."""
EXACT, PATTERN, PREFIX, NO_PATH = 0, 1, 2, 3


def specificity(route: Route[Any], host: str = "") -> tuple[Any, ...]:
    """Return the sort key of the Gateway API's precedence; smaller is more specific, but for the tie by name.

    Longest exact host, longest wildcard host, exact path, longest literal beginning of the path, a method, most
    conditions on headers and cookies, most on the query. The place of expressions and templates is the
    implementation's choice: by their literal beginning, before a prefix of the same length.
    """
    hosts = [host] if host else list(route.hosts)
    exact = max([len(name) for name in hosts if not name.startswith("*")], default=0)
    longest = max([len(name) for name in hosts], default=0)
    kind, length = NO_PATH, 0
    if route.path is not None:
        kind = EXACT if isinstance(route.path, Exact) else PREFIX
        kind = kind if isinstance(route.path, Exact | Prefix | TextPrefix) else PATTERN
        length = len(route.path.literal)
    fields = sum(condition.kind != "query" for condition in route.conditions)
    parameters = len(route.conditions) - fields
    return (-exact, -longest, kind != EXACT, -length, kind, route.methods is None, -fields, -parameters)


def in_order(routes: Sequence[Route[P]], order: str) -> list[tuple[Route[P], str]]:
    """Return routes with their hosts in the order in which they are tried; a route once for each of its hosts."""
    each = [(route, host) for route in routes for host in route.hosts or ("",)]
    if order == "first":
        return sorted(each, key=lambda one: -one[0].priority)
    return sorted(each, key=lambda one: (-one[0].priority, *specificity(*one), one[0].name))


@final
class RouteIndex(Generic[P]):
    """The routes of a table, by path and host. Immutable but for a bounded memory of hosts.

    Parameters
    ----------
    routes
        In any order.
    order
        ``"first"`` or ``"specific"``.
    spelling
        How paths and hosts are read.
    """

    __slots__ = (
        "_exact",
        "_hosts",
        "_known",
        "_longest",
        "_prefixes",
        "_root",
        "_shortest",
        "_spelling",
        "_starts",
        "_texts",
        "ranked",
        "routes",
    )

    def __init__(self, routes: tuple[Route[P], ...], order: str, spelling: Spelling) -> None:
        self.routes: tuple[Route[P], ...] = routes
        """The routes, in the order given."""
        self.ranked: tuple[tuple[Route[P], str], ...] = tuple(in_order(routes, order))
        """Every route with each of its hosts, in the order in which they are tried."""
        exact: dict[str, list[Entry]] = {}
        prefixes: dict[str, list[Entry]] = {}
        texts: dict[str, list[Entry]] = {}
        shared: dict[object, Any] = {}
        self._hosts: dict[str, str] = {}
        for rank, (route, host) in enumerate(self.ranked):
            pattern = route.path
            if pattern is not None and spelling.decodes:
                pattern = pattern.decoded()
            home = (
                exact
                if isinstance(pattern, Exact)
                else texts
                if isinstance(pattern, TextPrefix)
                else prefixes
            )
            kept = self._hosts.setdefault(_suffix(host), _suffix(host))
            entry = (rank, kept, route, _search(pattern), *_tests(route, shared))
            home.setdefault(_beginning(pattern), []).append(entry)
        root = prefixes.pop("", None)
        deeper = {name[:end] for name in prefixes for end in _slashes(name)}
        self._spelling: Spelling = spelling
        self._exact = {name: _bucket(found) for name, found in exact.items()}
        self._root = None if root is None else _bucket(root)
        self._prefixes = {
            name: _bucket(prefixes.get(name, []), deeper=name in deeper) for name in {*prefixes, *deeper}
        }
        self._texts = {name: _bucket(found) for name, found in texts.items()}
        self._shortest = min([len(text) for text in texts], default=0)
        self._starts = _lengths(texts, self._shortest)
        self._longest = max([host.count(".") for host in self._hosts if host[:1] == "."], default=0)
        self._known: dict[str, tuple[str, ...]] = {}

    def find(self, request: Request, path: str) -> Route[P] | None:
        """Return the first route in the order that matches a path as it was read; ``None`` for a rejected host."""
        hosts = self._known.get(request.host)
        if hosts is None:
            hosts = self._remember(request.host)
        best, route = NO_RANK, None
        for least, groups, by_host, _ in self._along(path):
            if least >= best:
                continue
            if by_host is not None:
                groups = [by_host[host] for host in hosts if host in by_host]  # noqa: PLW2901 - the same, but fewer
            for group in groups:
                for rank, host, candidate, search, methods, tests in group:
                    if rank >= best:
                        break
                    if host not in hosts or (search is not None and not search(path)):
                        continue
                    if methods is not None and request.method not in methods:
                        continue
                    for test in tests:
                        if not test(request, path):
                            break
                    else:
                        best, route = rank, candidate
                        break
        return route

    def _along(self, path: str) -> list[Bucket]:
        """Return the buckets whose routes may match a path: exact, by segments, by text, then those of any path."""
        bucket = self._exact.get(path)
        buckets = [] if bucket is None else [bucket]
        get = self._prefixes.get
        end = 0
        while end >= 0:
            end = path.find("/", end + 1)
            bucket = get(path if end < 0 else path[:end])
            if bucket is None:
                break
            buckets.append(bucket)
            if not bucket[3]:
                break
        if self._shortest:
            for size in self._starts.get(path[: self._shortest], ()):
                bucket = self._texts.get(path[:size])
                if bucket is not None:
                    buckets.append(bucket)
        if self._root is not None:
            buckets.append(self._root)
        return buckets

    def candidates(self, host: str, literal: str) -> Iterator[Entry]:
        """Yield the entries that the index offers for a host pattern and paths that begin with a text."""
        hosts = {_suffix(host), *self._under(host.removeprefix("*."))}
        for _, groups, by_host, _ in self._buckets(literal):
            found = groups if by_host is None else [by_host[name] for name in hosts if name in by_host]
            for group in found:
                yield from [entry for entry in group if entry[1] in hosts]

    def _buckets(self, literal: str) -> Iterator[Bucket]:
        found = [
            self._exact.get(literal),
            *[self._prefixes.get(literal[:end]) for end in (*_slashes(literal), len(literal))],
        ]
        found += [self._texts.get(literal[:size]) for size in {len(text) for text in self._texts}]
        return iter([bucket for bucket in (*found, self._root) if bucket is not None])

    def _remember(self, sent: str) -> tuple[str, ...]:
        """Return the names under which a host's routes are kept, and remember them."""
        host = self._spelling.host(sent)
        if host is None:
            return ()
        names = tuple(self._under(host))
        if host[:1] not in {"", "."} and host in self._hosts:  # ".b" is the name of "*.b"
            names = (self._hosts[host], *names)
        if len(sent) <= MAX_REMEMBERED_LENGTH:
            if len(self._known) >= MAX_REMEMBERED_HOSTS:
                self._known = {}
            self._known[sent] = names
        return names

    def _under(self, host: str) -> Iterator[str]:
        """Yield the wildcard hosts of the table that a host is under, the shortest first, then any host."""
        end = len(host)
        for _ in range(self._longest):
            end = host.rfind(".", 0, end)
            if end <= 0:
                break
            if host[end:] in self._hosts:
                yield self._hosts[host[end:]]
        if "" in self._hosts:
            yield ""


def _suffix(host: str) -> str:
    """Return the name under which the routes of a host pattern are kept: ``.b`` for ``*.b``."""
    return host[1:] if host[:1] == "*" else host


def _slashes(path: str) -> list[int]:
    """Return where the segments of a path end, but for the last."""
    return [place for place, letter in enumerate(path) if letter == "/" and place]


def _bucket(entries: list[Entry], *, deeper: bool = False) -> Bucket:
    by_host: dict[str, list[Entry]] = {}
    for entry in entries:
        by_host.setdefault(entry[1], []).append(entry)
    many = len(by_host) > 1 and len(entries) > FEW_ENTRIES
    return (
        entries[0][0] if entries else NO_RANK,
        (tuple(entries),),
        {host: tuple(found) for host, found in by_host.items()} if many else None,
        deeper,
    )


def _tests(route: Route[Any], shared: dict[object, Any]) -> tuple[frozenset[str] | None, tuple[Test, ...]]:
    """Return a route's methods and the tests of its conditions; equal ones are one object, which stays in the cache."""
    methods = route.methods
    return (
        None if methods is None else shared.setdefault(methods, methods),
        tuple([shared.setdefault(condition, condition.test) for condition in route.conditions]),
    )


def _beginning(pattern: PathPattern | None) -> str:
    """Return the text by which a pattern is found: all of it, or whole segments that its paths begin with."""
    if pattern is None:
        return ""
    if pattern.whole or isinstance(pattern, Exact | TextPrefix):
        return pattern.literal
    return pattern.literal[: pattern.literal.rfind("/") + 1].rstrip("/")


def _search(pattern: PathPattern | None) -> Search | None:
    """Return what else a path must fulfil, ``None`` if its beginning says it all."""
    if pattern is None or isinstance(pattern, Exact | Prefix | TextPrefix):
        return None
    return pattern.search if isinstance(pattern, Regex | Template) else pattern.matches


def _lengths(texts: Iterable[str], size: int) -> dict[str, tuple[int, ...]]:
    """Return the lengths of texts, the shortest first, by their first ``size`` characters."""
    found: dict[str, tuple[int, ...]] = {}
    for text in sorted(texts, key=len):
        found[text[:size]] = tuple(dict.fromkeys((*found.get(text[:size], ()), len(text))))
    return found
