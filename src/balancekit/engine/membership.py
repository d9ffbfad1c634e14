"""Changes of the membership of a pool: the difference between what is wanted and what is there.

Membership is declarative: a wanted list is compared with the members *by id*. An endpoint that stays keeps its node,
and with it load, counters, health and open leases, whatever else about it changed; only a new target makes it a new
endpoint, unless the caller says otherwise.

*Facts of nodes.* A node is live: weight, zone and so on are read from it by whatever builds tables. So the facts of a
new state are written to the nodes before its tables are built, all of them in one step that nothing can split, and
those of the present state are written back if the change is dropped.

Cost: O(n).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, final

from balancekit._support.interrupts import raise_interrupt
from balancekit.endpoint import Endpoint
from balancekit.engine.member import Member
from balancekit.engine.state import PoolState, Show, Step, let_go
from balancekit.events import Added, Event, Removed, Reweighted
from balancekit.health import Move
from balancekit.node import Assignments, Node
from balancekit.snapshot import Members

__all__ = ["Draft", "facts", "updated"]


class _Difference(NamedTuple):
    members: dict[str, Member]
    leaving: list[Member]
    events: tuple[Event, ...]


@final
class Draft:
    """What attempts at one change share: an attempt that came too late is made again from another state.

    Endpoints that join do so once, and the tables made from the same members are kept.

    Parameters
    ----------
    join
        Makes the member of a new endpoint.
    order
        Returns in what order to make members of so many new endpoints, by their numbers.
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
        """When something is due for one of the endpoints that join."""
        self._nodes: tuple[Sequence[Endpoint[object]], Members] | None = None

    def join(self, endpoint: Endpoint[object]) -> Member:
        """Return the member of a new endpoint."""
        known = self._joined.get(id(endpoint))
        if known is None:
            known = self._joined[id(endpoint)] = (endpoint, self._join(endpoint))
            self.deadline = min(self.deadline, known[1].due)
        return known[1]

    def join_all(self, endpoints: Iterable[Endpoint[object]]) -> None:
        """Make the members of new endpoints, in the order that is best for what reads them."""
        fresh = [endpoint for endpoint in endpoints if id(endpoint) not in self._joined]
        for number in self._order(len(fresh)):
            self.join(fresh[number])

    def same_target(self, old: Endpoint[object], new: Endpoint[object]) -> bool:
        """Answer whether two endpoints have the same target."""
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
            self._same[pair] = old, new, same  # kept, so that the identities stay theirs
        return self._same[pair][2]

    @property
    def joined(self) -> list[Node]:
        """The nodes that were made so far."""
        return [member.node for _, member in self._joined.values()]

    def unused(self, state: PoolState) -> list[Node]:
        """Return the nodes that were made for endpoints that have not joined."""
        present = {member.node for member in state.members.values()}
        return [node for node in self.joined if node not in present]

    def nodes(self, members: Iterable[Member], version: int) -> Members:
        """Return the members as selectors see them."""
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
    """Return the state in which the pool contains exactly what is wanted; the same state if it does already.

    Parameters
    ----------
    state
        The present one.
    wanted
        Endpoints with different ids.
    draft
        Of this change.
    show
        Makes the snapshot.
    keep_history
        Whether an endpoint with another target is the same endpoint at a new address.
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
        new = new._replace(deadline=-math.inf)  # an endpoint is due to be removed, or to return
    # Time may never pass between changes that come without pause.
    left = let_go(new, tuple(state.leaving), now)
    return Step(
        show(left.state),
        (*left.events, *found.events),
        left.counted,
        leaving=tuple([member.node for member in found.leaving]),
    )


def facts(state: PoolState) -> Assignments:
    """Return what to write to the nodes of a state so that they show its facts."""
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
        capacity = endpoint.weight * len(members) / total if endpoint.weight else 1.0
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
