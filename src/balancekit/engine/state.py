"""The state of a pool as one immutable value, and its pure updates.

A :class:`PoolState` holds all that readers must see together: members, the eligible ones among them, what is due. An
update returns a new state and the events it means, and changes nothing; the runtime swaps one reference for it, or
drops it. So whatever interrupts a change, the pool is in the old state or in the new one.

Health machines and counters are live and not in here; a state holds what they said when it was made.

Cost: O(n) for a change of membership or of eligibility, O(1) for what changes neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias, final

from balancekit._support.log import contain_error
from balancekit._support.text import plain
from balancekit.engine.guard import Guard
from balancekit.engine.hooks import HealthHooks, Reading
from balancekit.engine.member import Member
from balancekit.errors import UnknownEndpointError
from balancekit.events import Cooling, Drained, Draining, Event
from balancekit.exhaustion import ExhaustionPolicy, PoolMember
from balancekit.health import Membership, Move
from balancekit.node import ALL_CALLBACKS, Assignments, Node
from balancekit.outcome import Completion, Outcome
from balancekit.snapshot import Members, Snapshot

__all__ = [
    "Exhaustion",
    "PoolState",
    "Show",
    "Step",
    "advanced",
    "drained",
    "empty",
    "find",
    "let_go",
    "recorded",
    "refreshed",
    "show",
    "started_over",
    "undrained",
]


Counted: TypeAlias = tuple[Node, Mapping[Outcome, int]]


class PoolState(NamedTuple):
    """What a pool is at one moment."""

    members: Mapping[str, Member]
    """Every endpoint in the pool, by id, in the order of configuration."""
    leaving: Mapping[Node, Member]
    """Endpoints that were removed while leases were open."""
    retired: Mapping[Outcome, int]
    """How the leases of endpoints that are gone have ended."""
    nodes: Members
    snapshot: Snapshot
    ramping: bool
    """Whether an endpoint that may be picked takes less than its share."""
    deadline: float
    """When :func:`advanced` is due at the latest, infinity if nothing is."""


class Step(NamedTuple):
    """An update: the state it leads to, and what happened."""

    state: PoolState
    events: tuple[Event, ...] = ()
    counted: tuple[Counted, ...] = ()
    """Nodes whose counts went into ``retired``, with what is now in there."""
    leaving: tuple[Node, ...] = ()
    """Nodes that get nothing new: every end of a lease of theirs is to be reported from this step on."""
    staying: tuple[Node, ...] = ()
    """Nodes that may be picked again."""

    def facts(self) -> Assignments:
        """Return what to write to nodes in the very step that publishes the state."""
        found = Assignments()
        for node, tally in self.counted:
            found.add(node, "reported", tally)
        for node in self.leaving:
            found.add(node, "leaving", True)
            found.add(node, "health_watching", True)
            found.add(node, "callbacks", ALL_CALLBACKS)
        for node in self.staying:
            found.add(node, "leaving", False)
        return found


Show: TypeAlias = Callable[[PoolState], PoolState]
"""Rebuilds the snapshot of a state."""


def empty() -> PoolState:
    """Return the state of a pool without endpoints."""
    nodes = Members(())
    return PoolState(
        members={},
        leaving={},
        retired=dict.fromkeys(Outcome, 0),
        nodes=nodes,
        snapshot=Snapshot(nodes, ()),
        ramping=False,
        deadline=math.inf,
    )


def find(state: PoolState, id: str) -> Member:
    """Return a member or raise ``UnknownEndpointError``."""
    try:
        return state.members[plain(id)]
    except (KeyError, TypeError):
        raise UnknownEndpointError(id, tuple(state.members)) from None


@final
class Exhaustion:
    """The exhaustion policy, called once for the same members while one change is attempted again and again.

    Parameters
    ----------
    policy
        Of the user, perhaps.
    guard
        Of the balancer.
    """

    __slots__ = ("_answer", "_guard", "_kept", "_policy", "_question")

    def __init__(self, policy: ExhaustionPolicy, guard: Guard) -> None:
        self._policy = policy
        self._guard = guard
        self._question: list[int] | None = None
        self._kept: list[Member] = []
        self._answer: tuple[tuple[Node, ...], bool, bool] = ((), False, False)

    def choose(self, serving: list[Member], healthy: list[Member]) -> tuple[tuple[Node, ...], bool, bool]:
        """Return the nodes that may be picked, whether one of them is ramping, and whether health is ignored.

        A policy that raises is logged, and the healthy endpoints are used.
        """
        question = [*map(id, serving), 0, *map(id, healthy)]
        if self._question != question:
            self._guard.check()
            try:
                chosen, panic = self._policy(serving, healthy)
                self._answer = (*_nodes(chosen), panic)
            except Exception:
                contain_error("exhaustion policy %r failed", self._policy)
                self._answer = (*_nodes(healthy), False)
            self._question = question
            self._kept = serving  # so that the identities stay theirs
        return self._answer


def _nodes(chosen: Sequence[PoolMember]) -> tuple[tuple[Node, ...], bool]:
    nodes = [member.node for member in chosen if member.endpoint.weight] or [member.node for member in chosen]
    return tuple(nodes), any([member.ramping for member in chosen])


def show(state: PoolState, exhaustion: Exhaustion, version: int) -> PoolState:
    """Return the state with its snapshot rebuilt: the nodes that are eligible now."""
    members = state.members.values()
    serving = [member for member in members if member.serving]
    serving = [member for member in serving if member.cooling is None] or serving
    nodes, ramping, panic = exhaustion.choose(serving, [member for member in serving if member.eligible])
    snapshot = Snapshot(
        state.nodes,
        nodes,
        draining=tuple([member.node for member in members if not member.serving]),
        version=version,
        panic=panic,
    )
    return state._replace(snapshot=snapshot, ramping=ramping)


def recorded(
    state: PoolState, node: Node, completion: Completion, reading: Reading, now: float, show: Show
) -> Step:
    """Return the state after a request has ended on a node, which may have left the pool meanwhile.

    Its health machine has been called before; ``reading`` is its state after that.
    """
    member = state.members.get(node.id)
    if member is None or member.node is not node:
        return let_go(state, (node,), now)
    if not member.serving:
        return _replaced(state, member, *_drain_ended(member, now), show)
    new = member.with_health(reading)
    events: list[Event] = []
    if completion.retry_after:
        until = now + completion.retry_after
        if member.cooling is None or until > member.cooling:
            new = new._replace(cooling=until)
            events.append(Cooling(endpoint=node.id, at=now, until=until))
    return _replaced(state, member, new, events, show)


def refreshed(state: PoolState, machine: HealthHooks, id: str, reading: Reading, show: Show) -> Step:
    """Return the state with what the health machine of an endpoint says now."""
    member = state.members.get(id)
    if member is None or member.health is not machine:
        return Step(state)
    return _replaced(state, member, member.with_health(reading), (), show)


def advanced(
    state: PoolState, readings: Mapping[HealthHooks | None, Reading], now: float, show: Show, *, afresh: bool
) -> Step:
    """Return the state after time has passed; health machines that were due have been called.

    Ends drains and coolings, lets go of removed endpoints without leases, and looks for the next deadline.

    Parameters
    ----------
    readings
        What health machines say now: those that were due, or more.
    afresh
        Whether to rebuild the snapshot in any case.
    """
    members = dict(state.members)
    events: list[Event] = []
    visible = False
    for member in [m for m in members.values() if m.due <= now or not m.serving or m.health in readings]:
        reading = readings.get(member.health)
        new = member if reading is None else member.with_health(reading)
        if not new.serving:
            new, ended = _drain_ended(new, now)
            events += ended
        elif new.cooling is not None and new.cooling <= now:
            new = new._replace(cooling=None)
        members[new.endpoint.id] = new
        visible = visible or new.visible != member.visible
    deadline = min([member.due for member in members.values()], default=math.inf)
    left = let_go(state._replace(members=members, deadline=deadline), tuple(state.leaving), now)
    new_state = show(left.state) if visible or afresh else left.state
    return Step(new_state, (*events, *left.events), left.counted)


def let_go(state: PoolState, nodes: Iterable[Node], now: float) -> Step:
    """Let go of removed endpoints that have no leases.

    A node that is not among those leaving was picked from a snapshot that was being replaced, and has been
    reported as drained; only its counts are added. So are those of one that was drained before it was removed.
    """
    gone = [node for node in nodes if not node.inflight]
    if not gone:
        return Step(state)
    retired, counted = _counts(state, gone)
    leaving = dict(state.leaving)
    members = [leaving.pop(node, None) for node in gone]
    events = [
        Drained(endpoint=member.endpoint.id, at=now, forced=False, remaining=0)
        for member in members
        if member is not None and not member.told_drained
    ]
    return Step(state._replace(leaving=leaving, retired=retired), tuple(events), counted)


def drained(state: PoolState, id: str, now: float, seconds: float, show: Show) -> Step:
    """Return the state in which nothing new goes to an endpoint."""
    member = find(state, id)
    if member.membership is Membership.DRAINED:
        return Step(state)
    new = member.moved(Move.DRAIN)._replace(drain_deadline=now + seconds)
    events: tuple[Event, ...] = ()
    if member.serving:
        until = new.drain_deadline if math.isfinite(seconds) else None
        left = member.node.inflight
        events = (Draining(endpoint=member.endpoint.id, at=now, inflight=left, deadline=until),)
    state = _replaced(state, member, new, events, show).state
    return Step(state._replace(deadline=-math.inf), events, leaving=(member.node,))


def undrained(state: PoolState, id: str, reading: Reading, show: Show) -> Step:
    """Return the state in which a draining endpoint may be picked again."""
    member = find(state, id)
    moved = member.moved(Move.UNDRAIN)
    if moved is member:
        return Step(state)
    new = moved._replace(drain_deadline=math.inf, told_drained=False).with_health(reading)
    return _replaced(state, member, new, (), show)._replace(staying=(member.node,))


def started_over(state: PoolState, made: Mapping[str, Node], show: Show) -> Step:
    """Return the state with a new node for every endpoint, as if no lease had ever been opened: after a fork."""
    gone = [member.node for member in (*state.members.values(), *state.leaving.values())]
    retired, counted = _counts(state, gone)
    members = {id: member._replace(node=made[id]) for id, member in state.members.items()}
    nodes = Members(tuple(made.values()), version=state.nodes.version + 1)
    draining = tuple([member.node for member in members.values() if not member.serving])
    new = state._replace(members=members, leaving={}, retired=retired, nodes=nodes)
    if draining:
        new = new._replace(deadline=-math.inf)  # without leases, drains are due to end
    return Step(show(new), (), counted, leaving=(*gone, *draining))


def _replaced(state: PoolState, old: Member, new: Member, events: Iterable[Event], show: Show) -> Step:
    if new is old:
        return Step(state, tuple(events))
    members = {**state.members, new.endpoint.id: new}
    state = state._replace(members=members, deadline=min(state.deadline, new.due))
    return Step(show(state) if new.visible != old.visible else state, tuple(events))


def _drain_ended(member: Member, now: float) -> tuple[Member, list[Event]]:
    """End a drain if its last lease has ended, or if its time is over."""
    open_leases = member.node.inflight
    if open_leases and now < member.drain_deadline:
        return member, []
    new = member.moved(Move.DEADLINE if open_leases else Move.LAST_LEASE)
    if new is member:
        return member, []
    new = new._replace(drain_deadline=math.inf, told_drained=True)
    event = Drained(endpoint=member.endpoint.id, at=now, forced=open_leases > 0, remaining=open_leases)
    return new, [event]


def _counts(state: PoolState, nodes: Iterable[Node]) -> tuple[Mapping[Outcome, int], tuple[Counted, ...]]:
    """Add to the totals what nodes have counted since their counts were last added."""
    retired, counted = dict(state.retired), []
    for node in nodes:
        tally = node.tally()
        counted.append((node, tally))
        for outcome, count in tally.items():
            retired[outcome] += count - node.reported.get(outcome, 0)
    return retired, tuple(counted)
