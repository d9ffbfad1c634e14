"""Which connections lead to this endpoint? Its own: one inner transport per endpoint, for as long as it is there.

Separate pools keep a slow endpoint from starving the others, and keep their limits per endpoint. Under TLS there is one
per name that is asked for besides: httpx keeps connections apart by address only, and would use one that was verified
for one name for another. When an endpoint has been removed, its transports are closed after the last lease, or after
``drain_timeout``; by the next request, for a listener may not wait.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar, final

from balancekit import _validation as valid
from balancekit.adapters._target import Place, place
from balancekit.balancer import LoadBalancer
from balancekit.endpoint import Endpoint
from balancekit.events import Added, Drained, Event, Removed
from balancekit.protocols import Clock

__all__ = ["Inners", "Route"]

Inner = TypeVar("Inner")


@final
class Route(Generic[Inner]):
    """How an endpoint is reached: where it is, and its transports by TLS name."""

    __slots__ = ("inners", "place", "target")

    def __init__(self, target: object) -> None:
        self.target = target
        self.place: Place = place(target)
        self.inners: dict[str | None, Inner] = {}


@final
class Inners(Generic[Inner]):
    """The inner transports of one adapter.

    Parameters
    ----------
    balancer
        Whose removals are followed.
    make
        Makes one, for an endpoint.
    drain_timeout
        Seconds that one may outlive its endpoint, >= 0.
    clock
        The balancer's.
    """

    __slots__ = (
        "__weakref__",
        "_clock",
        "_drain_timeout",
        "_gone",
        "_leaving",
        "_lock",
        "_make",
        "_routes",
        "_stop",
        "departed",
    )

    def __init__(
        self,
        balancer: LoadBalancer[Any],
        make: Callable[[Endpoint[Any]], Inner],
        drain_timeout: float,
        clock: Clock,
    ) -> None:
        self._make = make
        self._clock = clock
        self._drain_timeout = valid.number("drain_timeout", drain_timeout, minimum=0.0)
        self._lock = threading.Lock()
        self._routes: dict[str, Route[Inner]] = {}
        self._leaving: list[tuple[str, float, Inner]] = []
        self._gone: set[str] = set()
        self.departed = False
        """Whether some endpoint has left, so that :meth:`leave` is worth asking."""
        hear = weakref.WeakMethod(self._hear)

        def listen(event: Event) -> None:
            live = hear()
            if live is not None:
                live(event)

        self._stop = balancer.subscribe(listen)

    def of(self, endpoint: Endpoint[Any]) -> Route[Inner]:
        """Return how an endpoint is reached. A new target makes a new route."""
        route = self._routes.get(endpoint.id)
        if route is not None and route.target is endpoint.target:
            return route
        fresh: Route[Inner] = Route(endpoint.target)
        with self._lock:
            route = self._routes.get(endpoint.id)
            if route is not None and route.target is endpoint.target:  # another thread was faster
                return route
            self._depart(endpoint.id)
            self._routes[endpoint.id] = fresh
        return fresh

    def open(self, route: Route[Inner], endpoint: Endpoint[Any], name: str | None) -> Inner:
        """Return the transport of a route under a TLS name, made on first use; ``None`` for no TLS."""
        made = route.inners.get(name)
        if made is not None:
            return made
        fresh = self._make(endpoint)
        return route.inners.setdefault(
            name, fresh
        )  # that of another thread, perhaps: ours has no connections

    def leave(self) -> list[Inner]:
        """Return the transports that are to be closed now."""
        now = self._clock()
        with self._lock:
            due = [made for _, at, made in self._leaving if at <= now]
            self._leaving = [entry for entry in self._leaving if entry[1] > now]
            self.departed = bool(self._leaving)
        return due

    def close(self) -> list[Inner]:
        """Return all transports, to be closed; none of them is used again."""
        self._stop()
        with self._lock:
            made = [inner for route in self._routes.values() for inner in route.inners.values()]
            made += [inner for _, _, inner in self._leaving]
            self._routes.clear()
            self._leaving.clear()
            self.departed = False
        return made

    def _hear(self, event: Event) -> None:
        id = event.endpoint
        with self._lock:
            if isinstance(event, Removed):
                self._gone.add(id)
                self._depart(id)
            elif isinstance(event, Added):
                self._gone.discard(id)
            elif isinstance(event, Drained) and id in self._gone:
                self._depart(id)  # opened again by a request that had picked it just before it was removed
                self._leaving = [
                    (one, event.at if one == id else at, made) for one, at, made in self._leaving
                ]

    def _depart(self, id: str) -> None:
        route = self._routes.pop(id, None)
        if route is not None:
            due = self._clock() + self._drain_timeout
            self._leaving += [(id, due, inner) for inner in list(route.inners.values())]
            self.departed = True
