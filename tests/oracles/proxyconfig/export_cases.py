"""Pools of every selector and tables of routes to export, and requests for them, for live runs and their recordings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from balancekit import Endpoint, LoadBalancer, selectors
from balancekit.checks import HttpCheck, Schedule, TcpCheck
from balancekit.health import Ejection, Lifecycle, WarmUp
from balancekit.l7 import (
    Request,
    Route,
    RouteTable,
    Split,
    cookie,
    exact,
    header,
    prefix,
    query,
    regex,
    template,
    text_prefix,
)
from balancekit.proxyconfig import ExportPool

__all__ = [
    "EXTREMES",
    "REQUESTS",
    "SELECTORS",
    "TABLES",
    "balancer_of",
    "check_pool",
    "every_selector",
    "matched",
    "pool_requests",
    "split_case",
    "table_case",
]

SELECTORS = tuple(name for name in selectors.__all__ if name != "BoundedLoad")
WEIGHTS = (3, 2, 1, 1)
EQUAL = frozenset({"LeastRequest", "LeastResponseTime", "ShortestExpectedDelay", "PowerOfChoices"})
"""Without requests in flight, what they do with unequal weights is no share."""
REQUESTS = 140
"""For each pool; a multiple of the sum of the weights and of the number of servers."""
TABLES = 8


def every_selector(addresses: list[str]) -> tuple[list[ExportPool], RouteTable[str]]:
    """Return a pool for each selector, and routes by the first segment of the path."""
    pools, routes = [], []
    for name in SELECTORS:
        weights = (1, 1, 1, 1) if name in EQUAL else WEIGHTS
        pools.append(
            ExportPool(
                name=name.lower(),
                endpoints=tuple(
                    Endpoint(address, weight=weight)
                    for address, weight in zip(addresses, weights, strict=False)
                ),
                selector=name,
                key="header:x-user",
                attempts=1,
            )
        )
        routes.append(Route(name, name.lower(), path=prefix(f"/{name}")))
    return pools, RouteTable(routes)


def balancer_of(pool: ExportPool) -> LoadBalancer[str]:
    """Return the balancer that was exported."""
    return LoadBalancer(
        pool.endpoints, selector=getattr(selectors, pool.selector)(), rng=Random(5), health=None
    )


def pool_requests(pool: ExportPool) -> list[dict[str, Any]]:
    """Return requests for one pool, by 35 users, several times each."""
    rng = Random(f"users of {pool.name}")
    return [
        {
            "target": f"/{pool.selector}/x?n={number}",
            "host": "shop.test",
            "headers": [["X-User", f"u{rng.randrange(35)}"]],
            "client": "127.0.0.1",
        }
        for number in range(REQUESTS)
    ]


def table_case(
    seed: int, addresses: list[str]
) -> tuple[list[ExportPool], RouteTable[str], list[dict[str, Any]]]:
    """Return pools of one server each, a random table, and requests."""
    rng = Random(f"table {seed}")
    pools = [
        ExportPool(name=f"p{number}", endpoints=(Endpoint(address),), selector="RoundRobin", attempts=1)
        for number, address in enumerate(addresses)
    ]
    paths = (
        exact("/api"),
        exact("/a.b+c"),
        prefix("/api"),
        prefix("/api/v1"),
        text_prefix("/ap"),
        text_prefix("/img/x"),
        regex("^/u/[0-9]+$"),
        regex("x1"),
        template("/u/{id}/files/{rest:path}"),
        template("/u/{id}"),
        None,
    )
    conditions = (
        header("x-beta").is_("1"),
        header("x-beta").is_not('a"b;{}#'),
        header("x-beta").starts("ca"),
        header("x-beta").present(),
        header("x-beta").absent(),
        header("x-n").between(3, 12),
        cookie("uid").is_("7"),
        cookie("uid").is_not("7"),
        cookie("uid").starts("a"),
        query("v").is_("2"),
        query("v").is_not("2"),
        query("v").contains("b"),
        query("v").matches("[a-c]+"),
        query("v").present(),
    )
    routes = [
        Route(
            f"r{number}",
            rng.choice(pools).name,
            host=rng.choice((None, None, "shop.test", "*.shop.test", ["a.test", "api.shop.test"])),
            path=rng.choice(paths),
            method=rng.choice((None, None, None, "GET", ["POST", "PUT"])),
            headers=rng.sample(conditions, rng.choice((0, 0, 1, 1, 2))),
            priority=rng.choice((0, 0, 0, 1)),
        )
        for number in range(8)
    ]
    no_match = None if seed % 2 else "p0"
    table = RouteTable(routes, order=("first", "specific")[seed // 2 % 2], no_match=no_match)
    return pools, table, [_request(rng) for _ in range(80)]


def _request(rng: Random) -> dict[str, Any]:
    path = rng.choice(
        (
            "/api",
            "/api/",
            "/api/v1/z",
            "/apiary",
            "/a.b+c",
            "/aXb+c",
            "/u/7",
            "/u/7/files/a/b",
            "/u/x1",
            "/img/x1",
            "/",
        )
    )
    text = rng.choice(("", "?v=2", "?v=abc", "?a=1&v=2&x=b", "?w=1&v=cc", "?v=dab"))
    headers = []
    if rng.random() < 0.7:
        headers.append(["X-Beta", rng.choice(("1", "canary", 'a"b;{}#', "11"))])
    if rng.random() < 0.4:
        headers.append(["X-N", rng.choice(("3", "12", "13", "-4", "7x"))])
    if rng.random() < 0.6:
        headers.append(["Cookie", rng.choice(("uid=7", "x=1; uid=a9", "uid=77; x=7", "xuid=7"))])
    return {
        "target": path + text,
        "method": rng.choice(("GET", "GET", "POST")),
        "host": rng.choice(("shop.test", "api.shop.test", "A.test", "a.b.shop.test:81", "other.test")),
        "headers": headers,
        "client": "127.0.0.1",
    }


def matched(table: RouteTable[str], one: dict[str, Any]) -> str | None:
    """Return the pool that the table gives a request."""
    request = Request.from_url(
        f"http://{one['host']}{one['target']}",
        method=one["method"],
        headers=[tuple(pair) for pair in one["headers"]],
    )
    found = table.match(request)
    return None if found is None else found.pool()


def split_case(addresses: list[str]) -> tuple[list[ExportPool], RouteTable[str]]:
    """Return three pools of one server each and a split over them."""
    pools = [
        ExportPool(name=f"p{number}", endpoints=(Endpoint(address),), selector="RoundRobin", attempts=1)
        for number, address in enumerate(addresses[:3])
    ]
    return pools, RouteTable([Route("all", Split({"p0": 60, "p1": 30, "p2": 10}))])


def check_pool(pool: ExportPool, fidelity: str, served: list[str]) -> None:
    """Check what was served against the balancer, as far as an export promises."""
    ids = [endpoint.id for endpoint in pool.endpoints]
    counts = [served.count(id) for id in ids]
    assert sum(counts) == len(served), pool.selector
    if fidelity == "same" or pool.selector == "First":  # the same, as long as the first is well
        picks = [lease.target for lease in _picks(balancer_of(pool), len(served))]
        turns = range(len(served)) if pool.selector != "First" else range(1)
        assert any(served == picks[turn:] + picks[:turn] for turn in turns), pool.selector
    elif pool.keyed:
        keys = [dict(map(tuple, one["headers"]))["X-User"] for one in pool_requests(pool)]
        owners: dict[str, set[str]] = {}
        for key, id in zip(keys, served, strict=True):
            owners.setdefault(key, set()).add(id)
        assert all(len(found) == 1 for found in owners.values()), pool.selector
        assert len(set().union(*owners.values())) == len(ids), pool.selector
    elif fidelity == "rule" and pool.selector not in EQUAL:
        total = sum([endpoint.weight for endpoint in pool.endpoints])
        drawn = pool.selector in {"UniformRandom", "WeightedRandom"}
        for endpoint, count in zip(pool.endpoints, counts, strict=True):
            share = 1 / len(ids) if pool.selector == "UniformRandom" else endpoint.weight / total
            spread = 5 * math.sqrt(len(served) * share * (1 - share)) if drawn else 1.0
            assert abs(count - len(served) * share) <= spread, (pool.selector, counts)
    else:
        assert all(counts), pool.selector


def _picks(balancer: LoadBalancer[str], count: int) -> list[Any]:
    found = []
    for _ in range(count):
        with balancer.acquire() as lease:
            found.append(lease)
    return found


def one_pool(**given: Any) -> tuple[list[ExportPool], RouteTable[str] | None]:
    """Return a pool without routes."""
    endpoints = tuple(Endpoint(f"127.0.0.1:{9000 + number}") for number in range(2))
    return [ExportPool(**{"name": "api", "endpoints": endpoints, "selector": "RoundRobin", **given})], None


def routed(*routes: Route[str], names: Sequence[str] = ("api",)) -> tuple[list[ExportPool], RouteTable[str]]:
    """Return pools with routes."""
    return [one_pool(name=name)[0][0] for name in names], RouteTable(routes)


def many_servers(count: int, **given: Any) -> tuple[list[ExportPool], RouteTable[str] | None]:
    """Return a pool of many servers."""
    endpoints = tuple(Endpoint(f"127.1.{number // 200}.{1 + number % 200}:80") for number in range(count))
    return one_pool(endpoints=endpoints, **given)


EXTREMES: dict[str, Callable[[], tuple[list[ExportPool], RouteTable[str] | None]]] = {
    "long time-out": lambda: one_pool(timeout=1234567.8),
    "longest time-out": lambda: one_pool(timeout=3e9),
    "short time-out": lambda: one_pool(timeout=0.00001),
    "long ejection": lambda: one_pool(health=Lifecycle(ejection=Ejection(base=1234567.0, max_duration=9e9))),
    "short ejection": lambda: one_pool(health=Lifecycle(ejection=Ejection(base=1e-5, max_duration=2e-5))),
    "slow checks": lambda: one_pool(
        check=HttpCheck("/x"), schedule=Schedule(interval=3599.9, timeout=3000.25)
    ),
    "fast checks": lambda: one_pool(check=TcpCheck(), schedule=Schedule(interval=4e-4, timeout=2e-4)),
    "long warm-up": lambda: one_pool(check=TcpCheck(), health=Lifecycle(warm_up=WarmUp(window=1e8))),
    "long route": lambda: routed(Route("r", "api", timeout=1234567.8, attempts=3, retry_on=[503])),
    "many servers": lambda: many_servers(1_000),
    "many levels": lambda: many_servers(200, selector="First"),
    "large table": lambda: one_pool(selector="MaglevHash", key="client", options={"size": 5_000_081}),
    "large factors": lambda: one_pool(
        selector="RingHash",
        key="client",
        routers=({"kind": "Priority", "overprovisioning": 1e9}, {"kind": "BoundedLoad", "factor": 1e9}),
    ),
    "small shares": lambda: routed(
        Route("r", Split({"a": 1, "b": 100_000, "c": 99_999})), names=("a", "b", "c")
    ),
    "shares rounded up": lambda: routed(
        Route("r", Split({f"p{n}": 16.6655 if n < 6 else 0.007 for n in range(7)})),
        names=[f"p{n}" for n in range(7)],
    ),
    "names of parsers": lambda: routed(
        Route("n", "y", headers=[header("n").is_("y")]),
        Route("none", "none"),
        names=("y", "none", "n", "null"),
    ),
    "wide bounds": lambda: routed(
        Route("r", "api", headers=[header("x").between(-5, 10**9), query("q").between(-(10**9), -7)])
    ),
    "signs in names": lambda: routed(
        Route("r", "api", headers=[query(name).present() for name in ("a[0]", "d'e", "f(g)", "h,i", 'j"k')])
    ),
}
"""Pools and tables at the limits of the proxies, each made by a call."""
