"""nginx's ``listen``: ports, default servers, and where TLS is spoken."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, final

from balancekit.proxyconfig._model import ProxyConfigError
from balancekit.proxyconfig._nginx_decide import DEFAULT_PORT
from balancekit.proxyconfig._nginx_files import Directive

__all__ = ["Listens", "refuse_repeated_listens"]

PORTS: Final = re.compile(r"(?:.*:)?([0-9]+)(?:-([0-9]+))?")
MAX_PORT: Final = 65_535
MAX_PORTS: Final = 1_000
"""The largest number of ports of a ``listen`` that are followed."""
WORDS: Final = frozenset(
    """default_server default ssl http2 spdy quic proxy_protocol deferred bind reuseport multipath
    so_keepalive= setfib= fastopen= backlog= rcvbuf= sndbuf= accept_filter= ipv6only=""".split()  # noqa: SIM905 - a list
)
"""Parameters, those with a value up to their equals sign."""
ON_OFF: Final = re.compile("on|off")
SIZE: Final = re.compile("[0-9]{1,9}[kKmM]?")
VALUES: Final[Mapping[str, re.Pattern[str]]] = {
    "backlog=": re.compile("0*[1-9][0-9]{0,9}"),
    "rcvbuf=": SIZE,
    "sndbuf=": SIZE,
    "fastopen=": re.compile("[0-9]{1,9}"),
    "ipv6only=": ON_OFF,
    "so_keepalive=": re.compile("on|off|(?=.*[0-9])[0-9smhd]*(?::[0-9smhd]*){0,1}(?::[0-9]*)?"),
}
"""What the values of parameters look like."""
EVERYWHERE: Final = frozenset({"", "*", "0.0.0.0", "[::]"})  # noqa: S104 - read, not bound


@final
class Listens:
    """What the servers of a configuration listen on."""

    __slots__ = ("_addresses", "_defaults", "tls_ports")

    def __init__(self) -> None:
        self._addresses: dict[int, str] = {}
        """The first address of each port."""
        self._defaults: set[tuple[str, int]] = set()
        """Addresses and ports that have a default server."""
        self.tls_ports: set[int] = set()
        """Ports that speak TLS."""

    def add(
        self, directive: Directive, ports: dict[int, bool], note: Callable[[Directive, str], None]
    ) -> None:
        """Add a ``listen`` to the ports of its server, each with whether the server is the default one there.

        Raises
        ------
        ProxyConfigError
            For a port that is none, a parameter that it has not, or a second default server.
        """
        found = _ports(directive)
        if len(found) > MAX_PORTS:
            note(directive, f"only the first {MAX_PORTS} ports are followed")
        elif not found:
            note(directive, "")
        where = (
            directive.args[0].rpartition(":")[0] if PORTS.fullmatch(directive.args[0]) else directive.args[0]
        )
        address = "" if where in EVERYWHERE else where
        if any(self._addresses.setdefault(port, address) != address for port in found[:MAX_PORTS]):
            note(
                directive, "addresses are not distinguished: all servers of its port are taken to share them"
            )
        words = {*directive.args[1:]}
        for word in words:
            name, equals, value = word.partition("=")
            if name + equals not in WORDS:
                raise ProxyConfigError(directive.origin, f"listen has no parameter {word!r}")
            if name + equals in VALUES and VALUES[name + equals].fullmatch(value) is None:
                raise ProxyConfigError(directive.origin, f"listen: {value!r} is no value of {name}")
        default = bool({"default_server", "default"} & words)
        for port in found[:MAX_PORTS]:
            if default and (where, port) in self._defaults:
                raise ProxyConfigError(directive.origin, f"a second default server for {directive.args[0]}")
            if default:
                self._defaults.add((where, port))
            if "ssl" in words:
                self.tls_ports.add(port)
            ports[port] = ports.get(port, False) or default


def refuse_repeated_listens(server: Directive) -> None:
    """Refuse a server that listens twice on an address and port. QUIC has ports of its own.

    Raises
    ------
    ProxyConfigError
        With the line of the second ``listen``.
    """
    seen: set[tuple[str, int, bool]] = set()
    for directive in server.all("listen"):
        text = directive.args[0] if directive.args else ""
        where = text.rpartition(":")[0] if PORTS.fullmatch(text) else text
        if where in EVERYWHERE and where != "[::]":
            where = ""
        quic = "quic" in directive.args[1:]
        for port in _ports(directive) or range(1):
            if (where, port, quic) in seen:
                raise ProxyConfigError(directive.origin, f"the server listens on {text} already")
            seen.add((where, port, quic))


def _ports(directive: Directive) -> range:
    """Return the ports of a ``listen``, none for a socket in the file system."""
    if not directive.args:
        raise ProxyConfigError(directive.origin, "listen has an address or a port")
    if directive.args[0].startswith("unix:"):
        return range(0)
    found = PORTS.fullmatch(directive.args[0])
    if found is None:
        return range(DEFAULT_PORT, DEFAULT_PORT + 1)
    first, last = int(found[1][:6]), int((found[2] or found[1])[:6])
    if not 1 <= first <= last <= MAX_PORT:
        raise ProxyConfigError(directive.origin, f"{directive.args[0]}: ports are 1 to {MAX_PORT}")
    return range(first, last + 1)
