"""VRRP packets: versions 2 and 3, over IPv4 and IPv6, to bytes and back.

.. code-block:: text

    byte 0   version (4 bits), type 1          byte 4   version 3: 4 reserved bits, interval in 1/100 s (12 bits)
    byte 1   virtual router (1-255)                     version 2: authentication type 0, interval in seconds
    byte 2   priority (0-255)                  byte 6   checksum
    byte 3   number of addresses               byte 8   addresses; version 2: then eight bytes of zeros

Version 3 over IPv6 sums a pseudo-header (addresses, length, protocol 112) and the message. Over IPv4 two
forms are in use. RFC 9568 section 5.2.8 omits the pseudo-header. keepalived and FRR include it, and keepalived
drops adverts without it. Both forms are read; :class:`Ipv4Checksum` selects the one that is sent.

Cost: O(number of addresses), some 10 microseconds a packet.

Source: RFC 3768 section 5 (version 2), RFC 5798 and RFC 9568 section 5 (version 3); keepalived 2.2.7.
"""

from __future__ import annotations

import enum
import ipaddress
import math
import struct
from contextlib import suppress
from typing import Final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.ip import IpAddress
from balancekit._support.record import Record
from balancekit.errors import BalancekitError, ConfigurationError

__all__ = [
    "IPV4_GROUP",
    "IPV6_GROUP",
    "MAX_INTERVAL_S",
    "PROTOCOL",
    "Advert",
    "Ipv4Checksum",
    "RejectedAdvert",
    "check_interval",
    "decode_advert",
    "encode_advert",
]

PROTOCOL: Final = 112
"""The IP protocol number of VRRP."""
IPV4_GROUP: Final = "224.0.0.18"
"""The multicast group of adverts over IPv4 (RFC 9568 section 5.1.1.2)."""
IPV6_GROUP: Final = "ff02::12"
"""The multicast group of adverts over IPv6 (RFC 9568 section 5.1.2.2)."""
HOP_LIMIT: Final = 255
"""The hop limit of every multicast advert: no router has forwarded it."""
ADVERTISEMENT: Final = 1
"""The only type of message there is."""
HEADER_BYTES: Final = 8
AUTHENTICATION_BYTES: Final = 8
"""The tail of a version 2 message, zeros since RFC 3768."""
MAX_INTERVAL_S: Final = {2: 255.0, 3: 40.95}
"""The longest interval that fits into a message, by version."""


class Ipv4Checksum(enum.StrEnum):
    """Forms of the version 3 checksum over IPv4."""

    PSEUDO_HEADER = "pseudo-header"
    """Over the pseudo-header and the message: keepalived, and FRR by default."""
    PLAIN = "plain"
    """Over the message alone: RFC 9568 section 5.2.8."""


class RejectedAdvert(BalancekitError, ValueError):  # noqa: N818 - the name is an advert's fate, said of data
    """A packet that is no valid advert.

    Parameters
    ----------
    reason
        The defect, in words.

    Example
    -------
    >>> from balancekit.ha import RejectedAdvert, decode_advert
    >>> try:
    ...     decode_advert(b"", source="192.0.2.12", destination="224.0.0.18", hop_limit=255)
    ... except RejectedAdvert as error:
    ...     print(error.reason)
    0 bytes, fewer than a header
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Advert(Record):
    """One VRRP advertisement, without the addresses of the packet that carries it.

    Parameters
    ----------
    version
        2 or 3.
    vrid
        The virtual router, 1 to 255.
    priority
        0 (the sender resigns) to 255 (it owns the addresses).
    interval
        Seconds between the sender's adverts: a multiple of 0.01 up to 40.95 in version 3, whole seconds up
        to 255 in version 2. Zero can be read and written; machines reject it.
    addresses
        The protected addresses, 1 to 255 of one family.

    Raises
    ------
    ConfigurationError
        If a field does not fit into a message.

    Example
    -------
    >>> from balancekit.ha import Advert
    >>> Advert(version=3, vrid=51, priority=150, interval=0.5, addresses=("192.0.2.100",)).priority
    150
    """

    version: int = 3
    vrid: int
    priority: int
    interval: float
    addresses: tuple[str, ...]

    def _check(self) -> None:
        if self.version not in {2, 3}:
            raise ConfigurationError("version", self.version, "2 or 3")
        valid.integer("vrid", self.vrid, minimum=1, maximum=255)
        valid.integer("priority", self.priority, minimum=0, maximum=255)
        check_interval(self.interval, self.version, minimum=0)
        if not isinstance(self.addresses, tuple) or not 1 <= len(self.addresses) <= 255:
            raise ConfigurationError("addresses", self.addresses, "a tuple of 1 to 255 addresses")
        families = {ip(address, "addresses").version for address in self.addresses}
        if len(families) > 1 or (self.version == 2 and families != {4}):
            allowed = "IPv4 addresses" if self.version == 2 else "addresses of one family"
            raise ConfigurationError("addresses", self.addresses, allowed)


def check_interval(value: object, version: int, *, minimum: int) -> None:
    """Raise if an interval cannot be sent, or is shorter than so many of the units that are sent."""
    ticks = math.nan
    with suppress(ConfigurationError):
        ticks = valid.number("interval", value) * (100 if version == 3 else 1)
    most = MAX_INTERVAL_S[version] * (100 if version == 3 else 1)
    if not minimum - 1e-6 <= ticks <= most + 1e-6 or abs(ticks - round(ticks)) > 1e-6:
        allowed = (
            f"a multiple of 0.01 seconds from {minimum / 100:g} to 40.95"
            if version == 3
            else f"whole seconds from {minimum} to 255"
        )
        raise ConfigurationError("interval", value, allowed)


def ip(address: str, parameter: str = "address") -> IpAddress:
    """Return an address without its scope; raise ``ConfigurationError`` if it is none."""
    try:
        return ipaddress.ip_address(str(address).partition("%")[0])
    except ValueError:
        raise ConfigurationError(parameter, address, "an IP address") from None


@checked_arguments
def encode_advert(
    advert: Advert,
    *,
    source: str,
    destination: str,
    ipv4_checksum: Ipv4Checksum = Ipv4Checksum.PSEUDO_HEADER,
) -> bytes:
    """Return an advert as the payload of an IP packet of protocol 112.

    Parameters
    ----------
    advert
        What to send.
    source, destination
        The packet's addresses, which the checksum may cover.
    ipv4_checksum
        The form for version 3 over IPv4; it changes nothing elsewhere.

    Raises
    ------
    ConfigurationError
        If the packet's addresses are of another family than the advert's, or the form is none.

    Example
    -------
    >>> from balancekit.ha import Advert, encode_advert
    >>> advert = Advert(version=3, vrid=51, priority=150, interval=0.5, addresses=("192.0.2.100",))
    >>> encode_advert(advert, source="192.0.2.11", destination="224.0.0.18").hex()
    '313396010032d399c0000264'
    """
    form = valid.member("ipv4_checksum", ipv4_checksum, Ipv4Checksum)
    sender, receiver = ip(source, "source"), ip(destination, "destination")
    packed = [ip(address) for address in advert.addresses]
    if {sender.version, receiver.version} != {packed[0].version}:
        raise ConfigurationError("source", source, f"IPv{packed[0].version} addresses, as the advert's")
    if advert.version == 3:
        timer = round(advert.interval * 100).to_bytes(2, "big")
    else:
        timer = bytes((0, round(advert.interval)))
    kind = advert.version << 4 | ADVERTISEMENT
    head = bytes((kind, advert.vrid, advert.priority, len(packed))) + timer
    tail = b"".join(address.packed for address in packed)
    if advert.version == 2:
        tail += bytes(AUTHENTICATION_BYTES)
    plain = advert.version == 2 or (sender.version == 4 and form is Ipv4Checksum.PLAIN)
    message = head + b"\0\0" + tail
    checksum = (
        ones_complement_sum(message, b"" if plain else _pseudo_header(sender, receiver, len(message)))
        ^ 0xFFFF
    )
    return head + checksum.to_bytes(2, "big") + tail


@checked_arguments
def decode_advert(data: bytes, *, source: str, destination: str, hop_limit: int) -> Advert:
    """Read the payload of an IP packet of protocol 112.

    Parameters
    ----------
    data
        The payload, without an IP header.
    source, destination
        The packet's addresses.
    hop_limit
        The TTL or hop limit it arrived with: 255 if the destination is a multicast group, anything for a
        unicast peer, which may be some hops away.

    Raises
    ------
    RejectedAdvert
        If it is no valid advert, with the reason. Nothing else is raised, whatever the bytes.

    Example
    -------
    >>> from balancekit.ha import decode_advert
    >>> data = bytes.fromhex("313396010032d399c0000264")
    >>> decode_advert(data, source="192.0.2.11", destination="224.0.0.18", hop_limit=255)
    Advert(version=3, vrid=51, priority=150, interval=0.5, addresses=('192.0.2.100',))
    """
    sender, receiver = ip(source, "source"), ip(destination, "destination")
    if receiver.is_multicast and hop_limit != HOP_LIMIT:
        raise RejectedAdvert(f"hop limit {hop_limit}, not {HOP_LIMIT}")
    if len(data) < HEADER_BYTES:
        raise RejectedAdvert(f"{len(data)} bytes, fewer than a header")
    kind, vrid, priority, count, timer, _ = struct.unpack_from("!BBBBHH", data)
    version, message = kind >> 4, kind & 15
    if version not in {2, 3} or (version == 2 and sender.version == 6):
        raise RejectedAdvert(f"version {version} over IPv{sender.version}")
    if message != ADVERTISEMENT:
        raise RejectedAdvert(f"type {message}")
    if not vrid:
        raise RejectedAdvert("virtual router 0")
    if not count:
        raise RejectedAdvert("no addresses")
    width = 4 if sender.version == 4 else 16
    length = HEADER_BYTES + count * width + (AUTHENTICATION_BYTES if version == 2 else 0)
    if len(data) != length:
        raise RejectedAdvert(f"{len(data)} bytes, not {length} for {count} addresses")
    if version == 2 and timer >> 8:
        raise RejectedAdvert(f"authentication type {timer >> 8}")
    if not _checksum_holds(data, version, sender, receiver):
        raise RejectedAdvert("checksum")
    places = range(HEADER_BYTES, HEADER_BYTES + count * width, width)
    return Advert(
        version=version,
        vrid=vrid,
        priority=priority,
        interval=(timer & 0xFFF) / 100 if version == 3 else float(timer),
        addresses=tuple([str(ipaddress.ip_address(data[place : place + width])) for place in places]),
    )


def _checksum_holds(data: bytes, version: int, sender: IpAddress, receiver: IpAddress) -> bool:
    if (version == 2 or sender.version == 4) and ones_complement_sum(data) == 0xFFFF:
        return True
    return version == 3 and ones_complement_sum(data, _pseudo_header(sender, receiver, len(data))) == 0xFFFF


def _pseudo_header(sender: IpAddress, receiver: IpAddress, length: int) -> bytes:
    if sender.version == 4:
        return sender.packed + receiver.packed + struct.pack("!BBH", 0, PROTOCOL, length)
    return sender.packed + receiver.packed + struct.pack("!LL", length, PROTOCOL)


def ones_complement_sum(*parts: bytes) -> int:
    """Return the ones' complement sum of 16-bit words (RFC 1071)."""
    total = 0
    for data in parts:
        even = data + b"\0" if len(data) % 2 else data
        total += sum(struct.unpack(f"!{len(even) // 2}H", even))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total
