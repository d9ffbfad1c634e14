"""The event loop of a simulation of tiers: each request from its resolver to its server and back.

.. code-block:: text

    arrival ─► connection ─► resolver cache ─(expired)─► GSLB policy ─► site
            ─► router: Ecmp ─► L4 node: FlowTable ─► queue ─► L7 node: queue ─► RouteTable ─► LoadBalancer ─► server
    lost    ─► the client times out, or is refused ─► a new connection, if it has an attempt left

The end of a request's time in a queue is known when it enters the queue. So a request needs three events: it reaches the L7
node, it is sent to a server, it is answered. If it fails, the events scheduled for it become outdated and are ignored.

Cost: 40 to 70 µs per request, most of it in the decision objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from typing import Any, Final, TypeAlias, final

from balancekit.errors import UnavailableError
from balancekit.gslb import Query, ResolverCache
from balancekit.hashing import hash32
from balancekit.l4 import flow_key
from balancekit.l7 import Request as HttpRequest
from balancekit.outcome import Outcome
from balancekit.sim._context import Clock
from balancekit.sim.tiers._checks import Action, Checks
from balancekit.sim.tiers._site_state import Flow, Request, ServerState, SiteState
from balancekit.sim.tiers._sites import Loss
from balancekit.sim.tiers._tier_rules import Rules
from balancekit.sim.tiers._trace import TierTrace

__all__ = ["TierRun"]

ScheduledEvent: TypeAlias = tuple[float, int, Action, Any, int]
"""Time in seconds, serial number, action, its subject, and the subject's version number (``turn``)."""

FIRST_PORT: Final = 1024
PORTS: Final = 65_536 - FIRST_PORT
ADDRESS: Final = "192.0.2.80"


@final
class TierRun:
    """The state of one run, and its event loop."""

    def __init__(
        self,
        sites: Mapping[str, SiteState],
        queries: Sequence[Query],
        caches: Sequence[ResolverCache],
        rules: Rules,
        losses: Sequence[Loss],
        clock: Clock,
        generator: Callable[[str], Random],
    ) -> None:
        self._sites = sites
        self._queries = queries
        self._caches = caches
        self._rules = rules
        self._clock = clock
        self._generator = generator
        self._requests = [HttpRequest(path) for path in rules.paths]
        self._answers = generator("answers")
        self._heap: list[ScheduledEvent] = []
        self._serial = count().__next__
        self._flows: list[Flow | None] = [None] * rules.connections
        self._opened = 0
        self._open = 0
        self.trace: TierTrace = TierTrace()
        self._checks = Checks(
            rules.checks, rules.interval, clock, self._at, self.trace.detected, generator("checks")
        )
        for site in sites.values():
            self._checks.watch(site)
        for loss in losses:
            self._at(loss.at, self._begin, loss)
            if loss.seconds < inf:
                self._at(loss.at + loss.seconds, self._end, loss)

    def play(self, seconds: float) -> TierTrace:
        """Run requests that arrive within ``seconds`` until each has ended; return the trace."""
        rng, rate, heap, clock = (
            self._generator("arrivals"),
            self._rules.requests_per_second,
            self._heap,
            self._clock,
        )
        draw, slots = rng.random, self._rules.connections
        now = rng.expovariate(rate)
        while now < seconds:
            while heap[0][0] <= now:
                at, _, action, subject, turn = heappop(heap)
                clock.now = at
                action(subject, turn)
            clock.now = now
            self._arrive(now, int(draw() * slots), draw)
            now += rng.expovariate(rate)
        while self._open:
            at, _, action, subject, turn = heappop(heap)
            clock.now = at
            action(subject, turn)
        return self.trace

    def _at(self, time: float, action: Action, subject: Any, turn: int = 0) -> None:
        heappush(self._heap, (time, self._serial(), action, subject, turn))

    # ------------------------------------------------------------------ a client

    def _arrive(self, now: float, slot: int, draw: Callable[[], float]) -> None:
        flow = self._flows[slot]
        if flow is None or not flow.left:
            flow = self._connect(slot)
        flow.left -= 1
        self._open += 1
        requests = self._requests
        self._send(Request(flow, int(draw() * len(requests)) if len(requests) > 1 else 0, now), now)

    def _connect(self, slot: int) -> Flow:
        """Open a connection for a client whose previous one is closed."""
        number = self._opened
        self._opened += 1
        client = (172 << 24 | number // PORTS).to_bytes(4, "big")
        key = flow_key(client, FIRST_PORT + number % PORTS, ADDRESS, 443)
        flow = Flow(slot, slot % len(self._queries), key, hash32(key) >> 1, self._rules.per_connection)
        self._flows[slot] = flow
        return flow

    def _send(self, request: Request, now: float) -> None:
        """Send a request over its connection, through the router and an L4 node."""
        flow = request.flow
        site = flow.site or self._resolve(flow, now)
        if site is None:
            self._fail(request, now, "gslb")
            return
        if site.down:
            self._leave_unanswered(request, now, "site")
            return
        group = site.group
        if group is None:
            self._leave_unanswered(request, now, "l4")
            return
        if flow.group is not group:
            flow.group = group
            flow.l4 = site.announced[group.pick(flow.hash31)]
        node = flow.l4
        assert node is not None  # chosen with the group
        if node.down:
            self._leave_unanswered(request, now, "l4")
            return
        owner = node.table.steer(flow.key, now=now, owner=node.owner, alive=node.alive).owner
        if flow.l7 is None:
            flow.l7 = owner
        elif flow.l7 != owner:
            gone = site.l7[flow.l7].down
            self.trace.broken += not gone
            self._fail(request, now, "l7" if gone else "l4")
            return
        request.incarnation = node.incarnation
        end = node.take(now)
        heappush(self._heap, (end, self._serial(), self._reach, request, request.turn))
        self._limit(request, now, end, "l4")

    def _resolve(self, flow: Flow, now: float) -> SiteState | None:
        """Query the client's resolver, which queries the policy if its cache has no answer."""
        cache, query = self._caches[flow.resolver], self._queries[flow.resolver]
        answer = cache.look_up(query, now=now)
        if answer is None:
            answer = self._rules.policy.answer(query, self._checks.standing, now=now, rng=self._answers)
            cache.store(query, answer._replace(ttl=float(self._rules.ttl.of(answer.ttl))), now=now)
        flow.site = self._sites[answer.chosen[0]] if answer.chosen else None
        return flow.site

    def _leave_unanswered(self, request: Request, now: float, tier: str) -> None:
        """Leave a request unanswered. The client fails it at its timeout."""
        self._detach(request)
        self._at(max(now, request.sent + self._rules.timeout), self._time_out, (request, tier), request.turn)

    def _limit(self, request: Request, now: float, end: float, tier: str) -> None:
        """Schedule the client's timeout, if it comes before ``end``, the end of the request's time in a queue."""
        limit = request.sent + self._rules.timeout
        if end > limit:
            self._at(max(now, limit), self._time_out, (request, tier), request.turn)

    def _time_out(self, what: tuple[Request, str], turn: int) -> None:
        request, tier = what
        if request.turn == turn:
            self._fail(request, self._clock.now, tier)

    def _fail(self, request: Request, now: float, tier: str) -> None:
        """End an attempt that failed. The client makes another one over a new connection, if it has one left."""
        self._detach(request)
        self.trace.lost.append((now, tier))
        slot = request.flow.slot
        if self._flows[slot] is request.flow:
            self._flows[slot] = None
        if request.tries == self._rules.attempts:
            self._close(request, now, served=False)
            return
        pause = self._rules.pause * 2.0 ** (request.tries - 1)
        request.tries += 1
        request.tried = ()
        if pause:
            self._at(now + pause, self._try_again, request, request.turn)
        else:
            self._try_again(request, request.turn)

    def _try_again(self, request: Request, _turn: int) -> None:
        """Make another attempt over the client's new connection."""
        now, slot = self._clock.now, request.flow.slot
        request.sent = request.reached = request.chosen = now
        request.flow = flow = self._flows[slot] or self._connect(slot)
        flow.left = max(0, flow.left - 1)
        self._send(request, now)

    def _close(self, request: Request, now: float, *, served: bool) -> None:
        trace = self.trace
        trace.arrived.append(request.arrived)
        trace.sent.append(request.sent)
        trace.reached.append(request.reached)
        trace.chosen.append(request.chosen)
        trace.length.append(request.length)
        trace.ended.append(now)
        trace.served.append(served)
        trace.tries.append(request.tries)
        self._open -= 1

    def _detach(self, request: Request) -> None:
        """Remove a request from its server and its L7 node, and make its scheduled events outdated."""
        request.turn += 1
        if request.server is not None:
            request.server.present.discard(request)
            request.server = None
        if request.lease is not None:
            request.lease.release(Outcome.CANCELLED)
            request.lease = None
        if request.node is not None:
            request.node.present.discard(request)
            request.node = None

    # ------------------------------------------------------------------ L7 nodes and servers

    def _reach(self, request: Request, turn: int) -> None:
        """Deliver a request to its L7 node."""
        if request.turn != turn:
            return
        now, flow = self._clock.now, request.flow
        site, l4 = flow.site, flow.l4
        assert site is not None  # it was sent there
        assert l4 is not None  # through this one
        assert flow.l7 is not None  # which chose this one
        node = site.l7[flow.l7]
        if site.down:
            self._leave_unanswered(request, now, "site")
            return
        if l4.down or l4.incarnation != request.incarnation:  # it was in the queue that was lost
            self._leave_unanswered(request, now, "l4")
            return
        if node.down or flow.incarnation not in {None, node.incarnation}:
            self._fail(request, now, "l7")
            return
        flow.incarnation = node.incarnation
        request.reached = now
        request.node = node
        node.present.add(request)
        end = node.take(now)
        heappush(self._heap, (end, self._serial(), self._choose, request, turn))
        self._limit(request, now, end, "l7")

    def _choose(self, request: Request, turn: int) -> None:
        """Send a request to a server. If the server refuses, send it to another one."""
        if request.turn != turn:
            return
        now, attempts = self._clock.now, self._rules.server_attempts
        node = request.node
        assert node is not None  # it has come to one
        match = node.routes.match(self._requests[request.path])
        while match is not None and len(request.tried) < attempts:
            try:
                lease = match.pool().acquire(exclude=request.tried)
            except UnavailableError:
                break
            server = node.site.servers[lease.endpoint.id]
            if server.down:
                lease.release(Outcome.FAILURE)
                request.tried = (*request.tried, lease.endpoint.id)
                continue
            request.lease, request.server, request.chosen = lease, server, now
            server.present.add(request)
            length = next(server.lengths)
            end = server.queue.end(now, length)
            request.length = length = length * server.queue.scale
            server.busy += length
            heappush(self._heap, (end, self._serial(), self._answer, request, turn))
            self._limit(request, now, end, "server")
            return
        self._fail(request, now, "server")

    def _answer(self, request: Request, turn: int) -> None:
        """Deliver the response to the client, unless the request has failed or its site is lost."""
        if request.turn != turn:
            return
        now = self._clock.now
        site, lease, server, node = request.flow.site, request.lease, request.server, request.node
        assert site is not None  # it was served there
        if site.down:
            self._leave_unanswered(request, now, "site")
            return
        assert lease is not None  # it has been until now
        assert server is not None  # chosen with the lease
        assert node is not None  # which chose them
        lease.__exit__(None, None, None)  # a success by the fast path, as in ``with``
        server.present.discard(request)
        node.present.discard(request)
        self._close(request, now, served=True)

    def _break(self, request: Request, server: ServerState) -> None:
        """Fail a request at a server that was lost. Its L7 node tries another server."""
        lease = request.lease
        if lease is None or request.server is not server:
            return
        request.turn += 1
        request.server = request.lease = None
        lease.release(Outcome.FAILURE)
        request.tried = (*request.tried, lease.endpoint.id)
        self._choose(request, request.turn)

    # ------------------------------------------------------------------ losses

    def _begin(self, loss: Loss, _turn: int) -> None:
        site, now = self._sites[loss.site], self._clock.now
        if loss.tier == "site":
            site.down = True
        elif loss.tier == "l4":
            name, l4 = _nth(site.l4, loss.node)
            l4.down = True
            l4.stop(now)
            self._at(now + self._rules.l4_down, self._withdraw, (site, name), l4.incarnation)
        elif loss.tier == "l7":
            _, l7 = _nth(site.l7, loss.node)
            l7.down = True
            l7.stop(now)
            for request in _in_order(l7.present):
                self._fail(request, now, "l7")
        else:
            _, server = _nth(site.servers, loss.node)
            server.down = True
            broken = _in_order(server.present)
            server.present.clear()
            server.stop(now)
            for request in broken:
                self._break(request, server)

    def _end(self, loss: Loss, _turn: int) -> None:
        site = self._sites[loss.site]
        if loss.tier == "site":
            site.down = False
        elif loss.tier == "l4":
            name, l4 = _nth(site.l4, loss.node)
            l4.down = False
            l4.restart()
            site.announced = {
                other: node for other, node in site.l4.items() if other in site.announced or other == name
            }
            site.announce()
        elif loss.tier == "l7":
            _, l7 = _nth(site.l7, loss.node)
            l7.down = False
            l7.restart()
        else:
            _nth(site.servers, loss.node)[1].down = False

    def _withdraw(self, what: tuple[SiteState, str], incarnation: int) -> None:
        """Remove an L4 node from the router's next hops, if it has not been restarted since it was lost."""
        site, name = what
        node = site.l4[name]
        if node.down and node.incarnation == incarnation and name in site.announced:
            del site.announced[name]
            site.announce()
            self.trace.detected.append((self._clock.now, f"router of {site.id}", name, False))


def _nth(nodes: Mapping[str, Any], number: int) -> tuple[str, Any]:
    return list(nodes.items())[number]


def _in_order(requests: set[Request]) -> list[Request]:
    """Return requests in an order that does not depend on their memory addresses."""
    return sorted(requests, key=lambda request: (request.arrived, request.sent))
