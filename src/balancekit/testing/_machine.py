"""A state machine that checks a balancer under random histories.

Endpoints come and go, change weight, drain and come back; leases are opened, ended in every way, ended
twice, lost; endpoints fail until they are ejected; time passes. After each step:

- no in-flight count is negative, and they add up to the open leases, endpoint by endpoint;
- every ended lease is counted once, under its outcome, whatever became of its endpoint;
- a lease is on an endpoint of the pool that is not draining, ejected or excluded, nor of weight zero
  beside another that may be picked;
- an error about an empty pool is only raised when the pool is empty.

The machine counts the situations it was in. :func:`check_balancer` demands that it was in each of them:
a machine that never ejects proves nothing about ejection.
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
    from hypothesis import Phase, settings
    from hypothesis import strategies as st
    from hypothesis.stateful import (
        RuleBasedStateMachine,
        initialize,
        invariant,
        precondition,
        rule,
        run_state_machine_as_test,
    )

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
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

__all__ = ["SITUATIONS", "BalancerMachine", "MakeBalancer", "check_balancer"]

MakeBalancer: TypeAlias = Callable[[Sequence[Endpoint[str]], Clock, Random], ObservableBalancer[str]]
"""Makes the balancer on trial from endpoints, clock and generator."""

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
"""What the machine must have seen of a balancer with the default health."""

IDS: Final = strategies.ids(max_size=5)


def _if_it_has(*names: str) -> Callable[[Callable[..., object]], Any]:
    """Carry out a rule only on balancers that have these methods: not each one that wraps another passes them on."""
    return precondition(lambda self: all(hasattr(getattr(self, "balancer", None), name) for name in names))


class BalancerMachine(RuleBasedStateMachine):
    """A history of one balancer. Subclass it with ``make`` set, or use :func:`check_balancer`."""

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
        """It may have more methods than those of the protocol."""

    # ------------------------------------------------------------------ membership

    @_if_it_has("add")
    @rule(id=IDS, weight=strategies.weights())
    def add(self, id: str, weight: float) -> None:
        """Add an endpoint, or get an error that it is there."""
        present = self._ids()
        try:
            self.balancer.add(Endpoint(id, weight=weight))
        except ConfigurationError:
            assert id in present
        else:
            assert id not in present

    @_if_it_has("remove")
    @rule(id=IDS)
    def remove(self, id: str) -> None:
        """Remove an endpoint, or get an error that it is not there."""
        present = self._ids()
        try:
            self.balancer.remove(id)
        except UnknownEndpointError:
            assert id not in present
            return
        assert id in present
        self._note_removed({id})

    @_if_it_has("set_weight")
    @rule(id=IDS, weight=strategies.weights())
    def reweight(self, id: str, weight: float) -> None:
        """Change a weight."""
        if id in self._ids():
            self.balancer.set_weight(id, weight)

    @_if_it_has("update")
    @rule(endpoints=strategies.endpoint_lists(max_size=5))
    def update(self, endpoints: list[Endpoint[str]]) -> None:
        """Change the whole list."""
        before = set(self._ids())
        self.balancer.update(endpoints)
        assert list(self._ids()) == [endpoint.id for endpoint in endpoints]
        self._note_removed(before - set(self._ids()))

    @_if_it_has("update")
    @rule()
    def empty(self) -> None:
        """Remove all endpoints; the next request raises PoolEmptyError."""
        before = self._ids()
        self.balancer.update([])
        self._note_removed(before)
        with contextlib.suppress(PoolEmptyError):
            self.balancer.acquire()
            raise AssertionError("a lease was opened without an endpoint")
        self.visits["empty"] += 1

    @_if_it_has("drain")
    @rule(id=IDS, deadline=st.sampled_from([0.0, 1.0, 100.0]))
    def drain(self, id: str, deadline: float) -> None:
        """Send nothing new to an endpoint."""
        if id in self._ids():
            self.balancer.drain(id, deadline=deadline)

    @_if_it_has("undrain")
    @rule(id=IDS)
    def undrain(self, id: str) -> None:
        """Let an endpoint be picked again."""
        if id in self._ids():
            self.balancer.undrain(id)

    # ------------------------------------------------------------------ requests

    @rule(key=st.none() | strategies.keys(), exclude=st.sets(IDS, max_size=2))
    def acquire(self, key: Key | None, exclude: set[str]) -> None:
        """Open a lease on an eligible endpoint, or receive the error that there is none."""
        self._collect()
        allowed = self._allowed(exclude)
        try:
            lease = self.balancer.acquire(key, exclude=exclude)
        except UnavailableError as error:
            assert not allowed, f"{error}, but {sorted(allowed)} may be picked"
            self.visits["none left to try"] += 1
        else:
            assert lease.endpoint.id in allowed, f"{lease.endpoint.id} is not of {sorted(allowed)}"
            self.open.append((lease, lease.endpoint.id))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), outcome=strategies.outcomes(), started=st.booleans())
    def release(self, data: st.DataObject, outcome: Outcome, started: bool) -> None:
        """End a lease."""
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
            assert type(caught) is error
        outcomes: dict[type[Exception] | None, Outcome] = {
            None: Outcome.SUCCESS,
            TimeoutError: Outcome.TIMEOUT,
            ConnectionError: Outcome.CONNECT_FAILED,
            ValueError: Outcome.FAILURE,
        }
        self._note_ended(lease, outcomes[error])

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """Drop a lease without ending it; the next look at the balancer ends it."""
        lease = self._take(data)
        self.removed.discard(lease)
        del lease
        self.ended[Outcome.CANCELLED] += 1
        self._collect()
        if self.balancer.stats().inflight != len(self.open):  # it is part of a cycle
            gc.collect()
            self._collect()
        self.visits["lost"] += 1

    @rule(id=IDS, times=st.sampled_from([1, 3, 6]), outwait=st.sampled_from([0.0, 3.0, 5000.0]))
    def fail(self, id: str, times: int, outwait: float) -> None:
        """Fail several times in a row on one endpoint; perhaps wait until it is back, and succeed on it."""
        for _ in range(times):
            self._use(id, Outcome.FAILURE)
        self._note_situations(self.balancer.stats())
        if outwait:
            self.clock.advance(outwait)
            self._note_situations(self.balancer.stats())
            self._use(id, Outcome.SUCCESS)

    @_if_it_has("remove", "add")
    @rule(id=IDS, outcome=strategies.outcomes())
    def outlive(self, id: str, outcome: Outcome) -> None:
        """Hold a lease while its endpoint is removed and added again; end it after that."""
        others = set(self._ids()) - {id}
        try:
            lease = self.balancer.acquire(exclude=others)
        except UnavailableError:
            return
        self.balancer.remove(id)
        self.balancer.add(id)
        self._note_removed({id})
        self._end(lease, outcome)
        self.visits["released after removal"] += 1
        newcomer = self.balancer.stats()[id]
        assert newcomer.inflight == newcomer.completed == 0, "a late release reached the new endpoint"

    @rule(seconds=st.sampled_from([0.01, 1.0, 3.0, 200.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def books_balance(self) -> None:
        """Compare the balancer's statistics with the leases this machine knows of."""
        if not hasattr(self, "balancer"):
            return
        self._collect()
        stats = self.balancer.stats()
        held = Counter(id for _, id in self.open)
        shown: Counter[str] = Counter()
        for endpoint in stats.endpoints:
            assert endpoint.inflight >= 0
            shown[endpoint.id] += endpoint.inflight
        assert +shown == +held, f"in flight {dict(shown)}, open leases {dict(held)}"
        assert stats.inflight == len(self.open)
        assert +Counter(stats.outcomes) == +self.ended
        self._note_situations(stats)

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
        place = data.draw(st.integers(0, len(self.open) - 1), label="which lease")
        return self.open.pop(place)[0]

    def _use(self, id: str, outcome: Outcome) -> None:
        """Send one request to an endpoint, if it can be had."""
        try:
            lease = self.balancer.acquire(exclude=set(self._ids()) - {id})
        except UnavailableError:
            return
        assert lease.endpoint.id == id
        self._end(lease, outcome)

    def _end(self, lease: Lease[str], outcome: Outcome) -> None:
        assert lease.release(outcome)
        self._note_ended(lease, outcome)

    def _note_ended(self, lease: Lease[str], outcome: Outcome) -> None:
        assert not lease.active
        assert not lease.release(Outcome.FAILURE)
        self.visits["ended twice"] += 1
        self.ended[outcome] += 1
        if lease in self.removed:
            self.removed.discard(lease)
            self.visits["released after removal"] += 1

    def _note_removed(self, ids: Collection[str]) -> None:
        leases = {lease for lease, id in self.open if id in ids}
        self.removed |= leases
        self.visits["removed with open leases"] += bool(leases)

    def _note_situations(self, stats: BalancerStats) -> None:
        self.visits.update({endpoint.state for endpoint in stats.endpoints})
        self.visits["weight zero"] += any(not endpoint.weight for endpoint in stats.endpoints)

    def _collect(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            self.balancer.stats()


@checked_arguments
def check_balancer(
    make: MakeBalancer,
    *,
    situations: Collection[str] = SITUATIONS,
    min_visits: int = 3,
    examples: int = 100,
    steps: int = 50,
) -> Counter[str]:
    """Try a balancer on many histories; raise if its books do not balance.

    Parameters
    ----------
    make
        Makes the balancer from endpoints, a clock and a generator; it must accept being emptied (``allow_empty=True``). One of
        your own that lacks a method to change its endpoints, ``add`` to ``undrain``, is tried without it.
    situations
        Those the machine must have been in, of ``SITUATIONS``. Leave out what your balancer cannot be in:
        without health, none is ever ejected; without ``remove`` and ``update``, none is removed.
    min_visits
        How often it must have been in each, >= 1.
    examples, steps
        How many histories, and how long each may be.

    Returns
    -------
    Counter
        How often the machine was in each situation.

    Raises
    ------
    AssertionError
        With the shortest history found that leads there, or the situations it was not in.
    ConfigurationError
        If a number is below 1, or what ``make`` returns is no balancer.

    Example
    -------
    >>> from balancekit import LoadBalancer, RoundRobin
    >>> def make(endpoints, clock, rng):
    ...     return LoadBalancer(endpoints, selector=RoundRobin(), clock=clock, rng=rng, allow_empty=True)
    >>> check_balancer(make, situations=["healthy"], examples=5)["healthy"] > 0
    True
    """
    valid.integer("min_visits", min_visits, minimum=1)
    visits: Counter[str] = Counter()
    namespace: dict[str, Any] = {"make": staticmethod(make), "visits": visits}
    machine = type("BalancerMachine", (BalancerMachine,), namespace)
    steady = settings(
        max_examples=valid.integer("examples", examples, minimum=1),
        stateful_step_count=valid.integer("steps", steps, minimum=1),
        derandomize=True,
        database=None,
        deadline=None,
        print_blob=False,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=strategies.SUPPRESSED_CHECKS,
    )
    run_state_machine_as_test(machine, settings=steady)
    rare = {name: visits[name] for name in situations if visits[name] < min_visits}
    assert not rare, f"the machine was too rarely in these situations: {rare}"
    return visits
