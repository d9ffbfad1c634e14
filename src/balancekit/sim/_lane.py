"""How does a request cost the simulator little more than it costs the balancer? In a loop that calls nothing else.

For requests to which nothing can happen: one attempt, no time-out, no faults, lines that are first in, first out. Their
end is known when they arrive, so the loop has one heap entry per request and writes the log at once. ``_run.py``
gives the same log, byte for byte, at three times the cost; a test compares them.

Cost: a constant pick takes about 30 empty method calls in this loop; ``benchmarks/sim.py`` measures it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import islice
from math import inf
from random import Random

from balancekit.balancer import LoadBalancer
from balancekit.errors import UnavailableError
from balancekit.lease import Lease
from balancekit.sim._log import FIRST, Log
from balancekit.sim._station import Line

__all__ = ["Clock", "play"]


class Clock:
    """The virtual time, in seconds."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now: float = 0.0

    def __call__(self) -> float:
        return self.now


def play(
    clock: Clock,
    balancers: Sequence[LoadBalancer[str]],
    lines: Mapping[str, tuple[int, Line[object], Iterator[float]]],
    arrivals: Iterator[float],
    total: int,
    spread: Random,
) -> Log:
    """Let ``total`` requests happen.

    Parameters
    ----------
    clock
        What the balancers read.
    balancers
        Each request goes through one of them, drawn from ``spread``.
    lines
        By endpoint id: its number, its queue, and the service times to be.
    arrivals
        Times, ascending.
    total
        How many requests at most.
    spread
        Draws the balancer if there are several.
    """
    log = Log()
    ended, served, where, work = log.ended.append, log.served.append, log.where.append, log.work.append
    heap: list[tuple[float, int, Lease[str] | None]] = [(inf, 0, None)]
    many, draw = len(balancers), spread.random
    acquire = balancers[0].acquire
    requests = array("l")
    number = -1
    for number, now in enumerate(islice(arrivals, total)):
        while heap[0][0] <= now:
            clock.now, _, lease = heappop(heap)
            lease.__exit__(None, None, None)  # type: ignore[union-attr]  # None stands at infinity only
        clock.now = now
        if many > 1:
            acquire = balancers[int(draw() * many)].acquire
        try:
            lease = acquire()
        except UnavailableError:
            ended(now)
            served(0)
            continue
        index, line, lengths = lines[lease.target]
        length = next(lengths)
        end = line.end(now, length)
        heappush(heap, (end, number, lease))
        ended(end)
        served(1)
        where(index)
        work(length * line.scale)
        requests.append(number)
    while len(heap) > 1:
        clock.now, _, lease = heappop(heap)
        lease.__exit__(None, None, None)  # type: ignore[union-attr]  # the same
    return _completed(log, requests, number + 1)
