"""Events: changes of a pool that listeners receive.

Events are frozen records of *rare* changes: membership, health, lost leases. Listeners receive them
after every lock is released, in the order they happened. If a listener raises, the error is logged and the pick
continues. Per-request numbers are not events: read them from ``LoadBalancer.stats()``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from balancekit._support.record import Record

__all__ = [
    "Added",
    "Cooling",
    "Degraded",
    "Drained",
    "Draining",
    "Ejected",
    "EjectionRefused",
    "Event",
    "EventSink",
    "Hedged",
    "LeaseLost",
    "Probing",
    "Removed",
    "Restored",
    "Retried",
    "RetryRefused",
    "Reweighted",
    "Suppressed",
]


class Event(Record):
    """A change of one endpoint.

    Parameters
    ----------
    endpoint
        The endpoint's id.
    at
        Seconds of the balancer's clock.
    """

    endpoint: str
    at: float


class Added(Event):
    """The endpoint joined the pool."""


class Removed(Event):
    """The endpoint left the pool; nothing new goes to it."""


class Reweighted(Event):
    """The endpoint's weight changed from ``before`` to ``after``."""

    before: float
    after: float


class Draining(Event):
    """The endpoint takes nothing new; ``inflight`` leases are still open, until ``deadline`` at most."""

    inflight: int
    deadline: float | None


class Drained(Event):
    """The last lease ended, or the deadline passed (``forced``) with ``remaining`` leases still open.

    Emitted once for each endpoint that was drained, removed or both, until it serves again.
    """

    forced: bool
    remaining: int


class Ejected(Event):
    """Health took the endpoint out of the pool until ``until``, for the ``streak``-th time in a row."""

    until: float
    streak: int
    cause: str


class EjectionRefused(Event):
    """The endpoint should have been ejected, but too few would have been left."""

    cause: str


class Suppressed(Event):
    """The endpoint flapped so often that it is suppressed until ``until``, or longer if it continues."""

    until: float
    penalty: float


class Cooling(Event):
    """The endpoint answered with ``Retry-After``: it gets nothing new until ``until``."""

    until: float


class Degraded(Event):
    """Checks found ``dependencies`` failing here and nearly everywhere; none is the endpoint's fault.

    Empty when they work again.
    """

    dependencies: tuple[str, ...]


class Probing(Event):
    """The time of ejection is over: the next requests decide whether the endpoint is back."""


class Restored(Event):
    """The endpoint has proved itself and is healthy again."""


class Retried(Event):
    """A request that failed at this endpoint, for ``reason``, is tried at another one.

    Adapters emit it (``LoadBalancer.emit``), as they do the two that follow.
    """

    reason: str


class RetryRefused(Event):
    """A request that failed at this endpoint would have been tried elsewhere, but the budget is spent."""

    reason: str


class Hedged(Event):
    """A second attempt was started here before the first had ended; ``won`` is whether its answer was used."""

    won: bool


class LeaseLost(Event):
    """A lease was garbage-collected without being released; it was ended as cancelled.

    ``site`` names where it was acquired, if the balancer was made with ``debug=True``.
    """

    site: str | None


EventSink: TypeAlias = Callable[[Event], None]
"""A listener: called with each event, after unlocking."""
