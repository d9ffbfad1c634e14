"""Reconciler: the list of endpoints in use, and the time of the next resolution. The caller passes the time.

A bad answer never replaces a good list. Four rules ensure this:

- **A failure changes nothing** but the time of the next resolution (back-off).
- **An empty answer is held** until every answer for ``hold`` seconds has been empty. A failure in between restarts
  the hold, because a missing answer confirms nothing.
- **A sudden shrink is confirmed first.** If more than half of the endpoints are missing, new ones join at once. The
  missing ones stay until the next answer lacks them too.
- **A push is debounced**: sources that list a rollout one endpoint at a time cause one change, not twenty.

The list in use changes only by :meth:`Reconciler.accept`; a list that the balancer refuses is never in use.

Cost: O(n) per answer.

Source: gRPC, Envoy (an empty answer empties), Prometheus (the last list is kept on errors), Finagle (removals wait).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from random import Random
from typing import Any, TypeAlias, final

from balancekit._support.display import StateRepr
from balancekit.discovery._refresh import Refresh
from balancekit.discovery._resolution import Resolution
from balancekit.endpoint import Endpoint

__all__ = ["Reconciler", "State"]

Endpoints: TypeAlias = tuple[Endpoint[Any], ...]


class State(enum.StrEnum):
    """The state of a source."""

    PENDING = "pending"
    """The source has not answered yet."""
    BOUND = "bound"
    """The last answer is in use."""
    HOLDING = "holding"
    """The last answer lacked all or most endpoints; it waits for confirmation."""
    FAILED = "failed"
    """The resolver failed; the last good list is in use."""


@final
class Reconciler(StateRepr, prints=("state", "next_at")):
    """The answers of one source, and the list of endpoints that results from them.

    Parameters
    ----------
    refresh
        The settings.
    rng
        For the jitter.
    current
        The endpoints in use before the first answer; a bad first answer does not remove them.
    now
        The current time; the first resolution is due at once.

    Example
    -------
    >>> from random import Random
    >>> from balancekit import Endpoint
    >>> from balancekit.discovery import Reconciler, Refresh, Resolution
    >>> reconciler = Reconciler(Refresh(jitter=0.0), Random(1), current=[Endpoint("a")], now=0.0)
    >>> reconciler.answer(Resolution(endpoints=()), now=0.0) is None       # held
    True
    >>> reconciler.failed(now=1.0)
    >>> reconciler.next_at
    2.0
    >>> [endpoint.id for endpoint in reconciler.answer(Resolution(endpoints=[Endpoint("b")]), now=2.0)]
    ['a', 'b']
    """

    __slots__ = (
        "_doubted",
        "_empty_since",
        "_failures",
        "_first_push_at",
        "_pushed",
        "_pushed_at",
        "_refresh",
        "_rng",
        "current",
        "next_at",
        "settles_at",
        "state",
    )

    def __init__(
        self,
        refresh: Refresh,
        rng: Random,
        *,
        current: Iterable[Endpoint[Any]] = (),
        now: float,
    ) -> None:
        self._refresh = refresh
        self._rng = rng
        self.current: Endpoints = Resolution(endpoints=current).endpoints
        """The endpoints in use."""
        self.state: State = State.PENDING
        self.next_at: float = now
        """The time of the next resolution."""
        self.settles_at: float = math.inf
        """The time at which the pushed list takes effect."""
        self._failures = 0
        self._empty_since: float | None = None
        self._doubted: frozenset[str] = frozenset()
        self._pushed: Resolution | None = None
        self._first_push_at = 0.0
        self._pushed_at = 0.0

    @property
    def deadline(self) -> float:
        """The time of the next action."""
        return min(self.next_at, self.settles_at)

    def answer(
        self, resolved: Resolution, *, now: float, requested_at: float | None = None
    ) -> Endpoints | None:
        """Record an answer; return the list to use from now on, or ``None`` to change nothing.

        Parameters
        ----------
        resolved
            The answer.
        now
            The current time.
        requested_at
            The time at which the resolver was called. A pending list that was pushed before is older than the answer and is
            dropped. If left out, no list is dropped.
        """
        refresh = self._refresh
        self._failures = 0
        self.next_at = now + refresh.spread(refresh.period(resolved.ttl), self._rng)
        if resolved.endpoints or not self.current or refresh.on_empty == "apply":
            self._empty_since = None
        elif self._held(now):
            return None
        if requested_at is not None and self._pushed is not None and self._pushed_at <= requested_at:
            self._pushed, self.settles_at = None, math.inf
        wanted = self._guarded(resolved.endpoints) if resolved.endpoints else ()
        self.state = State.HOLDING if resolved.endpoints and self._doubted else State.BOUND
        return None if wanted == self.current else wanted

    def failed(self, *, now: float) -> None:
        """Record a missing or unusable answer."""
        self._failures += 1
        self._empty_since = None
        self.state = State.FAILED
        self.next_at = now + self._refresh.spread(self._refresh.retry(self._failures), self._rng)

    def accept(self, endpoints: Endpoints) -> None:
        """Record that a list is in use."""
        self.current = endpoints

    def push(self, resolved: Resolution, *, now: float) -> None:
        """Record a list pushed by a watch; it takes effect after a quiet time."""
        if self._pushed is None:
            self._first_push_at = now
        self._pushed, self._pushed_at = resolved, now
        self.settles_at = min(now + self._refresh.quiet, self._first_push_at + self._refresh.max_quiet)

    def settled(self, *, now: float) -> Resolution | None:
        """Return the pushed list, once, if its time has come."""
        if now < self.settles_at:
            return None
        resolved, self._pushed = self._pushed, None
        self.settles_at = math.inf
        return resolved

    def _held(self, now: float) -> bool:
        if self._empty_since is None:
            self._empty_since = now
        over_at = self._empty_since + self._refresh.hold
        if now >= over_at:
            self._empty_since = None
            return False
        self.state = State.HOLDING
        self.next_at = min(self.next_at, over_at)
        return True

    def _guarded(self, wanted: Endpoints) -> Endpoints:
        """Return the wanted endpoints, and those whose sudden removal must be confirmed."""
        ids = {endpoint.id for endpoint in wanted}
        gone = [endpoint for endpoint in self.current if endpoint.id not in ids]
        sudden = [endpoint for endpoint in gone if endpoint.id not in self._doubted]
        if len(sudden) <= self._refresh.shrink * len(self.current):
            self._doubted = frozenset()
            return wanted
        self._doubted = frozenset([endpoint.id for endpoint in sudden])
        return Resolution(endpoints=[*wanted, *sudden]).endpoints
