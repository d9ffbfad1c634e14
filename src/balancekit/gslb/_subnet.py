"""The EDNS Client Subnet option, bytes in and out.

.. code-block:: text

    2 bytes   family: 1 IPv4, 2 IPv6
    1 byte    source prefix length
    1 byte    scope prefix length: 0 in a query
    n bytes   the address, ceil(source / 8) bytes, bits after the prefix 0

Decoding is strict: whatever RFC 7871 calls malformed is refused with a reason, and a server answers FORMERR.

Source: RFC 7871 sections 6 and 7.1.2; the 24 options recorded from gdnsd 3.8.1, which is as strict.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Final

from balancekit._support.arguments import checked_arguments
from balancekit._support.ip import IpNetwork
from balancekit.errors import BalancekitError, ConfigurationError

__all__ = ["SUBNET_OPTION", "SubnetError", "decode_subnet", "encode_subnet"]

SUBNET_OPTION: Final = 8
"""The code of the option."""

_BITS: Final = {1: 32, 2: 128}


class SubnetError(BalancekitError, ValueError):
    """A client subnet option that is malformed; the text says how."""


@checked_arguments
def decode_subnet(data: bytes, /) -> IpNetwork:
    """Return the network in the data of an option, as it came with a query.

    Raises
    ------
    SubnetError
        For a short option, an unknown family, a prefix that is too long, a scope other than 0, too few or
        too many address bytes, and bits after the prefix.

    Example
    -------
    >>> from balancekit.gslb import decode_subnet
    >>> decode_subnet(bytes.fromhex("00011800c63364"))
    IPv4Network('198.51.100.0/24')
    """
    if len(data) < 4:
        raise SubnetError(f"{len(data)} bytes, at least 4 needed")
    family, source, scope = int.from_bytes(data[:2], "big"), data[2], data[3]
    bits = _BITS.get(family)
    if bits is None:
        raise SubnetError(f"family {family}, expected 1 (IPv4) or 2 (IPv6)")
    if source > bits:
        raise SubnetError(f"source prefix {source}, at most {bits}")
    if scope:
        raise SubnetError(f"scope prefix {scope} in a query, expected 0")
    address = data[4:]
    if len(address) != (source + 7) // 8:
        raise SubnetError(f"{len(address)} address bytes for prefix {source}, expected {(source + 7) // 8}")
    value = int.from_bytes(address.ljust(bits // 8, b"\0"), "big")
    if value & ((1 << (bits - source)) - 1):
        raise SubnetError(f"bits after prefix {source}")
    return IPv4Network((value, source)) if family == 1 else IPv6Network((value, source))


@checked_arguments
def encode_subnet(network: IpNetwork, scope: int = 0, /) -> bytes:
    """Return the data of an option: with a scope for a reply, without for a query.

    Raises
    ------
    ConfigurationError
        For a scope that is longer than an address.

    Example
    -------
    >>> from ipaddress import IPv4Network
    >>> from balancekit.gslb import encode_subnet
    >>> encode_subnet(IPv4Network("198.51.100.0/24"), 25).hex()
    '00011819c63364'
    """
    if not 0 <= scope <= network.max_prefixlen:
        raise ConfigurationError("scope", scope, f"a whole number from 0 to {network.max_prefixlen}")
    family = 1 if network.version == 4 else 2
    address = network.network_address.packed[: (network.prefixlen + 7) // 8]
    return bytes((0, family, network.prefixlen, scope)) + address
