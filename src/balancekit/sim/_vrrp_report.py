"""Report of a VRRP simulation: role changes, adverts, outages and overlaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from balancekit.ha import Role

__all__ = ["SentAdvert", "Spell", "VrrpChange", "VrrpReport"]


class VrrpChange(NamedTuple):
    """One change of a router's role."""

    t: float
    """Time in seconds."""
    node: str
    """Name of the router."""
    member: str
    """Name of the member of its sync group; ``"router"`` if it is in none."""
    role: Role | None
    """The new role; ``None`` if the router was killed."""
    why: str
    """The reason."""


class SentAdvert(NamedTuple):
    """One packet that a router sent."""

    t: float
    """Time in seconds."""
    node: str
    source: str
    destination: str
    data: bytes


class Spell(NamedTuple):
    """An interval of time in which an outage or an overlap lasted. Times in seconds."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.end - self.begin


class VrrpReport(NamedTuple):
    """Result of a VRRP simulation. Made by :meth:`VrrpSimulation.run`.

    A router that is frozen while active still counts as active, because its kernel still answers for the addresses. A
    killed router does not.
    """

    changes: tuple[VrrpChange, ...]
    """All changes of roles, in the order of their times."""
    sent: tuple[SentAdvert, ...]
    """All packets that were sent, in the order of their times."""
    end: float
    """End of the simulation in seconds."""

    def holders(self, t: float, *, member: str | None = None) -> tuple[str, ...]:
        """Return the names of the routers that are active at time ``t``, sorted.

        With ``member``, only that member of each router counts. Without it, a router is active if any member is.
        """
        active: tuple[str, ...] = ()
        for at, found in self._history(member):
            if at > t:
                break
            active = found
        return active

    def outages(self, *, after: float = 0.0, member: str | None = None) -> list[Spell]:
        """Return the intervals in which no router was active, from time ``after`` on."""
        return self._spells(lambda active: not active, after, member)

    def overlaps(self, *, after: float = 0.0, member: str | None = None) -> list[Spell]:
        """Return the intervals in which several routers were active, from time ``after`` on."""
        return self._spells(lambda active: len(active) > 1, after, member)

    def _history(self, member: str | None) -> Iterator[tuple[float, tuple[str, ...]]]:
        active: set[tuple[str, str]] = set()
        for change in self.changes:
            if member is None or change.member == member:
                (active.add if change.role is Role.ACTIVE else active.discard)((change.node, change.member))
                yield change.t, tuple(sorted({node for node, _ in active}))

    def _spells(
        self, matches: Callable[[tuple[str, ...]], bool], after: float, member: str | None
    ) -> list[Spell]:
        found: list[Spell] = []
        begin: float | None = 0.0 if matches(()) else None
        for t, active in self._history(member):
            if matches(active):
                begin = t if begin is None else begin
            elif begin is not None:
                found.append(Spell(begin, t))
                begin = None
        if begin is not None:
            found.append(Spell(begin, self.end))
        return [Spell(max(begin, after), end) for begin, end in found if end > max(begin, after)]
