"""Configuration of one router in a VRRP election, called to make its machine."""

from __future__ import annotations

from balancekit.ha._settings import RouterSettings
from balancekit.ha._vrrp import VrrpMachine

__all__ = ["VirtualRouter"]


class VirtualRouter(RouterSettings):
    """One router in the election for a set of addresses.

    Parameters
    ----------
    vrid
        The virtual router, 1 to 255: equal on all its routers, unique on the network.
    addresses
        The protected addresses, 1 to 255 of one family; over IPv6 the first is link-local.
    source
        The router's own address, of the same family: the source of its adverts, and the tie-breaker between
        equal priorities.
    priority
        1 to 254, the highest wins; 255 if the addresses are the router's own.
    interval
        Seconds between adverts: a multiple of 0.01 up to 40.95, or whole seconds up to 255 in version 2.
    version
        3, or 2 for old routers over IPv4.
    preempt
        Whether to take over from an active router of lower priority. One of priority 255 always does.
    preempt_delay
        Seconds to wait before taking over from such a router, from its first advert on, >= 0.
    missed
        Adverts missed before the active router counts as dead, >= 1: equal on all routers.
    answer_lower
        Whether an active router answers an inferior advert at once (RFC 9568), or ignores it (RFC 5798).
    resign_when_outranked
        Whether an active router resigns as soon as its priority falls below that in an advert it has received. Otherwise
        the other router waits for a down time. If that router is dead meanwhile, resigning costs a down time.
    min_interval
        The shortest interval accepted from others, seconds, >= 0. Zero is forbidden by the RFC; keepalived
        accepts it, and takes over at once.
    peers
        Addresses to send adverts to instead of the multicast group.
    check_peers
        Whether only adverts from peers are accepted, if there are any.
    check_addresses
        Whether an advert must list the same addresses, as keepalived has it; the RFCs leave it open.
    ipv4_checksum
        The form of the checksum of its adverts, for version 3 over IPv4. Both forms are accepted.
    check_pause
        Whether to step down after a pause: see :meth:`VrrpMachine.advance`.
    claims
        Whether priority 255 makes it the owner of the addresses: the priority is fixed, and it is active at once after a
        start or a fault. Otherwise 255 is a priority as any other that always preempts, as in keepalived.
    starts_active
        Whether it is active at once after a start, whatever its priority.

    Raises
    ------
    ConfigurationError
        If a number is outside its bounds, or a flag is no bool. If an address is malformed or of another
        family than ``addresses``, or ``source`` is among the peers.

    *When not to use it:* where two active routers at a time do harm, such as two writers of one database. VRRP
    has no quorum: routers that cannot see each other are all active. Combine it with :class:`Majority`.

    Example
    -------
    >>> from balancekit.ha import VirtualRouter
    >>> router = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.12", priority=150, interval=0.5)
    >>> router.skew(0.5), router.down(0.5)
    (0.20703125, 1.70703125)
    """

    def __call__(self) -> VrrpMachine:
        """Make the machine."""
        return VrrpMachine(self)
