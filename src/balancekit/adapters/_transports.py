"""Pools of connections per endpoint: one inner transport each, for as long as the endpoint is there.

Separate pools keep a slow endpoint from starving the others, and keep their limits per endpoint. Under TLS there is one
per requested name besides: httpx keeps connections apart by address only, and would use one that was verified
for one name for another. The names may be those of callers, so an endpoint keeps :data:`MAX_TLS_NAMES` of them.

When an endpoint has been removed, its transports are closed after the last lease, or after ``drain_timeout``; by the next
request, for a listener may not wait. A forked child makes transports of its own: what two processes write on one
connection would be mixed up.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from operator import is_not
from typing import Any, Final, Generic, TypeVar, final

from balancekit._support import validation as valid
from balancekit._support.fork import call_in_child, new_lock
from balancekit._support.weak import observe_weakly
from balancekit.adapters._target import Address, address_of
from balancekit.endpoint import Endpoint
from balancekit.events import Added, Event, Removed
from balancekit.lease import Lease
from balancekit.protocols import Clock, ObservableBalancer
from balancekit.snapshot import Node

__all__ = ["Opening", "Route", "TransportPool"]

InnerTransport = TypeVar("InnerTransport")

MAX_TLS_NAMES: Final = 64
"""Names for which an endpoint keeps connections; with one more, those of the oldest are closed as if it had been removed."""


@final
class Opening:
    """The time until the transports of an adapter are closed, all of them. That breaks the requests of this time."""

    __slots__ = ("closed",)

    def __init__(self) -> None:
        self.closed: bool = False


@final
class Route(Generic[InnerTransport]):
    """How an endpoint is reached: where it is, and its transports by TLS name."""

    __slots__ = ("address", "node", "target", "transports")

    def __init__(self, node: Node) -> None:
        self.node = node
        """The endpoint, in the time between joining and leaving: one that comes back is another node."""
        self.target: object = node.endpoint.target
        self.address: Address = address_of(self.target)
        self.transports: dict[str | None, InnerTransport] = {}


@final
class TransportPool(Generic[InnerTransport]):
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
        "_balancer",
        "_changes",
        "_clock",
        "_closing",
        "_drain_timeout",
        "_leaving",
        "_lock",
        "_make",
        "_present",
        "_routes",
        "_stop",
        "departed",
        "opening",
    )

    def __init__(
        self,
        balancer: ObservableBalancer[Any],
        make: Callable[[Endpoint[Any]], InnerTransport],
        drain_timeout: float,
        clock: Clock,
    ) -> None:
        self._balancer = balancer
        self._make = make
        self._clock = clock
        self._drain_timeout = valid.number("drain_timeout", drain_timeout, minimum=0.0)
        self._lock = new_lock()
        self._routes: dict[str, Route[InnerTransport]] = {}
        self._leaving: list[tuple[Node, float, InnerTransport]] = []
        self._closing: list[InnerTransport] = []
        self._present: frozenset[str] | None = None
        """Ids of the pool since the last change of members, made on first use."""
        self._changes = 0
        """The number of changes of members."""
        self.departed = False
        """Whether some endpoint has left, so that :meth:`leave` is worth a call."""
        self.opening: Opening = Opening()
        """The present one; :meth:`close` ends it."""
        self._stop: Callable[[], None] | None = None
        self._listen()
        call_in_child(self)

    def _listen(self) -> None:
        self._stop = observe_weakly(self._balancer.on_event, self._on_event)

    def of(self, lease: Lease[Any]) -> Route[InnerTransport]:
        """Return how the endpoint of a lease is reached. A new target makes a new route."""
        node = lease.node
        route = self._routes.get(node.id)
        if route is not None and route.node is node and route.target is node.endpoint.target:
            return route
        fresh: Route[InnerTransport] = Route(node)
        if self._stop is None:  # another client shares what one has closed
            self._listen()
        while True:
            # The list and the clock are the application's, which may have locks of its own: they are read under no lock.
            changes, present, now = self._changes, self._present, self._clock()
            if present is None:
                present = frozenset([endpoint.id for endpoint in self._balancer.endpoints])
            with self._lock:
                route = self._routes.get(node.id)
                if route is not None and route.node is node and route.target is fresh.target:
                    return route  # another thread was faster
                if changes != self._changes:
                    continue
                self._present = present
                if node.id in present:  # else it was picked just before it was removed
                    self._depart(node.id, now)
                    self._routes[node.id] = fresh
            return fresh

    def open(self, route: Route[InnerTransport], name: str | None) -> InnerTransport:
        """Return the transport of a route under a TLS name, made on first use; ``None`` for no TLS."""
        known = route.transports.get(name)
        if known is not None:
            return known
        now, fresh = self._clock(), self._make(route.node.endpoint)
        with self._lock:
            made = route.transports.setdefault(name, fresh)  # that of another thread, perhaps: ours is unused
            if len(route.transports) > MAX_TLS_NAMES:
                self._leave(route.node, route.transports.pop(next(iter(route.transports))), now)
            if made is not fresh or self._routes.get(route.node.id) is not route:
                # It is unused, or its endpoint has left meanwhile.
                self._leave(route.node, fresh, now)
        return made

    def leave(self) -> Iterator[InnerTransport]:
        """Yield the transports that are to be closed now: those without a lease, or whose time is over.

        One that is not taken, because the closing of another was cut short, stays for the next call.
        """
        while (inner := self._next_due()) is not None:
            yield inner

    def _next_due(self) -> InnerTransport | None:
        now = self._clock()
        with self._lock:
            place = self._due_place(now)
            inner = None if place is None else self._leaving.pop(place)[2]
            self.departed = bool(self._leaving)
        return inner

    def _due_place(self, now: float) -> int | None:
        """Return where the first of those that are to be closed now stands."""
        due = (place for place, (node, at, _) in enumerate(self._leaving) if at <= now or not node.inflight)
        return next(due, None)

    def close(self) -> list[InnerTransport]:
        """Return all transports, to be closed; none of them is used again. A request that comes nevertheless makes others.

        Those for which :meth:`closed` is not called, because something came between, are returned again.
        """
        stop = self._stop
        if stop is not None:
            stop()
        with self._lock:
            self.opening.closed = True
            self.opening = Opening()
            self._changes += 1
            self._stop = self._present = None
            self._closing = self._open()  # no loop under a lock
            self._routes.clear()
            self._leaving.clear()
            self.departed = False
            return list(self._closing)

    def _open(self) -> list[InnerTransport]:
        made = [inner for route in self._routes.values() for inner in route.transports.values()]
        return [*self._closing, *made, *[inner for _, _, inner in self._leaving]]

    def after_fork(self) -> None:
        """Use no connection of the parent's in a forked child.

        Nothing is closed: that could wait for a lock which another thread held.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            self._routes, self._leaving, self._closing = {}, [], []
            self.departed = False

    def closed(self, inner: InnerTransport) -> None:
        """Forget a transport that has been closed."""
        with self._lock:
            self._closing = list(filter(partial(is_not, inner), self._closing))

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Removed | Added):
            with self._lock:
                self._changes += 1
                self._present = None
        if isinstance(event, Removed):
            now = self._clock()
            with self._lock:
                self._depart(event.endpoint, now)

    def _depart(self, id: str, now: float) -> None:
        route = self._routes.pop(id, None)
        if route is not None:
            for inner in route.transports.values():
                self._leave(route.node, inner, now)

    def _leave(self, node: Node, inner: InnerTransport, now: float) -> None:
        self._leaving.append((node, now + self._drain_timeout, inner))
        self.departed = True
