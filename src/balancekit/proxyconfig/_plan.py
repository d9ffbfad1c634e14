"""The effects of a change of a proxy's configuration on shares, keys, sticky users and requests of an access log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError, printable
from balancekit.proxyconfig._config import ProxyConfig
from balancekit.proxyconfig._haproxy_decide import bound_to
from balancekit.proxyconfig._model import Chooser, Pool, PoolServer, ProxyRequest, Routing
from balancekit.proxyconfig._plan_pools import key_space
from balancekit.proxyconfig._plan_shares import idle_shares, serving
from balancekit.proxyconfig._plan_space import moved as moved_part

__all__ = ["PoolChange", "ProxyPlan", "plan_change"]


class PoolChange(Record):
    """The effects of a change on one pool.

    Parameters
    ----------
    name
        The name of the pool.
    before, after
        The shares by address; empty if the pool does not exist, or its method is not modelled.
    moved
        The share of all keys, 0 to 1, whose address changes; ``None`` if not the key alone decides.
    exact
        Whether ``moved`` was computed for every hash. If not, the hash function or its input changes, and ``moved`` is
        the expected value for random keys.
    lost
        The addresses that sticky users lose, by the value of their cookie.
    changes
        Descriptions of the differences.
    """

    name: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    moved: float | None
    exact: bool
    lost: Mapping[str, str]
    changes: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"pool {self.name}: " + ("; ".join(self.changes) or "no change")]
        if self.moved is not None:
            lines.append(f"  {self.moved:.4%} of all keys move" + ("" if self.exact else " (expected)"))
        for address in dict.fromkeys((*self.before, *self.after)):
            shares = [
                f"{part[address]:.3%}" if address in part else "-" for part in (self.before, self.after)
            ]
            lines.append(f"  {address:<28} {shares[0]:>9} -> {shares[1]:>9}")
        lines += [
            f"  users with the cookie {cookie!r} lose {address}" for cookie, address in self.lost.items()
        ]
        return "\n".join(map(printable, lines))


class ProxyPlan(Record):
    """The effects of a change of a configuration. Created by :func:`plan_change`.

    Parameters
    ----------
    pools
        The changes of all pools of both configurations.
    requests
        The number of requests that were compared.
    bound
        The number of those that had a certain server before, because a key, a cookie or a pool with one server decides.
    moved
        The indices of those requests that have another server after the change, or no certain one.
    clients
        The number of clients of the requests.
    moved_clients
        The clients with a request that moves.
    """

    pools: tuple[PoolChange, ...]
    requests: int
    bound: int
    moved: tuple[int, ...]
    clients: int
    moved_clients: tuple[str, ...]

    def __str__(self) -> str:
        lines = [str(pool) for pool in self.pools if pool.changes] or ["no pool changes"]
        if self.requests:
            lines.append(
                f"{len(self.moved)} of {self.requests} requests move ({self.bound} had one server before)"
            )
            lines.append(f"{len(self.moved_clients)} of {self.clients} clients move")
        return "\n".join(lines)


@checked_arguments
def plan_change(
    before: ProxyConfig, after: ProxyConfig, *, requests: Iterable[ProxyRequest] = ()
) -> ProxyPlan:
    """Return the effects of a change of a configuration.

    Parameters
    ----------
    before, after
        Two configurations of the same kind of proxy. Servers with equal addresses are the same server.
    requests
        Requests to compare one by one, for example those of an access log (:func:`read_log`).

    Raises
    ------
    ConfigurationError
        If ``before`` and ``after`` are of different kinds.

    *When not to use it:* to predict effects of failures. Every server that is not marked as down is treated as healthy.

    Cost: O(points of the rings), and two decisions for each request.
    """
    if before.kind != after.kind:
        raise ConfigurationError("after", after.kind, f"a configuration of {before.kind}")
    names = dict.fromkeys((*before.pools, *after.pools))
    pools = tuple([_pool(before.kind, before.pools.get(name), after.pools.get(name), name) for name in names])
    owners, others = _Owners(before), _Owners(after)
    count = bound = 0
    moved: list[int] = []
    clients: set[str] = set()
    moved_clients: dict[str, None] = {}
    for place, request in enumerate(requests):
        count += 1
        clients.add(request.client)
        was = owners.of(request)
        if was is None:
            continue
        bound += 1
        if others.of(request) != was:
            moved.append(place)
            moved_clients[request.client] = None
    return ProxyPlan(
        pools=pools,
        requests=count,
        bound=bound,
        moved=tuple(moved),
        clients=len(clients),
        moved_clients=tuple(moved_clients),
    )


class _Owners:
    """The servers that are certain for requests, according to one configuration."""

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._pools: dict[str, _PoolOwners] = {}

    def of(self, request: ProxyRequest) -> str | None:
        """Return an address; ``None`` if a rotation or a random pick decides."""
        routing = self._config.route(request)
        pool = None if routing.pool is None else self._config.pools.get(routing.pool)
        if pool is None or pool.start is None:
            return None
        if pool.name not in self._pools:  # nginx finds some only while it routes
            self._pools[pool.name] = _PoolOwners(self._config.kind, pool, pool.start(Random(0)))
        return self._pools[pool.name].of(request, routing)


class _PoolOwners:
    """The servers of a pool that are certain for requests."""

    def __init__(self, kind: str, pool: Pool, started: Chooser) -> None:
        self._pool = pool
        self._started = started
        self._addresses = {server.name: server.address for server in pool.servers}
        left = {server.address for server in serving(kind, pool)}
        self._only = left.pop() if len(left) == 1 else None
        cookies = {str(server.options.get("cookie", "")) for server in pool.servers if not server.down}
        self._cookies = frozenset(cookies - {""}) if _cookie_of(pool) else frozenset()

    def of(self, request: ProxyRequest, routing: Routing) -> str | None:
        """Return an address; ``None`` if a rotation or a random pick decides."""
        pool = self._pool
        keyed = pool.keyed and pool.key_of is not None and pool.key_of(request, routing) is not None
        if not keyed and not (self._cookies and bound_to(self._cookies, request, _cookie_of(pool))):
            return self._only
        name = self._started.pick(request, routing)
        return None if name is None else self._addresses[name]


def _cookie_of(pool: Pool) -> str:
    """Return the name of the cookie that binds clients to servers of a pool of HAProxy; empty if there is none."""
    return str(pool.settings.get("cookie", ""))


def _pool(kind: str, before: Pool | None, after: Pool | None, name: str) -> PoolChange:
    spaces = [None if pool is None else key_space(kind, pool) for pool in (before, after)]
    shares = [
        {} if pool is None else idle_shares(kind, pool) if space is None else space.shares()
        for pool, space in zip((before, after), spaces, strict=True)
    ]
    moved, exact = None, True
    if spaces[0] is not None and spaces[1] is not None:
        moved, exact = moved_part(spaces[0], spaces[1])
        if before is not None and after is not None and before.key != after.key:
            exact = False
    return PoolChange(
        name=name,
        before=shares[0],
        after=shares[1],
        moved=moved,
        exact=exact,
        lost=_lost(before, after),
        changes=tuple(_changes(before, after)),
    )


def _lost(before: Pool | None, after: Pool | None) -> dict[str, str]:
    """Return the cookies that no longer lead to the address they led to."""
    if before is None or not _cookie_of(before):
        return {}
    kept: dict[str, str] = {}
    if after is not None and _cookie_of(after) == _cookie_of(before):
        kept = _by_cookie(after)
    return {cookie: address for cookie, address in _by_cookie(before).items() if kept.get(cookie) != address}


def _by_cookie(pool: Pool) -> dict[str, str]:
    found: dict[str, str] = {}
    for server in pool.servers:
        cookie = str(server.options.get("cookie", ""))
        if cookie and not server.down:
            found.setdefault(cookie, server.address)
    return found


def _changes(before: Pool | None, after: Pool | None) -> list[str]:
    """Return descriptions of the differences."""
    if before is None or after is None:
        return ["added" if before is None else "removed"]
    found = []
    if before.method != after.method:
        found.append(f"method {before.method} -> {after.method}")
    elif before.key != after.key:
        found.append(f"key {before.key or 'none'} -> {after.key or 'none'}")
    ours, theirs = _by_place(before), _by_place(after)
    found += [f"server {server.address} added" for place, server in theirs.items() if place not in ours]
    found += [f"server {server.address} removed" for place, server in ours.items() if place not in theirs]
    both = [place for place in ours if place in theirs]
    for place in both:
        old, new = ours[place], theirs[place]
        address = old.address
        if old.name != new.name:
            found.append(f"server {address} renamed {old.name} -> {new.name}")
        for what in ("weight", "down", "backup"):
            values = getattr(old, what), getattr(new, what)
            if values[0] != values[1]:
                found.append(f"server {address} {what} {values[0]} -> {values[1]}")
        found += [f"server {address} {what}" for what in _other(old.options, new.options)]
    if both != [place for place in theirs if place in ours]:
        found.append("servers are in another order")
    return found + [f"settings {what}" for what in _other(_plain(before), _plain(after))]


def _by_place(pool: Pool) -> dict[tuple[str, int], PoolServer]:
    """Return the servers by address and by their number among the servers of that address."""
    found: dict[tuple[str, int], PoolServer] = {}
    counts = Counter[str]()
    for server in pool.servers:
        found[server.address, counts[server.address]] = server
        counts[server.address] += 1
    return found


def _other(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the names of values that differ."""
    names = dict.fromkeys((*before, *after))
    return [name for name in names if before.get(name) != after.get(name)]


def _plain(pool: Pool) -> dict[str, Any]:
    """Return the settings of a pool without those that its method or its servers already contain."""
    return {
        name: value
        for name, value in pool.settings.items()
        if not name.endswith("origin") and name not in {"balance", "directive", "hash-type", "machine"}
    }
