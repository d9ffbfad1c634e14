"""The parts of a proxy's configuration: pools, servers, routings, and directives that are not modelled."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final, NamedTuple, Protocol

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record, derived, field
from balancekit.compat._routing import RawRequest
from balancekit.errors import ConfigurationError, printable

__all__ = [
    "MAX_SERVERS",
    "Chooser",
    "Decision",
    "NotModelled",
    "Origin",
    "Pool",
    "PoolServer",
    "ProxyConfigError",
    "ProxyRequest",
    "Routing",
]

MAX_SERVERS: Final = 5_000
"""The largest number of servers of a pool."""
MAX_SHOWN: Final = 160
"""Characters of a directive that are shown."""


class Origin(NamedTuple):
    """The file and the line of a directive."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class ProxyConfigError(ConfigurationError):
    """A configuration cannot be read. The error has the file and the line.

    Parameters
    ----------
    origin
        The file and the line.
    problem
        The problem, and what is expected.

    Example
    -------
    >>> from balancekit.proxyconfig import Origin, ProxyConfigError
    >>> print(ProxyConfigError(Origin("nginx.conf", 3), "a closing brace without an opening one"))
    nginx.conf:3: a closing brace without an opening one
    """

    def __init__(self, origin: Origin, problem: str) -> None:
        super().__init__("file", str(origin), problem)
        self.origin = origin
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.origin}: {self.problem}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.origin, self.problem)


class NotModelled(Record):
    """A directive that is unknown, or that has no effect in the model.

    Parameters
    ----------
    origin
        The file and the line.
    text
        The directive.
    why
        The possible difference between the model and the proxy; empty if there is none.
    """

    origin: Origin
    text: str
    why: str = ""

    def __str__(self) -> str:
        return printable(f"{self.origin}: {self.text[:MAX_SHOWN]}" + (f" ({self.why})" if self.why else ""))


class ProxyRequest(Record):
    """A request as a proxy receives it.

    Parameters
    ----------
    target
        The target in the request line, such as ``/items?id=7``.
    method
        The method in the request line.
    host
        The Host header; ``None`` if there is none.
    headers
        The other headers, in order.
    client
        The client's IP address.
    port
        The port of the proxy that the request arrives at; ``None`` for the first that is configured.

    Raises
    ------
    ConfigurationError
        If ``client`` is no IP address, or ``headers`` holds anything but pairs of strings.

    Example
    -------
    >>> from balancekit.proxyconfig import ProxyRequest
    >>> ProxyRequest("/api?user=7", host="shop").raw.target
    '/api?user=7'
    """

    target: str = field(default="/", kw_only=False)
    method: str = "GET"
    host: str | None = "localhost"
    headers: tuple[tuple[str, str], ...] = ()
    client: str = "127.0.0.1"
    port: int | None = None

    def _check(self) -> None:
        valid.text("target", self.target, any_text=True)
        valid.text("method", self.method)
        if self.host is not None:
            valid.text("host", self.host, empty=True, any_text=True)
        pairs = self.headers
        if not isinstance(pairs, tuple | list) or not all(map(_is_header, pairs)):
            raise ConfigurationError("headers", pairs, "pairs of a name and a value, as (('X-User', '7'),)")
        self.__dict__["headers"] = tuple(map(tuple, pairs))
        valid.text("client", self.client)
        try:
            ipaddress.ip_address(self.client)
        except ValueError:
            raise ConfigurationError("client", self.client, "an IPv4 or IPv6 address") from None
        if self.port is not None:
            valid.integer("port", self.port, minimum=1, maximum=65535)

    @property
    def raw(self) -> RawRequest:
        """The request without what is known of its connection."""
        return RawRequest(target=self.target, host=self.host, method=self.method, headers=self.headers)

    @checked_arguments
    def header(self, name: str) -> str | None:
        """Return the first value of a header, ``None`` if it is not sent."""
        return next(iter(self.raw.values(name)), None)

    @property
    def query(self) -> str:
        """The query of the target: the part after the question mark."""
        return self.target.partition("?")[2]

    def __str__(self) -> str:
        return printable(f"{self.method} {self.target} Host: {self.host or '-'} from {self.client}")


def _is_header(pair: object) -> bool:
    return isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(one, str) for one in pair)


class Routing(NamedTuple):
    """The pool that the rules choose for a request, or the answer of the proxy itself."""

    pool: str | None
    """The name of the pool; ``None`` if the proxy answers itself, or the deciding directive is not modelled."""
    rule: str
    """A description of the rule that has decided."""
    status: int | None = None
    """The status of the proxy's own answer."""
    location: str | None = None
    """The location of a redirect."""
    shares: Mapping[str, float] = {}
    """The shares of the pools, by name, if the pool is picked at random."""
    metadata: Mapping[str, Any] = {}
    """The metadata by which the route selects hosts (Envoy)."""
    hash_policy: tuple[Any, ...] = ()
    """The hash policy of the route (Envoy)."""
    target: str | None = None
    """The target after the rules have changed it (HAProxy); ``None`` if they have not."""


class Chooser(Protocol):
    """The state of a running pool."""

    def pick(self, request: ProxyRequest, routing: Routing, /) -> str | None:
        """Return the name of the server for a request; ``None`` if no server is available."""
        ...


class PoolServer(Record):
    """A server of a pool.

    Parameters
    ----------
    name
        The name in the configuration; unique in its pool.
    address
        ``host:port``, or the path of a socket.
    origin
        The file and the line.
    weight
        The weight, an integer.
    backup
        Whether the server gets requests only if the others are not available.
    down
        Whether the configuration marks the server as out of service.
    options
        The other options of its line, as written.
    """

    name: str
    address: str
    origin: Origin
    weight: int = 1
    backup: bool = False
    down: bool = False
    options: Mapping[str, Any] = {}


class Pool(Record):
    """A group of servers among which a proxy balances.

    Parameters
    ----------
    name
        The name by which routes refer to the pool.
    origin
        The file and the line at which it begins.
    method
        The name of the balancing method in the configuration.
    servers
        The servers, in the order of the configuration.
    key
        A description of the hashed part of a request, in terms of the proxy; empty for none.
    settings
        Other settings that decide, by their names in the configuration.
    deterministic
        Whether the same requests after a start go to the same servers.
    start
        Returns the state of the pool after a start; ``None`` if the method is not modelled.
    key_of
        Returns the hashed part of a request; ``None`` if nothing is hashed.

    Two pools are equal if their fields are, without ``start`` and ``key_of``, which depend on the others. A pickled
    pool has neither of the two.
    """

    name: str
    origin: Origin
    method: str
    servers: tuple[PoolServer, ...]
    key: str = ""
    settings: Mapping[str, Any] = {}
    deterministic: bool = True
    start: Callable[[Random], Chooser] | None = None
    key_of: Callable[[ProxyRequest, Routing], str | None] | None = None

    @property
    def keyed(self) -> bool:
        """Whether the hashed part of a request decides."""
        return bool(self.key)

    def _without_functions(self) -> Pool:
        """Return a copy without ``start`` and ``key_of``."""
        return derived(self, start=None, key_of=None)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pool):
            return NotImplemented
        return Record.__eq__(self._without_functions(), other._without_functions())

    def __hash__(self) -> int:
        return hash((self.name, self.origin, self.method, self.servers, self.key))

    def __copy__(self) -> Pool:
        return self

    def __deepcopy__(self, memo: object) -> Pool:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return Record.__reduce__(self._without_functions())


class Decision(Record):
    """The pool and the server of a request, and the reasons.

    Parameters
    ----------
    request
        The request.
    routing
        The result of the rules.
    pool
        The pool; ``None`` if the request gets none.
    server
        The server, if the request is the first after a start; ``None`` if there is none, or the method is not modelled.
    key
        The hashed part of the request; ``None`` if nothing is hashed.
    shares
        The shares of the servers of many such requests, by name, if more than one server is possible.
    why
        The reasons, in order.
    not_modelled
        The directives that are not modelled and may change the decision.
    """

    request: ProxyRequest
    routing: Routing
    pool: Pool | None
    server: PoolServer | None
    key: str | None
    shares: Mapping[str, float]
    why: tuple[str, ...]
    not_modelled: tuple[NotModelled, ...]

    def __str__(self) -> str:
        lines = [str(self.request), *(f"  {reason}" for reason in self.why)]
        if self.server is not None:
            lines.append(
                f"-> {self.server.address}"
                + (f" ({self.server.name})" if self.server.name != self.server.address else "")
            )
        elif self.routing.status is not None:
            lines.append(
                f"-> status {self.routing.status}"
                + (f", {self.routing.location}" if self.routing.location else "")
            )
        else:
            lines.append("-> no server can be named")
        if self.shares:
            lines.append(
                "  shares: " + ", ".join(f"{name} {share:.2%}" for name, share in self.shares.items())
            )
        if self.not_modelled:
            lines.append("  not modelled, and may matter:")
            lines += [f"    {one}" for one in self.not_modelled]
        return "\n".join(map(printable, lines))
