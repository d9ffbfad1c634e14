"""Pools of a proxy as balancers, for programs and for simulations.

With its method, weights, backups, failures and attempts.

Cost: of a pick, that of the machine in :mod:`balancekit.compat`; O(n) for nginx and HAProxy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final

from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.balancer import LoadBalancer
from balancekit.compat import haproxy, nginx
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.health import ConsecutiveFailures, Ejection, Lifecycle
from balancekit.protocols import Clock, Selector
from balancekit.proxyconfig._config import ProxyConfig
from balancekit.proxyconfig._envoy_decide import host_of
from balancekit.proxyconfig._envoy_message import Message
from balancekit.proxyconfig._envoy_policies import read_policy
from balancekit.proxyconfig._facts import EnvoyFacts
from balancekit.proxyconfig._files import Files
from balancekit.proxyconfig._haproxy_selector import HaproxySelector
from balancekit.proxyconfig._lint_envoy import leads_to, managers_of, resources_of, routes_of
from balancekit.proxyconfig._lint_finding import seconds_of
from balancekit.proxyconfig._model import Pool, ProxyConfigError
from balancekit.proxyconfig._nginx_decide import upstream_server
from balancekit.proxyconfig._nginx_files import Directive, nginx_directives
from balancekit.proxyconfig._nginx_selector import NginxSelector
from balancekit.proxyconfig._nginx_words import PASSES
from balancekit.routing import Priority

__all__ = ["PoolModel", "pool_model"]

DEFAULT_RETRIES: Final = 3
DEFAULT_CONSECUTIVE: Final = 5
DEFAULT_EJECTION_S: Final = 30.0
DEFAULT_MAX_EJECTION_S: Final = 300.0
DEFAULT_EJECTION_PERCENT: Final = 10
INTERVAL_S: Final = 2.0


class PoolModel(Record):
    """A pool of a proxy as a balancer. Created by :func:`pool_model`.

    Parameters
    ----------
    pool
        The pool.
    attempts
        The number of attempts of a request, according to the retries of the configuration.
    selector
        Returns a new selector.
    health
        The health policy; ``None`` if there is none, or the selector counts failures itself.
    notes
        The differences between the balancer and the proxy.
    """

    pool: Pool
    attempts: int
    selector: Callable[[], Selector]
    health: Lifecycle | None = None
    notes: tuple[str, ...] = ()

    def endpoints(self, ids: Sequence[str] | None = None) -> list[Endpoint[str]]:
        """Return the servers as endpoints. Servers that are marked as out of service have weight 0.

        Parameters
        ----------
        ids
            Other ids for the servers, in their order.

        Raises
        ------
        ConfigurationError
            If the number of ``ids`` is not that of the servers, or one is no string.
        """
        names = [server.name for server in self.pool.servers]
        if ids is not None:
            if isinstance(ids, str) or not isinstance(ids, Sequence) or len(ids) != len(names):
                raise ConfigurationError("ids", ids, f"a list of {len(names)} ids, one for each server")
            names = list(ids)
        return [
            Endpoint(
                name,
                target=server.address,
                weight=0 if server.down or server.options.get("degraded") else server.weight,
                priority=int(server.options.get("priority", server.backup)),
                metadata=host_of(server).endpoint().metadata if "hostname" in server.options else {},
            )
            for name, server in zip(names, self.pool.servers, strict=True)
        ]

    def balancer(
        self, *, ids: Sequence[str] | None = None, clock: Clock | None = None, rng: Random | None = None
    ) -> LoadBalancer[str]:
        """Return a new balancer over the servers; targets are their addresses."""
        options: dict[str, Any] = {} if clock is None else {"clock": clock}
        return LoadBalancer(
            self.endpoints(ids), selector=self.selector(), health=self.health, rng=rng, **options
        )


@checked_arguments
def pool_model(config: ProxyConfig, name: str | None = None) -> PoolModel:
    """Return a pool of a configuration as a model, from which balancers can be made that pick like the proxy.

    Parameters
    ----------
    config
        The result of :func:`read_config`.
    name
        The name of the pool. It may be left out if there is only one.

    Raises
    ------
    ConfigurationError
        If there is no pool ``name``, ``name`` is left out and there are several pools, or the method of the pool is not
        modelled.

    Notes
    -----
    *Guarantee.* While no request fails, picks equal those of the machines in :mod:`balancekit.compat`, which equal
    those of the proxy. Approximations of failures, checks and limits are listed in :attr:`PoolModel.notes`.

    *When not to use it:* to find the server of one request. Use :meth:`ProxyConfig.explain`, which evaluates routes and
    keys.

    Example
    -------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from balancekit.proxyconfig import pool_model, read_config
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "nginx.conf")
    ...     _ = path.write_text("upstream u { server 10.0.0.1:80 weight=2; server 10.0.0.2:80; }")
    ...     model = pool_model(read_config(str(path)))
    >>> lb = model.balancer()
    >>> [lb.explain().picked for _ in range(3)]
    ['10.0.0.1:80', '10.0.0.2:80', '10.0.0.1:80']
    """
    if name is None and len(config.pools) == 1:
        name = next(iter(config.pools))
    if name is None or name not in config.pools:
        raise ConfigurationError("pool", name, f"one of {', '.join(config.pools) or 'no pools at all'}")
    pool = config.pools[name]
    if pool.start is None or not pool.servers:
        raise ConfigurationError(
            "pool", name, f"a pool with servers whose method is modelled, not {pool.method!r}"
        )
    return MODELS[config.kind](config, pool)


def _nginx(config: ProxyConfig, pool: Pool) -> PoolModel:
    directive = pool.settings["directive"]
    methods: Mapping[str, Callable[[], nginx.Method]] = {
        "": nginx.RoundRobin,
        "least_conn": nginx.LeastConn,
        "ip_hash": nginx.IpHash,
        "hash": nginx.ConsistentHash if pool.method.endswith(" consistent") else nginx.Hash,
        "random": lambda: nginx.Random(two="two" in pool.method),
    }
    notes = []
    if any(server.options.get("max_conns") for server in pool.servers):
        notes.append("a request beyond the max_conns of every server is taken, not refused")
    servers = [upstream_server(server) for server in pool.servers]
    return PoolModel(
        pool=pool,
        attempts=_nginx_attempts(config, pool),
        selector=lambda: NginxSelector(servers, methods[directive]()),
        notes=tuple(notes),
    )


def _nginx_attempts(config: ProxyConfig, pool: Pool) -> int:
    """Return the attempts of the first location that passes requests to a pool; by default, every server is tried."""
    http = [
        one
        for top in nginx_directives(config.path, Files())
        for one in (top.block or () if top.name == "http" else (top,))
    ]
    found = next(_attempts_of(http, pool.name.lower(), {}), 0)
    return min(len(pool.servers), found or len(pool.servers))


def _attempts_of(block: Sequence[Directive], pool: str, inherited: Mapping[str, int]) -> Iterator[int]:
    """Yield the limit of attempts of each directive that passes requests to a pool; 0 is no limit."""
    limits = dict(inherited)
    for one in block:
        if one.name.endswith("_next_upstream"):
            limits[one.name] = int(one.args == ("off",))
        elif one.name.endswith("_next_upstream_tries"):
            tries = one.args[0] if len(one.args) == 1 else ""
            if not tries.isascii() or not tries.isdecimal():
                raise ProxyConfigError(one.origin, f"{one} has a whole number")
            limits[one.name] = int(tries[:12])
    for one in block:
        if one.name in PASSES and one.args:
            if one.args[0].rpartition("://")[2].partition("/")[0].lower() == pool:
                family = one.name.removesuffix("pass")
                yield limits.get(f"{family}next_upstream", 0) or limits.get(f"{family}next_upstream_tries", 0)
        elif one.block is not None:
            yield from _attempts_of(one.block, pool, limits)


def _haproxy(_: ProxyConfig, pool: Pool) -> PoolModel:
    settings = pool.settings
    notes = []
    retries = settings.get("retries")
    attempts = 1 + (int(retries[:9]) if isinstance(retries, str) and retries.isdecimal() else DEFAULT_RETRIES)
    if attempts > 1 and not settings.get("option redispatch"):
        attempts = 1
        notes.append("without option redispatch retries go to the same server: one attempt is simulated")
    checked = next((server for server in pool.servers if server.options.get("check")), None)
    health = None if checked is None else _health_by_checks(checked.options)
    if health is not None:
        fall, out = health.failures.threshold, health.ejection.base
        notes.append(
            f"checks are simulated by requests: {fall} failures in a row take a server out for {out:g} s"
        )
    if any(server.options.get("slowstart") for server in pool.servers):
        notes.append("slowstart is not followed")
    if any(server.options.get("maxconn") for server in pool.servers):
        notes.append("maxconn moves requests on, but none waits in a queue of HAProxy")
    servers = [
        haproxy.Server(
            server.name,
            weight=server.weight,
            backup=server.backup,
            id=server.options.get("id"),
            maxconn=server.options.get("maxconn", 0),
        )
        for server in pool.servers
    ]
    balance = settings["machine"]
    return PoolModel(
        pool=pool,
        attempts=attempts,
        selector=lambda: HaproxySelector(servers, balance, allbackups=bool(settings["allbackups"])),
        health=health,
        notes=tuple(notes),
    )


def _health_by_checks(options: Mapping[str, Any]) -> Lifecycle:
    """Return what comes near the checks of a server of HAProxy, if requests are the checks."""
    interval = seconds_of(str(options.get("inter", "2s")), unit="ms") or INTERVAL_S
    observed = options.get("on-error") == "mark-down"
    fall = options.get("error-limit", 10) if observed else options.get("fall", 3)
    out = interval * options.get("rise", 2)
    return Lifecycle(
        failures=ConsecutiveFailures(threshold=fall),
        ejection=Ejection(base=out, factor=1.0, max_duration=out, jitter=0.0, max_share=1.0),
    )


def _envoy(config: ProxyConfig, pool: Pool) -> PoolModel:
    if not isinstance(config.facts, EnvoyFacts):
        raise TypeError(config.kind)
    cluster = config.facts.clusters[pool.name]
    make = read_policy(cluster).make
    if make is None:
        raise ConfigurationError("pool", pool.name, f"a policy that is modelled, not {pool.method}")
    outliers = cluster.message("outlier_detection")
    levels = {server.options.get("priority", 0) for server in pool.servers}
    factor = pool.settings.get("overprovisioning_factor", 140) / 100
    selector = make if len(levels) < 2 else lambda: Priority(make, overprovisioning=factor)
    return PoolModel(
        pool=pool,
        attempts=1 + _envoy_retries(config, pool.name),
        selector=selector,
        health=None if outliers is None else _health_by_outliers(outliers),
        notes=tuple(_envoy_notes(cluster, pool)),
    )


def _health_by_outliers(outliers: Message) -> Lifecycle:
    """Return what comes near the outlier detection of a cluster of Envoy."""
    base = outliers.seconds("base_ejection_time") or DEFAULT_EJECTION_S
    return Lifecycle(
        failures=ConsecutiveFailures(threshold=outliers.whole("consecutive_5xx", DEFAULT_CONSECUTIVE)),
        ejection=Ejection(
            base=base,
            factor=2.0,
            max_duration=max(base, outliers.seconds("max_ejection_time") or DEFAULT_MAX_EJECTION_S),
            max_share=outliers.whole("max_ejection_percent", DEFAULT_EJECTION_PERCENT, maximum=100) / 100,
            calm=10.0,
        ),
    )


def _envoy_notes(cluster: Message, pool: Pool) -> Iterator[str]:
    """Yield what of a cluster the balancer does otherwise."""
    if "outlier_detection" in cluster:
        yield "ejections grow by a factor, not by steps, and outliers by rates are not followed"
    if cluster.messages("health_checks"):
        yield "active checks are not simulated"
    if pool.settings["subsets"] is not None:
        yield "subsets are not followed: every host may take every request"
    if "locality_weights" in pool.settings:
        yield "weights of localities are not followed"
    if any(server.down or server.options["degraded"] for server in pool.servers):
        yield "a host that is not well gets nothing: neither panic nor the levels of its cluster count it"
    if "circuit_breakers" in cluster:
        yield "limits of circuit_breakers are not followed"


def _envoy_retries(config: ProxyConfig, name: str) -> int:
    """Return the retries of the first route that leads to a cluster."""
    resources = resources_of(config.path)
    for manager, _ in managers_of(resources) if resources is not None else ():
        for route in routes_of(manager):
            action = route.message("route")
            led = leads_to(route)
            policy = None
            if action is not None and (led is None or name in led):
                policy = action.message("retry_policy")
            if policy is not None:
                return policy.whole("num_retries", 1)
    return 0


MODELS: Final[Mapping[str, Callable[[ProxyConfig, Pool], PoolModel]]] = {
    "nginx": _nginx,
    "haproxy": _haproxy,
    "envoy": _envoy,
}
