"""Resolver of all addresses of a host name, by the system's resolver.

The system's resolver knows ``/etc/hosts`` and search domains, and gives no TTL: the name is resolved every 30 s. It
cannot be interrupted either; a question that hangs delays the next one, never a request.

Of a name with addresses of both families, those of a family without a route are left out.

A name that does not exist, or has no address, is *empty*; no answer, or a server's failure, is a *failure*. So is "no such
name" in a process without a free file descriptor: the system says that of every name then.
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
        The name, or an address. The dot of the root, if it has one, keeps the system from search domains.
    port
        The port of every endpoint, 1 to 65535.

    Raises
    ------
    ConfigurationError
        For an invalid value, such as a name that no resolver takes.

    Example
    -------
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
    """Return a host in its one spelling, with the dot of the root if it has one; refuse what resolvers do not take."""
    text = valid.text(parameter, value)
    found = ascii_host(text)
    if found is None:
        raise ConfigurationError(parameter, text, 'a host name such as "orders.svc"')
    return f"{found}." if text.endswith(".") else found


def joined(host: str, port: int) -> str:
    """Write a host and a port as one.

    Example
    -------
    >>> joined("::1", 80), joined("a", 80)
    ('[::1]:80', 'a:80')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_and_port(address: str) -> tuple[str, int]:
    """Take ``"host:port"`` apart."""
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
