"""The fast loop of a simulation, for runs in which nothing fails.

It runs simulations without timeouts, hedges, faults, keys and costs, whose servers are first in, first out. There the end
of a request is known when it arrives. So the loop needs one heap entry per request and writes two columns; the other
columns are computed from them. ``_event_loop.py`` writes the same trace, byte for byte, at several times the cost. A test
compares the two.

Cost: with a selector that always picks the same endpoint, about twice the cost of acquiring and releasing a lease.
``benchmarks/sim.py`` measures it.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from heapq import heappop, heappush, heapreplace
from math import inf

import numpy as np

from balancekit.errors import UnavailableError
from balancekit.lease import Lease
from balancekit.sim._context import SimContext
from balancekit.sim._trace import FIRST, Trace

__all__ = ["play"]

NO_SERVER = -1


def play(context: SimContext, arrived: Sequence[float]) -> Trace:
    """Run the requests that arrive at these times until each has ended; return the trace."""
    clock = context.clock
    ended, where = array("d"), array("q")
    end_at, went_to = ended.append, where.append
    acquires = [balancer.acquire for balancer in context.balancers]
    acquire, many, draw = acquires[0], len(acquires), context.spread.random
    servers = {
        id: (number, queue.free, queue.scale, draws)
        for number, (id, queue, draws) in enumerate(context.queues())
    }
    heap: list[tuple[float, int, Lease[str] | None]] = [(inf, -1, None)]
    for number, now in enumerate(arrived):
        while heap[0][0] <= now:
            clock.now, _, lease = heappop(heap)
            lease.__exit__(None, None, None)  # type: ignore[union-attr]  # None stands at infinity only
        clock.now = now
        if many > 1:
            acquire = acquires[int(draw() * many)]
        try:
            lease = acquire()
        except UnavailableError:
            end_at(now)
            went_to(NO_SERVER)
            continue
        index, free, scale, lengths = servers[lease.node.id]
        # The next lines are FifoQueue.end inlined: a call would take a tenth of the loop.
        length = next(lengths) * scale
        end = free[0] + length if free[0] > now else now + length
        heapreplace(free, end)
        heappush(heap, (end, number, lease))
        end_at(end)
        went_to(index)
    while len(heap) > 1:
        clock.now, _, lease = heappop(heap)
        lease.__exit__(None, None, None)  # type: ignore[union-attr]  # the same
    return _trace(arrived, ended, where)


def _trace(arrived: Sequence[float], ended: Sequence[float], where: Sequence[int]) -> Trace:
    """Return the whole trace: one attempt for each request that was sent, from its arrival to its end."""
    trace = Trace()
    begins, ends, places = np.array(arrived), np.array(ended), np.array(where, dtype=np.int64)
    served = places != NO_SERVER
    trace.arrived.frombytes(begins.tobytes())
    trace.ended.frombytes(ends.tobytes())
    trace.served.frombytes(served.astype(np.int8).tobytes())
    trace.request.frombytes(np.flatnonzero(served).astype(np.int64).tobytes())
    trace.kind.frombytes(np.full(int(served.sum()), FIRST, dtype=np.int8).tobytes())
    trace.where.frombytes(places[served].tobytes())
    trace.entered.frombytes(begins[served].tobytes())
    trace.left.frombytes(ends[served].tobytes())
    return trace
