"""Sync groups: virtual routers of one machine that change together.

A firewall that holds an inside and an outside address must hold both or neither. The group becomes active when
the down timers of *all* its members have run out, backup when one member does, faulty when one member is.

A group of one is what drivers use for a single router.

Cost: O(members) per call.

Source: ``vrrp_sync_group`` of keepalived 2.2.7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.record import Record
from balancekit._support.whole import put_back, whole
from balancekit.errors import ConfigurationError
from balancekit.ha._effects import Effect, Send
from balancekit.ha._packet import Advert, RejectedAdvert, decode_advert, encode_advert, ip
from balancekit.ha._roles import Role
from balancekit.ha._router import VirtualRouter
from balancekit.ha._vrrp import VrrpMachine

__all__ = ["MemberEffect", "SyncGroup", "SyncGroupMachine", "packets"]

MemberEffect: TypeAlias = tuple[str, Effect]
"""The name of a member, and its effect."""


class SyncGroup(Record):
    """Virtual routers that are active together or not at all.

    Parameters
    ----------
    routers
        The members by name. No two have the same virtual router id and family.

    Raises
    ------
    ConfigurationError
        If there is none, or two have the same id and family.

    *When not to use it:* for addresses that may be on different machines: let each have its own election
    (:func:`place`), so that the loss of one machine moves fewer of them.

    Example
    -------
    >>> from balancekit.ha import SyncGroup, VirtualRouter
    >>> inside = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.12")
    >>> outside = VirtualRouter(vrid=52, addresses=("198.51.100.100",), source="198.51.100.12")
    >>> machine = SyncGroup(routers={"inside": inside, "outside": outside})()
    >>> [f"{name}: {effect}" for name, effect in machine.start(now=0.0)]
    ['inside: initialize -> backup: started', 'outside: initialize -> backup: started']
    """

    routers: Mapping[str, VirtualRouter]

    def _check(self) -> None:
        self.__dict__["routers"] = MappingProxyType(dict(self.routers))
        ids = {_identity(router) for router in self.routers.values()}
        if not self.routers or len(ids) < len(self.routers):
            raise ConfigurationError(
                "routers", list(self.routers), "one router or more, each with an id of its own"
            )

    def __call__(self) -> SyncGroupMachine:
        """Make the machine."""
        return SyncGroupMachine(self)


class SyncGroupMachine(StateRepr, prints=("role", "deadline")):
    """The machines of one sync group. Made by :class:`SyncGroup`; called as :class:`VrrpMachine` is.

    Every effect comes with the name of its member. Not thread-safe: one driver owns it.
    """

    @checked_arguments
    def __init__(self, config: SyncGroup) -> None:
        self.config: SyncGroup = config
        self.machines: Mapping[str, VrrpMachine] = MappingProxyType(
            {name: router() for name, router in config.routers.items()}
        )
        self._by_identity = {_identity(router): name for name, router in config.routers.items()}
        self._held: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "machines": dict(self.machines)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, machines=MappingProxyType(state["machines"]))

    @property
    def routers(self) -> Mapping[str, VirtualRouter]:
        """The configurations, by name."""
        return self.config.routers

    @property
    def role(self) -> Role:
        """The role that all members have; ``BACKUP`` while they are about to change together."""
        roles = {machine.role for machine in self.machines.values()}
        return roles.pop() if len(roles) == 1 else Role.BACKUP

    @property
    def deadline(self) -> float | None:
        """When to call :meth:`advance` next; ``None`` if only a call can change anything."""
        due = [
            machine.deadline
            for name, machine in self.machines.items()
            if machine.deadline is not None and name not in self._held
        ]
        return min(due, default=None)

    @whole
    @checked_arguments
    def start(self, *, now: float) -> tuple[MemberEffect, ...]:
        """Start every member."""
        now = valid.number("now", now)
        return self._settle(
            now, [_tag(name, machine.start(now=now)) for name, machine in self.machines.items()]
        )

    @whole
    @checked_arguments
    def stop(self, *, now: float) -> tuple[MemberEffect, ...]:
        """Stop every member; active ones resign."""
        now = valid.number("now", now)
        self._held.clear()
        return _flat([_tag(name, machine.stop(now=now)) for name, machine in self.machines.items()])

    @checked_arguments
    def receive_packet(
        self, data: bytes, *, source: str, destination: str, hop_limit: int, now: float
    ) -> tuple[MemberEffect, ...]:
        """Decode a packet and let the member it is meant for receive it.

        Raises
        ------
        RejectedAdvert
            With the reason, if it is no valid advert, or one that its member rejects. Nothing has changed.
        """
        advert = decode_advert(data, source=source, destination=destination, hop_limit=hop_limit)
        return self.receive(advert, source, now=now)

    @whole
    @checked_arguments
    def receive(self, advert: Advert, source: str, *, now: float) -> tuple[MemberEffect, ...]:
        """Let the member that an advert is meant for receive it.

        Raises
        ------
        RejectedAdvert
            As :meth:`receive_packet`.
        """
        now = valid.number("now", now)
        name = self._by_identity.get((advert.vrid, ip(source).version))
        if name is None:
            raise RejectedAdvert(f"virtual router {advert.vrid}, which is not ours")
        machine = self.machines[name]
        reason = machine.config.rejection(advert, source)
        if reason is not None:
            raise RejectedAdvert(reason)
        return self._settle(now, [_tag(name, machine.receive(advert, source, now=now))])

    @whole
    @checked_arguments
    def advance(self, *, now: float) -> tuple[MemberEffect, ...]:
        """Do what is due: adverts of active members, and the takeover once every backup is due."""
        now = valid.number("now", now)
        waiting = [machine for machine in self.machines.values() if machine.role is Role.BACKUP]
        together = all(machine.deadline is not None and machine.deadline <= now for machine in waiting)
        found = [
            _tag(name, machine.advance(now=now))
            for name, machine in self.machines.items()
            if together or machine.role is not Role.BACKUP
        ]
        return self._settle(now, found)

    @whole
    @checked_arguments
    def set_priority(
        self, priority: int, *, now: float, member: str | None = None
    ) -> tuple[MemberEffect, ...]:
        """Change the priority of one member, or of all."""
        now = valid.number("now", now)
        changed = list(self._named(member))
        for name in changed:
            self.machines[name].check_priority(priority)
        return self._settle(
            now, [_tag(name, self.machines[name].set_priority(priority, now=now)) for name in changed]
        )

    @whole
    @checked_arguments
    def fault(
        self, reason: str = "fault", *, now: float, member: str | None = None
    ) -> tuple[MemberEffect, ...]:
        """Report a fault of one member, or of all: every member resigns and stays out."""
        now = valid.number("now", now)
        return self._settle(
            now, [_tag(n, self.machines[n].fault(r, now=now)) for n, r in self._reasons(reason, member)]
        )

    @whole
    @checked_arguments
    def clear(
        self, reason: str = "fault", *, now: float, member: str | None = None
    ) -> tuple[MemberEffect, ...]:
        """Report that a fault is over, with the same reason and member as in :meth:`fault`."""
        now = valid.number("now", now)
        return self._settle(
            now, [_tag(n, self.machines[n].clear(r, now=now)) for n, r in self._reasons(reason, member)]
        )

    def explain(self, *, now: float) -> str:
        """Return a line per member."""
        if len(self.machines) == 1:
            return next(iter(self.machines.values())).explain(now=now)
        return "\n".join([f"{name}: {machine.explain(now=now)}" for name, machine in self.machines.items()])

    def _saved(self) -> tuple[Any, ...]:
        """Return the state of every member, which an interrupted call goes back to."""
        return set(self._held), [put_back(machine) for machine in self.machines.values()]

    def _restore(self, saved: tuple[Any, ...]) -> None:
        self._held, restores = saved
        for restore in restores:
            restore()

    def _named(self, member: str | None) -> Iterable[str]:
        if member is None:
            return self.machines
        if member not in self.machines:
            raise ConfigurationError("member", member, f"one of {', '.join(self.machines)}")
        return (member,)

    def _reasons(self, reason: str, member: str | None) -> list[tuple[str, str]]:
        """Return every member and the reason that stands against it if ``member`` is faulty."""
        valid.text("reason", reason, empty=True)
        faulty = set(self._named(member))
        return [(name, reason if name in faulty else f"{member}: {reason}") for name in self.machines]

    def _settle(self, now: float, found: list[tuple[MemberEffect, ...]]) -> tuple[MemberEffect, ...]:
        """Let the others leave with a member that became backup, and note which members wait for the rest."""
        effects = list(_flat(found))
        left = [
            name
            for name, effect in effects
            if getattr(effect, "was", None) is Role.ACTIVE and self.machines[name].role is Role.BACKUP
        ]
        if left:
            resigned = any(isinstance(effect, Send) and not effect.advert.priority for _, effect in effects)
            for name, machine in self.machines.items():
                if machine.role is Role.ACTIVE:
                    effects += _tag(name, machine.leave_with_group(resign=resigned, now=now))
        waiting = {name: machine for name, machine in self.machines.items() if machine.role is Role.BACKUP}
        due = {
            name
            for name, machine in waiting.items()
            if machine.deadline is not None and machine.deadline <= now
        }
        self._held = due if len(due) < len(waiting) else set()
        for name in self._held:
            waiting[name].deadline = now  # it did run: waiting for the others is no pause
        return tuple(effects)


@checked_arguments
def packets(router: VirtualRouter, advert: Advert) -> tuple[tuple[bytes, str], ...]:
    """Return the payloads that carry an advert, each with its destination: one, or one per unicast peer.

    Example
    -------
    >>> from balancekit.ha import VirtualRouter, packets
    >>> router = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.11", priority=150, interval=0.5)
    >>> [(data.hex(), destination) for data, destination in packets(router, router.advert(150))]
    [('313396010032d399c0000264', '224.0.0.18')]
    """
    form = router.ipv4_checksum
    return tuple(
        [
            (encode_advert(advert, source=router.source, destination=to, ipv4_checksum=form), to)
            for to in router.destinations
        ]
    )


def _identity(router: VirtualRouter) -> tuple[int, int]:
    return router.vrid, ip(router.source).version


def _tag(name: str, effects: Iterable[Effect]) -> tuple[MemberEffect, ...]:
    return tuple([(name, effect) for effect in effects])


def _flat(found: Iterable[tuple[MemberEffect, ...]]) -> tuple[MemberEffect, ...]:
    return tuple([effect for effects in found for effect in effects])
