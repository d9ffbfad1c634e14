"""The runtime of a balancer: it passes each call of the balancer to the module that implements it.

.. code-block:: text

    acquire ─► fast_path.py       plain: pick, open_lease; else wake, context, publisher.select, open_lease
    release ─► ledger.py          count, load, selector ─► dispatch.py: health machine ─► state.recorded ─► publish
    change  ─► membership.py      new = updated(state, ...) ─► publisher.prepare(new) ─► swap ─► dispatch
    time    ─► dispatch.py        machines and sweep that are due ─► state.advanced ─► publish

Every change is a transition of ``transition.py``: a new state is computed and prepared, then one reference is swapped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from random import Random
from types import MappingProxyType
from typing import Final, final

from balancekit._support.fork import call_in_child, new_lock
from balancekit.endpoint import Endpoint
from balancekit.engine.capabilities import supports
from balancekit.engine.delivery import Delivery, Entry
from balancekit.engine.dispatch import HealthDispatch
from balancekit.engine.fast_path import Current, Published
from balancekit.engine.guard import Guard
from balancekit.engine.hooks import HealthHooks, HealthMaker, LoadHooks, SelectorHooks, SweepHooks
from balancekit.engine.ledger import Ledger, Observer, StartObserver
from balancekit.engine.listeners import Listeners, begin_or_undo, stopper
from balancekit.engine.locks import EngineLocks
from balancekit.engine.member import Member
from balancekit.engine.membership import Draft, updated
from balancekit.engine.publisher import Publisher
from balancekit.engine.refusal import refused, unavailable
from balancekit.engine.state import (
    PoolState,
    Show,
    Step,
    drained,
    find,
    started_over,
    undrained,
)
from balancekit.engine.transition import Transitions
from balancekit.engine.turn import Turn
from balancekit.errors import (
    AllIneligibleError,
    AttemptsExhaustedError,
    PoolEmptyError,
    Reason,
    SaturatedError,
    UnavailableError,
)
from balancekit.events import Event
from balancekit.exhaustion import ExhaustionPolicy
from balancekit.health import Ejection, Membership
from balancekit.lease import FREE_THREADED, Lease
from balancekit.node import Node
from balancekit.outcome import CheckResult, Completion
from balancekit.protocols import Clock, LoadPolicy, SupportsCheckResults
from balancekit.snapshot import Members, PickContext

__all__ = ["Runtime"]

REFUSALS: Final[Mapping[type[UnavailableError], str]] = MappingProxyType(
    {
        PoolEmptyError: "empty",
        AllIneligibleError: "ineligible",
        SaturatedError: "saturated",
        AttemptsExhaustedError: "exhausted",
    },
)
"""The name under which each error is counted."""


@final
class Runtime:
    """The engine of one ``LoadBalancer``."""

    __slots__ = (
        "__weakref__",
        "_clock",
        "_dispatch",
        "_health",
        "_inherited",
        "_loads",
        "_own_rng",
        "_publisher",
        "_refused",
        "_transitions",
        "current",
        "debug",
        "guard",
        "key_required",
        "ledger",
        "listeners",
        "locks",
        "refusals",
        "rng",
    )

    def __init__(
        self,
        selector: SelectorHooks,
        load: LoadPolicy,
        health: HealthMaker | None,
        exhaustion: ExhaustionPolicy,
        clock: Clock,
        rng: Random | None,
        *,
        timed: bool,
        key_required: bool,
        debug: bool,
    ) -> None:
        self.rng: Random = Random() if rng is None else rng
        self.debug: bool = debug
        self.key_required: bool = key_required
        self.locks: EngineLocks = EngineLocks()
        self.guard: Guard = Guard(self.locks, debug=debug)
        self._own_rng = rng is None
        self._clock = clock
        self._health = health
        self._refused: dict[str, int] = dict.fromkeys(REFUSALS.values(), 0)
        self._inherited: Members | None = None  # in a forked child, until its endpoints have new nodes
        delivery = Delivery(self.guard)
        self.listeners: Listeners[Event] = Listeners(self.locks, delivery, "listener %r failed on %r")
        """Called with events."""
        self.refusals: Listeners[str] = Listeners(self.locks, delivery, "observer %r failed on %r")
        """Called with the name of each refusal, a value of ``REFUSALS``."""
        self.ledger: Ledger = Ledger(
            clock,
            timed=timed,
            learner=selector.learner,
            successes=selector.learns_from_successes,
            serial=not selector.shared,
            locks=self.locks,
            guard=self.guard,
            delivery=delivery,
            sink=self._record,
        )
        self.current: Current = Current(self.ledger.owner)
        """The reference to everything that is published."""
        self._loads = LoadHooks(load, self.guard)
        sweep = SweepHooks(health, self.rng, self.guard)
        self._publisher = Publisher(
            selector,
            self.rng,
            clock,
            self.current,
            self.locks,
            self.guard,
            timed=timed,
            key_required=key_required,
            lean=not debug,
        )
        turn = Turn(self.locks)
        self._transitions = Transitions(
            self._publisher, self.current, self.ledger, exhaustion, self._loads, sweep, turn, self.guard
        )
        self._dispatch = HealthDispatch(
            self._transitions, self._loads, sweep, self.listeners, turn, clock, self.guard
        )
        call_in_child(self)

    @property
    def state(self) -> PoolState:
        """The present state of the pool."""
        return self.current.published.state

    @property
    def selector(self) -> SelectorHooks:
        """The selector."""
        return self._publisher.hooks

    @property
    def refused(self) -> Mapping[str, int]:
        """The number of requests that got no endpoint, by the names of ``REFUSALS``."""
        return MappingProxyType(dict(self._refused))

    # ------------------------------------------------------------------ requests

    def wake(self, *, whole: bool = False) -> float:
        """Do what is due and return the time. Every request on the slow path begins with this.

        Queued inputs of health machines are processed too: a few of them, or all with ``whole``, as ``stats`` needs.
        """
        if self._inherited is not None:
            self._start_over(self._inherited)
        if self.ledger.lost:
            self.ledger.collect(self.listeners.dispatch_one)
        now = self._clock()
        if now >= self.current.published.deadline or self._dispatch.turn.pending:
            self._dispatch.advance(whole=whole)
        return now

    def select(self, published: Published, ctx: PickContext) -> Node | None:
        """Call the selector."""
        return self._publisher.select(published, ctx)

    def open(self, node: Node, *, now: float, cost: float, site: str | None) -> Lease[object]:
        """Open a lease on the slow path."""
        return self.ledger.open(node, now=now, cost=cost, site=site)

    def unavailable(self, published: Published, ctx: PickContext) -> UnavailableError:
        """Return the error for a request that got no endpoint, count it, and call the observers of refusals."""
        error = self._why(published, ctx)
        name = REFUSALS[type(error)]
        with self.locks.writer:
            self._refused[name] += 1
        self.refusals.dispatch_one(name)
        return error

    def _why(self, published: Published, ctx: PickContext) -> UnavailableError:
        state, hooks = published.state, self.selector
        candidates = len(state.snapshot.candidates(ctx))
        if not candidates:
            members = state.members.values()
            return unavailable(members, frozenset(ctx.exclude), now=ctx.now, panic=state.snapshot.panic)
        nothing: Mapping[str, Reason] = {}
        reasons = self.guard.call("selector", hooks.refusals, state.snapshot, ctx, default=nothing).values()
        retry_at = self.guard.call("selector", hooks.retry_at, state.snapshot, ctx, default=None)
        return refused(hooks.name, candidates, reasons, retry_at, now=ctx.now)

    # ------------------------------------------------------------------ membership

    def change(
        self,
        wanted: Callable[[PoolState], Iterable[Endpoint[object]]],
        *,
        keep_history: bool = False,
    ) -> None:
        """Make the pool contain the wanted endpoints. If an exception is raised, the pool is unchanged."""
        if self._inherited is not None:
            self._start_over(self._inherited)
        now = self._clock()
        draft = Draft(partial(self._join, self._may_eject), partial(self._loads.joining_order, rng=self.rng))
        step = Step(self.state)

        def update(state: PoolState, show: Show) -> Step:
            nonlocal step
            self.ledger.watch(draft.joined)  # observers may have been added since these nodes were created
            step = updated(state, wanted(state), draft, show, keep_history=keep_history, now=now)
            return step

        try:
            events = self._transitions.publish(update, strict=True, configure=True)
        except BaseException:
            self._loads.forget(draft.unused(self.state))
            raise
        gone = [*step.state.leaving, *[node for node, _ in step.counted], *draft.unused(self.state)]
        self._after(events, forget=gone)

    def drain(self, id: str, seconds: float) -> None:
        """Stop sending new requests to an endpoint."""
        now = self.wake()
        self._after(
            self._transitions.publish(lambda state, show: drained(state, id, now, seconds, show), strict=True)
        )

    def undrain(self, id: str) -> None:
        """Let a draining endpoint be picked again."""
        self.wake()
        reading = find(self.state, id).read()
        events = self._transitions.publish(
            lambda state, show: undrained(state, id, reading, show), strict=True
        )
        find(self.state, id).watch()
        self._after(events)

    def _after(self, events: Iterable[Event], forget: Iterable[Node] = ()) -> None:
        """Dispatch the events of a change, and do at once what the change made due."""
        self._loads.forget(forget)
        self.listeners.dispatch(events)
        if self.current.published.deadline == -math.inf or self._dispatch.turn.pending:
            self._dispatch.advance()

    def _join(self, may_eject: Callable[[str, Ejection], bool], endpoint: Endpoint[object]) -> Member:
        node = self._make_node(endpoint)
        if self._health is None:
            return Member(node, endpoint)
        may = partial(may_eject, endpoint.id)
        health = HealthHooks.made_by(self._health, endpoint.id, may, self.rng, self.guard)
        member = Member(node, endpoint, health).with_health(health.read())
        member.watch()
        return member

    def _make_node(self, endpoint: Endpoint[object]) -> Node:
        if FREE_THREADED:
            return self.ledger.adopt(Node(endpoint, self._loads.make, lock=new_lock()))
        return self.ledger.adopt(Node(endpoint, self._loads.make))

    def _may_eject(self, id: str, ejection: Ejection) -> bool:
        """Return whether an endpoint may be ejected: whether enough of the endpoints that serve would remain."""
        members = self.state.members.values()
        present = [member for member in members if member.membership is Membership.SERVING]
        serving = [member for member in present if member.endpoint.weight] or present
        out = sum([1 for member in serving if member.endpoint.id != id and not _well(member)])
        return ejection.allows(already_out=out, size=len(serving))

    # ------------------------------------------------------------------ health

    @property
    def takes_checks(self) -> bool:
        """Whether the health policy takes check results. For an empty pool this is unknown; the value is then true."""
        if self._health is None:
            return False
        member = next(iter(self.state.members.values()), None)
        return member is None or member.health is None or supports(member.health.policy, SupportsCheckResults)

    def check(self, id: str, result: CheckResult) -> bool:
        """Record the result of an active check. Return whether the checks are about to change the endpoint's state."""
        now = self.wake()
        return self._dispatch.check(id, result, now)

    def _record(self, node: Node, completion: Completion, /) -> None:
        """Pass a completion on to the health machines."""
        self._dispatch.record(node, completion)

    # ------------------------------------------------------------------ observers

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Add an observer of leases that end. Return a function that removes it."""
        entry = Entry(observer)
        return begin_or_undo(
            lambda: self._observe(lambda entries: (*entries, entry)), stopper(self._unobserve, entry)
        )

    def observe_starts(self, observer: StartObserver) -> Callable[[], None]:
        """Add an observer of leases that are opened. Return a function that removes it."""
        entry = Entry(observer)
        return begin_or_undo(
            lambda: self._observe_starts(lambda entries: (*entries, entry)),
            stopper(self._unobserve_starts, entry),
        )

    def _unobserve(self, entry: Entry[Observer]) -> None:
        self._observe(lambda entries: tuple([one for one in entries if one is not entry]))

    def _unobserve_starts(self, entry: Entry[StartObserver]) -> None:
        self._observe_starts(lambda entries: tuple([one for one in entries if one is not entry]))

    def _observe_starts(
        self, change: Callable[[tuple[Entry[StartObserver], ...]], tuple[Entry[StartObserver], ...]]
    ) -> None:
        with self.locks.listeners:
            self.ledger.start_observers = change(self.ledger.start_observers)
        self._transitions.close_fast_path()

    def _observe(self, change: Callable[[tuple[Entry[Observer], ...]], tuple[Entry[Observer], ...]]) -> None:
        with self.locks.listeners:
            self.ledger.observers = change(self.ledger.observers)
        while True:  # another thread may have published new endpoints meanwhile
            base = self.current.published
            self.ledger.watch([*[member.node for member in base.state.members.values()], *base.state.leaving])
            if self._publisher.swap(base, base._replace(owner=self.ledger.owner)):
                return

    # ------------------------------------------------------------------ forking

    def after_fork(self) -> None:
        """Prepare a forked child: the next request gives every endpoint a new node.

        Leases of the parent's threads would never end here, because those threads do not exist in the child.
        """
        self._inherited = self.state.nodes
        self._dispatch.turn.start_over()
        self._transitions.start_over()
        if self._own_rng:
            self.rng.seed()

    def _start_over(self, inherited: Members) -> None:
        """Give every endpoint a new node, unless another thread has done so."""
        before = self.state
        nodes = [member.node for member in (*before.members.values(), *before.leaving.values())]
        made: dict[str, Node] = {}

        def update(state: PoolState, show: Show) -> Step:
            self.ledger.watch(made.values())
            return started_over(state, made, show) if state.nodes is inherited else Step(state)

        try:
            for id, member in before.members.items() if before.nodes is inherited else ():
                made[id] = node = self._make_node(member.endpoint)
                nodes.append(node)
                member._replace(node=node).watch()
            self._transitions.publish(update, configure=True)
            self._inherited = None
        finally:
            present = {member.node for member in self.state.members.values()}
            self._loads.forget([node for node in nodes if node not in present])


def _well(member: Member) -> bool:
    return member.cooling is None and (member.health is None or member.health.eligible)
