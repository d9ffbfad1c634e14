"""Keys from client addresses: the network prefix that a client keeps."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from balancekit._support import validation as valid
from balancekit.errors import ConfigurationError

__all__ = ["source_prefix"]


def source_prefix(address: str, *, v4: int = 24, v6: int = 56) -> str:
    """Return the network a client's address is in: a key that stays when the address changes a little.

    Parameters
    ----------
    address
        IPv4 or IPv6. An IPv4 address mapped into IPv6 counts as IPv4.
    v4, v6
        Lengths of the prefixes in bits.

    Raises
    ------
    ConfigurationError
        If ``address`` is no IP address, ``v4`` is outside 0 to 32, or ``v6`` outside 0 to 128.

    Example
    -------
    >>> from balancekit.routing import source_prefix
    >>> source_prefix("203.0.113.77")
    '203.0.113.0/24'
    """
    v4 = valid.integer("v4", v4, minimum=0, maximum=32)
    v6 = valid.integer("v6", v6, minimum=0, maximum=128)
    try:
        found = ip_address(valid.text("address", address))
    except ValueError:
        raise ConfigurationError("address", address, "an IPv4 or IPv6 address") from None
    mapped = getattr(found, "ipv4_mapped", None)
    if mapped is not None:
        found = mapped
    return str(ip_network(f"{found}/{v4 if found.version == 4 else v6}", strict=False))
