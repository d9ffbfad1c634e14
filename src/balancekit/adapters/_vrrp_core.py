"""Core of the VRRP drivers: sockets and a sync group, without threads, tasks or waiting.

A driver calls it when a socket is readable and when it is due. It sends adverts at once, and leaves what may take
time, hooks and announcements, in :attr:`VrrpCore.calls`.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Iterable
from io import TextIOWrapper
from pathlib import Path
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.log import LateLog
from balancekit.adapters._vrrp_calls import HookCall, HookKind, RoleChange
from balancekit.adapters._vrrp_sockets import AdvertSocket, Announcer, Packet, plain_address
from balancekit.errors import ConfigurationError
from balancekit.ha import (
    Announce,
    Became,
    LoggedAdvert,
    MemberEffect,
    RejectedAdvert,
    Role,
    Send,
    SyncGroup,
    SyncGroupMachine,
    TrackedState,
    Tracking,
    TrackingMachine,
    VirtualRouter,
    packets,
)

__all__ = [
    "VrrpCore",
    "clock",
]

SINGLE: Final = "router"
"""The member name of a router that is in no sync group."""
MAX_LINK_POLL_S: Final = 0.25
"""The longest time for which a lost carrier stays unnoticed."""
MAX_PACKETS_AT_ONCE: Final = 256
"""Packets read before timers are looked at."""
MAX_REASONS: Final = 64
"""Distinct reasons of rejection that are counted: some contain what a stranger sent."""
MIN_SKEW_GAP_S: Final = 0.02
"""Skews that are closer than this differ by less than schedulers and bridges delay packets."""
LINK: Final = "link"
ADDRESS: Final = "source address"
"""The reason of a router whose own address is not there: it could not send an advert, and two would be active."""
PROTECTED: Final = "protected address"
"""The reason of an active router whose protected addresses were there and are gone: none has them."""


def clock() -> float:
    """Return seconds that go on while the machine is suspended, where the system has such a clock."""
    return time.clock_gettime(_CLOCK)


_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@final
class VrrpCore:
    """The part of a driver that both have. One thread or task at a time may call it."""

    def __init__(
        self,
        router: VirtualRouter | SyncGroup,
        interface: str,
        *,
        tracking: Tracking | None,
        check_link: bool,
        watch_addresses: bool,
        advert_log: str | Path | None,
    ) -> None:
        if isinstance(router, VirtualRouter):
            router = SyncGroup(routers={SINGLE: router})
        if not isinstance(router, SyncGroup):
            raise ConfigurationError("router", router, "a VirtualRouter or a SyncGroup")
        if tracking is not None and not isinstance(tracking, Tracking):
            raise ConfigurationError("tracking", tracking, "a Tracking(...), or None")
        self.interface = valid.text("interface", interface)
        self.group: SyncGroup = router
        self.machine: SyncGroupMachine = router()
        self.calls: deque[HookCall] = deque()
        self.notes: LateLog = LateLog()
        """What is to be logged under no lock."""
        self.rejected: Counter[str] = Counter()
        self.sockets: dict[int, AdvertSocket] = {}
        self._announcer: Announcer | None = None
        self._check_link = valid.flag("check_link", check_link)
        self._watch_addresses = valid.flag("watch_addresses", watch_addresses)
        self._held: set[str] = set()
        """Active members whose protected addresses have been there."""
        self._vrids = {one.vrid for one in router.routers.values()}
        self._link_poll = min(MAX_LINK_POLL_S, *[one.interval / 2 for one in router.routers.values()])
        self._next_poll = 0.0
        self._log_path = None if advert_log is None else valid.path("advert_log", advert_log)
        self._log: TextIOWrapper | None = None
        self._log_begun = 0.0
        self._sending = True
        self._warned: set[str] = set()
        # Each router may refuse what is tracked. The first's priority is reported.
        found = [] if tracking is None else [tracking(each) for each in router.routers.values()]
        self.tracking: TrackingMachine | None = found[0] if found else None

    # ------------------------------------------------------------------ life

    def open(self) -> None:
        """Open the sockets and the log."""
        try:
            self._open_sockets()
            self._announcer = Announcer(self.interface)
            if self._log_path is not None:
                self._log = Path(self._log_path).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115 - kept
                self._log_begun = clock()
        except BaseException:
            self.close()
            raise

    def _open_sockets(self) -> None:
        for router in self.group.routers.values():
            family = 6 if ":" in router.source else 4
            if family not in self.sockets:
                self.sockets[family] = AdvertSocket(self.interface, router)

    def close(self) -> None:
        """Close whatever is open."""
        for one in self.sockets.values():
            one.close()
        self.sockets = {}
        if self._announcer is not None:
            self._announcer.close()
            self._announcer = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def start(self, now: float) -> None:
        """Begin as backup, or in fault without a link."""
        if self._check_link:
            self._look_at_interface(now)
        if self.tracking is not None:
            self.carry_out(self.tracking.apply(self.machine, now=now))
        self.carry_out(self.machine.start(now=now))

    def stop(self, now: float) -> None:
        """Resign if active."""
        self.carry_out(self.machine.stop(now=now))

    # ------------------------------------------------------------------ events

    def due_in(self, now: float) -> float:
        """Return the seconds until :meth:`tick` is to be called."""
        due = self._next_poll if self._check_link or self._watch_addresses else now + 3600.0
        deadline = self.machine.deadline
        if deadline is not None:
            due = min(due, deadline)
        return max(0.0, due - now)

    def tick(self, now: float) -> None:
        """Look at the link and the timers."""
        if now >= self._next_poll:
            self._next_poll = now + self._link_poll
            if self._check_link:
                self._look_at_interface(now)
            if self._watch_addresses:
                self._look_at_addresses(now)
        deadline = self.machine.deadline
        if deadline is not None and deadline <= now:
            self.carry_out(self.machine.advance(now=now))

    def read(self) -> None:
        """Receive what has arrived."""
        for one in self.sockets.values():
            for _ in range(MAX_PACKETS_AT_ONCE):
                try:
                    packet = one.receive()
                except OSError:  # the interface went down: the link says so
                    break
                if packet is None:
                    break
                self._receive(packet, clock())

    def report(self, check: str, *, passed: bool, now: float) -> TrackedState:
        """Record a tracked check."""
        state = self._tracked().report(check, passed=passed)
        self.carry_out(self._tracked().apply(self.machine, now=now))
        return state

    def set_value(self, name: str, value: int, now: float) -> TrackedState:
        """Record a tracked value."""
        state = self._tracked().set_value(name, value)
        self.carry_out(self._tracked().apply(self.machine, now=now))
        return state

    def announce(self, change: RoleChange) -> None:
        """Send the announcements of a member, if it is still active."""
        announcer = self._announcer
        if announcer is not None and self.machine.machines[change.member].role is Role.ACTIVE:
            with contextlib.suppress(OSError):  # the link is down; the next poll reports it
                announcer.announce(change.addresses)

    def carry_out(self, effects: Iterable[MemberEffect]) -> None:
        """Send adverts, and note what else there is to do."""
        for member, effect in effects:
            router = self.group.routers[member]
            if isinstance(effect, Send):
                self._send(router, effect)
            elif isinstance(effect, Became):
                self._note(member, router, effect)
            elif isinstance(effect, Announce):
                change = RoleChange(member, Role.ACTIVE, Role.ACTIVE, "announced again", router.addresses)
                self.calls.append(HookCall(HookKind.ANNOUNCE, change))

    # ------------------------------------------------------------------ inside

    def _tracked(self) -> TrackingMachine:
        if self.tracking is None:
            raise ConfigurationError("tracking", None, "a Tracking, given when the driver is made")
        return self.tracking

    def _look_at_interface(self, now: float) -> None:
        """Fault the routers while there is no link or no address to send from. Belong to an interface that was recreated."""
        if not self._has_link():
            self.carry_out(self.machine.fault(LINK, now=now))
            return
        for member, router in self.group.routers.items():
            one = self.sockets[6 if ":" in router.source else 4]
            # One that sends from the protected address has it when it is active.
            there = _has(router.addresses, router.source) or one.can_send(router.source)
            change = self.machine.clear if there else self.machine.fault
            self.carry_out(change(ADDRESS, member=member, now=now))
        self.carry_out(self.machine.clear(LINK, now=now))

    def _look_at_addresses(self, now: float) -> None:
        """Let an active router start again whose addresses were taken away; its hook adds them when it is active again."""
        for member, router in self.group.routers.items():
            if self.machine.machines[member].role is not Role.ACTIVE:
                self._held.discard(member)
                continue
            one = self.sockets[6 if ":" in router.source else 4]
            if all(one.can_send(address) for address in router.addresses):
                self._held.add(member)
            elif member in self._held:
                self._held.discard(member)
                self.carry_out(self.machine.fault(PROTECTED, member=member, now=now))
                self.carry_out(self.machine.clear(PROTECTED, member=member, now=now))

    def _has_link(self) -> bool:
        sockets = self.sockets.values()
        if not all(one.link_is_up() for one in sockets):
            return False
        try:
            for one in (*sockets, self._announcer):
                if one is not None:
                    one.attach()
        except OSError:  # it went away again
            return False
        return True

    def _note(self, member: str, router: VirtualRouter, became: Became) -> None:
        self.notes.change("VRRP %s (%d): %s", member, router.vrid, became, bad=became.role is Role.FAULT)
        change = RoleChange(member, became.role, became.was, became.why, router.addresses)
        if became.role is Role.ACTIVE:
            self.calls.append(HookCall(HookKind.ACTIVE, change))
        elif became.was in {Role.ACTIVE, Role.INITIALIZE}:
            self.calls.append(HookCall(HookKind.BACKUP, change))
        self.calls.append(HookCall(HookKind.CHANGE, change))

    def _send(self, router: VirtualRouter, effect: Send) -> None:
        one = self.sockets.get(6 if ":" in router.source else 4)
        if one is None:
            return
        try:
            for data, destination in packets(router, effect.advert):
                one.send(data, destination, router.source)
            self._sending = True
        except OSError:
            if self._sending:  # once, not once an interval
                self.notes.error("VRRP %d: an advert could not be sent on %s", router.vrid, self.interface)
            self._sending = False

    def _receive(self, packet: Packet, now: float) -> None:
        if _has([router.source for router in self.group.routers.values()], packet.source):
            return
        if self._log is not None:
            t = now - self._log_begun
            logged = LoggedAdvert(t, packet.source, packet.destination, packet.hop_limit, packet.data)
            with contextlib.suppress(OSError):  # a full disk is no reason to stop
                self._log.write(logged.line() + "\n")
        try:
            effects = self.machine.receive_packet(
                packet.data,
                source=packet.source,
                destination=packet.destination,
                hop_limit=packet.hop_limit,
                now=now,
            )
        except RejectedAdvert as error:
            foreign = packet.data[1:2] and packet.data[1] not in self._vrids  # of another election, as usual
            if not foreign and error.reason not in self.rejected and len(self.rejected) < MAX_REASONS:
                self.notes.change(
                    "VRRP: rejected an advert from %s: %s", packet.source, error.reason, bad=True
                )
            if error.reason in self.rejected or len(self.rejected) < MAX_REASONS:
                self.rejected[error.reason] += 1
            return
        self._compare(packet.source)
        self.carry_out(effects)

    def _compare(self, source: str) -> None:
        """Warn, once a router, if its timer is too close to ours."""
        if source in self._warned or len(self._warned) >= MAX_REASONS:
            return
        for machine in self.machine.machines.values():
            advert = machine.last_received
            if machine.last_source != source or advert is None or not advert.priority:
                continue
            gap = abs(advert.priority - machine.priority) / 256 * machine.active_interval
            if 0.0 < gap < MIN_SKEW_GAP_S:
                self._warned.add(source)
                self.notes.change(
                    "VRRP %d: the down timers of %s and of this router differ by %.1f ms, less than delays do: "
                    "both may become active at once. Spread the priorities",
                    advert.vrid,
                    source,
                    gap * 1000,
                    bad=True,
                )


def _has(addresses: Iterable[str], one: str) -> bool:
    """Return whether an address is among others, however it is written: IPv6 has many spellings."""
    return plain_address(one) in map(plain_address, addresses)
