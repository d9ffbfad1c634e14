"""Changes of the membership of a pool.

Membership is declarative: a list of wanted endpoints is compared with the members *by id*. An endpoint that stays keeps
its node, and so its load, counters, health and open leases. Its weight, priority, zone and metadata may change. A new
target under an old id makes a new endpoint, unless the caller passes ``keep_history``.

*Facts of nodes.* The code that builds tables reads weight, zone and so on from the nodes. So the facts of a new state are
written to the nodes before its tables are built. They are all written in one atomic step. If the change is dropped, the
facts of the present state are written back.

Cost: O(n).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, final

from balancekit._support.interrupts import raise_interrupt
from balancekit.endpoint import Endpoint
from balancekit.engine.member import Member
from balancekit.engine.state import PoolState, Show, Step, drop_departed
from balancekit.events import Added, Event, Removed, Reweighted
from balancekit.health import Move
from balancekit.node import Assignments, Node
from balancekit.snapshot import Members

__all__ = ["Draft", "facts", "updated"]

MIN_CAPACITY: Final = 1e-100
"""Of an endpoint with a weight: selectors and limits divide by it."""


class _Difference(NamedTuple):
    members: dict[str, Member]
    leaving: list[Member]
    events: tuple[Event, ...]


@final
class Draft:
    """The objects that all attempts at one change share.

    An attempt is repeated if another thread has published meanwhile. The members of new endpoints are created once, and the
    ``Members`` object is kept as long as the nodes and endpoints stay the same.

    Parameters
    ----------
    join
        Creates the member of a new endpoint.
    order
        Returns, for a number of new endpoints, the order in which to create their members, as indices.
    """

    __slots__ = ("_join", "_joined", "_nodes", "_order", "_same", "deadline")

    def __init__(
        self, join: Callable[[Endpoint[object]], Member], order: Callable[[int], Sequence[int]]
    ) -> None:
        self._join = join
        self._order = order
        self._joined: dict[int, tuple[Endpoint[object], Member]] = {}
        self._same: dict[tuple[int, int], tuple[Endpoint[object], Endpoint[object], bool]] = {}
        self.deadline: float = math.inf
        """The earliest time at which something is due for a new endpoint."""
        self._nodes: tuple[Sequence[Endpoint[object]], Members] | None = None

    def join(self, endpoint: Endpoint[object]) -> Member:
        """Return the member of a new endpoint. It is created by the first call."""
        known = self._joined.get(id(endpoint))
        if known is None:
            known = self._joined[id(endpoint)] = (endpoint, self._join(endpoint))
            self.deadline = min(self.deadline, known[1].due)
        return known[1]

    def join_all(self, endpoints: Iterable[Endpoint[object]]) -> None:
        """Create the members of new endpoints, in the order that the load policy requests."""
        fresh = [endpoint for endpoint in endpoints if id(endpoint) not in self._joined]
        for number in self._order(len(fresh)):
            self.join(fresh[number])

    def same_target(self, old: Endpoint[object], new: Endpoint[object]) -> bool:
        """Return whether two endpoints have the same target. If the comparison raises, they have not."""
        if old.target is new.target:
            return True
        if old.target.__class__ is str is new.target.__class__:
            return old.target == new.target
        pair = id(old), id(new)
        if pair not in self._same:
            try:
                same = bool(old.target == new.target)
            except Exception:
                raise_interrupt()
                same = False
            self._same[pair] = old, new, same  # both are kept alive, so that their ids stay valid
        return self._same[pair][2]

    @property
    def joined(self) -> list[Node]:
        """The nodes that were created so far."""
        return [member.node for _, member in self._joined.values()]

    def unused(self, state: PoolState) -> list[Node]:
        """Return the nodes that were created for endpoints that are not in the pool."""
        present = {member.node for member in state.members.values()}
        return [node for node in self.joined if node not in present]

    def nodes(self, members: Iterable[Member], version: int) -> Members:
        """Return the nodes of members as the ``Members`` object that selectors receive."""
        chosen = list(members)
        nodes, endpoints = tuple([m.node for m in chosen]), [m.endpoint for m in chosen]
        if self._nodes is not None:
            before, made = self._nodes
            if made.nodes == nodes and all([a is b for a, b in zip(before, endpoints, strict=True)]):
                return made
        made = Members(nodes, version=version)
        self._nodes = (endpoints, made)
        return made


def updated(
    state: PoolState,
    wanted: Iterable[Endpoint[object]],
    draft: Draft,
    show: Show,
    *,
    keep_history: bool,
    now: float,
) -> Step:
    """Return the step to the state in which the pool contains exactly the wanted endpoints.

    If it already does, the step contains the same state.

    Parameters
    ----------
    state
        The present state.
    wanted
        Endpoints with different ids.
    draft
        The draft of this change.
    show
        Rebuilds the snapshot.
    keep_history
        Whether an endpoint keeps its node if its target changes.
    now
        The time of the events.
    """
    listed = list(wanted)
    draft.join_all(endpoint for endpoint in listed if endpoint.id not in state.members)
    found = _compare(state, listed, draft, keep_history=keep_history, now=now)
    members = found.members
    if list(members) == list(state.members) and all([members[id] is state.members[id] for id in members]):
        return Step(state)
    leaving = dict(state.leaving)
    for member in found.leaving:
        leaving[member.node] = member.moved(Move.REMOVE)
    new = state._replace(
        members=members,
        leaving=leaving,
        nodes=draft.nodes(members.values(), state.nodes.version + 1),
        deadline=min(state.deadline, draft.deadline),
    )
    if found.leaving or not any([member.eligible for member in members.values()]):
        new = new._replace(deadline=-math.inf)  # an endpoint must be removed, or unejected, at once
    # Changes without a pause between them may keep `advanced` from being called.
    left = drop_departed(new, tuple(state.leaving), now)
    return Step(
        show(left.state),
        (*left.events, *found.events),
        left.counted,
        leaving=tuple([member.node for member in found.leaving]),
    )


def facts(state: PoolState) -> Assignments:
    """Return the assignments that write the configured values of a state to its nodes."""
    found = Assignments()
    members = state.members.values()
    total = math.fsum([member.endpoint.weight for member in members])
    for member in members:
        node, endpoint = member.node, member.endpoint
        if node.endpoint is not endpoint:
            found.add(node, "endpoint", endpoint)
            found.add(node, "weight", endpoint.weight)
            found.add(node, "priority", endpoint.priority)
            found.add(node, "zone", endpoint.zone)
            found.add(node, "metadata", endpoint.metadata)
        capacity = max(MIN_CAPACITY, endpoint.weight * len(members) / total) if endpoint.weight else 1.0
        if node.capacity != capacity:
            found.add(node, "capacity", capacity)
    return found


def _compare(
    state: PoolState,
    wanted: Iterable[Endpoint[object]],
    draft: Draft,
    *,
    keep_history: bool,
    now: float,
) -> _Difference:
    members: dict[str, Member] = {}
    changed: list[Event] = []
    for endpoint in wanted:
        old = state.members.get(endpoint.id)
        if old is not None and old.endpoint is endpoint:
            members[endpoint.id] = old
            continue
        stays = old is not None and draft.same_target(old.endpoint, endpoint)
        if old is None or not (stays or keep_history):
            members[endpoint.id] = draft.join(endpoint)
        elif stays and _same_facts(old.endpoint, endpoint):
            members[endpoint.id] = old
        else:
            members[endpoint.id] = old._replace(endpoint=endpoint)
            before, after = old.endpoint.weight, endpoint.weight
            if before != after:
                changed.append(Reweighted(endpoint=endpoint.id, at=now, before=before, after=after))
    gone = [m for id, m in state.members.items() if id not in members or members[id].node is not m.node]
    new = [id for id, m in members.items() if id not in state.members or state.members[id].node is not m.node]
    left: list[Event] = [Removed(endpoint=member.endpoint.id, at=now) for member in gone]
    joined: list[Event] = [Added(endpoint=id, at=now) for id in new]
    return _Difference(members, gone, (*left, *joined, *changed))


def _same_facts(old: Endpoint[object], new: Endpoint[object]) -> bool:
    known = (old.weight, old.priority, old.zone)
    return known == (new.weight, new.priority, new.zone) and old.metadata == new.metadata
