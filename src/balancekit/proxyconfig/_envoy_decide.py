"""Envoy's decisions: what a route hashes, and the host of a cluster that was just started."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import NamedTuple, final

from balancekit._support.record import Record
from balancekit._support.url_paths import envoy as read_path
from balancekit.compat import envoy
from balancekit.compat.envoy._matchers import read_cookies
from balancekit.protocols import Selector
from balancekit.proxyconfig._model import PoolServer, ProxyRequest, Routing

__all__ = [
    "ClientAddress",
    "ClusterChooser",
    "ClusterOptions",
    "Cookie",
    "SentPath",
    "header_name",
    "header_of",
    "host_of",
    "key_of",
    "seen",
    "shown",
]


class ClusterOptions(NamedTuple):
    """What a cluster is started with."""

    policy: Callable[[], Selector]
    factor: int
    panic: int
    locality_weights: Mapping[str, int] | None
    subsets: envoy.Subsets | None


class Cookie(Record):
    """Hash the value of a cookie.

    Parameters
    ----------
    name
        The cookie's.
    terminal
        Whether later policies are skipped once there is a hash.
    """

    name: str
    terminal: bool = False

    def value(self, request: envoy.Request, /) -> str | None:
        """Return the cookie's value, without quotes around it."""
        return read_cookies([request.headers.get("cookie", "")]).get(self.name)


class ClientAddress(Record):
    """Hash the client's address, as text.

    Parameters
    ----------
    forwarded
        Whether the last address of ``X-Forwarded-For`` counts, as it does without ``use_remote_address``.
    terminal
        Whether later policies are skipped once there is a hash.
    """

    forwarded: bool
    terminal: bool = False

    def value(self, request: envoy.Request, /) -> str | None:
        """Return the address."""
        if self.forwarded:
            last = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
            try:
                return str(ipaddress.ip_address(last))
            except ValueError:
                pass
        return request.source or None


class SentPath(Record):
    """Hash the path that the host is sent: normalised, and with its matched prefix rewritten.

    Parameters
    ----------
    normalize, merge_slashes, escaped_slashes
        What the connection manager does with paths.
    matched
        The prefix that the route matches; ``None`` if the rewrite replaces the whole path.
    rewrite
        What replaces it; empty for nothing.
    terminal
        Whether later policies are skipped once there is a hash.
    """

    normalize: bool
    merge_slashes: bool
    escaped_slashes: str
    matched: str | None = None
    rewrite: str = ""
    terminal: bool = False

    def value(self, request: envoy.Request, /) -> str | None:
        """Return the path, with its query."""
        sent, mark, query = request.headers[":path"].partition("?")
        path = read_path(
            sent,
            normalize=self.normalize,
            merge_slashes=self.merge_slashes,
            escaped_slashes=self.escaped_slashes,
        )
        if path is None:
            return None
        if self.rewrite:
            path = self.rewrite + ("" if self.matched is None else path[len(self.matched) :])
        return path + mark + query


def seen(request: ProxyRequest) -> envoy.Request:
    """Return a request as hash policies see it."""
    headers = {
        ":authority": request.host or "",
        ":path": request.target,
        ":method": request.method,
        ":scheme": "http",
    }
    lines: dict[str, list[str]] = {}
    for name, value in request.headers:
        key, text = name.lower(), value.strip(" \t")
        joint = "; " if key == "cookie" else ","
        headers[key] = f"{headers[key]}{joint}{text}" if key in headers else text
        if key != "cookie":
            lines.setdefault(key, []).append(text)
    query: dict[str, str] = {}
    for part in request.query.split("&"):
        name, _, value = part.partition("=")
        query.setdefault(name, value)
    repeated = {name: found for name, found in lines.items() if len(found) > 1}
    return envoy.Request(headers=headers, query=query, source=request.client, repeated=repeated)


def header_of(request: ProxyRequest, name: str) -> str | None:
    """Return a header or a pseudo header as Envoy sees it, ``None`` if it is not sent."""
    return seen(request).headers.get(header_name(name))


def header_name(name: str) -> str:
    """Return the name of a header in lower case; Envoy keeps ``Host`` as ``:authority``."""
    lower = name.lower()
    return ":authority" if lower == "host" else lower


def key_of(request: ProxyRequest, routing: Routing, /) -> str | None:
    """Return what is hashed, values of several policies with a blank between; ``None`` if nothing is."""
    request_seen = seen(request)
    found = []
    for policy in routing.hash_policy:
        value = policy.value(request_seen)
        if value is not None:
            found.append(value)
        if policy.terminal and found:
            break
    return " ".join(found) if found else None


def shown(policy: envoy.HashPolicy) -> str:
    """Return what a policy hashes, in words."""
    if isinstance(policy, envoy.Header):
        words = f"header {policy.name.lower()}"
    elif isinstance(policy, envoy.QueryParameter):
        words = f"query parameter {policy.name}"
    elif isinstance(policy, Cookie):
        words = f"cookie {policy.name}"
    elif isinstance(policy, SentPath):
        words = f"path, {policy.matched or 'all'} rewritten to {policy.rewrite}" if policy.rewrite else "path"
    else:
        words = "client address"
    return f"{words} (terminal)" if policy.terminal else words


def host_of(server: PoolServer) -> envoy.Host:
    """Return a server as the host of a cluster."""
    return envoy.Host(
        server.name,
        address=server.address,
        weight=server.weight,
        priority=server.options["priority"],
        hostname=server.options["hostname"],
        zone=server.options["zone"],
        metadata=server.options["metadata"],
    )


@final
class ClusterChooser:
    """A cluster that was just started.

    Parameters
    ----------
    servers
        Its hosts, at least one.
    options
        Its policy and settings.
    rng
        For what is drawn.
    """

    def __init__(self, servers: Sequence[PoolServer], options: ClusterOptions, rng: Random) -> None:
        self._cluster = envoy.Cluster(
            [host_of(server) for server in servers],
            options.policy,
            overprovisioning_factor=options.factor,
            healthy_panic_threshold=options.panic,
            locality_weights=options.locality_weights,
            subsets=options.subsets,
            update_merge_window=0.0,
            rng=rng,
        )
        for server in servers:
            if server.down:
                self._cluster.set_health(server.name, envoy.Health.UNHEALTHY, now=0.0)
            elif server.options["degraded"]:
                self._cluster.set_health(server.name, envoy.Health.DEGRADED, now=0.0)

    def pick(self, request: ProxyRequest, routing: Routing, /) -> str | None:
        """Return the host of a request that ends at once."""
        request_seen = seen(request).replace(metadata=routing.metadata)
        host = self._cluster.acquire(request_seen, now=0.0, hash_policy=routing.hash_policy)
        if host is not None:
            self._cluster.release(host, now=0.0)
        return host
