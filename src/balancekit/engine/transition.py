"""Transitions of a pool: atomic changes of the published state.

A transition computes a new state from the present one and prepares what requests read. It then swaps one reference, if the
present state is still the one that it started from. Otherwise it starts again. An interrupt at any instruction leaves
the old state or the new one. No lock is held during the computation and the preparation.

Cost: the cost of the update and of the selector's ``prepare``, for each attempt. After a failed attempt at a change by the
program, changes by health machines wait until it is done. So such a change needs at most three attempts, unless the
program makes other changes at the same time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count
from typing import Final, final

from balancekit._selection.pickers import NO_PICKERS
from balancekit._support.fork import this_thread
from balancekit._support.log import contain_error
from balancekit.engine.fast_path import Current, Published
from balancekit.engine.guard import Guard
from balancekit.engine.hooks import LoadHooks, SweepHooks
from balancekit.engine.ledger import Ledger
from balancekit.engine.membership import facts
from balancekit.engine.publisher import Publisher
from balancekit.engine.state import Exhaustion, PoolState, Show, Step, show
from balancekit.engine.turn import Turn
from balancekit.events import Event
from balancekit.exhaustion import ExhaustionPolicy, FailClosed

__all__ = ["Transitions"]

MAX_ATTEMPTS: Final = 8
"""Attempts at one change of which hooks, called by the same thread, change the pool too. In the last, such hooks fail."""

_HEALTHY_ONLY: Final = FailClosed()


class _Attempt:
    """The last attempt at a transition."""

    __slots__ = ("new", "step", "touched")

    def __init__(self, step: Step) -> None:
        self.step = step
        self.new: Published | None = None
        self.touched = False
        """Whether the selector may have prepared for a snapshot that was not published."""


@final
class Transitions:
    """The executor of transitions of one balancer.

    Parameters
    ----------
    publisher
        Prepares and swaps.
    current
        The reference that the publisher swaps.
    ledger
        Provides the owner of new leases and whether requests may take the fast path.
    exhaustion
        Chooses the endpoints that serve when few are healthy.
    loads, sweep
        Have deadlines in addition to that of the state.
    turn
        The queue of calls of health machines; it is delayed while a change has to be repeated.
    guard
        The guard of the balancer.
    """

    __slots__ = (
        "_changed_by",
        "_changing",
        "_exhaustion",
        "_final_attempt_by",
        "_guard",
        "_ledger",
        "_loads",
        "_publisher",
        "_sweep",
        "_turn",
        "_version",
        "current",
    )

    def __init__(
        self,
        publisher: Publisher,
        current: Current,
        ledger: Ledger,
        exhaustion: ExhaustionPolicy,
        loads: LoadHooks,
        sweep: SweepHooks,
        turn: Turn,
        guard: Guard,
    ) -> None:
        self.current: Current = current
        self._publisher = publisher
        self._ledger = ledger
        self._exhaustion = exhaustion
        self._loads = loads
        self._sweep = sweep
        self._turn = turn
        self._guard = guard
        self._version = 0
        self._changed_by = 0
        self._changing = turn.changing
        self._final_attempt_by = 0

    @property
    def state(self) -> PoolState:
        """The present state of the pool."""
        return self.current.published.state

    def publish(
        self,
        update: Callable[[PoolState, Show], Step],
        *,
        strict: bool = False,
        configure: bool = False,
    ) -> list[Event]:
        """Publish the state that an update returns. Return its events.

        Parameters
        ----------
        update
            Returns the step from a state. Its second argument rebuilds the snapshot. Hooks that are called meanwhile may
            change the pool. Such a nested change calls no hooks, and this change is then attempted again.
        strict
            Whether to raise an exception of the selector's ``prepare``. If not, it is logged.
        configure
            Whether the update changes configured values of nodes.

        Raises
        ------
        RuntimeError
            If hooks change the pool in each of ``MAX_ATTEMPTS`` attempts.
        """
        me = this_thread()
        if self._final_attempt_by == me:
            raise RuntimeError("a hook changes the pool whenever it is called for a change of the pool")
        nested = me in self._changing  # a change by this thread has called the hook that makes this change
        show = self._show(Exhaustion(_HEALTHY_ONLY if nested else self._exhaustion, self._guard))
        tried = _Attempt(Step(self.state))
        try:
            self._changing.add(me)
            self._try(tried, update, show, me, nested=nested, strict=strict, configure=configure)
        except BaseException:
            if tried.touched and self.current.published is not tried.new:
                self._restore()
            raise
        finally:
            if not nested:
                self._changing.discard(me)
            if self._final_attempt_by == me:
                self._final_attempt_by = 0
        if not nested:
            self._turn.resume(me)
        if tried.touched:  # another thread has made the same change meanwhile
            self._restore()
        return list(tried.step.events)

    def _try(
        self,
        tried: _Attempt,
        update: Callable[[PoolState, Show], Step],
        show: Show,
        me: int,
        *,
        nested: bool,
        strict: bool,
        configure: bool,
    ) -> None:
        """Repeat the update until its state is published."""
        for attempt in count(1):
            if attempt > 1 and (strict or configure):
                self._turn.delay(me)
            if attempt == MAX_ATTEMPTS and self._changed_by == me:
                self._final_attempt_by = me
            base = self.current.published
            tried.step = step = update(base.state, show)
            if step.state is base.state:
                return
            tried.touched = tried.touched or step.state.snapshot is not base.state.snapshot
            if configure:
                facts(step.state).apply()
            tried.new = new = (
                self._unprepared(step.state)
                if nested
                else self._prepare(step.state, base, tried.new, strict=strict)
            )
            with_it = step.facts()
            with_it.add(self, "_changed_by", me)
            if self._publisher.swap(base, new, with_it):
                tried.touched = False
                return

    def _unprepared(self, state: PoolState) -> Published:
        """Return what to publish for a nested change: no pickers, because the outer change prepares for both."""
        return self._publisher.combine(
            state, NO_PICKERS, self._ledger.owner, math.inf, lean=False, sound=False
        )

    def _prepare(
        self, state: PoolState, base: Published, last: Published | None, *, strict: bool
    ) -> Published:
        due = min(self._loads.deadline, self._sweep.deadline)
        owner, lean, observed = self._ledger.owner, self._ledger.lean, self._ledger.observed
        try:
            return self._publisher.prepare(state, base, owner, due, lean=lean, observed=observed, last=last)
        except Exception:
            if strict:
                raise
            contain_error("%s could not prepare for a new snapshot", self._publisher.hooks.name)
            return self._publisher.combine(state, NO_PICKERS, owner, due, lean=lean)

    def _restore(self) -> None:
        """Undo the side effects of a dropped change: on the nodes' configured values, and on the selector.

        A selector may have state that belongs to its last picker. So the next request rebuilds the published pickers.
        """
        facts(self.state).apply()
        self.close_fast_path()

    def close_fast_path(self) -> None:
        """Send every request to the slow path until a state is published."""
        while True:
            base = self.current.published
            closed = self._publisher.combine(
                base.state, NO_PICKERS, base.owner, math.inf, lean=False, sound=False
            )
            if self._publisher.swap(base, closed):
                return

    def postpone(self) -> None:
        """Publish the next deadline and nothing else."""
        while True:
            base = self.current.published
            deadline = min(base.state.deadline, self._loads.deadline, self._sweep.deadline)
            if not base.sound or self._publisher.swap(base, self._publisher.postponed(base, deadline)):
                return

    def make_due(self) -> None:
        """Send the next request to the slow path, which does what is due."""
        while True:
            base = self.current.published
            if base.deadline == -math.inf or self._publisher.swap(
                base, self._publisher.postponed(base, -math.inf)
            ):
                return

    def _show(self, exhaustion: Exhaustion) -> Show:
        def shown(state: PoolState) -> PoolState:
            self._version = version = max(self._version, state.snapshot.version) + 1
            return show(state, exhaustion, version)

        return shown

    def start_over(self) -> None:
        """Forget the unfinished changes. Called in a forked child, where their threads do not exist."""
        self._changing.clear()
        self._final_attempt_by = 0
        self.close_fast_path()
