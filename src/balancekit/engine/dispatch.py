"""Calls of the health machines, and the changes of the pool that result.

The inputs are ends of requests, results of checks, and time. One thread at a time calls the machines (``turn.py``). Each
input leads to at most one transition of the pool. Listeners receive its events under no lock.

Cost: O(1) for an end of a request that changes nothing, O(n) for a change of eligibility. Time that passes costs O(n)
and one call of each machine that is due. If only the loads are due, it costs O(1) and their own batch.
"""

from __future__ import annotations

from functools import partial
from typing import final

from balancekit.engine.guard import Guard
from balancekit.engine.hooks import CHECKED_POLICY, HealthHooks, LoadHooks, Reading, SweepHooks, reset_load
from balancekit.engine.listeners import Listeners
from balancekit.engine.member import Member
from balancekit.engine.state import advanced, find, recorded, refreshed
from balancekit.engine.transition import Transitions
from balancekit.engine.turn import Task, Turn
from balancekit.errors import ConfigurationError
from balancekit.events import Event
from balancekit.node import Node
from balancekit.outcome import CheckResult, Completion
from balancekit.protocols import Clock

__all__ = ["HealthDispatch"]


@final
class HealthDispatch:
    """The dispatcher of inputs to the health machines of one balancer.

    Parameters
    ----------
    transitions
        Publishes the changes that result.
    loads, sweep
        Called when they are due.
    listeners
        Called with the events.
    turn
        Decides which thread calls the machines.
    clock, guard
        The clock and the guard of the balancer.
    """

    __slots__ = ("_clock", "_guard", "_listeners", "_loads", "_sweep", "_transitions", "turn")

    def __init__(
        self,
        transitions: Transitions,
        loads: LoadHooks,
        sweep: SweepHooks,
        listeners: Listeners[Event],
        turn: Turn,
        clock: Clock,
        guard: Guard,
    ) -> None:
        self.turn: Turn = turn
        self._transitions = transitions
        self._loads = loads
        self._sweep = sweep
        self._listeners = listeners
        self._clock = clock
        self._guard = guard

    def check(self, id: str, result: CheckResult, now: float) -> bool:
        """Record the result of an active check. Return whether the checks of the endpoint are about to change its state.

        If another thread is calling the health machines, the result is queued and the returned value does not include it.

        Raises
        ------
        UnknownEndpointError
            If no endpoint of the pool has the id.
        ConfigurationError
            If the balancer has no health policy, or one that takes no results of checks.
        """
        member = find(self._transitions.state, id)
        machine, id = member.health, member.endpoint.id
        if machine is None:
            raise ConfigurationError("health", None, CHECKED_POLICY)
        checks = machine.checks()
        self._take_turn(lambda: self._consequences(id, machine, machine.checked(result, now=now), now))
        return self._guard.call("health policy", lambda: bool(checks.changing), default=False)

    def record(self, node: Node, completion: Completion, /) -> None:
        """Record how a request ended.

        Called for a failure, for a ``Retry-After``, and for every end on a node whose health or removal needs it.
        """
        member = self._transitions.state.members.get(node.id)
        if member is not None and member.node is node and member.health is None and member.serving:
            member.watch()
            if not completion.retry_after:
                return
        self._take_turn(partial(self._observe, node, completion))

    def _take_turn(self, task: Task) -> None:
        """Queue the call of a health machine, do queued calls if no other thread does, and dispatch the events."""
        try:
            events = self.turn.run(task)
        except BaseException:  # a machine may have changed and the state not: all machines are read again
            self._transitions.close_fast_path()
            raise
        self._dispatch_events(events)

    def _observe(self, node: Node, completion: Completion) -> list[Event]:
        now = completion.ended_at
        before = self._transitions.state
        member = before.members.get(node.id)
        events: list[Event] = []
        reading = Reading()
        if member is not None and member.node is node:
            if member.serving and member.health is not None:
                events += member.health.observe(completion, now=now)
            reading = self._update_node(member)
        events += self._transitions.publish(
            lambda state, show: recorded(state, node, completion, reading, now, show)
        )
        return (
            events
            if self._transitions.state.snapshot is before.snapshot
            else events + self._uneject_soonest(now)
        )

    def _consequences(self, id: str, machine: HealthHooks, events: list[Event], now: float) -> list[Event]:
        """Return all events that follow from an input outside a request."""
        member = self._transitions.state.members.get(id)
        if member is None or member.health is not machine:
            return events
        return [*events, *self._refresh(member), *self._uneject_soonest(now)]

    def _refresh(self, member: Member) -> list[Event]:
        id, machine, reading = member.endpoint.id, member.health, self._update_node(member)
        if machine is None:
            return []
        return self._transitions.publish(lambda state, show: refreshed(state, machine, id, reading, show))

    def advance(self, *, whole: bool = False) -> None:
        """Do what is due, unless another thread is calling the health machines. ``whole`` also does every queued call."""
        try:
            events = self.turn.run_if_free(self._advance, whole=whole)
        except BaseException:  # as in `_take_turn`
            self._transitions.close_fast_path()
            raise
        self._dispatch_events(events)

    def _dispatch_events(self, events: list[Event]) -> None:
        """Dispatch events to the listeners. Calls that are still queued are left to the next request."""
        if self.turn.pending:
            self._transitions.make_due()
        self._listeners.dispatch(events)

    def _advance(self) -> list[Event]:
        """Do what is due and return the events. O(n); O(1) and the batch of the loads if only the loads are due.

        After a change was dropped, all health machines are read; otherwise only those that are due.
        """
        now = self._clock()
        published = self._transitions.current.published
        state, rebuild = published.state, not published.sound
        if not rebuild and now < min(state.deadline, self._sweep.deadline):
            self._loads.advance(now=now)
            self._transitions.postpone()
            return []
        events: list[Event] = []
        readings: dict[HealthHooks | None, Reading] = {}
        for member in [m for m in state.members.values() if rebuild or m.due <= now]:
            if member.serving and member.health is not None and member.health.deadline <= now:
                events += member.health.advance(now=now)
            readings[member.health] = self._update_node(member)
        if now >= self._sweep.deadline:
            for member, machine, cause in self._find_outliers(now):
                events += machine.on_outlier(cause, now=now)
                readings[machine] = self._update_node(member)
        self._loads.advance(now=now)
        gone = list(self._transitions.state.leaving)
        events += self._transitions.publish(
            lambda state, show: advanced(state, readings, now, show, rebuild=rebuild)
        )
        self._loads.forget(gone)
        return events + self._uneject_soonest(now)

    def _find_outliers(self, now: float) -> list[tuple[Member, HealthHooks, str]]:
        members = self._transitions.state.members
        found = self._sweep.advance([member.node for member in members.values() if member.eligible], now=now)
        outliers = [(members[id], cause) for id, cause in found.items() if id in members]
        return [(member, member.health, cause) for member, cause in outliers if member.health is not None]

    def _uneject_soonest(self, now: float) -> list[Event]:
        """If no endpoint is eligible, uneject the one that is due soonest."""
        members = self._transitions.state.members.values()
        for member in members:
            if member.eligible:
                return []
        serving = [member.with_health(member.read()) for member in members if member.serving]
        for member in sorted(serving, key=_due):
            if member.health is not None:
                events = member.health.uneject(now=now)
                events += self._refresh(member)
                present = self._transitions.state.members.get(member.endpoint.id)
                if present is not None and present.eligible:
                    return events
        return []

    def _update_node(self, member: Member) -> Reading:
        """Read the health machine, update the node and its load to match, and return the reading."""
        self._transitions.state.members.get(member.endpoint.id, member).watch()
        reading = member.read()
        if reading.healthy and not member.healthy:
            member.node.restorations += 1
            reset_load(member.node.load, self._guard)
        return reading


def _due(member: Member) -> float:
    return member.due
