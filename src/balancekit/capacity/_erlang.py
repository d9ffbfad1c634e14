"""Waiting for a free worker: Erlang's C formula.

Source: Erlang (1917). The recursion for B has no factorials, so it holds for any number of workers.
"""

from __future__ import annotations

import math
from typing import final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record

__all__ = ["Waiting", "erlang_c"]


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
        How many, >= 1.
    in_flight
        Requests being served in the mean (arrivals per second times ``service``), >= 0.
    service
        Seconds that a request is being served, in the mean, > 0.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    Notes
    -----
    Assumes Poisson arrivals, exponential service and *one* queue: a bound that balancers in front of separate queues do
    not reach. Cost: O(workers).

    Example
    -------
    >>> waiting = erlang_c(10, 9.0)
    >>> round(waiting.probability, 4), round(waiting.mean, 4)
    (0.6687, 0.6687)
    """
    count = valid.integer("workers", workers, minimum=1)
    load = valid.number("in_flight", in_flight, minimum=0.0)
    time = valid.number("service", service, above=0.0)
    if load >= count:
        return Waiting(probability=1.0, mean=math.inf)
    blocked = 1.0
    for number in range(1, count + 1):
        blocked = load * blocked / (number + load * blocked)
    probability = blocked / (1.0 - load / count * (1.0 - blocked))
    return Waiting(probability=probability, mean=probability * time / (count - load))
