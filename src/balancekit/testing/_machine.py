"""A state machine that checks a balancer under random sequences of operations.

Endpoints are added, removed, reweighted, drained and undrained. Leases are opened, released with each outcome, released
twice, and lost. Endpoints fail until they are ejected. Time passes. After each step:

- each in-flight count is the number of open leases of its endpoint;
- each ended lease is counted once, under its outcome, even if its endpoint was removed.

Whenever a lease is opened, its endpoint is in the pool and not draining, ejected or excluded. It has weight zero only if no
other endpoint may be picked. An error is raised only if no endpoint may be picked.

The machine counts the situations that occurred. :func:`~balancekit.testing.check_balancer` fails if one occurred too rarely: a run without
ejections does not test ejection.
"""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Any, ClassVar, Final, TypeAlias

from balancekit._support.extras import extra

with extra("testing"):
    from hypothesis import strategies as st
    from hypothesis.stateful import (
        RuleBasedStateMachine,
        initialize,
        invariant,
        precondition,
        rule,
    )

from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError, PoolEmptyError, UnavailableError, UnknownEndpointError
from balancekit.health import ELIGIBLE
from balancekit.lease import Lease
from balancekit.outcome import Outcome
from balancekit.protocols import Clock, ObservableBalancer, require_balancer
from balancekit.snapshot import Key
from balancekit.statistics_view import BalancerStats
from balancekit.testing import strategies
from balancekit.testing._clock import ManualClock
from balancekit.testing._requests import open_lease

__all__ = ["SITUATIONS", "BalancerMachine", "MakeBalancer"]

MakeBalancer: TypeAlias = Callable[[Sequence[Endpoint[str]], Clock, Random], ObservableBalancer[str]]
"""Function that makes the balancer from endpoints, a clock and a random generator."""

SITUATIONS: Final = frozenset(
    {
        "healthy",
        "suspect",
        "ejected",
        "probing",
        "draining",
        "removed with open leases",
        "released after removal",
        "weight zero",
        "empty",
        "none left to try",
        "lost",
        "ended twice",
    },
)
"""Situations that must have occurred for a balancer with the default health policy."""

IDS: Final = strategies.ids(max_size=5)
WALK: Final = (1, 3, 6, 6, 6)
"""Failures in a row of each part of a walk."""
WALK_STEP_S: Final = 0.01
WALK_DOUBLINGS: Final = 21
"""Steps of a part; the last takes three hours."""


def _require(holds: bool, what: str) -> None:
    """Raise ``AssertionError`` unless something holds. An ``assert`` checks nothing under ``python -O``."""
    if not holds:
        raise AssertionError(what)


def _names(counts: Counter[Outcome]) -> dict[str, int]:
    return {outcome.name: count for outcome, count in counts.items()}


def _requires(*names: str) -> Callable[[Callable[..., object]], Any]:
    """Run a rule only if the balancer has these methods: a wrapper of a balancer may lack some."""
    return precondition(lambda self: all(hasattr(getattr(self, "balancer", None), name) for name in names))


class BalancerMachine(RuleBasedStateMachine):
    """A Hypothesis state machine for one balancer. Call :func:`~balancekit.testing.check_balancer`, or subclass it and set ``make``."""

    make: MakeBalancer
    visits: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.clock: ManualClock = ManualClock()
        self.open: list[tuple[Lease[str], str]] = []
        self.ended: Counter[Outcome] = Counter()
        self.removed: set[Lease[str]] = set()

    @initialize(endpoints=strategies.endpoint_lists(max_size=5), seed=st.integers(0, 2**16))
    def start(self, endpoints: list[Endpoint[str]], seed: int) -> None:
        """Make the balancer."""
        made: ObservableBalancer[str] = type(self).make(endpoints, self.clock, Random(seed))
        require_balancer(made)
        self.balancer: Any = made
        """The balancer. It may have more methods than those of the protocol."""

    # ------------------------------------------------------------------ membership

    @_requires("add")
    @rule(id=IDS, weight=strategies.weights())
    def add(self, id: str, weight: float) -> None:
        """Add an endpoint. An error is allowed only if the pool has it already."""
        present = self._ids()
        try:
            self.balancer.add(Endpoint(id, weight=weight))
        except ConfigurationError:
            _require(id in present, f"add({id!r}) was refused, and it was not there")
        else:
            _require(id not in present, f"add({id!r}) was accepted, and it was there already")

    @_requires("remove")
    @rule(id=IDS)
    def remove(self, id: str) -> None:
        """Remove an endpoint. An error is allowed only if the pool does not have it."""
        present = self._ids()
        try:
            self.balancer.remove(id)
        except UnknownEndpointError:
            _require(id not in present, f"remove({id!r}) raised UnknownEndpointError, and it was there")
            return
        _require(id in present, f"remove({id!r}) was accepted, and it was not there")
        _require(id not in self._ids(), f"{id!r} is still there after remove()")
        self._record_removal({id})

    @_requires("set_weight")
    @rule(id=IDS, weight=strategies.weights())
    def reweight(self, id: str, weight: float) -> None:
        """Change the weight of an endpoint."""
        if id in self._ids():
            self.balancer.set_weight(id, weight)

    @_requires("update")
    @rule(endpoints=strategies.endpoint_lists(max_size=5))
    def update(self, endpoints: list[Endpoint[str]]) -> None:
        """Replace the whole list of endpoints."""
        before = set(self._ids())
        self.balancer.update(endpoints)
        wanted = [endpoint.id for endpoint in endpoints]
        _require(
            list(self._ids()) == wanted, f"endpoints are {list(self._ids())} after update() with {wanted}"
        )
        self._record_removal(before - set(self._ids()))

    @_requires("update")
    @rule()
    def empty(self) -> None:
        """Remove all endpoints. The next request must raise ``PoolEmptyError``."""
        before = self._ids()
        self.balancer.update([])
        self._record_removal(before)
        with contextlib.suppress(PoolEmptyError):
            open_lease(self.balancer)
            raise AssertionError("a lease was opened without an endpoint")
        self.visits["empty"] += 1

    @_requires("drain")
    @rule(id=IDS, deadline=st.sampled_from([0.0, 1.0, 100.0]))
    def drain(self, id: str, deadline: float) -> None:
        """Drain an endpoint."""
        if id in self._ids():
            self.balancer.drain(id, deadline=deadline)

    @_requires("undrain")
    @rule(id=IDS)
    def undrain(self, id: str) -> None:
        """End the draining of an endpoint."""
        if id in self._ids():
            self.balancer.undrain(id)

    # ------------------------------------------------------------------ requests

    @rule(key=st.none() | strategies.keys(), exclude=st.sets(IDS, max_size=2))
    def acquire(self, key: Key | None, exclude: set[str]) -> None:
        """Open a lease. An error is allowed only if no endpoint may be picked."""
        self._collect()
        allowed = self._allowed(exclude)
        try:
            if key is None:
                lease = open_lease(self.balancer, exclude)
            else:
                lease = self.balancer.acquire(key, exclude=exclude)
        except UnavailableError as error:
            _require(not allowed, f"{error}, but {sorted(allowed)} may be picked")
            self.visits["none left to try"] += 1
        else:
            id = lease.endpoint.id
            _require(id in allowed, f"acquire() picked {id!r}, which is not of {sorted(allowed)}")
            self.open.append((lease, id))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), outcome=strategies.outcomes(), started=st.booleans())
    def release(self, data: st.DataObject, outcome: Outcome, started: bool) -> None:
        """Release a lease."""
        lease = self._take(data)
        if started:
            lease.first_byte()
        self._end(lease, outcome)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), error=st.sampled_from([None, TimeoutError, ConnectionError, ValueError]))
    def leave(self, data: st.DataObject, error: type[Exception] | None) -> None:
        """End a lease by leaving its ``with`` block."""
        lease = self._take(data)
        try:
            with lease:
                if error is not None:
                    raise error
        except Exception as caught:
            _require(type(caught) is error, f"a block that raised {error} was left by {caught!r}")
        outcomes: dict[type[Exception] | None, Outcome] = {
            None: Outcome.SUCCESS,
            TimeoutError: Outcome.TIMEOUT,
            ConnectionError: Outcome.CONNECT_FAILED,
            ValueError: Outcome.FAILURE,
        }
        self._record_end(lease, outcomes[error])

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """Drop a lease without releasing it. The next call of ``stats`` must end it as cancelled."""
        self._lose(self._place(data))

    def _lose(self, place: int) -> None:
        lease = self.open.pop(place)[0]
        self.removed.discard(lease)
        del lease
        self.ended[Outcome.CANCELLED] += 1
        self._collect()
        if self.balancer.stats().inflight != len(self.open):  # the lease is part of a reference cycle
            gc.collect()
            self._collect()
        self.visits["lost"] += 1

    @rule(id=IDS, times=st.sampled_from([1, 3, 6]), outwait=st.sampled_from([0.0, 3.0, 5000.0]))
    def fail(self, id: str, times: int, outwait: float) -> None:
        """Fail several requests in a row on one endpoint. With ``outwait``, wait and send one that succeeds."""
        for _ in range(times):
            self._use(id, Outcome.FAILURE)
        self._record_situations(self.balancer.stats())
        if outwait:
            self.clock.advance(outwait)
            self._record_situations(self.balancer.stats())
            self._use(id, Outcome.SUCCESS)

    def walk(self) -> None:
        """Lead an endpoint down and back up, on every scale of time, and lose leases: what random histories reach by luck only."""
        self.start([Endpoint("a"), Endpoint("b"), Endpoint("c")], 0)
        for times in WALK:
            lease = open_lease(self.balancer)
            self.open.append((lease, lease.endpoint.id))
            del lease
            self._lose(-1)
            for _ in range(times):
                self._use("a", Outcome.FAILURE)
            for exponent in range(WALK_DOUBLINGS):
                self.counts_match()
                self.clock.advance(WALK_STEP_S * 2.0**exponent)
                for id in ("a", "b"):
                    self._use(id, Outcome.SUCCESS, seen=True)

    @_requires("remove", "add")
    @rule(id=IDS, outcome=strategies.outcomes())
    def outlive(self, id: str, outcome: Outcome) -> None:
        """Hold a lease while its endpoint is removed and added again, then release it."""
        others = set(self._ids()) - {id}
        try:
            lease = open_lease(self.balancer, others)
        except UnavailableError:
            return
        picked = lease.endpoint.id
        _require(picked == id, f"acquire() picked {picked!r}, which is one of the excluded {sorted(others)}")
        self.balancer.remove(id)
        _require(id not in self._ids(), f"{id!r} is still there after remove()")
        self.balancer.add(id)
        self._record_removal({id})
        self._end(lease, outcome)
        self.visits["released after removal"] += 1
        newcomer = self.balancer.stats()[id]
        _require(newcomer.inflight == newcomer.completed == 0, "a late release reached the new endpoint")

    @rule(seconds=st.sampled_from([0.01, 1.0, 3.0, 200.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    # ------------------------------------------------------------------ invariants

    @invariant()
    def counts_match(self) -> None:
        """Compare the balancer's statistics with the leases of this machine."""
        if not hasattr(self, "balancer"):
            return
        self._collect()
        stats = self.balancer.stats()
        held = Counter(id for _, id in self.open)
        shown: Counter[str] = Counter()
        for endpoint in stats.endpoints:
            _require(endpoint.inflight >= 0, f"{endpoint.id!r} has {endpoint.inflight} in flight")
            shown[endpoint.id] += endpoint.inflight
        _require(+shown == +held, f"in flight {dict(shown)}, open leases {dict(held)}")
        _require(
            stats.inflight == len(self.open), f"in flight {stats.inflight}, open leases {len(self.open)}"
        )
        counted, ended = +Counter(stats.outcomes), +self.ended
        _require(counted == ended, f"counted {_names(counted)}, ended leases {_names(ended)}")
        self._record_situations(stats)

    # ------------------------------------------------------------------ helpers

    def _ids(self) -> tuple[str, ...]:
        return tuple([endpoint.id for endpoint in self.balancer.endpoints])

    def _allowed(self, exclude: Collection[str]) -> set[str]:
        stats = self.balancer.stats()
        present = set(self._ids())
        able = [e for e in stats.endpoints if e.id in present and e.state in ELIGIBLE]
        weighted = [endpoint for endpoint in able if endpoint.weight] or able
        return {endpoint.id for endpoint in weighted} - set(exclude)

    def _take(self, data: st.DataObject) -> Lease[str]:
        return self.open.pop(self._place(data))[0]

    def _place(self, data: st.DataObject) -> int:
        return data.draw(st.integers(0, len(self.open) - 1), label="which lease")

    def _use(self, id: str, outcome: Outcome, *, seen: bool = False) -> None:
        """Send one request to an endpoint, if the endpoint may be picked. With ``seen``, record the states while it is open."""
        try:
            lease = open_lease(self.balancer, set(self._ids()) - {id})
        except UnavailableError:
            return
        _require(lease.endpoint.id == id, f"acquire() picked {lease.endpoint.id!r}, not {id!r}")
        if seen:
            self._record_situations(self.balancer.stats())
        self._end(lease, outcome)

    def _end(self, lease: Lease[str], outcome: Outcome) -> None:
        _require(lease.release(outcome), "the first release() of a lease returned False")
        self._record_end(lease, outcome)

    def _record_end(self, lease: Lease[str], outcome: Outcome) -> None:
        _require(not lease.active, "a lease is active after its end")
        _require(not lease.release(Outcome.FAILURE), "the second release() of a lease returned True")
        self.visits["ended twice"] += 1
        self.ended[outcome] += 1
        if lease in self.removed:
            self.removed.discard(lease)
            self.visits["released after removal"] += 1

    def _record_removal(self, ids: Collection[str]) -> None:
        leases = {lease for lease, id in self.open if id in ids}
        self.removed |= leases
        self.visits["removed with open leases"] += bool(leases)

    def _record_situations(self, stats: BalancerStats) -> None:
        self.visits.update({endpoint.state for endpoint in stats.endpoints})
        self.visits["weight zero"] += any(not endpoint.weight for endpoint in stats.endpoints)

    def _collect(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            self.balancer.stats()
