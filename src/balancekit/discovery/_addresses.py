"""Resolver of all addresses of a host name, by the system's resolver.

The system's resolver uses ``/etc/hosts`` and search domains. It gives no TTL, so the name is resolved every 30 s. It
cannot be interrupted; a lookup that hangs delays the next lookup, never a request.

If a name has addresses of both families, those of a family without a route are left out.

A name that does not exist or has no address is *empty*. No answer, or a server's failure, is a *failure*. In a process
without a free file descriptor the system answers "no such name" for every name; that too is a *failure*.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Final, Self, final

from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit._support.shortage import is_shortage
from balancekit._support.text import ascii_host, with_zone
from balancekit.discovery._families import reachable
from balancekit.discovery._resolution import Resolution
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError

__all__ = ["SystemResolver", "host_and_port", "host_name", "is_address", "joined"]

NO_ADDRESS: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


@final
class SystemResolver(ConstructorRepr):
    """Every address of a name, by ``getaddrinfo``.

    Parameters
    ----------
    host
        The name, or an address. A trailing dot keeps the system from trying search domains.
    port
        The port of every endpoint, 1 to 65535.

    Raises
    ------
    ConfigurationError
        If ``host`` is neither a host name nor an address, or ``port`` is no integer from 1 to 65535.

    *When not to use it:* if the TTL of the records matters; :class:`~balancekit.discovery.DnsResolver` follows it. If ports
    or weights differ, use :class:`~balancekit.discovery.SrvResolver`.

    Cost: one lookup of the system per refresh.

    Example
    -------
    >>> from balancekit.discovery import SystemResolver
    >>> "127.0.0.1:80" in [endpoint.id for endpoint in SystemResolver("localhost", 80).resolve().endpoints]
    True
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host_name("host", host)
        self._port = valid.integer("port", port, minimum=1, maximum=65535)

    @classmethod
    def parse(cls, address: str) -> Self:
        """Make one from ``"host:port"``."""
        return cls(*host_and_port(address))

    def resolve(self) -> Resolution:
        """Query the system's resolver.

        Raises
        ------
        OSError
            If there is no answer.
        """
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno in NO_ADDRESS and not is_shortage(error):
                return Resolution(endpoints=())
            raise
        addresses = list(dict.fromkeys(with_zone(place[4]) for place in found))
        return Resolution(endpoints=[Endpoint(joined(one, self._port)) for one in reachable(addresses)])


def host_name(parameter: str, value: object) -> str:
    """Return the normal form of a host, with its trailing dot if it has one; refuse a name that no resolver accepts."""
    text = valid.text(parameter, value)
    found = ascii_host(text)
    if found is None:
        raise ConfigurationError(parameter, text, 'a host name such as "orders.svc"')
    return f"{found}." if text.endswith(".") else found


def joined(host: str, port: int) -> str:
    """Join a host and a port.

    Example
    -------
    >>> joined("::1", 80), joined("a", 80)
    ('[::1]:80', 'a:80')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_and_port(address: str) -> tuple[str, int]:
    """Split ``"host:port"``."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise ConfigurationError("source", address, 'an address such as "orders.svc:8080"')
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_address(text: str) -> bool:
    """Return whether a text is an IP address, with a zone or without."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
