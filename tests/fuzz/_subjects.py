"""Well-made objects with state, and good values by parameter: refused calls of them must change nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from balancekit import Endpoint, LoadBalancer, Outcome
from balancekit.capacity import L7, Demand, Gslb, plan_capacity
from balancekit.gslb import (
    AllUp,
    Answer,
    Client,
    Failover,
    GeoMap,
    Query,
    ResolverCache,
    WeightedOne,
    fixed_standings,
)
from balancekit.ha import Majority, Quorum, SyncGroup, TrackedCheck, Tracking, TrackingMachine, VirtualRouter
from balancekit.hashing import AnchorHash, BoundedPlacement, HashRing, MaglevTable
from balancekit.health import CheckResult, Probation
from balancekit.l4 import DsrBook, Ecmp, FlowTable, Nat, ResilientGroup
from balancekit.l7 import Request, Route, RouteTable, Split, header, prefix
from balancekit.outcome import LoadReport
from balancekit.reported import LoadMeter, ProbePool, ReportedWeights
from balancekit.retry import RetryBudget
from balancekit.scheduling import AliasTable
from balancekit.stats import Ewma, PeakEwma, RecentWindow
from balancekit.testing import ManualClock
from balancekit.waiting import ClientThrottle

ROUTER: Final = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.12", interval=0.5)
QUERY: Final = Query(name="www", client=Client(address="192.0.2.53"))
GOOD: Final[dict[str, Any]] = {
    "now": 1.0, "flow": b"flow\x06", "owner": "a", "alive": {"a", "b"}, "server": "a", "size": 10, "sample": 0.5, "value": 0.5,
    "hash": 7, "members": ["a", "b", "c"], "endpoint": "a", "endpoints": ["a", "b"], "report": LoadReport(rps=1.0),
    "request": Request("/orders"), "routes": [Route("other", "web")], "query": QUERY, "answer": Answer(("a",), ttl=30.0),
    "standings": fixed_standings({}), "rng": random.Random(1), "node": "d", "nodes": ["a", "d"], "key": "k", "id": "a",
    "weight": 2.0, "result": CheckResult(passed=True), "passed": True, "up": True, "local": ("10.0.0.1", 5000), "priority": 90,
    "outcome": Outcome.SUCCESS, "requests": 2.0, "deadline": 5.0, "random": random.Random(2).random, "bound": 0.5,
}  # fmt: skip
"""A value that calls with a parameter of this name accept, where the parameter means the same everywhere."""


def _used(thing: Any, *calls: Callable[[Any], object]) -> Any:
    for call in calls:
        call(thing)
    return thing


def subjects() -> list[tuple[str, Any]]:
    """Return objects that hold something, each newly made."""
    made: list[Any] = [
        LoadBalancer(["a", Endpoint("b", weight=2), "c"], clock=ManualClock()),
        RouteTable([Route("beta", "canary", headers=[header("x").is_("1")]), Route("o", Split({"a": 1, "b": 2}), path=prefix("/o"))]),
        _used(
            FlowTable(capacity=4, new_per_second=100),
            lambda table: [
                table.steer(b"%d\x06" % k, now=0.0, owner=lambda _: "a", alive={"a"}) for k in range(3)
            ],
        ),
        _used(Nat(["10.0.0.1"], ports=range(5000, 5003)), lambda nat: nat.open(b"flow\x06", "a", now=0.0)),
        _used(DsrBook(direct=["a"]), lambda book: book.received("a", 10, opened=True)),
        ResilientGroup(["a", "b"], buckets=8, idle_timer=10.0),
        Ecmp(["a", "b"]),
        AliasTable(["a", "b"], [1, 2]),
        _used(Ewma(), lambda average: average.observe(1.0, now=0.0)),
        _used(PeakEwma(), lambda average: average.observe(1.0, now=0.0)),
        _used(RecentWindow(size=4), lambda window: window.record(1.0)),
        _used(LoadMeter(capacity=2, clock=ManualClock()), lambda meter: meter.started()),
        _used(ReportedWeights()(), lambda machine: machine.record("a", LoadReport(rps=1.0), now=0.0)),
        ProbePool()(),
        RetryBudget(),
        ClientThrottle(),
        plan_capacity(Demand(requests=1e5), [Gslb(sites=2), L7(requests_per_second=50_000)]),
        HashRing(["a", "b", "c"]),
        AnchorHash(["a", "b", "c"], capacity=8),
        BoundedPlacement(MaglevTable(["a", "b", "c"], size=251)),
        _used(ROUTER(), lambda router: router.start(now=0.0)),
        _used(SyncGroup(routers={"a": ROUTER})(), lambda group: group.start(now=0.0)),
        TrackingMachine(Tracking(checks={"a": TrackedCheck(weight=-20)}), ROUTER),
        Quorum()(),
        Majority(voters=("a", "b", "c")).voter(now=0.0),
        Probation()(),
        Failover([("eu", AllUp(["a"])), ("us", WeightedOne({"b": 1, "c": 2}))]),
        _used(ResolverCache(), lambda cache: cache.store(QUERY, Answer(("a",), ttl=30.0), now=0.0)),
        GeoMap.build(networks={"198.51.100.0/24": ["us", "eu"]}, default=["eu", "us"]),
    ]  # fmt: skip
    return [(f"{type(one).__module__}.{type(one).__name__}", one) for one in made]
