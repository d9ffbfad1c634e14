"""Client-side throttling: a client that is often refused sends less.

A backend that refuses work still spends time on it. So a client counts, over two minutes, the requests it wanted to send and
those that were accepted, and drops requests itself, separately for each criticality:

.. code-block:: text

    drop with probability max(0, (requests - k * accepts) / (requests + 1))      both of the last two minutes
    k = 2, 1000 requests, 200 accepted:  (1000 - 400) / 1001 = 0.6

A request counts when it is about to be sent, so requests that hang in the backend count too.

Source: *Site Reliability Engineering*, chapter 21, "Client-side throttling".
"""

from __future__ import annotations

from random import Random
from typing import final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.fork import new_lock
from balancekit._support.recent_count import RecentCount
from balancekit.waiting._queue import MAX_CRITICALITIES

__all__ = ["ClientThrottle"]


@final
class ClientThrottle(ConstructorRepr):
    """Throttle that drops requests which would very likely be refused. Any thread may call.

    Parameters
    ----------
    k
        The requests sent to the backend per accepted request, >= 1. With 2 a recovery is soon detected; 1.1 protects the
        backend more.
    window
        The length of the window in seconds, > 0; old counts expire in steps of a tenth of it.
    criticalities
        The number of levels, 1 to 1,000.

    *When not to use it:* with few requests per window, since the probability is then noise; or for errors that are not refusals,
    since a share of them below ``1 - 1 / k`` drops nothing. A balancer with health checks already skips failing endpoints; this
    throttle is for a backend that refuses as a whole.

    Cost: O(1) per request.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    Example
    -------
    >>> throttle, rng = ClientThrottle(), Random(1)
    >>> for _ in range(100):
    ...     if throttle.allow(rng, now=0.0):
    ...         pass                                    # sent, and refused
    >>> throttle.probability(now=0.0) > 0.9
    True
    """

    @checked_arguments
    def __init__(self, *, k: float = 2.0, window: float = 120.0, criticalities: int = 4) -> None:
        self._k = valid.number("k", k, minimum=1.0)
        length = valid.number("window", window, above=0.0)
        levels = range(valid.integer("criticalities", criticalities, minimum=1, maximum=MAX_CRITICALITIES))
        self._requests = [RecentCount(length) for _ in levels]
        self._accepts = [RecentCount(length) for _ in levels]
        self._lock = new_lock()

    @checked_arguments
    def probability(self, *, now: float, criticality: int = 0) -> float:
        """Return the current probability that a request is dropped."""
        level = self._level(criticality)
        with self._lock:
            requests, accepts = self._requests[level].count(now), self._accepts[level].count(now)
        return max(0.0, (requests - self._k * accepts) / (requests + 1.0))

    @checked_arguments
    def allow(self, rng: Random, *, now: float, criticality: int = 0) -> bool:
        """Return whether to send a request; it is counted in both cases."""
        chance = self.probability(now=now, criticality=criticality)
        sent = not chance or rng.random() >= chance
        with self._lock:
            self._requests[criticality].add(now)
        return sent

    @checked_arguments
    def accepted(self, *, now: float, criticality: int = 0) -> None:
        """Count a request that the backend did not refuse for overload, whatever its outcome."""
        level = self._level(criticality)
        with self._lock:
            self._accepts[level].add(now)

    def _level(self, criticality: int) -> int:
        return valid.integer("criticality", criticality, minimum=0, maximum=len(self._requests) - 1)
