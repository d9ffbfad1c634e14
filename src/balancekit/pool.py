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
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol, final

from balancekit._change import Change
from balancekit._member import Member
from balancekit._support.log import log_error
from balancekit._unavailable import unavailable
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError, UnavailableError, UnknownEndpointError
from balancekit.events import Added, Cooling, Drained, Draining, Event, Removed, Reweighted
from balancekit.exhaustion import Choice, ExhaustionPolicy, FailClosed
from balancekit.health import Ejection, Membership, Move, OutlierSweep
from balancekit.outcome import CheckResult, Completion, Outcome
from balancekit.protocols import HealthPolicy, SupportsCheckResults, SupportsOutlierEjection, SupportsUneject
from balancekit.snapshot import Load, Members, Node, Snapshot

__all__ = ["Change", "HealthFactory", "Member", "Pool"]

_CLOSED = FailClosed()


class HealthFactory(Protocol):
    """Makes the health machine of one endpoint, bound to what its pool can spare."""

    def __call__(self, endpoint: str, may_eject: Callable[[Ejection], bool], /) -> HealthPolicy:
        """Return the machine for ``endpoint``."""
        ...


@final
class Pool:
    """Membership and health of one balancer.

    Parameters
    ----------
    make_node
        Makes the node of a new endpoint.
    make_health
        Makes its health machine, or ``None`` for no health.
    survey
        The sweeps that compare endpoints, or ``None`` for none.
    exhaustion
        Who may be picked when few are healthy.
    """

    def __init__(
        self,
        make_node: Callable[[Endpoint[object]], Node],
        make_health: HealthFactory | None = None,
        *,
        survey: OutlierSweep | None = None,
        exhaustion: ExhaustionPolicy = _CLOSED,
    ) -> None:
        self._make_node = make_node
        self._make_health = make_health
        self._survey = survey
        self._exhaustion = exhaustion
        self._members: dict[str, Member] = {}
        self._stale = False
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
        events += self._spare(now)
        self._renew_members()
        return events

    def revert(self, change: Change) -> None:
        """Take back a change that was just applied."""
        for id, member in change.before.items():
            if change.after.get(id) is not member:
                self._leaving.pop(member.node, None)
                member.unremove()
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
        if member.membership is Membership.DRAINED:
            return []
        member.drain_deadline = now + deadline
        begun = member.move(Move.DRAIN)
        self._expect(member)
        if not begun:
            return []
        until = member.drain_deadline if math.isfinite(deadline) else None
        events: list[Event] = [Draining(endpoint=id, at=now, inflight=member.node.inflight, deadline=until)]
        events += self._spare(now)
        self._renew_snapshot()
        return events + self._check_drained(member, now)

    def undrain(self, id: str) -> None:
        """Let a draining endpoint be picked again."""
        member = self.member(id)
        member.drain_deadline = math.inf
        if member.move(Move.UNDRAIN):
            self._expect(member)
            self._renew_snapshot()

    # -------------------------------------------------------------------- health

    def observe(self, node: Node, completion: Completion, *, now: float) -> list[Event]:
        """Hear how a request ended on a node, which may have left the pool meanwhile."""
        member = self._members.get(node.id)
        if member is None or member.node is not node:
            return self._left(node, now)
        if not member.serving:
            return self._check_drained(member, now)
        events: list[Event] = []
        if completion.retry_after:
            events += self._cool(member, now + completion.retry_after, now)
        if member.health is not None:
            events += self._hear(member, partial(member.health.observe, completion, now=now))
        return events + self._refresh(now)

    def check(self, id: str, result: CheckResult, *, now: float) -> tuple[list[Event], bool]:
        """Hear how a check of an endpoint ended. Return what happened, and whether it is changing."""
        member = self.member(id)
        health: object = member.health
        if not isinstance(health, SupportsCheckResults):
            raise ConfigurationError("health", health, "a policy that hears checks, such as Lifecycle()")
        events = self._hear(member, partial(health.checked, result, now=now)) + self._refresh(now)
        return events, health.changing

    def advance(self, *, now: float) -> list[Event]:
        """Let time pass: end ejections, force drains whose deadline is over, look at everybody."""
        events: list[Event] = []
        for member in self._members.values():
            if member.deadline > now:
                continue
            if not member.serving:
                events += self._check_drained(member, now, forced=True)
                continue
            if member.cooling is not None and member.cooling <= now:
                member.cooling = None
                self._stale = True
            if member.health is not None:
                events += self._hear(member, partial(member.health.advance, now=now))
        if self._survey is not None and now >= self._survey.deadline:
            events += self._sweep(self._survey, now)
        events += self._refresh(now)
        self._look_ahead()
        return events

    def _cool(self, member: Member, until: float, now: float) -> list[Event]:
        """Leave an endpoint alone for as long as it asked."""
        if member.cooling is not None and until <= member.cooling:
            return []
        member.cooling = until
        self._stale = True
        self._expect(member)
        return [Cooling(endpoint=member.node.id, at=now, until=until)]

    def _sweep(self, survey: OutlierSweep, now: float) -> list[Event]:
        present = [member.node for member in self._members.values() if member.eligible]
        events: list[Event] = []
        for id, cause in survey.advance(present, now=now).items():
            member = self._members.get(id)
            health: object = None if member is None else member.health
            if member is not None and isinstance(health, SupportsOutlierEjection):
                events += self._hear(member, partial(health.on_outlier, cause, now=now))
        return events

    def _hear(self, member: Member, tell: Callable[[], Sequence[Event]]) -> list[Event]:
        """Tell a health machine something, and draw the consequences for its endpoint."""
        eligible, _ = was = member.standing
        events = list(tell())
        member.rewatch()
        self._expect(member)
        if member.eligible and not eligible:
            _reset(member.node.load)
        self._stale = self._stale or member.standing != was
        return events

    def _refresh(self, now: float) -> list[Event]:
        """Draw the consequences for the pool, once for everything that was heard."""
        if not self._stale:
            return []
        events = self._spare(now)
        self._renew_snapshot()
        return events

    def _spare(self, now: float) -> list[Event]:
        """If nobody is left, let the suppressed endpoint back that is due soonest."""
        serving = [member for member in self._members.values() if member.serving]
        if not serving or any(member.eligible for member in serving):
            return []
        for member in sorted(serving, key=lambda member: member.deadline):
            health: object = member.health
            if isinstance(health, SupportsUneject):
                events = self._hear(member, partial(health.uneject, now=now))
                if member.eligible:
                    return events
        return []

    # ---------------------------------------------------------------- exhaustion

    def unavailable(self, tried: Iterable[str], *, now: float) -> UnavailableError:
        """Say why nobody can be picked: the error to raise."""
        return unavailable(self._members.values(), frozenset(tried), now=now, panic=self.snapshot.panic)

    # ------------------------------------------------------------------ internals

    def _join(self, endpoint: Endpoint[object]) -> Member:
        node = self._make_node(endpoint)
        may_eject = partial(self._may_eject, endpoint.id)
        health = self._make_health(endpoint.id, may_eject) if self._make_health else None
        return Member(node, health)

    def _leave(self, member: Member) -> None:
        member.move(Move.REMOVE)
        self._leaving[member.node] = member

    def _left(self, node: Node, now: float) -> list[Event]:
        if node.inflight:
            return []
        member = self._leaving.pop(node, None)
        self._retire(node)
        if member is None:  # it was picked from a snapshot that was being replaced, and has been reported
            return []
        member.move(Move.LAST_LEASE)
        return [Drained(endpoint=node.id, at=now, forced=False, remaining=0)]

    def _retire(self, node: Node) -> None:
        """Add to the totals what the node has counted since it was last asked."""
        tally = node.tally()
        for outcome, count in tally.items():
            self.retired[outcome] += count - node.settled.get(outcome, 0)
        node.settled = tally

    def _check_drained(self, member: Member, now: float, *, forced: bool = False) -> list[Event]:
        """End a drain if its last lease has ended, or by force."""
        left = member.node.inflight
        if left and not forced:
            return []
        if not member.move(Move.DEADLINE if left else Move.LAST_LEASE):
            return []
        member.drain_deadline = math.inf
        return [Drained(endpoint=member.node.id, at=now, forced=left > 0, remaining=left)]

    def _expect(self, member: Member) -> None:
        self.deadline = min(self.deadline, member.deadline)

    def _may_eject(self, id: str, ejection: Ejection) -> bool:
        """Answer whether this one may go too: of those who would serve if nobody were ejected, enough stay."""
        present = [member for member in self._members.values() if member.serving]
        serving = [member for member in present if member.node.weight] or present
        out = sum(1 for member in serving if not member.eligible and member.node.id != id)
        return ejection.allows(already_out=out, size=len(serving))

    def _look_ahead(self) -> None:
        due = min((member.deadline for member in self._members.values()), default=math.inf)
        self.deadline = due if self._survey is None else min(due, self._survey.deadline)

    def _renew_members(self) -> None:
        nodes = tuple([member.node for member in self._members.values()])
        total = math.fsum(node.weight for node in nodes)
        for node in nodes:
            node.capacity = node.weight * len(nodes) / total if node.weight else 1.0
        self._node_members = Members(nodes, version=self._node_members.version + 1)
        self._look_ahead()
        self._renew_snapshot()

    def _choose(self, serving: Sequence[Member], healthy: Sequence[Member]) -> Choice:
        """Ask the exhaustion policy; one that raises is logged and changes nothing."""
        try:
            return self._exhaustion(serving, healthy)
        except Exception:
            log_error("exhaustion policy %r failed", self._exhaustion)
            return Choice(healthy)

    def _renew_snapshot(self) -> None:
        self._stale = False
        members = self._members.values()
        serving = [member for member in members if member.serving]
        serving = [member for member in serving if member.cooling is None] or serving
        chosen, panic = self._choose(serving, [member for member in serving if member.eligible])
        weighted = [member.node for member in chosen if member.node.weight]
        self.snapshot = Snapshot(
            self._node_members,
            tuple(weighted or [member.node for member in chosen]),
            draining=tuple([member.node for member in members if not member.serving]),
            version=self.snapshot.version + 1,
            panic=panic,
        )


def _reset(load: Load) -> None:
    """Tell a load that cares that its endpoint is back from an ejection: health judges it from here on."""
    hook = getattr(load, "reset", None)
    if hook is not None:
        hook()


def _same_target(old: Endpoint[object], new: Endpoint[object]) -> bool:
    if old.target is new.target:
        return True
    try:
        return bool(old.target == new.target)
    except Exception:
        return False
