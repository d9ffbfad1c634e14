"""The decision of a configuration about one request, with its reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Final, NamedTuple, Protocol

from balancekit.proxyconfig._model import (
    Chooser,
    Decision,
    NotModelled,
    Origin,
    Pool,
    PoolServer,
    ProxyRequest,
    Routing,
)

__all__ = ["decide", "expected_shares", "follow"]


class Source(Protocol):
    """The part of a configuration that a decision uses."""

    pools: Mapping[str, Pool]
    not_modelled: tuple[NotModelled, ...]
    owners: Mapping[Origin, str]

    def route(self, request: ProxyRequest) -> Routing:
        """Return the pool, or the answer of the proxy itself, that the rules choose for a request."""
        ...


MAX_PICKS: Final = 5_000
"""The largest number of picks that are made to count shares: as many whole cycles of the weights as fit."""


def decide(config: Source, request: ProxyRequest, *, seed: int) -> Decision:
    """Return the pool and the server of a request, and the reasons."""
    routing = config.route(request)
    pool = None if routing.pool is None else config.pools.get(routing.pool)
    choice = _Choice() if pool is None else _choose(pool, request, routing, seed)
    return Decision(
        request=request,
        routing=routing,
        pool=pool,
        server=choice.server,
        key=choice.key,
        shares=choice.shares,
        why=(routing.rule, *_why_this_pool(routing, pool), *choice.why),
        not_modelled=tuple(_relevant(config, pool)),
    )


class _Choice(NamedTuple):
    """The server that a pool chooses for a request, and the reasons."""

    server: PoolServer | None = None
    key: str | None = None
    shares: Mapping[str, float] = {}
    why: tuple[str, ...] = ()


def _choose(pool: Pool, request: ProxyRequest, routing: Routing, seed: int) -> _Choice:
    """Return the choice of a pool, for the first request after a start."""
    key = None if pool.key_of is None else pool.key_of(request, routing)
    method = _method(pool, key)
    if pool.start is None:
        unknown = (
            "its method or some of its servers are not modelled"
            if pool.servers
            else "its servers are not in the configuration"
        )
        return _Choice(key=key, why=(method, unknown))
    name = pool.start(Random(seed)).pick(request, routing)
    server = next((one for one in pool.servers if one.name == name), None)
    why = [method]
    shares: Mapping[str, float] = {}
    if key is None or not pool.keyed:
        shares = expected_shares(pool, request, routing)
        if server is not None and len(pool.servers) > 1:
            why.append(
                "the first after a start; the next requests go to other servers"
                if pool.deterministic
                else "picked at random"
            )
    if name is None:
        why.append("no server is available for it")
    return _Choice(server, key, shares, tuple(why))


def _why_this_pool(routing: Routing, pool: Pool | None) -> tuple[str, ...]:
    if routing.shares:
        shares = ", ".join(f"{name} {share:.2%}" for name, share in routing.shares.items())
        return (f"the pool is picked at random: {shares}",)
    return (f"there is no pool {routing.pool!r}",) if routing.pool is not None and pool is None else ()


def follow(
    config: Source, requests: Iterable[ProxyRequest], *, seed: int
) -> list[tuple[Routing, str | None]]:
    """Return the routing and the server of each request. Each request ends before the next one begins."""
    rng = Random(seed)
    started: dict[str, Chooser] = {}
    found: list[tuple[Routing, str | None]] = []
    for request in requests:
        routing = config.route(request)
        pool = None if routing.pool is None else config.pools.get(routing.pool)
        if pool is None or pool.start is None:
            found.append((routing, None))
            continue
        if pool.name not in started:
            started[pool.name] = pool.start(rng)
        found.append((routing, started[pool.name].pick(request, routing)))
    return found


def expected_shares(pool: Pool, request: ProxyRequest, routing: Routing) -> dict[str, float]:
    """Return the shares of the servers of many requests like this one, counted by making the picks."""
    if pool.start is None:
        return {}
    chooser = pool.start(Random(0))
    cycle = sum(server.weight for server in pool.servers if not server.down and not server.backup) or 1
    rounds = cycle * max(1, MAX_PICKS // cycle) if cycle <= MAX_PICKS else MAX_PICKS
    counts: dict[str, int] = dict.fromkeys([server.name for server in pool.servers], 0)
    for _ in range(rounds):
        name = chooser.pick(request, routing)
        if name is not None:
            counts[name] = counts.get(name, 0) + 1
    return {name: count / rounds for name, count in counts.items()}


def _method(pool: Pool, key: str | None) -> str:
    what = f"pool {pool.name} ({pool.origin}): {pool.method}"
    if not pool.keyed:
        return what
    if key is None:
        return f"{what} of {pool.key}, which the request does not have"
    return f"{what} of {pool.key} = {key!r}"


def _relevant(config: Source, pool: Pool | None) -> list[NotModelled]:
    """Return the directives that are not modelled and may change the decision. Those of other pools are left out."""
    return [
        one for one in config.not_modelled if one.why and (pool is None or not _elsewhere(config, one, pool))
    ]


def _elsewhere(config: Source, one: NotModelled, pool: Pool) -> bool:
    """Return whether a directive belongs to another pool."""
    owner = config.owners.get(one.origin)
    return owner is not None and owner != pool.name
