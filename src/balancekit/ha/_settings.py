"""Settings of one router in a VRRP election, and the formulas of its timers.

.. code-block:: text

    skew = (256 - priority) / 256 * interval of the active router      (version 2: of one second)
    down = missed * interval of the active router + skew

*Outage.* An active router that dies at a random phase of its interval is replaced after a time uniform in
``(down - interval, down)``; one that stops or faults, after ``skew``. At an interval of 1 s and priority 100 that
is 2.61 to 3.61 s, and 0.61 s.

Cost: O(number of addresses) to check an advert.

Source: RFC 5798 and RFC 9568 section 6.1; options named as in keepalived 2.2.7 where it has them.
"""

from __future__ import annotations

from typing import Final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.ha._packet import (
    IPV4_GROUP,
    IPV6_GROUP,
    MAX_INTERVAL_S,
    Advert,
    Ipv4Checksum,
    check_interval,
    ip,
)

__all__ = ["OWNER", "RouterSettings"]

OWNER: Final = 255
"""The priority of the router that owns the addresses."""
BROADCAST: Final = 0xFFFF_FFFF
"""The address of IPv4 that is of all machines."""
FLAGS: Final = (
    "preempt",
    "answer_lower",
    "resign_when_outranked",
    "check_peers",
    "check_addresses",
    "check_pause",
    "claims",
    "starts_active",
)


class RouterSettings(Record):
    """What one router needs to know of an election: the fields of :class:`~balancekit.ha.VirtualRouter`.

    Raises
    ------
    ConfigurationError
        If a number is outside its bounds, or a flag is no bool. If an address is malformed or of another family
        than ``addresses``, or ``source`` is among the peers.
    """

    vrid: int
    addresses: tuple[str, ...]
    source: str
    priority: int = 100
    interval: float = 1.0
    version: int = 3
    preempt: bool = True
    preempt_delay: float = 0.0
    missed: int = 3
    answer_lower: bool = True
    resign_when_outranked: bool = False
    min_interval: float = 0.01
    peers: tuple[str, ...] = ()
    check_peers: bool = True
    check_addresses: bool = True
    ipv4_checksum: Ipv4Checksum = Ipv4Checksum.PSEUDO_HEADER
    check_pause: bool = True
    claims: bool = True
    starts_active: bool = False

    def _check(self) -> None:
        if self.version in MAX_INTERVAL_S:
            check_interval(self.interval, self.version, minimum=1)
        self.advert(1)  # version, vrid and addresses are checked there
        valid.integer("priority", self.priority, minimum=1, maximum=OWNER)
        valid.number("preempt_delay", self.preempt_delay, minimum=0.0)
        valid.integer("missed", self.missed, minimum=1)
        valid.number("min_interval", self.min_interval, minimum=0.0)
        for name in FLAGS:
            valid.flag(name, getattr(self, name))
        self.__dict__["ipv4_checksum"] = valid.member("ipv4_checksum", self.ipv4_checksum, Ipv4Checksum)
        family = ip(self.addresses[0]).version
        if len({ip(each) for each in self.addresses}) < len(self.addresses):
            raise ConfigurationError("addresses", self.addresses, "each address once")
        if not isinstance(self.peers, tuple):
            raise ConfigurationError("peers", self.peers, "a tuple of addresses")
        for name, given in (("source", (self.source,)), ("peers", self.peers)):
            if any(ip(one, name).version != family for one in given):
                raise ConfigurationError(name, given, f"IPv{family} addresses, as the protected ones")
        for name, given in (("addresses", self.addresses), ("source", (self.source,)), ("peers", self.peers)):
            for one in given:
                if ip(one).is_multicast or ip(one).is_unspecified or int(ip(one)) == BROADCAST:
                    raise ConfigurationError(name, one, "an address of one machine")
        if ip(self.source) in {ip(peer) for peer in self.peers}:
            raise ConfigurationError(
                "peers", self.peers, f"the other routers, without source ({self.source})"
            )

    @checked_arguments
    def skew(self, interval: float, priority: int | None = None) -> float:
        """Return the seconds by which this router waits longer than a hypothetical one of priority 256."""
        share = (256 - (self.priority if priority is None else priority)) / 256
        return share * (interval if self.version == 3 else 1.0)

    @checked_arguments
    def down(self, interval: float, priority: int | None = None) -> float:
        """Return the seconds of silence after which an active router of this interval counts as dead."""
        return self.missed * interval + self.skew(interval, priority)

    @checked_arguments
    def advert(self, priority: int) -> Advert:
        """Return the advert that this router sends with a priority."""
        return Advert(
            version=self.version,
            vrid=self.vrid,
            priority=priority,
            interval=self.interval,
            addresses=self.addresses,
        )

    @checked_arguments
    def rejection(self, advert: Advert, source: str) -> str | None:
        """Return why an advert from a source would be rejected, ``None`` if it is accepted."""
        if advert.vrid != self.vrid:
            return f"virtual router {advert.vrid}, not {self.vrid}"
        if advert.version != self.version:
            return f"version {advert.version}, not {self.version}"
        sender = ip(source)
        if sender == ip(self.source):
            return "its own advert"
        if self.peers and self.check_peers and sender not in {ip(peer) for peer in self.peers}:
            return f"{source} is no peer"
        if advert.interval < self.min_interval:
            return f"interval {advert.interval:g} s, under {self.min_interval:g} s"
        if self.version == 2 and advert.interval != self.interval:
            return f"interval {advert.interval:g} s, not {self.interval:g} s (version 2)"
        if self.check_addresses and not _same(advert.addresses, self.addresses):
            return f"addresses {', '.join(advert.addresses)}"
        return None

    @property
    def destinations(self) -> tuple[str, ...]:
        """Where adverts go: the peers, or the group of the family."""
        return self.peers or ((IPV4_GROUP,) if ip(self.source).version == 4 else (IPV6_GROUP,))


def _same(theirs: tuple[str, ...], own: tuple[str, ...]) -> bool:
    """Return whether both lists have the same addresses, in any order."""
    return len(theirs) == len(own) and {ip(one) for one in theirs} == {ip(one) for one in own}
