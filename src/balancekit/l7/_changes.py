"""Plans of a change of routes: which requests of a sample would go elsewhere.

Cost: two matches a request. Source: Envoy's ``router_check_tool`` and ``nginx -t`` check a new configuration by itself;
this compares it with the one in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar, final

from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.l7._index import RouteIndex
from balancekit.l7._request import Request
from balancekit.l7._route import Route
from balancekit.l7._spelling import Spelling
from balancekit.l7._split import Split

__all__ = ["RouteChange", "RoutePlan", "may_move", "route_changes"]

P = TypeVar("P")


class RouteChange(Record):
    """A request that would take another route, or whose route may lead it to another pool.

    Parameters
    ----------
    request
        One of the sample.
    before, after
        Names of the routes now and then; ``None`` for no route. They are equal if only the pool may differ.
    """

    request: Request
    before: str | None
    after: str | None


@final
class RoutePlan(Generic[P]):
    """What a change of routes would move. Made by :meth:`RouteTable.plan`.

    Example
    -------
    >>> from balancekit.l7 import Request, Route, RouteTable, prefix
    >>> table = RouteTable([Route("site", "web")])
    >>> plan = table.plan(
    ...     [Route("api", "api", path=prefix("/api")), Route("site", "web")], [Request("/"), Request("/api/1")]
    ... )
    >>> plan
    <RoutePlan: 1 of 2 requests may move>
    >>> plan.changes[0].before, plan.changes[0].after
    ('site', 'api')
    >>> plan.apply()
    >>> len(table)
    2
    """

    __slots__ = ("_apply", "changes", "total")

    def __init__(self, changes: tuple[RouteChange, ...], total: int, apply: Callable[[], None]) -> None:
        self.changes: tuple[RouteChange, ...] = changes
        """Requests that would take another route or lose theirs, or may get another pool, in the order of the sample."""
        self.total: int = total
        """Requests in the sample."""
        self._apply = apply

    def apply(self) -> None:
        """Replace the routes."""
        self._apply()

    def __reduce__(self) -> tuple[object, ...]:
        return RoutePlan, (self.changes, self.total, _applied_elsewhere)

    def __repr__(self) -> str:
        return f"<RoutePlan: {len(self.changes)} of {self.total} requests may move>"


def _applied_elsewhere() -> None:
    """Refuse to apply a plan that was pickled or copied: it has no table, and can only be read."""
    raise ConfigurationError("plan", "a copy", "the plan that RouteTable.plan() returned, in its own process")


def may_move(old: Route[P] | None, new: Route[P] | None, request: Request) -> bool:
    """Return whether the route of a request differs from its route after a change, or may lead to another pool.

    The pool that a split assigns to a request without a value is not certain: it may be another one if the splits differ.
    """
    if old is None or new is None or old.name != new.name:
        return old is not new
    if old.to == new.to:
        return False
    pools = [route.to.owner(request) if isinstance(route.to, Split) else route.to for route in (old, new)]
    return None in pools or pools[0] != pools[1]


def route_changes(
    before: RouteIndex[P], after: RouteIndex[P], spelling: Spelling, sample: Iterable[Request]
) -> tuple[tuple[RouteChange, ...], int]:
    """Compare two tables over a sample of requests; also return the sample's size."""
    changes: list[RouteChange] = []
    total = 0
    for request in sample:
        if not isinstance(request, Request):
            raise ConfigurationError("sample", request, "Request(...)")
        total += 1
        path = spelling.read(request.path)
        if path is None:
            continue
        old, new = before.find(request, path), after.find(request, path)
        if old is new:
            continue
        if may_move(old, new, request):
            names = (None if old is None else old.name, None if new is None else new.name)
            changes.append(RouteChange(request=request, before=names[0], after=names[1]))
    return tuple(changes), total
