"""Envoy's override host: a list of addresses in the request goes before the cluster's policy.

The first address of the list that is one of the cluster's hosts takes the request, *whatever its health*. Addresses
that are unknown or malformed are passed over; if none is left, the cluster's policy decides.

Cost: O(addresses). Source: Envoy 1.40, ``load_balancing_policies.override_host``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit.compat.envoy._cluster import Cluster
from balancekit.compat.envoy._host import Host, distinct
from balancekit.compat.envoy._request import Request
from balancekit.errors import ConfigurationError

__all__ = ["OverrideHost"]


@final
class OverrideHost(ConstructorRepr):
    """The choice of a cluster whose requests may name their hosts.

    Parameters
    ----------
    cluster
        Whose policy decides if the request names no host of it.
    hosts
        The cluster's hosts, with their addresses.
    headers
        Where addresses are looked for, in order: lower-case names of headers with ``address:port`` in lists that
        commas separate. A host in an earlier header goes before one in a later header.

    *When not to use it:* to keep sessions with servers that may be down: an unhealthy host is taken too.

    Raises
    ------
    ConfigurationError
        If there is no header, or no host.

    Example
    -------
    >>> from balancekit.compat import envoy
    >>> hosts = [envoy.Host(name, address=f"10.0.0.{number}:80") for number, name in enumerate("ab", 1)]
    >>> wanted = OverrideHost(Cluster(hosts, envoy.RoundRobin), hosts, headers=["x-want"])
    >>> wanted.acquire(Request(headers={"x-want": "10.0.0.9:80, 10.0.0.2:80"}), now=0.0)
    'b'
    """

    @checked_arguments
    def __init__(self, cluster: Cluster, hosts: Iterable[Host], *, headers: Sequence[str]) -> None:
        if not isinstance(cluster, Cluster):
            raise ConfigurationError("cluster", cluster, "a Cluster")
        self._cluster = cluster
        self._names = {host.address or host.name: host.name for host in reversed(distinct(hosts))}
        self._headers = [valid.text("headers", name).lower() for name in headers]
        if not self._headers:
            raise ConfigurationError("headers", headers, "at least one name")

    @checked_arguments
    def acquire(self, request: Request, /, *, now: float) -> str | None:
        """Return the host that takes a request; ``None`` means 503. Release it at the cluster."""
        for header in self._headers:
            for address in request.headers.get(header, "").split(","):
                host = self._names.get(address.strip())
                if host is not None:
                    self._cluster.claim(host, now=now)
                    return host
        return self._cluster.acquire(request, now=now)
