"""Routes for connections: the pool of a connection, by addresses, server name and protocols.

A match narrows down in a fixed order and never goes back: at each step the most specific condition that holds decides
which routes remain, and routes without a condition of that kind are considered only if none holds.

====  ==========================  ==================================================================
step  condition                   the most specific first
====  ==========================  ==================================================================
1     destination port            the port
2     destination address         the longest prefix
3     server name                 the exact name, then the longest ``*.suffix``
4     transport                   ``"tls"`` or ``"raw"``
5     application protocol        the first of the *client's* list that a route names
6     source address              the longest prefix
7     source port                 the port
====  ==========================  ==================================================================

*Caution.* A connection may match no route although all conditions of one hold: if a longer destination prefix holds,
only routes with that prefix remain, whether or not their server name matches.

Source: Envoy's ``filter_chain_match``; equal to choices recorded from Envoy 1.40.0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, cast, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.ip import IpAddress
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.l4.client_hello import ClientHello, NotTls
from balancekit.l4.proxy_protocol import Address

__all__ = ["FlowMatch", "FlowRoutes"]

T = TypeVar("T")
MAX_PORT: Final = 65_535
SERVER_NAME: Final = re.compile(r"(?:\*\.)?[a-z0-9._-]+")
"""What a client can send as a server name (RFC 6066 section 3), or a wildcard over it."""

Prefix: TypeAlias = tuple[int, int, int]
"""IP version, length in bits, the bits."""


@final
class FlowMatch(Record):
    """The conditions of a route; one that is left out always holds.

    Parameters
    ----------
    destination_port
        The port that the client connected to.
    destinations, sources
        Prefixes such as ``"10.0.0.0/8"``, or addresses; one of them must contain the address.
    server_names
        Names such as ``"api.example.com"``, or ``"*.example.com"`` for one or more labels before it. Case does not matter.
    transport
        ``"tls"``: a ClientHello was read. ``"raw"``: it was not.
    alpn
        Application protocols; the client must offer one of them.
    source_ports
        The client's port must be one of them.

    Raises
    ------
    ConfigurationError
        For a port, a prefix, a name or a transport that cannot be.
    """

    destination_port: int | None = None
    destinations: Sequence[str] = ()
    server_names: Sequence[str] = ()
    transport: Literal["tls", "raw"] | None = None
    alpn: Sequence[str] = ()
    sources: Sequence[str] = ()
    source_ports: Sequence[int] = ()

    def _check(self) -> None:
        if self.destination_port is not None:
            _port("destination_port", self.destination_port)
        if self.transport not in {None, "tls", "raw"}:
            raise ConfigurationError("transport", self.transport, "'tls', 'raw' or None")
        for name in ("destinations", "server_names", "alpn", "sources", "source_ports"):
            if isinstance(getattr(self, name), str) or not isinstance(getattr(self, name), Sequence):
                raise ConfigurationError(name, getattr(self, name), "a list")
        for port in self.source_ports:
            _port("source_ports", port)
        for protocol in self.alpn:
            valid.text("alpn", protocol)
        for server_name in self.server_names:
            _server_name(server_name)
        _prefixes("destinations", self.destinations)
        _prefixes("sources", self.sources)


class _Connection:
    """What is known of a connection, in the form that steps compare."""

    __slots__ = ("alpn", "dport", "dst", "sni", "sport", "src", "transport")

    def __init__(self, src: Address, dst: Address, hello: ClientHello | NotTls | None) -> None:
        self.src: IpAddress = _address("src", src)
        self.dst: IpAddress = _address("dst", dst)
        self.sport: int = src[1]
        self.dport: int = dst[1]
        tls = hello if isinstance(hello, ClientHello) else None
        self.transport: str = "raw" if tls is None else "tls"
        self.sni: str = "" if tls is None or tls.sni is None else tls.sni.lower()
        self.alpn: tuple[str, ...] = () if tls is None else tls.alpn


class _Step:
    """One condition: the keys under which a route is filed, and those that a connection tries in order."""

    def __init__(
        self,
        keys: Callable[[FlowMatch], Iterable[object]],
        probes: Callable[[_Connection], Iterable[object]],
    ) -> None:
        self.keys = keys
        self.probes = probes


@final
class FlowRoutes(Generic[T]):
    """Routes for connections, compiled into one look-up per step.

    Parameters
    ----------
    routes
        Pairs of conditions and what they lead to: a pool, its name, anything.

    Raises
    ------
    ConfigurationError
        If two routes have the same conditions, so that neither is more specific.

    *Guarantee.* The order of routes does not matter. The answer is that of Envoy for the same filter chains.

    *When not to use it:* for HTTP requests: one TLS connection carries requests for many hosts.

    Notes
    -----
    Cost: O(prefix lengths in use + labels of the name + protocols offered), whatever the number of routes. A route
    with several values in several conditions is filed once per combination.

    Example
    -------
    >>> from balancekit.l4 import FlowMatch, FlowRoutes, client_hello
    >>> routes = FlowRoutes([
    ...     (FlowMatch(server_names=["*.shop.test"]), "shop"),
    ...     (FlowMatch(transport="tls"), "other sites"),
    ...     (FlowMatch(destinations=["10.0.0.0/8"]), "internal"),
    ... ])
    >>> hello = client_hello.ClientHello(sni="www.shop.test", alpn=(), versions=("TLSv1.3",))
    >>> routes.match(("192.0.2.1", 12345), ("198.51.100.2", 443), hello)
    'shop'
    >>> routes.match(("192.0.2.1", 12345), ("10.1.2.3", 22))
    'internal'
    >>> routes.match(("192.0.2.1", 12345), ("198.51.100.2", 22)) is None
    True
    """

    __slots__ = ("_pairs", "_steps", "_tree")

    @checked_arguments
    def __init__(self, routes: Iterable[tuple[FlowMatch, T]]) -> None:
        pairs = tuple(routes)
        for pair in pairs:
            if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], FlowMatch):
                raise ConfigurationError("routes", pair, "pairs of FlowMatch(...) and a pool")
        self._pairs = pairs
        self._steps = _steps([match for match, _ in pairs])
        self._tree: dict[object, Any] = {}
        for match, pool in pairs:
            self._file(self._tree, match, pool, 0)

    def match(
        self,
        src: Address,
        dst: Address,
        hello: ClientHello | NotTls | None = None,
    ) -> T | None:
        """Return what the most specific route leads to, ``None`` if no route is left.

        Parameters
        ----------
        src, dst
            Both ends as pairs of IP address and port, as ``ProxyHeader`` has them.
        hello
            What :func:`client_hello.peek` returned; anything but a ClientHello is a connection without TLS.
        """
        connection = _Connection(src, dst, hello)
        tree: Any = self._tree
        for step in self._steps:
            for key in step.probes(connection):
                if key in tree:
                    tree = tree[key]
                    break
            else:
                return None
        return cast("T", tree)

    def __len__(self) -> int:
        return len(self._pairs)

    def __reduce__(self) -> tuple[object, ...]:
        return FlowRoutes, (self._pairs,)

    def __repr__(self) -> str:
        return f"<FlowRoutes of {len(self)} routes>"

    def _file(self, tree: dict[object, Any], match: FlowMatch, pool: T, depth: int) -> None:
        last = depth == len(self._steps) - 1
        for key in self._steps[depth].keys(match):
            if not last:
                self._file(tree.setdefault(key, {}), match, pool, depth + 1)
            elif key in tree:
                raise ConfigurationError("routes", match, "routes that differ in some condition")
            else:
                tree[key] = pool


def _steps(matches: Sequence[FlowMatch]) -> tuple[_Step, ...]:
    """Return the steps that some route has a condition for, and one for a table without conditions."""
    to, sources = _lengths(matches, "destinations"), _lengths(matches, "sources")
    steps = {
        "destination_port": _Step(
            lambda match: [match.destination_port],
            lambda connection: (connection.dport, None),
        ),
        "destinations": _Step(
            lambda match: _prefixes("destinations", match.destinations) or [None],
            lambda connection: _containing(connection.dst, to),
        ),
        "server_names": _Step(
            lambda match: [_server_name(name) for name in match.server_names] or [None],
            lambda connection: _names(connection.sni),
        ),
        "transport": _Step(
            lambda match: [match.transport],
            lambda connection: (connection.transport, None),
        ),
        "alpn": _Step(
            lambda match: dict.fromkeys(match.alpn) or [None],
            lambda connection: (*connection.alpn, None),
        ),
        "sources": _Step(
            lambda match: _prefixes("sources", match.sources) or [None],
            lambda connection: _containing(connection.src, sources),
        ),
        "source_ports": _Step(
            lambda match: dict.fromkeys(match.source_ports) or [None],
            lambda connection: (connection.sport, None),
        ),
    }
    used = [step for name, step in steps.items() if any(getattr(match, name) for match in matches)]
    return tuple(used) or (steps["transport"],)


def _lengths(matches: Sequence[FlowMatch], name: str) -> Mapping[int, Sequence[int]]:
    """Return the prefix lengths in use, the longest first, by IP version."""
    found: dict[int, set[int]] = {4: set(), 6: set()}
    for match in matches:
        for version, length, _ in _prefixes(name, getattr(match, name)):
            found[version].add(length)
    return {version: sorted(lengths, reverse=True) for version, lengths in found.items()}


def _containing(address: IpAddress, lengths: Mapping[int, Sequence[int]]) -> Iterator[Prefix | None]:
    bits, width = int(address), address.max_prefixlen
    for length in lengths[address.version]:
        yield address.version, length, bits >> (width - length)
    yield None


def _names(name: str) -> Iterator[str | None]:
    if name:
        yield name
        at = name.find(".")
        while at >= 0:
            yield f"*{name[at:]}"
            at = name.find(".", at + 1)
    yield None


def _prefixes(parameter: str, values: Iterable[str]) -> list[Prefix]:
    found: dict[Prefix, None] = {}
    for value in values:
        try:
            network: IPv4Network | IPv6Network = ip_network(valid.text(parameter, value), strict=False)
        except ValueError:
            raise ConfigurationError(
                parameter, value, "a prefix such as '10.0.0.0/8', or an address"
            ) from None
        shift = network.max_prefixlen - network.prefixlen
        found[network.version, network.prefixlen, int(network.network_address) >> shift] = None
    return list(found)


def _server_name(value: object) -> str:
    name = valid.text("server_names", value).lower()
    if SERVER_NAME.fullmatch(name) is None:
        raise ConfigurationError(
            "server_names",
            value,
            "a name such as 'a.example.com' or '*.example.com', ASCII (xn--... for other scripts), without a port",
        )
    return name


def _address(parameter: str, value: object) -> IpAddress:
    if not isinstance(value, tuple) or len(value) != 2:
        raise ConfigurationError(parameter, value, "a pair of IP address and port")
    _port(parameter, value[1])
    try:
        address = ip_address(value[0])
    except ValueError:
        raise ConfigurationError(parameter, value, "a pair of IP address and port") from None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _port(parameter: str, value: object) -> int:
    return valid.integer(parameter, value, minimum=0, maximum=MAX_PORT)
