"""The ``vrrp_instance`` section of keepalived 2.2.7.

Parameters have the names of its directives. It differs from :class:`~balancekit.ha.VirtualRouter` in five points: version 2
is the default; an interval of 0 is adopted; a process that was paused continues as active; adverts are accepted from any
unicast source; 255 is a priority as any other, but for the start with ``state MASTER``.
"""

from __future__ import annotations

import math

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.ha import OWNER, VirtualRouter

__all__ = ["Instance"]


class Instance(Record):
    """A ``vrrp_instance`` section.

    Parameters
    ----------
    virtual_router_id
        A whole number from 1 to 255.
    virtual_ipaddress
        Addresses, with or without a prefix length.
    unicast_src_ip
        The address of the interface from which adverts are sent, in unicast and in multicast.
    priority, advert_int, vrrp_version, nopreempt, preempt_delay, down_timer_adverts, unicast_peer
        As in the configuration file, with its defaults; times in seconds. ``advert_int`` is rounded to whole seconds in version 2.
        In version 3 it is rounded to hundredths, and is at most 40.95 s. ``nopreempt`` clears ``preempt_delay``.
        Priority 255 clears ``nopreempt``.
    state
        ``"MASTER"`` clears ``nopreempt`` and ``preempt_delay``. An instance of priority 255 is then active at once after a
        start. Any other, and any after a fault, begins as a backup.
    lower_prio_no_advert
        Whether an active router ignores an inferior advert instead of answering it.

    Raises
    ------
    ConfigurationError
        If ``state`` is another word, ``nopreempt`` or ``lower_prio_no_advert`` is no bool, or
        :class:`~balancekit.ha.VirtualRouter` refuses the router id, an address, the priority, the interval, the version, the
        delay or the number of missed adverts.

    Example
    -------
    >>> from balancekit.compat.keepalived import Instance
    >>> instance = Instance(virtual_router_id=51, virtual_ipaddress=("192.0.2.100/24",), unicast_src_ip="192.0.2.11")
    >>> router = instance.router()
    >>> router.version, router.interval, router.priority
    (2, 1.0, 100)
    """

    virtual_router_id: int
    virtual_ipaddress: tuple[str, ...]
    unicast_src_ip: str
    priority: int = 100
    advert_int: float = 1.0
    vrrp_version: int = 2
    nopreempt: bool = False
    preempt_delay: float = 0.0
    down_timer_adverts: int = 3
    unicast_peer: tuple[str, ...] = ()
    lower_prio_no_advert: bool = False
    state: str = "BACKUP"

    def _check(self) -> None:
        if self.state not in {"MASTER", "BACKUP"}:
            raise ConfigurationError("state", self.state, "'MASTER' or 'BACKUP'")
        valid.flag("nopreempt", self.nopreempt)
        valid.flag("lower_prio_no_advert", self.lower_prio_no_advert)
        self.router()

    def router(self) -> VirtualRouter:
        """Return the configuration of the same router for :mod:`balancekit.ha`."""
        plain = self.state == "MASTER"
        return VirtualRouter(
            vrid=self.virtual_router_id,
            addresses=tuple([address.partition("/")[0] for address in self.virtual_ipaddress]),
            source=self.unicast_src_ip,
            priority=self.priority,
            interval=self._interval(),
            version=self.vrrp_version,
            preempt=plain or not self.nopreempt,
            preempt_delay=0.0 if plain or self.nopreempt else self.preempt_delay,
            missed=self.down_timer_adverts,
            answer_lower=not self.lower_prio_no_advert,
            min_interval=0.0,
            peers=self.unicast_peer,
            check_peers=False,
            check_pause=False,
            claims=False,
            starts_active=plain and self.priority == OWNER,
        )

    def _interval(self) -> float:
        """Return the interval as keepalived rounds it: half a unit is rounded up."""
        given = valid.number("advert_int", self.advert_int, minimum=0.01, maximum=255.0, unit="seconds")
        units, largest = (1, 255) if self.vrrp_version == 2 else (100, 4095)
        return max(1, min(largest, math.floor(round(given * 1e6) / 1e6 * units + 0.5))) / units
