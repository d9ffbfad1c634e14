"""Waiting for a free worker: Erlang's C formula.

Source: Erlang (1917). The recursion for B has no factorials, so it holds for any number of workers.
"""

from __future__ import annotations

import math
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record

__all__ = ["MAX_WORKERS", "Waiting", "erlang_c"]

MAX_WORKERS: Final = 1_000_000_000_000
NEGLIGIBLE: Final = 1e-300
"""A probability that more workers need not make smaller."""
MARGIN: Final = 12.0
"""Square roots of the load, below which B is taken for ``1 - workers / load``: the recursion up to the load makes an error
smaller by ``exp(12 * 12 / 2)``, which no float shows."""


@final
class Waiting(Record):
    """How requests wait for one of many workers.

    Parameters
    ----------
    probability
        The share of requests that wait at all; 1 if there are not enough workers.
    mean
        Seconds waited in the mean over all requests, infinite if there are not enough workers.
    """

    probability: float
    mean: float


@checked_arguments
def erlang_c(workers: int, in_flight: float, *, service: float = 1.0) -> Waiting:
    """Return how requests wait when one queue feeds all workers.

    Parameters
    ----------
    workers
        How many, 1 to 1e12.
    in_flight
        Requests being served in the mean (arrivals per second times ``service``), >= 0.
    service
        Seconds that a request is being served, in the mean, > 0.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *When not to use it:* for separate queues or very unequal requests, which wait longer; simulate those
    (:mod:`balancekit.sim`).

    Notes
    -----
    Assumes Poisson arrivals, exponential service and *one* queue: a bound that balancers in front of separate queues do
    not reach. Cost: O(sqrt(in_flight)).

    Example
    -------
    >>> from balancekit.capacity import erlang_c
    >>> waiting = erlang_c(10, 9.0)
    >>> round(waiting.probability, 4), round(waiting.mean, 4)
    (0.6687, 0.6687)
    """
    count = valid.integer("workers", workers, minimum=1, maximum=MAX_WORKERS)
    load = valid.number("in_flight", in_flight, minimum=0.0)
    time = valid.number("service", service, above=0.0)
    if load >= count:
        return Waiting(probability=1.0, mean=math.inf)
    first = max(1, int(load - MARGIN * math.sqrt(load)))
    blocked = 1.0 - (first - 1) / load if first > 1 else 1.0
    for number in range(first, count + 1):
        blocked = load * blocked / (number + load * blocked)
        if blocked < NEGLIGIBLE:
            break
    probability = blocked / (1.0 - load / count * (1.0 - blocked))
    return Waiting(probability=probability, mean=probability * time / (count - load))
