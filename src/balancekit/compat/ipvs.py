"""The Maglev scheduler of IPVS (``mh``), which chooses the server of a client's connection.

The table has 4,093 slots. Servers fill it in turns, in the order of the kernel's list. A server is hashed by its address and port.
A client is hashed by its address, and with the flag ``mh-port`` also by its port.

Source: Linux ``net/netfilter/ipvs/ip_vs_mh.c`` and ``lib/siphash.c``, for a 64-bit kernel (a 32-bit one hashes
differently). The hash agrees with the kernel's own test vector; tables were computed from the source, not observed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from ipaddress import ip_address
from math import gcd
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.hashing._maglev_fill import populate

__all__ = ["Destination", "MaglevScheduler", "siphash13"]

TABLE_SIZE: Final = 4_093
OFFSET_KEY: Final = 2_654_435_761
SKIP_KEY: Final = 2_654_446_892
TURN_BITS: Final = 6
MAX_PORT: Final = 65_535
MASK32: Final = 0xFFFF_FFFF
MASK64: Final = 0xFFFF_FFFF_FFFF_FFFF


@final
class Destination(Record):
    """A real server.

    Parameters
    ----------
    address
        IPv4 or IPv6 address.
    port
        Port, 0 to 65535.
    weight
        Whole number >= 0. A server of weight 0 has no slots. In the kernel, a server whose weight is set to 0 later keeps its
        slots: give its last weight above 0 here, and pass its position to :meth:`MaglevScheduler.lookup` as unavailable.

    Raises
    ------
    ConfigurationError
        If ``address`` is no IP address, or a number is outside its bounds.
    """

    address: str
    port: int
    weight: int = 1

    def _check(self) -> None:
        _folded("address", self.address)
        valid.integer("port", self.port, minimum=0, maximum=MAX_PORT)
        valid.integer("weight", self.weight, minimum=0, maximum=0x7FFF_FFFF)


@final
class MaglevScheduler:
    """The Maglev table of a virtual service. Immutable.

    Parameters
    ----------
    destinations
        Servers in the order of the kernel's list, at most 4,093, at least one of weight above 0. The kernel inserts each new
        server at the beginning, so the last one that ``ipvsadm -a`` added comes first.
    port
        The flag ``mh-port``: use the client's port as well.
    fallback
        The flag ``mh-fallback``: try other slots if a server is unavailable. Without it, the connection is dropped.

    Raises
    ------
    ConfigurationError
        If ``destinations`` is no sequence of ``Destination``, has more than 4,093, or none of weight above 0.
        If a flag is no bool.

    Notes
    -----
    *When not to use it:* for new systems. With 4,093 slots, the shares of more than 40 servers differ by over 1 %. Use
    :class:`balancekit.hashing.MaglevTable`.

    Cost: about 5 ms to build; a look-up costs about 150 empty method calls, most of it for the hash.

    Example
    -------
    >>> from balancekit.compat.ipvs import Destination, MaglevScheduler
    >>> scheduler = MaglevScheduler([Destination(address=f"10.0.0.{k}", port=80) for k in range(1, 4)])
    >>> sorted(scheduler.table.count(position) for position in range(3))
    [1364, 1364, 1365]
    """

    __slots__ = ("_fallback", "_port", "_table")

    @checked_arguments
    def __init__(
        self,
        destinations: Sequence[Destination],
        *,
        port: bool = False,
        fallback: bool = False,
    ) -> None:
        if not _are_destinations(destinations):
            raise ConfigurationError(
                "destinations", destinations, "a list of Destination(address=..., port=...)"
            )
        if len(destinations) > TABLE_SIZE:
            raise ConfigurationError(
                "destinations", destinations, f"at most {TABLE_SIZE:,} servers, one for each slot"
            )
        turns = _turns([one.weight for one in destinations])
        if not any(turns):
            raise ConfigurationError("destinations", destinations, "a weight above 0")
        self._port = valid.flag("port", port)
        self._fallback = valid.flag("fallback", fallback)
        values = [_folded("address", one.address) + one.port for one in destinations]
        lap = [node for node, count in enumerate(turns) for _ in range(count)]
        self._table: tuple[int, ...] = tuple(
            populate(
                [_hash(value, OFFSET_KEY) % TABLE_SIZE for value in values],
                [_hash(value, SKIP_KEY) % (TABLE_SIZE - 1) + 1 for value in values],
                (lap * (TABLE_SIZE // len(lap) + 1))[:TABLE_SIZE],
            )
        )

    @property
    def table(self) -> tuple[int, ...]:
        """Position of the server in ``destinations``, for each slot."""
        return self._table

    @checked_arguments
    def lookup(self, client: str, port: int = 0, *, unavailable: Collection[int] = ()) -> int | None:
        """Return the position of a client's server in ``destinations``; ``None`` if its connection is dropped.

        Parameters
        ----------
        client
            The client's address.
        port
            The client's port. It is used only with the flag ``mh-port``.
        unavailable
            Positions of servers that have weight 0 or are overloaded at present.

        Raises
        ------
        ConfigurationError
            If ``client`` is no IP address, or ``port`` is outside its bounds.
        """
        value = _folded("client", client)
        if self._port:
            value += valid.integer("port", port, minimum=0, maximum=MAX_PORT)
        slot = _hash(value, OFFSET_KEY) % TABLE_SIZE
        found = self._table[slot]
        if found not in unavailable:
            return found
        if self._fallback:
            for step in range(TABLE_SIZE):
                again = value + (slot + step) % TABLE_SIZE
                found = self._table[_hash(again, OFFSET_KEY) % TABLE_SIZE]
                if found not in unavailable:
                    return found
        return None

    def __repr__(self) -> str:
        return f"<ipvs.MaglevScheduler of {len(set(self._table))} servers>"


def _are_destinations(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, Destination) for one in value)


@checked_arguments
def siphash13(value: int, low: int, high: int) -> int:
    """Return SipHash-1-3 of the low 32 bits of a number, as four little-endian bytes, with the two halves of a key.

    Raises
    ------
    ConfigurationError
        If a parameter is not a whole number >= 0.

    Example
    -------
    >>> from balancekit.compat.ipvs import siphash13
    >>> hex(siphash13(0, 0, 0))[:2]
    '0x'
    """
    for name, given in (("value", value), ("low", low), ("high", high)):
        valid.integer(name, given, minimum=0)
    last = 4 << 56 | value & MASK32
    state = (
        low ^ 0x736F_6D65_7073_6575,
        high ^ 0x646F_7261_6E64_6F6D,
        low ^ 0x6C79_6765_6E65_7261,
        high ^ 0x7465_6462_7974_6573 ^ last,
    )
    v0, v1, v2, v3 = _sip_round(*state)
    v0, v2 = v0 ^ last, v2 ^ 0xFF
    for _ in range(3):
        v0, v1, v2, v3 = _sip_round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


def _hash(value: int, key: int) -> int:
    return siphash13(value, key, key) & MASK32


def _sip_round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = v0 + v1 & MASK64
    v1 = _rotated(v1, 13) ^ v0
    v0 = _rotated(v0, 32)
    v2 = v2 + v3 & MASK64
    v3 = _rotated(v3, 16) ^ v2
    v0 = v0 + v3 & MASK64
    v3 = _rotated(v3, 21) ^ v0
    v2 = v2 + v1 & MASK64
    v1 = _rotated(v1, 17) ^ v2
    return v0, v1, _rotated(v2, 32), v3


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & MASK64


def _turns(weights: Sequence[int]) -> list[int]:
    """Return the number of turns in a row of each server. The largest number is below 64."""
    common = gcd(*weights)
    if not common:
        return []
    shift = max(0, (max(weights) // common).bit_length() - TURN_BITS)
    return [max(1, weight // common >> shift) if weight else 0 for weight in weights]


def _folded(parameter: str, text: object) -> int:
    """Return an address as 32 bits: an IPv4 address as it is, or the exclusive or of the four words of an IPv6 address."""
    try:
        packed = ip_address(valid.text(parameter, text)).packed
    except ValueError:
        raise ConfigurationError(parameter, text, "an IPv4 or IPv6 address") from None
    folded = 0
    for at in range(0, len(packed), 4):
        folded ^= int.from_bytes(packed[at : at + 4], "big")
    return folded
