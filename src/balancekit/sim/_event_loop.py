"""The event loop of a simulation: attempts, time-outs, hedges and faults.

The loop takes the next event off a heap, sets the clock, and does what a program would do: acquire, wait, release.
Selectors, loads, health and leases are the very ones that production runs, and nothing in them knows that the clock is
not real.

*A server finishes what its caller has given up*: an attempt that timed out or lost to its hedge is over for its caller
and its balancer, but the server completes it all the same.

Cost: several times that of ``_fast_loop.py``, which takes the requests to which none of this can happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf, nan, prod
from random import Random
from typing import Any, TypeAlias, final

from balancekit._support.record import Record
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError, UnavailableError
from balancekit.lease import Lease
from balancekit.outcome import Outcome
from balancekit.protocols import ObservableBalancer
from balancekit.sim._arrivals import Arrivals, ClosedLoop, moments
from balancekit.sim._context import SimContext
from balancekit.sim._faults import Fault, Step, What
from balancekit.sim._queues import InfiniteServer, Station, station
from balancekit.sim._services import draws
from balancekit.sim._trace import FIRST, HEDGE, RETRY, Trace
from balancekit.snapshot import Key

__all__ = ["Rules", "Run"]

Happening: TypeAlias = tuple[float, int, Callable[[Any], None], Any]
"""When, a serial number, what to do, and with what."""


class Rules(Record):
    """What callers do; see :class:`~balancekit.sim.Simulation`."""

    attempts: int
    timeout: float | None
    hedge: float | None
    keys: Callable[[Random], Key | None] | None
    costs: Callable[[Random], float] | None


@final
class Request:
    """One request on its way."""

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
        """Attempts but for hedges."""
        self.tried: tuple[str, ...] = ()
        self.open: list[Attempt] = []
        """Those that are waited for."""


@final
class Attempt:
    """One try of a request on one endpoint."""

    __slots__ = ("due", "lease", "outcome", "place", "request", "row", "station")

    def __init__(self, request: Request, lease: Lease[str], place: Place, row: int) -> None:
        self.request: Request = request
        self.lease: Lease[str] | None = lease
        """``None`` when nothing waits for it any more."""
        self.place: Place = place
        self.row: int = row
        self.outcome: Outcome = Outcome.SUCCESS
        self.due: float = nan
        """When it ends; a happening that comes at another time is void."""
        self.station: Station[Attempt] | None = None
        """Where it is: with the workers of its server, or with what fails without them."""


@final
class Place:
    """A server, and what is wrong with it."""

    __slots__ = ("after", "down", "failing", "lengths", "number", "share", "slower", "station")

    def __init__(
        self, context: SimContext, number: int, id: str, schedule: Callable[[Attempt, float], None]
    ) -> None:
        self.number: int = number
        self.station: Station[Attempt] = station(context.servers[id], schedule)
        self.failing: Station[Attempt] = InfiniteServer(schedule)
        """What will fail without having been worked on."""
        self.lengths = context.lengths(id)
        self.down: bool = False
        self.slower: list[float] = []
        """By what factors, at the moment."""
        self.share: float = 0.0
        """Of requests that fail."""
        self.after: float | None = None
        """Seconds until they do; ``None`` for those of a request that is served."""


class Run:
    """One run: everything that changes."""

    def __init__(self, context: SimContext, rules: Rules, faults: Sequence[Fault]) -> None:
        self._context = context
        self._clock = context.clock
        self._rules = rules
        self._trace = Trace()
        self._heap: list[Happening] = []
        self._serial = count().__next__
        self._places = {
            id: Place(context, number, id, self._schedule) for number, id in enumerate(context.servers)
        }
        self._luck = context.chance("luck")
        self._key_chance = context.chance("keys")
        self._cost_chance = context.chance("costs")
        self._pauses: Iterator[float] = iter(())
        self._total = 0
        self._open = 0
        # In the order of their times: a fault that ends when another one begins ends first.
        for fault in sorted(faults, key=lambda fault: fault.at):
            for step in fault.steps():
                self._at(step.at, self._happen, (fault.endpoint, step))

    def play(self, arrivals: Arrivals, total: int) -> Trace:
        """Let at most ``total`` requests happen, and every one end."""
        self._total = total
        closed = isinstance(arrivals, ClosedLoop)
        most = arrivals.count if isinstance(arrivals, ClosedLoop) else total
        times = iter(moments(arrivals, self._context.chance("arrivals"), most))
        if isinstance(arrivals, ClosedLoop):
            self._pauses = draws(arrivals.pause, self._context.chance("pauses"), "pause")
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
                raise ConfigurationError("costs", self._rules.costs, "costs of requests that end some day")
        return self._trace

    # -------------------------------------------------------------------- callers

    def _call(self, caller: int | None) -> None:
        """Begin a request, unless there have been enough."""
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
            key = rules.keys(self._key_chance)
            self._trace.keys.append(key)
        cost = 1.0 if rules.costs is None else rules.costs(self._cost_chance)
        number = self._trace.arrive(self._clock.now)
        self._open += 1
        self._send(Request(number, balancers[which], key, cost, caller), FIRST)

    def _send(self, request: Request, kind: int) -> None:
        """Try a request somewhere."""
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
        place = self._places[id]
        attempt = Attempt(request, lease, place, self._trace.send(request.number, kind, place.number, now))
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
        """Record how an attempt ended that was waited for."""
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
        """Bring an attempt to its server."""
        place, now = attempt.place, self._clock.now
        if place.down:
            attempt.outcome = Outcome.CONNECT_FAILED
            self._trace.left[attempt.row] = now
            self._schedule(attempt, now)
            return
        if place.share and self._luck.random() < place.share:
            attempt.outcome = Outcome.FAILURE
            if place.after is not None:
                self._trace.left[attempt.row] = now
                attempt.station = place.failing
                place.failing.enter(now, attempt, place.after)
                return
        attempt.station = place.station
        place.station.enter(now, attempt, next(place.lengths) * attempt.request.cost)

    def _end(self, attempt: Attempt) -> None:
        now = self._clock.now
        if attempt.due != now:
            return
        attempt.due = nan
        place = attempt.place
        if attempt.station is not None:
            attempt.station.leave(now, attempt)
        if attempt.station is place.station:
            self._trace.left[attempt.row] = now
        if attempt.lease is not None:
            self._answer(attempt, attempt.outcome)

    def _crash(self, place: Place) -> None:
        """Break at once what a server was working on, and refuse what comes."""
        place.down = True
        now = self._clock.now
        working = place.station.clear(now)
        for attempt in working:
            self._trace.left[attempt.row] = now
        lost = [*working, *place.failing.clear(now)]
        for attempt in lost:
            attempt.due = nan
        for attempt in lost:
            if attempt.lease is not None:
                self._answer(attempt, Outcome.FAILURE)

    # -------------------------------------------------------------------- happenings

    def _happen(self, what: tuple[str, Step]) -> None:
        """Let a fault begin or end."""
        id, step = what
        place = self._places[id]
        match step.what:
            case What.CRASH:
                self._crash(place)
            case What.RECOVER:
                place.down = False
            case What.SLOW:
                place.slower.append(step.factor)
                self._change_pace(place)
            case What.SLOW_NO_MORE:
                place.slower.remove(step.factor)
                self._change_pace(place)
            case What.FAIL:
                place.share, place.after = step.share, step.after
            case What.ADD:
                for balancer in self._context.balancers:
                    balancer.add(Endpoint(id, weight=self._context.servers[id].weight))
            case What.REMOVE:
                for balancer in self._context.balancers:
                    balancer.remove(id)
            case What.DRAIN:
                for balancer in self._context.balancers:
                    balancer.drain(id)

    def _change_pace(self, place: Place) -> None:
        for one in (place.station, place.failing):
            one.change_pace(self._clock.now, prod(place.slower))

    def _schedule(self, attempt: Attempt, end: float) -> None:
        attempt.due = end
        if end < inf:
            self._at(end, self._end, attempt)

    def _at(self, time: float, act: Callable[[Any], None], subject: Any) -> None:
        heappush(self._heap, (time, self._serial(), act, subject))
