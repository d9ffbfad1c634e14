"""The event loop of a simulation: attempts, timeouts, hedges and faults.

The loop takes the next event from a heap, sets the clock to its time, and calls the balancer as a client would: acquire,
wait, release. Selectors, loads, health rules and leases are those of production.

*Abandoned work.* A server completes each request that it has begun. An attempt that timed out, or that lost to its hedge,
has ended for its caller and its balancer, but still occupies the server.

Cost: several times that of ``_fast_loop.py``, which runs simulations without timeouts, hedges and faults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf, nan, prod
from random import Random
from typing import Any, TypeAlias, final

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError, UnavailableError
from balancekit.lease import Lease
from balancekit.outcome import Outcome
from balancekit.protocols import ObservableBalancer
from balancekit.sim._arrivals import Arrivals, ClosedLoop, arrival_times
from balancekit.sim._context import SimContext
from balancekit.sim._faults import Fault, FaultAction, Step
from balancekit.sim._queues import InfiniteServer, JobQueue, make_queue
from balancekit.sim._services import draws
from balancekit.sim._trace import FIRST, HEDGE, RETRY, Trace
from balancekit.snapshot import Key

__all__ = ["Rules", "Run"]

ScheduledEvent: TypeAlias = tuple[float, int, Callable[[Any], None], Any]
"""Time in seconds, serial number, function to call, and its argument."""


class Rules(Record):
    """Options of the clients; see :class:`~balancekit.sim.Simulation`."""

    attempts: int
    timeout: float | None
    hedge: float | None
    keys: Callable[[Random], Key | None] | None
    costs: Callable[[Random], float] | None


@final
class Request:
    """One request in progress."""

    __slots__ = ("balancer", "caller", "cost", "key", "number", "open", "sent", "tried")

    def __init__(
        self, number: int, balancer: ObservableBalancer[str], key: Key | None, cost: float, caller: int | None
    ) -> None:
        self.number: int = number
        self.balancer: ObservableBalancer[str] = balancer
        self.key: Key | None = key
        self.cost: float = cost
        self.caller: int | None = caller
        self.sent: int = 0
        """Number of attempts so far, without hedges."""
        self.tried: tuple[str, ...] = ()
        """Ids of the endpoints that have received an attempt."""
        self.open: list[Attempt] = []
        """Attempts that the caller still waits for."""


@final
class Attempt:
    """One attempt of a request at one endpoint."""

    __slots__ = ("due", "lease", "outcome", "queue", "request", "row", "server")

    def __init__(self, request: Request, lease: Lease[str], server: SimulatedServer, row: int) -> None:
        self.request: Request = request
        self.lease: Lease[str] | None = lease
        """``None`` once the caller no longer waits for the attempt."""
        self.server: SimulatedServer = server
        self.row: int = row
        self.outcome: Outcome = Outcome.SUCCESS
        self.due: float = nan
        """When the attempt ends. An end event at any other time is outdated and ignored."""
        self.queue: JobQueue[Attempt] | None = None
        """The queue that holds the attempt: ``server.queue`` or ``server.failing``."""


@final
class SimulatedServer:
    """A server and its current faults."""

    __slots__ = (
        "down",
        "failing",
        "failing_share",
        "failure_delay",
        "lengths",
        "number",
        "queue",
        "slowdowns",
    )

    def __init__(
        self, context: SimContext, number: int, id: str, schedule: Callable[[Attempt, float], None]
    ) -> None:
        self.number: int = number
        self.queue: JobQueue[Attempt] = make_queue(context.servers[id], schedule)
        self.failing: JobQueue[Attempt] = InfiniteServer(schedule)
        """Attempts that will fail without occupying a worker."""
        self.lengths = context.lengths(id)
        self.down: bool = False
        self.slowdowns: list[float] = []
        """Factors of the slowdowns in effect."""
        self.failing_share: float = 0.0
        """The share of attempts that fail."""
        self.failure_delay: float | None = None
        """Seconds until a failing attempt fails; ``None`` if it fails after its normal service."""


class Run:
    """The state of one run."""

    def __init__(self, context: SimContext, rules: Rules, faults: Sequence[Fault]) -> None:
        self._context = context
        self._clock = context.clock
        self._rules = rules
        self._trace = Trace()
        self._heap: list[ScheduledEvent] = []
        self._serial = count().__next__
        self._servers = {
            id: SimulatedServer(context, number, id, self._schedule)
            for number, id in enumerate(context.servers)
        }
        self._failure_rng = context.generator("luck")
        self._key_rng = context.generator("keys")
        self._cost_rng = context.generator("costs")
        self._pauses: Iterator[float] = iter(())
        self._total = 0
        self._open = 0
        # Sorted by time: if one fault ends when another one begins, the end comes first.
        for fault in sorted(faults, key=lambda fault: fault.at):
            for step in fault.steps():
                self._at(step.at, self._apply_fault, (fault.endpoint, step))

    def play(self, arrivals: Arrivals, total: int) -> Trace:
        """Run until at most ``total`` requests have arrived and each has ended; return the trace.

        Raises
        ------
        ConfigurationError
            If the costs of requests are so high that a request does not end.
        """
        self._total = total
        closed = isinstance(arrivals, ClosedLoop)
        most = arrivals.count if isinstance(arrivals, ClosedLoop) else total
        times = iter(arrival_times(arrivals, self._context.generator("arrivals"), most))
        if isinstance(arrivals, ClosedLoop):
            self._pauses = draws(arrivals.pause, self._context.generator("pauses"), "pause")
            for caller, time in enumerate(times):
                self._at(time, self._call, caller)
        heap, clock, arrived = self._heap, self._clock, self._trace.arrived
        upcoming = next(times, inf)
        while self._open or upcoming < inf or (closed and len(arrived) < total):
            if heap and heap[0][0] <= upcoming:
                clock.now, _, act, subject = heappop(heap)
                act(subject)
            elif upcoming < inf:
                clock.now = upcoming
                self._call(None)
                upcoming = next(times, inf)
            else:
                raise ConfigurationError(
                    "costs", self._rules.costs, "finite costs, so that each request ends"
                )
        return self._trace

    # -------------------------------------------------------------------- callers

    def _call(self, caller: int | None) -> None:
        """Begin a request, unless the run has had all its requests."""
        rules, balancers = self._rules, self._context.balancers
        if len(self._trace.arrived) == self._total:
            return
        many = len(balancers)
        if many == 1:
            which = 0
        else:
            which = int(self._context.spread.random() * many) if caller is None else caller % many
        key = None
        if rules.keys is not None:
            key = rules.keys(self._key_rng)
            self._trace.keys.append(key)
        cost = 1.0
        if rules.costs is not None:
            cost = valid.number("costs", rules.costs(self._cost_rng), above=0.0, maximum=valid.MAX_COST)
        number = self._trace.arrive(self._clock.now)
        self._open += 1
        self._send(Request(number, balancers[which], key, cost, caller), FIRST)

    def _send(self, request: Request, kind: int) -> None:
        """Send an attempt of a request to an endpoint that the balancer picks."""
        try:
            if request.tried or request.key is not None or request.cost != 1.0:
                lease = request.balancer.acquire(request.key, cost=request.cost, exclude=request.tried)
            else:
                lease = request.balancer.acquire()
        except UnavailableError:
            if not request.open:
                self._finish(request, served=False)
            return
        now, id = self._clock.now, lease.endpoint.id
        server = self._servers[id]
        attempt = Attempt(request, lease, server, self._trace.send(request.number, kind, server.number, now))
        request.open.append(attempt)
        request.tried = (*request.tried, id)
        request.sent += kind != HEDGE
        self._serve(attempt)
        if self._rules.timeout is not None:
            self._at(now + self._rules.timeout, self._time_out, attempt)
        if self._rules.hedge is not None and kind == FIRST:
            self._at(now + self._rules.hedge, self._hedge, request)

    def _time_out(self, attempt: Attempt) -> None:
        if attempt.lease is not None:
            self._answer(attempt, Outcome.TIMEOUT)

    def _hedge(self, request: Request) -> None:
        if request.open:
            self._send(request, HEDGE)

    def _answer(self, attempt: Attempt, outcome: Outcome) -> None:
        """End an attempt that its caller waits for: finish the request, or retry it."""
        request, lease, attempt.lease = attempt.request, attempt.lease, None
        assert lease is not None
        request.open.remove(attempt)
        if outcome is Outcome.SUCCESS:
            lease.__exit__(None, None, None)
            for loser in request.open:
                assert loser.lease is not None
                loser.lease.release(Outcome.CANCELLED)
                loser.lease = None
            request.open.clear()
            self._finish(request, served=True)
            return
        lease.release(outcome)
        if request.sent < self._rules.attempts:
            self._send(request, RETRY)
        elif not request.open:
            self._finish(request, served=False)

    def _finish(self, request: Request, *, served: bool) -> None:
        now = self._clock.now
        self._trace.ended[request.number] = now
        self._trace.served[request.number] = served
        self._open -= 1
        if request.caller is not None:
            self._at(now + next(self._pauses), self._call, request.caller)

    # -------------------------------------------------------------------- servers

    def _serve(self, attempt: Attempt) -> None:
        """Put an attempt into the queue of its server."""
        server, now = attempt.server, self._clock.now
        if server.down:
            attempt.outcome = Outcome.CONNECT_FAILED
            self._trace.left[attempt.row] = now
            self._schedule(attempt, now)
            return
        if server.failing_share and self._failure_rng.random() < server.failing_share:
            attempt.outcome = Outcome.FAILURE
            if server.failure_delay is not None:
                self._trace.left[attempt.row] = now
                attempt.queue = server.failing
                server.failing.enter(now, attempt, server.failure_delay)
                return
        attempt.queue = server.queue
        server.queue.enter(now, attempt, next(server.lengths) * attempt.request.cost)

    def _end(self, attempt: Attempt) -> None:
        now = self._clock.now
        if attempt.due != now:
            return
        attempt.due = nan
        server = attempt.server
        if attempt.queue is not None:
            attempt.queue.leave(now, attempt)
        if attempt.queue is server.queue:
            self._trace.left[attempt.row] = now
        if attempt.lease is not None:
            self._answer(attempt, attempt.outcome)

    def _crash(self, server: SimulatedServer) -> None:
        """Fail all attempts on a server at once. The server refuses later ones until it recovers."""
        server.down = True
        now = self._clock.now
        working = server.queue.clear(now)
        for attempt in working:
            self._trace.left[attempt.row] = now
        lost = [*working, *server.failing.clear(now)]
        for attempt in lost:
            attempt.due = nan
        for attempt in lost:
            if attempt.lease is not None:
                self._answer(attempt, Outcome.FAILURE)

    # -------------------------------------------------------------------- faults

    def _apply_fault(self, what: tuple[str, Step]) -> None:
        """Apply one step of a fault."""
        id, step = what
        server = self._servers[id]
        match step.action:
            case FaultAction.CRASH:
                self._crash(server)
            case FaultAction.RECOVER:
                server.down = False
            case FaultAction.SLOW:
                server.slowdowns.append(step.factor)
                self._change_pace(server)
            case FaultAction.SLOW_NO_MORE:
                server.slowdowns.remove(step.factor)
                self._change_pace(server)
            case FaultAction.FAIL:
                server.failing_share, server.failure_delay = step.share, step.after
            case FaultAction.ADD:
                for balancer in self._context.balancers:
                    balancer.add(Endpoint(id, weight=self._context.servers[id].weight))
            case FaultAction.REMOVE:
                for balancer in self._context.balancers:
                    balancer.remove(id)
            case FaultAction.DRAIN:
                for balancer in self._context.balancers:
                    balancer.drain(id)

    def _change_pace(self, server: SimulatedServer) -> None:
        for one in (server.queue, server.failing):
            one.change_pace(self._clock.now, prod(server.slowdowns))

    def _schedule(self, attempt: Attempt, end: float) -> None:
        attempt.due = end
        if end < inf:
            self._at(end, self._end, attempt)

    def _at(self, time: float, act: Callable[[Any], None], subject: Any) -> None:
        heappush(self._heap, (time, self._serial(), act, subject))
