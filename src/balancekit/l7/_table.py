"""Route tables: the pool for each request.

Cost: :meth:`RouteTable.match` is O(labels + segments + candidates), flat in the number of routes, about 30 empty calls.
Source: precedence by list order as in HAProxy and Envoy, or by specificity as in the Gateway API.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Generic, TypeVar, final

from balancekit._support.arguments import checked_arguments, refuse
from balancekit.errors import ConfigurationError
from balancekit.l7._changes import RoutePlan, route_changes
from balancekit.l7._check import RouteProblem, route_problems
from balancekit.l7._explanation import RouteExplanation, explain
from balancekit.l7._index import RouteIndex
from balancekit.l7._patterns import NO_PARAMS
from balancekit.l7._request import Request
from balancekit.l7._route import Route
from balancekit.l7._spelling import Spelling
from balancekit.l7._split import Key, Split
from balancekit.snapshot import DEFAULT_COST

__all__ = ["Match", "RouteTable"]

P = TypeVar("P")

ORDERS: Final = ("first", "specific")
NO_MATCH: Final = "no match"
NEW: Final = object.__new__


@final
class Match(Generic[P]):
    """A request and the route it takes. Made by :meth:`RouteTable.match`."""

    __slots__ = ("path", "request", "route")

    request: Request
    """The request that was matched."""
    route: Route[P]
    """The route it takes."""
    path: str
    """The path as it was matched. Forward :attr:`target`, never this."""

    @property
    def params(self) -> Mapping[str, str]:
        """The named parts of the path, as in :attr:`path`: neither decoded nor checked."""
        pattern = self.route.path
        return NO_PARAMS if pattern is None else pattern.params(self.path)

    @property
    def target(self) -> str:
        """What to forward: path and query as sent, the path rewritten if the route says so."""
        request, route = self.request, self.route
        if route.rewrite is None or route.path is None:
            return request.target
        path = route.path.rewritten(self.path, route.rewrite)
        return f"{path}?{request.query}" if request.query else path

    def pool(self, key: Key | None = None, /) -> P:
        """Return the pool: the route's, or the one its split assigns.

        Parameters
        ----------
        key
            What a split assigns by if the request lacks what ``by`` names.
        """
        to: Any = self.route.to
        pool: P = to.pool(self.request, key) if isinstance(to, Split) else to
        return pool

    def lease(
        self,
        key: Key | None = None,
        /,
        *,
        cost: float = DEFAULT_COST,
        exclude: Collection[str] = (),
        attributes: Mapping[str, object] | None = None,
    ) -> Any:
        """Acquire a lease from the pool: ``match.pool(key).acquire(key, ...)``.

        Raises
        ------
        UnavailableError
            If the pool's balancer has no endpoint to offer.
        """
        pool: Any = self.pool(key)
        return pool.acquire(key, cost=cost, exclude=exclude, attributes=attributes)

    def __repr__(self) -> str:
        return f"<Match {self.request.method} {self.path}: {self.route.name}>"


@final
class RouteTable(Generic[P]):
    """Routes, compiled. Matching is safe from any number of threads; :meth:`replace` swaps one reference.

    Parameters
    ----------
    routes
        Routes with distinct names.
    order
        ``"first"``: the first matching route of the list. ``"specific"``: the most specific by the Gateway API's rules,
        whatever the order of the list; ties go to the name that sorts first. Priorities come before either.
    spelling
        How paths and host names are read.
    no_match
        The pool for requests that no route takes; ``None`` for none. Rejected requests never get it.

    Raises
    ------
    ConfigurationError
        If ``order`` or ``spelling`` is unknown, two routes have one name, or a route rewrites where the
        spelling changes paths.

    *Guarantee.* The answer is that of testing every route in order. A request sees one version of the table. Under
    ``"specific"`` the order of the list changes nothing.

    *When not to use it:* as a defence by itself. It rejects targets that servers read differently; it does not parse
    HTTP.

    Example
    -------
    >>> from balancekit.l7 import Request, Route, RouteTable, exact, header, prefix
    >>> table = RouteTable([
    ...     Route("beta", "canary", headers=[header("x-beta").is_("1")]),
    ...     Route("orders", "api", host="*.shop.test", path=prefix("/orders")),
    ...     Route("site", "web"),
    ... ])
    >>> table.match(Request("/orders/7", host="eu.shop.test")).route.name
    'orders'
    >>> print(table.explain(Request("/cart", host="eu.shop.test")))
    GET eu.shop.test/cart -> site, the first route that matches
      beta    no   header x-beta is absent, not: '1'
      orders  no   path /cart is not in prefix('/orders')
      site    yes  matches
    """

    __slots__ = ("_index", "_no_match", "_order", "_spelling")

    @checked_arguments
    def __init__(
        self,
        routes: Iterable[Route[P]],
        *,
        order: str = "first",
        spelling: Spelling = Spelling.STRICT,
        no_match: P | Split[P] | None = None,
    ) -> None:
        if order not in ORDERS:
            raise ConfigurationError("order", order, "'first' or 'specific'")
        if not isinstance(spelling, Spelling):
            raise ConfigurationError("spelling", spelling, "Spelling.STRICT or another Spelling")
        self._order: str = order
        self._spelling: Spelling = spelling
        self._no_match: Route[P] | None = None if no_match is None else Route(NO_MATCH, no_match)
        self._index: RouteIndex[P]
        self.replace(routes)

    @property
    def routes(self) -> tuple[Route[P], ...]:
        """The routes, in the order given."""
        return self._index.routes

    @property
    def order(self) -> str:
        """``"first"`` or ``"specific"``."""
        return self._order

    @property
    def no_match(self) -> P | Split[P] | None:
        """The pool for requests that no route takes."""
        return None if self._no_match is None else self._no_match.to

    @property
    def spelling(self) -> Spelling:
        """How paths and host names are read."""
        return self._spelling

    def match(self, request: Request, /) -> Match[P] | None:
        """Return the match of a request; ``None`` if no route takes it, or if it is rejected (:meth:`rejection`)."""
        try:
            path = request.path
            if (
                path[:1] != "/"
                or "%" in path
                or "//" in path
                or "/." in path
                or " " in path
                or "\\" in path
                or "#" in path
                or not path.isascii()
                or not path.isprintable()
            ):
                # Any other path is left as it is by every spelling.
                read = self._spelling.read(path)
                if read is None:
                    return None
                path = read
            route = self._index.find(request, path)
            if route is None:
                route = self._no_match
                if route is None or self._spelling.host(request.host) is None:
                    return None
        except Exception as error:
            refuse(error, RouteTable.match, self, request)
        match: Match[P] = NEW(Match)  # the constructor would be a tenth of the cost
        match.request = request
        match.route = route
        match.path = path
        return match

    @checked_arguments
    def rejection(self, request: Request, /) -> str | None:
        """Return why a request is rejected before any route is tried, ``None`` if it is not.

        Answer 400 to a rejected request, 404 to one without a match.
        """
        problem = self._spelling.problem(request.path)
        if problem is not None:
            return f"path {request.path[:200]!r}: {problem}"
        if self._spelling.host(request.host) is None:
            return f"host {request.host[:200]!r}: it is no host name"
        return None

    @checked_arguments
    def explain(self, request: Request, /) -> RouteExplanation:
        """Return the answer of every route to a request: a match, or its first condition that fails. O(routes)."""
        return explain(
            self._index, self._order, self._spelling, request, self.rejection(request), self._no_match
        )

    def check(self) -> tuple[RouteProblem, ...]:
        """Return the mistakes that can be seen without a request: shadowed and unreachable routes, and others.

        O(routes x candidates). See :class:`RouteProblem` for the kinds.
        """
        return route_problems(self._index, self._order, self._spelling)

    @checked_arguments
    def plan(self, routes: Iterable[Route[P]], sample: Iterable[Request]) -> RoutePlan[P]:
        """Return which requests of a sample would take another route; nothing has changed yet.

        Raises
        ------
        ConfigurationError
            As the constructor.
        """
        wanted = self._checked(routes)
        after = RouteIndex(wanted, self._order, self._spelling)
        changes, total = route_changes(self._index, after, self._spelling, sample)
        return RoutePlan(changes, total, lambda: self.replace(wanted))

    @checked_arguments
    def replace(self, routes: Iterable[Route[P]]) -> None:
        """Replace all routes. Builds aside, then swaps one reference: a request sees the old table or the new one.

        Raises
        ------
        ConfigurationError
            As the constructor; nothing changes.
        """
        self._index = RouteIndex(self._checked(routes), self._order, self._spelling)

    def _checked(self, routes: Iterable[Route[P]]) -> tuple[Route[P], ...]:
        if isinstance(routes, Mapping | str | bytes):
            raise ConfigurationError("routes", routes, "a list of Route(...)")
        wanted = tuple(routes)
        names: set[str] = set()
        for route in wanted:
            if not isinstance(route, Route):
                raise ConfigurationError("routes", route, "Route(...)")
            if route.name in names:
                raise ConfigurationError("routes", route.name, "names that occur once")
            if route.rewrite is not None and not self._spelling.keeps:
                raise ConfigurationError(
                    "rewrite",
                    route.rewrite,
                    f"None: {self._spelling!r} matches a path that is not the one sent",
                )
            names.add(route.name)
        return wanted

    def __len__(self) -> int:
        return len(self._index.routes)

    def __reduce__(self) -> tuple[object, ...]:
        return _table_again, (self._index.routes, self._order, self._spelling, self.no_match)

    def __repr__(self) -> str:
        return f"<RouteTable: {len(self._index.routes)} routes, order={self._order!r}, {self._spelling!r}>"


def _table_again(
    routes: tuple[Route[P], ...], order: str, spelling: Spelling, no_match: P | Split[P] | None
) -> RouteTable[P]:
    """Make a table that was pickled or copied: from its routes, as its index is made of functions."""
    return RouteTable(routes, order=order, spelling=spelling, no_match=no_match)
