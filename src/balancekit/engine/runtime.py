"""The runtime behind a balancer: it fans out what happens and decides nothing itself.

.. code-block:: text

    acquire ─► fast_path.py       plain: pick, open_lease; else wake, context, publisher.select, open_lease
    release ─► ledger.py          count, load, selector ─► record ─► turn: health machine ─► state.recorded ─► publish
    change  ─► membership.py      new = updated(state, ...) ─► publisher.prepare(new) ─► swap ─► dispatch
    time    ─► state.py           turn: machines and sweep that are due ─► state.advanced ─► publish

Every change has the same shape: compute a new state from the present one, prepare what requests read, swap one
reference if the present state is still the one it was computed from, and otherwise compute it again. What interrupts a
change, at any instruction, leaves the old state or the new one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import count
from random import Random
from types import MappingProxyType
from typing import Final, final

from balancekit._support.fork import call_in_child, new_lock, this_thread
from balancekit._support.log import log_error
from balancekit.endpoint import Endpoint
from balancekit.engine.fast_path import Current, Published
from balancekit.engine.hooks import (
    Guard,
    HealthHooks,
    HealthMaker,
    LoadHooks,
    Reading,
    SelectorHooks,
    SweepHooks,
    reset_load,
)
from balancekit.engine.ledger import Ledger, Observer, StartObserver
from balancekit.engine.locks import EngineLocks
from balancekit.engine.member import Member
from balancekit.engine.membership import Draft, facts, updated
from balancekit.engine.publisher import Publisher
from balancekit.engine.refusal import refused, unavailable
from balancekit.engine.state import (
    Exhaustion,
    PoolState,
    Show,
    Step,
    advanced,
    drained,
    find,
    recorded,
    refreshed,
    show,
    started_over,
    undrained,
)
from balancekit.engine.turn import Task, Turn
from balancekit.errors import (
    AllIneligibleError,
    AttemptsExhaustedError,
    ConfigurationError,
    PoolEmptyError,
    Reason,
    SaturatedError,
    UnavailableError,
)
from balancekit.events import Event, EventSink
from balancekit.exhaustion import ExhaustionPolicy, FailClosed
from balancekit.health import Ejection
from balancekit.lease import FREE_THREADED, Lease
from balancekit.node import Node
from balancekit.outcome import CheckResult, Completion
from balancekit.protocols import Clock, LoadPolicy
from balancekit.selectors._pickers import NO_PICKERS
from balancekit.snapshot import PickContext

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


MAX_ATTEMPTS: Final = 8
"""At one change, if hooks called by this very thread change the pool meanwhile; then they may not."""


_HEALTHY_ONLY: Final = FailClosed()


@final
class Runtime:
    """The inside of one ``LoadBalancer``."""

    __slots__ = (
        "__weakref__",
        "_changed_by",
        "_changing",
        "_clock",
        "_exhaustion",
        "_forked",
        "_health",
        "_insisting",
        "_listeners",
        "_loads",
        "_own_rng",
        "_publisher",
        "_refused",
        "_sweep",
        "_turn",
        "_version",
        "current",
        "debug",
        "guard",
        "key_required",
        "ledger",
        "locks",
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
        self._exhaustion = exhaustion
        self._turn = Turn(self.locks)
        self._loads = LoadHooks(load, self.guard)
        self._sweep = SweepHooks(health, self.rng, self.guard)
        self._listeners: tuple[EventSink, ...] = ()
        self._refused: dict[str, int] = dict.fromkeys(REFUSALS.values(), 0)
        self._version = 0
        self._forked = False
        self._changed_by = 0
        self._changing: set[int] = set()
        self._insisting = 0
        self.ledger: Ledger = Ledger(
            clock,
            timed=timed,
            learner=selector.learner,
            serial=not selector.shared,
            locks=self.locks,
            guard=self.guard,
            sink=self._record,
        )
        self.current: Current = Current(self.ledger.owner)
        """What is published."""
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
        """How often no endpoint was picked, by kind of error."""
        return MappingProxyType(dict(self._refused))

    # ------------------------------------------------------------------ requests

    def wake(self) -> float:
        """Do what is due and return the time: the beginning of every request on the slow path."""
        if self._forked:
            self._start_over()
        if self.ledger.lost:
            self.ledger.collect(self._dispatch_one)
        now = self._clock()
        if now >= self.current.published.deadline or self._turn.line:
            self._advance()
        return now

    def select(self, published: Published, ctx: PickContext) -> Node | None:
        """Ask the selector."""
        return self._publisher.select(published, ctx)

    def open(self, node: Node, *, now: float, cost: float, site: str | None) -> Lease[object]:
        """Open a lease that may have more to it than an ordinary one."""
        return self.ledger.open(node, now=now, cost=cost, site=site)

    def unavailable(self, published: Published, ctx: PickContext) -> UnavailableError:
        """Return the error that says why no endpoint was picked. Counted by kind."""
        error = self._why(published, ctx)
        name = REFUSALS[type(error)]
        with self.locks.writer:
            self._refused[name] += 1
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
        """Make the pool contain what is wanted, whole or not at all."""
        if self._forked:
            self._start_over()
        now = self._clock()
        draft = Draft(self._join)
        step = Step(self.state)

        def update(state: PoolState, show: Show) -> Step:
            nonlocal step
            step = updated(state, wanted(state), draft, show, keep_history=keep_history, now=now)
            return step

        try:
            events = self._transition(update, strict=True, configure=True)
        except BaseException:
            self._loads.forget(draft.unused(self.state))
            raise
        self._after(events, forget=step.state.leaving)

    def drain(self, id: str, seconds: float) -> None:
        """Send nothing new to an endpoint."""
        now = self.wake()
        self._after(self._transition(lambda state, show: drained(state, id, now, seconds, show), strict=True))

    def undrain(self, id: str) -> None:
        """Let a draining endpoint be picked again."""
        self.wake()
        reading = find(self.state, id).read()
        events = self._transition(lambda state, show: undrained(state, id, reading, show), strict=True)
        find(self.state, id).watch()
        self._after(events)

    def _after(self, events: Iterable[Event], forget: Iterable[Node] = ()) -> None:
        """Hand out the events of a change, and do at once what it made due."""
        self._loads.forget(forget)
        self.dispatch(events)
        if self.current.published.deadline == -math.inf:
            self._advance()

    def _join(self, endpoint: Endpoint[object]) -> Member:
        node = self._make_node(endpoint)
        if self._health is None:
            return Member(node, endpoint)
        policy = self._health(endpoint.id, partial(self._may_eject, endpoint.id), self.rng)
        health = HealthHooks(policy, self.guard)
        member = Member(node, endpoint, health).with_health(health.read())
        member.watch()
        return member

    def _make_node(self, endpoint: Endpoint[object]) -> Node:
        if FREE_THREADED:
            return self.ledger.adopt(Node(endpoint, self._loads.make, lock=new_lock()))
        return self.ledger.adopt(Node(endpoint, self._loads.make))

    def _may_eject(self, id: str, ejection: Ejection) -> bool:
        """Answer whether this one may go too: of those that would serve if none were ejected, enough stay."""
        present = [member for member in self.state.members.values() if member.serving]
        serving = [member for member in present if member.endpoint.weight] or present
        out = sum([1 for member in serving if member.endpoint.id != id and not _well(member)])
        return ejection.allows(already_out=out, size=len(serving))

    # ------------------------------------------------------------------ health

    def check(self, id: str, result: CheckResult) -> bool:
        """Record how an active check ended; answer whether the endpoint is changing.

        If another thread is telling the health machines, the answer is the one from before.
        """
        now = self.wake()
        machine = find(self.state, id).health
        if machine is None:
            raise ConfigurationError("health", None, "a policy that takes check results, such as Lifecycle()")
        checks = machine.checks()
        self._tell_health(lambda: self._told(id, machine, machine.checked(result, now=now), now))
        return self.guard.call("health policy", lambda: bool(checks.changing), default=False)

    def _record(self, node: Node, completion: Completion, /) -> None:
        """Record how a request ended: a failure, or any end that health or membership waits for."""
        member = self.state.members.get(node.id)
        if member is not None and member.node is node and member.health is None and member.serving:
            member.watch()
            if not completion.retry_after:
                return
        self._tell_health(partial(self._tell, node, completion))

    def _tell_health(self, task: Task) -> None:
        """Tell a health machine something when it is this thread's turn, and hand out what it led to."""
        try:
            events = self._turn.take(task)
        except BaseException:  # a machine may know what the state does not show: all are read again
            self._close_fast_path()
            raise
        self.dispatch(events)

    def _tell(self, node: Node, completion: Completion) -> list[Event]:
        now = completion.ended_at
        before = self.state
        member = before.members.get(node.id)
        events: list[Event] = []
        reading = Reading()
        if member is not None and member.node is node:
            if member.serving and member.health is not None:
                events += member.health.observe(completion, now=now)
            reading = self._follow(member)
        events += self._transition(lambda state, show: recorded(state, node, completion, reading, now, show))
        return events if self.state.snapshot is before.snapshot else events + self._let_back(now)

    def _told(self, id: str, machine: HealthHooks, events: list[Event], now: float) -> list[Event]:
        """Draw the consequences of what a health machine was told outside a request."""
        member = self.state.members.get(id)
        if member is None or member.health is not machine:
            return events
        return [*events, *self._refresh(member), *self._let_back(now)]

    def _refresh(self, member: Member) -> list[Event]:
        id, machine, reading = member.endpoint.id, member.health, self._follow(member)
        if machine is None:
            return []
        return self._transition(lambda state, show: refreshed(state, machine, id, reading, show))

    def _advance(self) -> None:
        """Do what is due, unless another thread is telling the health machines."""
        try:
            events = self._turn.take_unless_taken(self._pass_time)
        except BaseException:  # as in `_tell_health`
            self._close_fast_path()
            raise
        self.dispatch(events)

    def _pass_time(self) -> list[Event]:
        """Do what is due: O(1) and the batch of the loads if only they are, else O(n).

        After something was dropped, all health machines are read, else those that are due.
        """
        now = self._clock()
        published = self.current.published
        state, afresh = published.state, not published.sound
        if not afresh and now < min(state.deadline, self._sweep.deadline):
            self._loads.advance(now=now)
            self._postpone()
            return []
        events: list[Event] = []
        readings: dict[HealthHooks | None, Reading] = {}
        for member in [m for m in state.members.values() if afresh or m.due <= now]:
            if member.serving and member.health is not None and member.health.deadline <= now:
                events += member.health.advance(now=now)
            readings[member.health] = self._follow(member)
        if now >= self._sweep.deadline:
            for member, machine, cause in self._find_outliers(now):
                events += machine.on_outlier(cause, now=now)
                readings[machine] = self._follow(member)
        self._loads.advance(now=now)
        gone = list(self.state.leaving)
        events += self._transition(lambda state, show: advanced(state, readings, now, show, afresh=afresh))
        self._loads.forget(gone)
        return events + self._let_back(now)

    def _find_outliers(self, now: float) -> list[tuple[Member, HealthHooks, str]]:
        members = self.state.members
        found = self._sweep.advance([member.node for member in members.values() if member.eligible], now=now)
        outliers = [(members[id], cause) for id, cause in found.items() if id in members]
        return [(member, member.health, cause) for member, cause in outliers if member.health is not None]

    def _let_back(self, now: float) -> list[Event]:
        """If no endpoint is left, uneject the one that is due soonest."""
        members = self.state.members.values()
        for member in members:
            if member.eligible:
                return []
        serving = [member.with_health(member.read()) for member in members if member.serving]
        for member in sorted(serving, key=_due):
            if member.health is not None:
                events = member.health.uneject(now=now)
                events += self._refresh(member)
                present = self.state.members.get(member.endpoint.id)
                if present is not None and present.eligible:
                    return events
        return []

    def _follow(self, member: Member) -> Reading:
        """Have the node and its load follow what the health machine says now, and return that."""
        self.state.members.get(member.endpoint.id, member).watch()
        reading = member.read()
        if reading.well and not member.well:
            reset_load(member.node.load, self.guard)
        return reading

    # ------------------------------------------------------------------ publishing

    def _transition(
        self,
        update: Callable[[PoolState, Show], Step],
        *,
        strict: bool = False,
        configure: bool = False,
    ) -> list[Event]:
        """Publish the state that an update leads to.

        Parameters
        ----------
        update
            Returns the step from a state, given what makes snapshots. Hooks that it leads to may change the pool
            themselves; such a change calls no hooks, and is followed by another attempt at this one.
        strict
            Whether to raise what the selector raises.
        configure
            Whether the update changes facts of nodes.
        """
        me = this_thread()
        if self._insisting == me:
            raise RuntimeError("a hook changes the pool whenever it is asked about a change of the pool")
        nested = me in self._changing  # by a hook that a change of this very thread has called
        show = self._show(Exhaustion(_HEALTHY_ONLY if nested else self._exhaustion, self.guard))
        new: Published | None = None
        step = Step(self.state)
        touched = False
        try:
            self._changing.add(me)
            for attempt in count(1):
                if attempt == MAX_ATTEMPTS and self._changed_by == me:
                    self._insisting = me
                base = self.current.published
                step = update(base.state, show)
                if step.state is base.state:
                    break
                touched = touched or step.state.snapshot is not base.state.snapshot
                if configure:
                    facts(step.state).apply()
                new = (
                    self._unprepared(step.state)
                    if nested
                    else self._prepare(step.state, base, new, strict=strict)
                )
                with_it = step.facts()
                with_it.add(self, "_changed_by", me)
                if self._publisher.swap(base, new, with_it):
                    touched = False
                    break
        except BaseException:
            if touched and self.current.published is not new:
                self._restore()
            raise
        finally:
            if not nested:
                self._changing.discard(me)
            if self._insisting == me:
                self._insisting = 0
        if touched:  # another thread has made the same change meanwhile
            self._restore()
        return list(step.events)

    def _unprepared(self, state: PoolState) -> Published:
        """Return what to publish of a change that a hook makes: the change that called the hook prepares for both."""
        return self._publisher.combine(
            state, NO_PICKERS, self.ledger.owner, math.inf, lean=False, sound=False
        )

    def _prepare(
        self, state: PoolState, base: Published, last: Published | None = None, *, strict: bool
    ) -> Published:
        due = min(self._loads.deadline, self._sweep.deadline)
        owner, lean = self.ledger.owner, self.ledger.lean
        try:
            return self._publisher.prepare(state, base, owner, due, lean=lean, last=last)
        except Exception:
            if strict:
                raise
            log_error("%s could not prepare for a new snapshot", self.selector.name)
            return self._publisher.combine(state, NO_PICKERS, owner, due, lean=lean)

    def _restore(self) -> None:
        """Put right what a change has touched that was then dropped: the facts of nodes, and the last picker.

        A selector may rely on the picker that it made last; so the published one is made anew when the next request
        comes.
        """
        facts(self.state).apply()
        self._close_fast_path()

    def _close_fast_path(self) -> None:
        """Send every request the slow path, until a state is published."""
        while True:
            base = self.current.published
            closed = self._publisher.combine(
                base.state, NO_PICKERS, base.owner, math.inf, lean=False, sound=False
            )
            if self._publisher.swap(base, closed):
                return

    def _postpone(self) -> None:
        """Publish when something is due next, and nothing else."""
        while True:
            base = self.current.published
            due = min(self._loads.deadline, self._sweep.deadline)
            later = self._publisher.combine(base.state, base.pickers, base.owner, due, lean=self.ledger.lean)
            if not base.sound or self._publisher.swap(base, later):
                return

    def _show(self, exhaustion: Exhaustion) -> Show:
        def shown(state: PoolState) -> PoolState:
            self._version = version = max(self._version, state.snapshot.version) + 1
            return show(state, exhaustion, version)

        return shown

    # ------------------------------------------------------------------ listeners

    def listen(self, listener: EventSink) -> Callable[[], None]:
        """Add a listener; return a function that takes it away again."""
        with self.locks.listeners:
            self._listeners = (*self._listeners, listener)

        def stop() -> None:
            with self.locks.listeners:
                self._listeners = tuple([one for one in self._listeners if one is not listener])

        return stop

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Add an observer; return a function that takes it away again."""
        self._observe(lambda observers: (*observers, observer))
        return lambda: self._observe(
            lambda observers: tuple([one for one in observers if one is not observer])
        )

    def observe_starts(self, observer: StartObserver) -> Callable[[], None]:
        """Add an observer of leases that begin; return a function that takes it away again."""
        self._observe_starts(lambda observers: (*observers, observer))
        return lambda: self._observe_starts(
            lambda observers: tuple([one for one in observers if one is not observer])
        )

    def _observe_starts(
        self, change: Callable[[tuple[StartObserver, ...]], tuple[StartObserver, ...]]
    ) -> None:
        with self.locks.listeners:
            self.ledger.start_observers = change(self.ledger.start_observers)
        self._close_fast_path()

    def _observe(self, change: Callable[[tuple[Observer, ...]], tuple[Observer, ...]]) -> None:
        with self.locks.listeners:
            members = [*self.state.members.values(), *self.state.leaving.values()]
            self.ledger.observe(change(self.ledger.observers), [member.node for member in members])
        while True:
            base = self.current.published
            if self._publisher.swap(base, base._replace(owner=self.ledger.owner)):
                return

    def dispatch(self, events: Iterable[Event]) -> None:
        """Hand events to the listeners; one that raises is logged."""
        for event in events:
            for listener in self._listeners:
                self.guard.check()
                try:
                    listener(event)
                except Exception:
                    log_error("listener %r failed on %r", listener, event)

    def _dispatch_one(self, event: Event) -> None:
        self.dispatch((event,))

    # ------------------------------------------------------------------ forking

    def after_fork(self) -> None:
        """Start over with the next request: leases of threads that do not exist here would never end."""
        self._forked = True
        self._changing.clear()
        self._insisting = 0
        self._turn.start_over()
        self._close_fast_path()
        if self._own_rng:
            self.rng.seed()

    def _start_over(self) -> None:
        while self._forked:
            base = self.state
            fresh = {id: m._replace(node=self._make_node(m.endpoint)) for id, m in base.members.items()}
            self._transition(partial(_with_fresh_nodes, base, fresh), configure=True)
            if self.state.nodes is not base.nodes:
                self._forked = False


def _with_fresh_nodes(base: PoolState, fresh: Mapping[str, Member], state: PoolState, show: Show) -> Step:
    return started_over(state, fresh, show) if state.nodes is base.nodes else Step(state)


def _due(member: Member) -> float:
    return member.due


def _well(member: Member) -> bool:
    return member.cooling is None and (member.health is None or member.health.eligible)
