"""The state of a pool as one immutable value, and its pure updates.

A :class:`PoolState` holds everything that readers must see together: the members, the eligible ones, and the next deadline.
An update returns a new state and its events. It has no side effects. The runtime then swaps one reference, or drops the
new state. So an interrupted change leaves the pool in the old state or in the new one.

Health machines and counters are mutable and not part of a state. A state holds their values as of its creation.

Cost: O(n) for a change of membership or of eligibility, O(1) for any other.
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
    "drop_departed",
    "empty",
    "find",
    "recorded",
    "refreshed",
    "show",
    "started_over",
    "undrained",
]


Counted: TypeAlias = tuple[Node, Mapping[Outcome, int]]


class PoolState(NamedTuple):
    """The state of a pool at one moment."""

    members: Mapping[str, Member]
    """Every endpoint in the pool, by id, in the order of configuration."""
    leaving: Mapping[Node, Member]
    """Removed endpoints that may still have open leases."""
    retired: Mapping[Outcome, int]
    """The numbers of ended leases of endpoints that have left the pool, by outcome."""
    nodes: Members
    snapshot: Snapshot
    ramping: bool
    """Whether an eligible endpoint receives less than its usual share."""
    deadline: float
    """The time at which :func:`advanced` is due; infinity if it is not."""


class Step(NamedTuple):
    """The result of an update: the new state, its events, and the assignments to make with it."""

    state: PoolState
    events: tuple[Event, ...] = ()
    counted: tuple[Counted, ...] = ()
    """Nodes whose counts were added to ``retired``, with those counts."""
    leaving: tuple[Node, ...] = ()
    """Nodes that get no new requests. From this step on, they report every end of a lease."""
    staying: tuple[Node, ...] = ()
    """Nodes that may be picked again."""

    def facts(self) -> Assignments:
        """Return the assignments to nodes that must be made in the step that publishes the state."""
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
"""The type of a function that returns a state with its snapshot rebuilt."""


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
    """Return the member with an id.

    Raises
    ------
    UnknownEndpointError
        If there is none.
    """
    try:
        return state.members[plain(id)]
    except (KeyError, TypeError):
        raise UnknownEndpointError(id, tuple(state.members)) from None


@final
class Exhaustion:
    """The exhaustion policy and its last result. It is called once for the same members, however often a change is tried.

    Parameters
    ----------
    policy
        The exhaustion policy.
    guard
        The guard of the balancer.
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

        If the policy raises, the error is logged and the healthy endpoints are used.
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
            self._kept = serving  # kept alive, so that the ids stay valid
        return self._answer


def _nodes(chosen: Sequence[PoolMember]) -> tuple[tuple[Node, ...], bool]:
    nodes = [member.node for member in chosen if member.endpoint.weight] or [member.node for member in chosen]
    return tuple(nodes), any([member.ramping for member in chosen])


def show(state: PoolState, exhaustion: Exhaustion, version: int) -> PoolState:
    """Return the state with a new snapshot of the nodes that are eligible now."""
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
    """Return the step after a request has ended on a node. The node may have left the pool meanwhile.

    The health machine was called before; ``reading`` has its values after that call.
    """
    member = state.members.get(node.id)
    if member is None or member.node is not node:
        return drop_departed(state, (node,), now)
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
    """Return the step that stores the reading of an endpoint's health machine."""
    member = state.members.get(id)
    if member is None or member.health is not machine:
        return Step(state)
    return _replaced(state, member, member.with_health(reading), (), show)


def advanced(
    state: PoolState, readings: Mapping[HealthHooks | None, Reading], now: float, show: Show, *, rebuild: bool
) -> Step:
    """Return the step after time has passed. The health machines that were due have been called before.

    The step ends drains and coolings, drops removed endpoints without leases, and computes the next deadline.

    Parameters
    ----------
    state
        The present state.
    readings
        The readings of the health machines that were due, and possibly of others.
    now
        The time.
    show
        Rebuilds the snapshot.
    rebuild
        Whether to rebuild the snapshot even if no member has changed.
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
    left = drop_departed(state._replace(members=members, deadline=deadline), tuple(state.leaving), now)
    new_state = show(left.state) if visible or rebuild else left.state
    return Step(new_state, (*events, *left.events), left.counted)


def drop_departed(state: PoolState, nodes: Iterable[Node], now: float) -> Step:
    """Return the step that drops removed endpoints without open leases.

    The counts of their nodes are added to ``retired``, and a ``Drained`` event is emitted for each. Two cases have no event,
    because it was emitted before. The endpoint was drained before its removal. Or the node was dropped before, and a
    request that read the old snapshot has then opened a lease on it.
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
        if member is not None and not member.drained_emitted
    ]
    return Step(state._replace(leaving=leaving, retired=retired), tuple(events), counted)


def drained(state: PoolState, id: str, now: float, seconds: float, show: Show) -> Step:
    """Return the step that starts a drain, or changes its deadline. It changes nothing if the endpoint is drained."""
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
    """Return the step that makes a draining or drained endpoint serve again."""
    member = find(state, id)
    moved = member.moved(Move.UNDRAIN)
    if moved is member:
        return Step(state)
    new = moved._replace(drain_deadline=math.inf, drained_emitted=False).with_health(reading)
    return _replaced(state, member, new, (), show)._replace(staying=(member.node,))


def started_over(state: PoolState, made: Mapping[str, Node], show: Show) -> Step:
    """Return the step that gives every endpoint a new node without open leases. Used in a forked child."""
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
    """Return the member with its drain ended, and the event, if its last lease has ended or its deadline has passed."""
    open_leases = member.node.inflight
    if open_leases and now < member.drain_deadline:
        return member, []
    new = member.moved(Move.DEADLINE if open_leases else Move.LAST_LEASE)
    if new is member:
        return member, []
    new = new._replace(drain_deadline=math.inf, drained_emitted=True)
    event = Drained(endpoint=member.endpoint.id, at=now, forced=open_leases > 0, remaining=open_leases)
    return new, [event]


def _counts(state: PoolState, nodes: Iterable[Node]) -> tuple[Mapping[Outcome, int], tuple[Counted, ...]]:
    """Return the totals with the new counts of nodes added, and for each node its counts that are now included."""
    retired, counted = dict(state.retired), []
    for node in nodes:
        tally = node.tally()
        counted.append((node, tally))
        for outcome, count in tally.items():
            retired[outcome] += count - node.reported.get(outcome, 0)
    return retired, tuple(counted)
