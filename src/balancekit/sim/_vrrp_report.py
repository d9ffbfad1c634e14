"""Results of a VRRP simulation: role changes, adverts, and the times in which none or several routers are active."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from balancekit.ha import Role

__all__ = ["SentAdvert", "Spell", "VrrpChange", "VrrpReport"]


class VrrpChange(NamedTuple):
    """One change of a router's role."""

    t: float
    node: str
    member: str
    role: Role | None
    """The new role; ``None`` if the router was killed."""
    why: str


class SentAdvert(NamedTuple):
    """One packet that a router put on the wire."""

    t: float
    node: str
    source: str
    destination: str
    data: bytes


class Spell(NamedTuple):
    """A time in which something was so."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.end - self.begin


class VrrpReport(NamedTuple):
    """What happened in a simulation. Made by :class:`VrrpSimulation`.

    A frozen router counts as active: its kernel still answers for the addresses. A killed one does not.
    """

    changes: tuple[VrrpChange, ...]
    sent: tuple[SentAdvert, ...]
    end: float

    def holders(self, t: float, *, member: str | None = None) -> tuple[str, ...]:
        """Return the routers that are active at a time, sorted; without ``member`` those of which any member is."""
        active: tuple[str, ...] = ()
        for at, found in self._history(member):
            if at > t:
                break
            active = found
        return active

    def outages(self, *, after: float = 0.0, member: str | None = None) -> list[Spell]:
        """Return the times in which no router was active."""
        return self._spells(lambda active: not active, after, member)

    def overlaps(self, *, after: float = 0.0, member: str | None = None) -> list[Spell]:
        """Return the times in which several routers were active."""
        return self._spells(lambda active: len(active) > 1, after, member)

    def _history(self, member: str | None) -> Iterator[tuple[float, tuple[str, ...]]]:
        active: set[tuple[str, str]] = set()
        for change in self.changes:
            if member is None or change.member == member:
                (active.add if change.role is Role.ACTIVE else active.discard)((change.node, change.member))
                yield change.t, tuple(sorted({node for node, _ in active}))

    def _spells(self, so: Callable[[tuple[str, ...]], bool], after: float, member: str | None) -> list[Spell]:
        found: list[Spell] = []
        begin: float | None = 0.0 if so(()) else None
        for t, active in self._history(member):
            if so(active):
                begin = t if begin is None else begin
            elif begin is not None:
                found.append(Spell(begin, t))
                begin = None
        if begin is not None:
            found.append(Spell(begin, self.end))
        return [Spell(max(begin, after), end) for begin, end in found if end > max(begin, after)]
