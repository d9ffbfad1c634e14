"""Client-side throttling: a client whose requests are often refused sends fewer.

A backend that refuses a request still spends time on it. So a client counts the requests that it has wanted to send in
the last two minutes, and those that were accepted. It then drops requests itself, separately for each criticality:

.. code-block:: text

    drop with probability max(0, (requests - k * accepts) / (requests + 1))
    k = 2, 1000 requests, 200 accepted:  (1000 - 400) / 1001 = 0.6

A request is counted before it is sent, so requests without an answer are counted too.

After an outage as long as the window, the formula sends one request per window, at any rate of requests. So the next request
is also sent if none was sent for a second. At 100 requests per second the throttle then drops few requests after five minutes.

Source: *Site Reliability Engineering*, chapter 21, "Client-side throttling".
"""

from __future__ import annotations

import math
from random import Random
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.fork import new_lock
from balancekit._support.recent_count import RecentCount
from balancekit.waiting._queue import MAX_CRITICALITIES

__all__ = ["ClientThrottle"]

MAX_PAUSE_S: Final = 1.0
"""The seconds without a request to the backend after which the next one is sent."""


@final
class ClientThrottle(ConstructorRepr):
    """A throttle that drops requests which the backend would very likely refuse. Any thread may use it.

    Parameters
    ----------
    k
        The requests to send per accepted request, >= 1. With 2, a recovery of the backend is detected soon. With 1.1, the
        backend is protected better.
    window
        The length of the window in seconds, > 0. Old counts expire in steps of a tenth of it.
    criticalities
        The number of levels of criticality, 1 to 1,000. Each has its own counts.

    *When not to use it:* with few requests per window, because the probability is then too random. Also not for errors
    other than refusals: below a share of ``1 - 1 / k`` it drops nothing. A balancer with health checks already skips
    failing endpoints; this throttle is for a backend that refuses as a whole.

    Cost: O(1) per request.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    Example
    -------
    >>> from random import Random
    >>> from balancekit.waiting import ClientThrottle
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
        self._sent_at = [-math.inf for _ in levels]
        self._requests = [RecentCount(length) for _ in levels]
        self._accepts = [RecentCount(length) for _ in levels]
        self._lock = new_lock()

    @checked_arguments
    def probability(self, *, now: float, criticality: int = 0) -> float:
        """Return the probability that :meth:`allow` drops a request now.

        Raises
        ------
        ConfigurationError
            If ``now`` is no finite number, or ``criticality`` is no level.
        """
        level = self._level(criticality)
        with self._lock:
            requests, accepts = self._requests[level].count(now), self._accepts[level].count(now)
        return max(0.0, (requests - self._k * accepts) / (requests + 1.0))

    @checked_arguments
    def allow(self, rng: Random, *, now: float, criticality: int = 0) -> bool:
        """Return whether to send a request. The request is counted in both cases.

        Raises
        ------
        ConfigurationError
            If ``rng`` is no ``random.Random``, ``now`` is no finite number, or ``criticality`` is no level.
        """
        chance = self.probability(now=now, criticality=criticality)
        drawn = not chance or rng.random() >= chance
        with self._lock:
            # A difference of either sign, because time may have gone back.
            sent = drawn or abs(now - self._sent_at[criticality]) >= MAX_PAUSE_S
            if sent:
                self._sent_at[criticality] = now
            self._requests[criticality].add(now)
        return sent

    @checked_arguments
    def accepted(self, *, now: float, criticality: int = 0) -> None:
        """Count a request that the backend did not refuse because of overload. Its outcome does not matter.

        Raises
        ------
        ConfigurationError
            If ``now`` is no finite number, or ``criticality`` is no level.
        """
        level = self._level(criticality)
        with self._lock:
            self._accepts[level].add(now)

    def _level(self, criticality: int) -> int:
        return valid.integer("criticality", criticality, minimum=0, maximum=len(self._requests) - 1)
