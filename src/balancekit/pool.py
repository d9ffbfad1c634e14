"""Who is in the pool, who of them may be picked, and what does a change of either lead to?

The pool joins membership and health and turns every change into a new
:class:`~balancekit.snapshot.Snapshot`. Sans-IO: it is told what time it is, and :attr:`Pool.deadline`
says when it wants to be told again. It is not thread-safe; the balancer calls it under its writer lock.

Membership is declarative: :meth:`Pool.propose` compares a wanted list with what is there, *by id*, and
changes nothing; :meth:`Pool.apply` carries the comparison out, :meth:`Pool.revert` takes it back. An
endpoint that stays keeps its node, and with it load, counters and health, whatever else about it
changed; only a new target makes it a new endpoint, unless the caller says otherwise.

An endpoint that is removed while leases are open is *leaving*: nothing new goes to it, its node lives on,
and a ``Drained`` event tells when the last lease has ended.

Cost: a change of membership or health is O(n); nothing here is on the path of a request.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, final

from balancekit._record import Record
from balancekit.endpoint import Endpoint
from balancekit.errors import (
    AllIneligibleError,
    AttemptsExhaustedError,
    PoolEmptyError,
    Reason,
    UnavailableError,
    UnknownEndpointError,
)
from balancekit.events import Added, Drained, Draining, Event, Removed, Reweighted
from balancekit.health import Ejection, Health
from balancekit.outcome import Completion, Outcome
from balancekit.protocols import HealthPolicy
from balancekit.snapshot import Load, Members, Node, Snapshot

__all__ = ["Change", "HealthFactory", "Member", "Pool"]


class HealthFactory(Protocol):
    """Makes the health machine of one endpoint, bound to what its pool can spare."""

    def __call__(self, endpoint: str, may_eject: Callable[[Ejection], bool], /) -> HealthPolicy:
        """Return the machine for ``endpoint``."""
        ...


@final
class Member:
    """One endpoint's place in the pool."""

    __slots__ = ("drain_deadline", "drained", "draining", "health", "leaving", "node")

    def __init__(self, node: Node, health: HealthPolicy | None) -> None:
        self.node: Node = node
        self.health: HealthPolicy | None = health
        self.leaving: bool = False
        self.draining: bool = False
        self.drained: bool = False
        self.drain_deadline: float = math.inf

    @property
    def healthy(self) -> bool:
        """Whether neither health nor draining keeps the endpoint from being picked."""
        return not self.draining and (self.health is None or self.health.eligible)

    @property
    def state(self) -> str:
        """The name of the present state."""
        if self.draining or self.leaving:
            return Health.DRAINING.value
        return Health.HEALTHY.value if self.health is None else self.health.state

    @property
    def deadline(self) -> float:
        """When something is due for this member, infinity if nothing is."""
        if self.draining:
            return self.drain_deadline
        if self.health is None or self.health.deadline is None:
            return math.inf
        return self.health.deadline

    @property
    def reason(self) -> Reason | None:
        """Why the endpoint may not be picked; ``None`` if it may."""
        if self.draining:
            return Reason.DRAINING
        if not self.healthy:
            return Reason.EJECTED
        return None if self.node.weight else Reason.ZERO_WEIGHT

    def rewatch(self) -> None:
        """Have the node report successes iff somebody listens for them."""
        watching = self.health is not None and self.health.watching
        self.node.attend(alert=self.draining or self.leaving or watching)


class Change(Record):
    """A difference between what is in the pool and what is wanted. Made by :meth:`Pool.propose`."""

    before: Mapping[str, Member]
    after: Mapping[str, Member]
    facts: Mapping[str, Endpoint[object]]
    """For each endpoint that stays: what it is to look like."""
    was: Mapping[str, Endpoint[object]]
    """For the same endpoints: what they looked like."""

    @property
    def gone(self) -> list[Node]:
        """The nodes that leave."""
        return [m.node for id, m in self.before.items() if self.after.get(id) is not m]

    @property
    def empty(self) -> bool:
        """Whether nothing would change."""
        return (
            list(self.before) == list(self.after)
            and all(self.before[id] is self.after[id] for id in self.after)
            and self.facts == self.was
        )


@final
class Pool:
    """Membership and health of one balancer.

    Parameters
    ----------
    make_node
        Makes the node of a new endpoint.
    make_health
        Makes its health machine, or ``None`` for no health.
    """

    def __init__(
        self,
        make_node: Callable[[Endpoint[object]], Node],
        make_health: HealthFactory | None = None,
    ) -> None:
        self._make_node = make_node
        self._make_health = make_health
        self._members: dict[str, Member] = {}
        self._leaving: dict[Node, Member] = {}
        self._node_members = Members(())
        self.snapshot: Snapshot = Snapshot(self._node_members, ())
        """The present one; its version grows with every change."""
        self.deadline: float = math.inf
        """When :meth:`advance` is due at the earliest, infinity if nothing is."""
        self.retired: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        """How the leases of endpoints that are gone have ended."""

    # ------------------------------------------------------------------ reading

    @property
    def members(self) -> Mapping[str, Member]:
        """Everybody in the pool, by id, in the order of configuration."""
        return self._members

    @property
    def leaving(self) -> Iterable[Member]:
        """Those who were removed while leases were open."""
        return self._leaving.values()

    def member(self, id: str) -> Member:
        """Return a member or raise ``UnknownEndpointError``."""
        try:
            return self._members[id]
        except (KeyError, TypeError):
            raise UnknownEndpointError(id, tuple(self._members)) from None

    # --------------------------------------------------------------- membership

    def propose(self, wanted: Iterable[Endpoint[object]], *, keep_history: bool = False) -> Change:
        """Compare what is wanted with what is there. Changes nothing.

        ``keep_history`` says that an endpoint whose target changed is still the same one (a server that
        moved): it keeps its node, with load, counters, health and open leases.
        """
        before = dict(self._members)
        after: dict[str, Member] = {}
        facts: dict[str, Endpoint[object]] = {}
        was: dict[str, Endpoint[object]] = {}
        for endpoint in wanted:
            member = before.get(endpoint.id)
            if member is None:
                after[endpoint.id] = self._join(endpoint)
            elif keep_history or _same_target(member.node.endpoint, endpoint):
                after[endpoint.id] = member
                facts[endpoint.id] = endpoint
                was[endpoint.id] = member.node.endpoint
            else:
                after[endpoint.id] = self._join(endpoint)
        return Change(before=before, after=after, facts=facts, was=was)

    def apply(self, change: Change, *, now: float) -> list[Event]:
        """Carry a change out and publish the next snapshot. Return what happened."""
        events: list[Event] = []
        for id, member in change.before.items():
            if change.after.get(id) is not member:
                self._leave(member)
                events.append(Removed(endpoint=id, at=now))
        for id, member in change.after.items():
            if change.before.get(id) is not member:
                events.append(Added(endpoint=id, at=now))
        for id, endpoint in change.facts.items():
            before = change.was[id]
            if before.weight != endpoint.weight:
                events.append(Reweighted(endpoint=id, at=now, before=before.weight, after=endpoint.weight))
            change.after[id].node.configure(endpoint)
        self._members = dict(change.after)
        self._renew_members()
        return events

    def revert(self, change: Change) -> None:
        """Take back a change that was just applied."""
        for id, member in change.before.items():
            if change.after.get(id) is not member:
                del self._leaving[member.node]
                member.leaving = False
                member.rewatch()
        for id, endpoint in change.was.items():
            change.after[id].node.configure(endpoint)
        self._members = dict(change.before)
        self._renew_members()

    def settle(self, *, now: float) -> list[Event]:
        """Let go of removed endpoints that have no leases. To be called once nobody can pick them."""
        return [event for node in list(self._leaving) for event in self._left(node, now)]

    def start_over(self) -> None:
        """Give every endpoint a new node, as if no lease had ever been opened: after a fork."""
        for member in [*self._members.values(), *self._leaving.values()]:
            self._retire(member.node)
        for member in self._members.values():
            member.node = self._make_node(member.node.endpoint)
            member.rewatch()
        self._leaving.clear()
        self._renew_members()

    # ------------------------------------------------------------------ draining

    def drain(self, id: str, *, now: float, deadline: float) -> list[Event]:
        """Send nothing new to an endpoint. Return what happened."""
        member = self.member(id)
        if member.draining:
            member.drain_deadline = now + deadline
            self._expect(member)
            return []
        member.draining = True
        member.drained = False
        member.drain_deadline = now + deadline
        member.rewatch()
        self._expect(member)
        self._renew_snapshot()
        until = member.drain_deadline if math.isfinite(deadline) else None
        events: list[Event] = [Draining(endpoint=id, at=now, inflight=member.node.inflight, deadline=until)]
        return events + self._check_drained(member, now)

    def undrain(self, id: str) -> None:
        """Let a draining endpoint be picked again."""
        member = self.member(id)
        if member.draining:
            member.draining = False
            member.rewatch()
            self._renew_snapshot()

    # -------------------------------------------------------------------- health

    def observe(self, node: Node, completion: Completion, *, now: float) -> list[Event]:
        """Hear how a request ended on a node, which may have left the pool meanwhile."""
        member = self._members.get(node.id)
        if member is None or member.node is not node:
            return self._left(node, now)
        if member.draining:
            return self._check_drained(member, now)
        if member.health is None:
            return []
        was = member.health.eligible
        events = list(member.health.observe(completion, now=now))
        member.rewatch()
        self._expect(member)
        if member.health.eligible != was:
            self._renew_snapshot()
        return events

    def advance(self, *, now: float) -> list[Event]:
        """Let time pass: end ejections, force drains whose deadline is over."""
        events: list[Event] = []
        changed = False
        for member in self._members.values():
            if member.deadline > now:
                continue
            if member.draining:
                member.drain_deadline = math.inf
                if not member.drained:
                    member.drained = True
                    left = member.node.inflight
                    events.append(Drained(endpoint=member.node.id, at=now, forced=True, remaining=left))
            elif member.health is not None:
                was = member.health.eligible
                events += member.health.advance(now=now)
                member.rewatch()
                if member.health.eligible and not was:
                    _forgive(member.node.load)
                changed = changed or member.health.eligible != was
        self.deadline = min((m.deadline for m in self._members.values()), default=math.inf)
        if changed:
            self._renew_snapshot()
        return events

    # ---------------------------------------------------------------- exhaustion

    def unavailable(self, tried: Iterable[str], *, now: float) -> UnavailableError:
        """Say why nobody can be picked: the error to raise."""
        if not self._members:
            return PoolEmptyError("the pool has no endpoints; add one")
        excluded = frozenset(tried)
        reasons: dict[Reason, int] = {}
        due: list[float] = []
        for member in self._members.values():
            reason = member.reason
            if reason is Reason.EJECTED and member.deadline < math.inf:
                due.append(member.deadline)
            if reason in {None, Reason.ZERO_WEIGHT} and member.node.id in excluded:
                reason = Reason.EXCLUDED
            if reason is not None:
                reasons[reason] = reasons.get(reason, 0) + 1
        retry_at = min(due, default=None)
        kind = AttemptsExhaustedError if Reason.EXCLUDED in reasons else AllIneligibleError
        return kind(_explanation(len(self._members), reasons, retry_at, now), retry_at, reasons)

    # ------------------------------------------------------------------ internals

    def _join(self, endpoint: Endpoint[object]) -> Member:
        node = self._make_node(endpoint)
        health = self._make_health(endpoint.id, self._may_eject) if self._make_health else None
        return Member(node, health)

    def _leave(self, member: Member) -> None:
        member.leaving = True
        member.rewatch()
        self._leaving[member.node] = member

    def _left(self, node: Node, now: float) -> list[Event]:
        if node.inflight:
            return []
        known = self._leaving.pop(node, None) is not None
        self._retire(node)
        if not known:  # it was picked from a snapshot that was being replaced, and has been reported
            return []
        return [Drained(endpoint=node.id, at=now, forced=False, remaining=0)]

    def _retire(self, node: Node) -> None:
        """Add to the totals what the node has counted since it was last asked."""
        tally = node.tally()
        for outcome, count in tally.items():
            self.retired[outcome] += count - node.settled.get(outcome, 0)
        node.settled = tally

    def _check_drained(self, member: Member, now: float) -> list[Event]:
        if member.drained or member.node.inflight:
            return []
        member.drained = True
        member.drain_deadline = math.inf
        return [Drained(endpoint=member.node.id, at=now, forced=False, remaining=0)]

    def _expect(self, member: Member) -> None:
        self.deadline = min(self.deadline, member.deadline)

    def _may_eject(self, ejection: Ejection) -> bool:
        """Answer whether one more may go: of those who would serve if nobody were ejected, enough stay."""
        present = [member for member in self._members.values() if not member.draining]
        serving = [member for member in present if member.node.weight] or present
        out = sum(1 for member in serving if not member.healthy)
        return ejection.allows(already_out=out, size=len(serving))

    def _renew_members(self) -> None:
        nodes = tuple([member.node for member in self._members.values()])
        total = sum(node.weight for node in nodes)
        for node in nodes:
            node.capacity = node.weight * len(nodes) / total if node.weight else 1.0
        self._node_members = Members(nodes, version=self._node_members.version + 1)
        self._renew_snapshot()

    def _renew_snapshot(self) -> None:
        healthy = [member.node for member in self._members.values() if member.healthy]
        weighted = tuple([node for node in healthy if node.weight])
        eligible = weighted or tuple(healthy)
        draining = tuple([member.node for member in self._members.values() if member.draining])
        version = self.snapshot.version + 1
        self.snapshot = Snapshot(self._node_members, eligible, draining=draining, version=version)


def _forgive(load: Load) -> None:
    """Tell a load that cares that its endpoint is back from an ejection: health judges it from here on."""
    hook = getattr(load, "forgive", None)
    if hook is not None:
        hook()


def _same_target(old: Endpoint[object], new: Endpoint[object]) -> bool:
    if old.target is new.target:
        return True
    try:
        return bool(old.target == new.target)
    except Exception:
        return False


def _explanation(size: int, reasons: Mapping[Reason, int], retry_at: float | None, now: float) -> str:
    found = ", ".join(f"{count} {reason.value}" for reason, count in reasons.items())
    wait = None if retry_at is None else max(0.0, retry_at - now)
    if wait is None:
        advice = "add an endpoint, or end the drain or the zero weight of one"
        if Reason.EXCLUDED in reasons:
            advice = "give up, or let the request try an endpoint again"
    else:
        advice = f"retry in {wait:.1f} s"
    return f"0 of {size} endpoint{'s'[: size != 1]} eligible: {found}; {advice}"
