"""Which connections lead to this endpoint? Its own: one inner transport per endpoint, for as long as it is there.

Separate pools keep a slow endpoint from starving the others, keep a TLS connection that was verified for one name from
being used for another, and keep their limits per endpoint. When an endpoint has been removed, its transport is
closed after the last lease, or after ``drain_timeout``; by the next request, for a listener may not wait.
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

__all__ = ["Inners"]

Inner = TypeVar("Inner")


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
        "_by_id",
        "_clock",
        "_drain_timeout",
        "_gone",
        "_leaving",
        "_lock",
        "_make",
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
        self._by_id: dict[str, tuple[object, Inner, Place]] = {}
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

    def of(self, endpoint: Endpoint[Any]) -> tuple[Inner, Place]:
        """Return the transport of an endpoint, made on first use, and where it leads."""
        known = self._by_id.get(endpoint.id)
        if known is not None and known[0] is endpoint.target:
            return known[1], known[2]
        return self._open(endpoint)

    def _open(self, endpoint: Endpoint[Any]) -> tuple[Inner, Place]:
        where = place(endpoint.target)
        made = self._make(endpoint)
        with self._lock:
            known = self._by_id.get(endpoint.id)
            if known is not None and known[0] is endpoint.target:  # another thread was faster; ours is unused
                return known[1], known[2]
            self._depart(endpoint.id)
            self._by_id[endpoint.id] = (endpoint.target, made, where)
        return made, where

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
            made = [inner for _, inner, _ in self._by_id.values()] + [inner for _, _, inner in self._leaving]
            self._by_id.clear()
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
        known = self._by_id.pop(id, None)
        if known is not None:
            self._leaving.append((id, self._clock() + self._drain_timeout, known[1]))
            self.departed = True
