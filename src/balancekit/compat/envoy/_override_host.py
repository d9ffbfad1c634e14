"""Envoy's override host: a request can name the addresses of its hosts.

The request goes to the first named address that belongs to a host of the cluster, whatever the health of that host. Unknown and
malformed addresses are skipped. If no address is left, the cluster's policy chooses the host.

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
    """The choice of a host in a cluster whose requests can name their hosts.

    Parameters
    ----------
    cluster
        The cluster, whose policy is used if a request names no host of it.
    hosts
        The cluster's hosts, with their addresses.
    headers
        Names of the headers with addresses, at least one, in the order in which they are read. A value is a list of
        ``address:port`` that are separated by commas.

    Raises
    ------
    ConfigurationError
        If ``cluster`` is no ``Cluster``, or there is no header or no host.

    Notes
    -----
    *When not to use it:* to keep sessions at servers that may be down. Unhealthy hosts are chosen too.

    Example
    -------
    >>> from balancekit.compat import envoy
    >>> from balancekit.compat.envoy import Cluster, OverrideHost, Request
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
        """Return the host for a request; ``None`` if none is available (503). Call :meth:`Cluster.release` at its end."""
        for header in self._headers:
            for address in request.headers.get(header, "").split(","):
                host = self._names.get(address.strip())
                if host is not None:
                    self._cluster.claim(host, now=now)
                    return host
        return self._cluster.acquire(request, now=now)
