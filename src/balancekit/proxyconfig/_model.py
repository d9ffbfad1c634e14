"""What a proxy's configuration says of balancing: pools, routes, and what is not modelled, each with file and line."""

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
"""Of a pool."""
MAX_SHOWN: Final = 160
"""Characters of a directive that are shown."""


class Origin(NamedTuple):
    """Where something is written."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class ProxyConfigError(ConfigurationError):
    """A configuration that cannot be read, with the file and the line at fault.

    Parameters
    ----------
    origin
        Where.
    problem
        What is wrong there, and what is expected.

    Example
    -------
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
    """A directive that is not understood, or not followed.

    Parameters
    ----------
    origin
        Where it is.
    text
        The directive.
    why
        What may differ because of it.
    """

    origin: Origin
    text: str
    why: str = ""

    def __str__(self) -> str:
        return printable(f"{self.origin}: {self.text[:MAX_SHOWN]}" + (f" ({self.why})" if self.why else ""))


class ProxyRequest(Record):
    """A request as a proxy gets it.

    Parameters
    ----------
    target
        As in the request line.
    method
        The first word of the request line.
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
        For an address that is none, or headers that are no pairs of strings.

    Example
    -------
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
        """What follows the question mark."""
        return self.target.partition("?")[2]

    def __str__(self) -> str:
        return printable(f"{self.method} {self.target} Host: {self.host or '-'} from {self.client}")


def _is_header(pair: object) -> bool:
    return isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(one, str) for one in pair)


class Routing(NamedTuple):
    """Where the rules lead a request."""

    pool: str | None
    """The pool; ``None`` if the proxy answers by itself, or if what decides is not modelled."""
    rule: str
    """The rule that decided, in words."""
    status: int | None = None
    """The status of the proxy's own answer."""
    location: str | None = None
    """Where a redirect leads."""
    shares: Mapping[str, float] = {}
    """Pools by their share, if a pool is drawn at random."""
    metadata: Mapping[str, Any] = {}
    """What the route matches hosts by (Envoy)."""
    hash_policy: tuple[Any, ...] = ()
    """What the route hashes (Envoy)."""
    target: str | None = None
    """The target that the rules make of the one sent (HAProxy); ``None`` if they leave it."""


class Chooser(Protocol):
    """A pool in operation: a machine that has just been started."""

    def pick(self, request: ProxyRequest, routing: Routing, /) -> str | None:
        """Return the address of the server that takes a request; ``None`` if none may."""
        ...


class PoolServer(Record):
    """A server of a pool.

    Parameters
    ----------
    name
        What the configuration calls it; unique in its pool.
    address
        ``host:port``, or the path of a socket.
    origin
        Where it is written.
    weight
        Its weight.
    backup
        Whether it serves only if others cannot.
    down
        Whether it is marked as out of service.
    options
        What else its line says, as written.
    """

    name: str
    address: str
    origin: Origin
    weight: int = 1
    backup: bool = False
    down: bool = False
    options: Mapping[str, Any] = {}


class Pool(Record):
    """Servers that are balanced together.

    Parameters
    ----------
    name
        What routes call it.
    origin
        Where it begins.
    method
        The balancing, as its configuration names it.
    servers
        In the order of the configuration.
    key
        What of a request is hashed, in the proxy's words; empty for none.
    settings
        What else decides, by the names of the configuration.
    deterministic
        Whether the same requests, from a fresh start, go to the same servers.
    start
        Makes a machine that has just been started; ``None`` if the method is not modelled.
    key_of
        What of a request is hashed; ``None`` if nothing is.

    Two pools that say the same are equal: ``start`` and ``key_of`` follow from the rest and are not compared. A pickled pool has
    neither.
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
        """Whether what is hashed decides."""
        return bool(self.key)

    def _said(self) -> Pool:
        """Return it without its functions."""
        return derived(self, start=None, key_of=None)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pool):
            return NotImplemented
        return Record.__eq__(self._said(), other._said())

    def __hash__(self) -> int:
        return hash((self.name, self.origin, self.method, self.servers, self.key))

    def __copy__(self) -> Pool:
        return self

    def __deepcopy__(self, memo: object) -> Pool:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return Record.__reduce__(self._said())


class Decision(Record):
    """Where a request goes, and why.

    Parameters
    ----------
    request
        The request.
    routing
        What the rules said.
    pool
        The pool that gets it; ``None`` if none does.
    server
        The server that takes it if it is the first after a start; ``None`` if none does or none can be named.
    key
        What was hashed; ``None`` if nothing was.
    shares
        The servers' shares of such requests, where more than one may take it.
    why
        The reasons, in order.
    not_modelled
        What may make the proxy decide otherwise.
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
