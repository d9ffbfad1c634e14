"""What a type checker must infer. Checked by mypy and pyright, never run."""

from collections.abc import Iterator, Mapping
from random import Random
from typing import assert_type

import balancekit
from balancekit import (
    Balancer,
    Endpoint,
    Key,
    Lease,
    LoadBalancer,
    Node,
    Outcome,
    PickContext,
    RoundRobin,
    Selector,
    Snapshot,
    endpoints,
    hashing,
)
from balancekit.events import Event
from balancekit.health import Lifecycle
from balancekit.loads import FailureAware, InFlight, PeakEwmaLatency
from balancekit.protocols import HealthPolicy, Load, LoadPolicy
from balancekit.statistics_view import BalancerStats
from balancekit.testing import ManualClock


class Client:
    """Any object can be a target."""


def targets_keep_their_type(client: Client) -> None:
    """Strings stay strings, clients stay clients, mappings give what they map to."""
    plain = LoadBalancer(["a", "b"])
    assert_type(plain, LoadBalancer[str])
    assert_type(plain.acquire(), Lease[str])
    with plain.acquire("key") as lease:
        assert_type(lease.target, str)
    own = LoadBalancer([Endpoint("a", client), Endpoint("b", client, weight=2)])
    assert_type(own, LoadBalancer[Client])
    assert_type(own.acquire().target, Client)
    mapped = LoadBalancer({"eu": client})
    assert_type(mapped.acquire().endpoint, Endpoint[Client])
    assert_type(Endpoint("a"), Endpoint[str])
    assert_type(Endpoint("a", 3).target, int)
    assert_type(endpoints({"a": 1.5}), tuple[Endpoint[float], ...])


def requests(lb: LoadBalancer[Client]) -> None:
    """Every way to ask gives a typed answer."""
    assert_type(lb.attempts(3, b"key"), Iterator[Lease[Client]])
    assert_type(lb.ranking(7, limit=2), tuple[Endpoint[Client], ...])
    assert_type(lb.stats(), BalancerStats)
    assert_type(lb.acquire().release(Outcome.FAILURE, retry_after=1.5), bool)
    assert_type(lb.explain().picked, str | None)
    for lease in lb.attempts(2):
        with lease as same:
            assert_type(same, Lease[Client])


async def coroutines(lb: LoadBalancer[str]) -> None:
    """Both kinds of `with` work."""
    async with lb.acquire() as lease:
        assert_type(lease.target, str)
    with lb.acquire() as lease:
        assert_type(lease.target, str)


def embeds(balancer: Balancer[str]) -> str:
    """Other software asks for the protocol, and a LoadBalancer is one."""
    with balancer.acquire() as lease:
        return lease.target


embeds(LoadBalancer(["a"]))


class Cheapest:
    """A user's algorithm is a Selector by its shape."""

    def __init__(self, price: Mapping[str, float]) -> None:
        self.price = price

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Pick the cheapest."""
        return min(snapshot.candidates(ctx), key=lambda n: self.price[n.id], default=None)


class Constant:
    """A user's load is a Load by its shape, and its class a LoadPolicy."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def started(self, *, now: float, cost: float) -> None:
        """Hear nothing."""

    def finished(self, completion: object, /) -> None:
        """Hear nothing."""

    def value(self, *, now: float) -> float:
        """Return the same always."""
        return 1.0


def hear(event: Event) -> None:
    """Take any event."""
    assert_type(event.endpoint, str)


selectors: list[Selector] = [Cheapest({}), RoundRobin()]
policies: list[LoadPolicy] = [Constant, InFlight(), PeakEwmaLatency(), FailureAware()]
key: Key = b"bytes"
made = LoadBalancer(
    ["a"],
    selector=Cheapest({"a": 1.0}),
    load=Constant,
    health=Lifecycle(),
    clock=ManualClock(),
    rng=Random(1),
    listeners=[hear],
)
assert_type(made, LoadBalancer[str])


def machines(load: Load, health: HealthPolicy) -> None:
    """Machines are told the time."""
    assert_type(load.value(now=1.0), float)
    assert_type(health.eligible, bool)


async def mistakes_are_found(lb: LoadBalancer[str]) -> None:
    """Take a misspelt name of a package, or the await of a lease, for an error: each mark is needed."""
    repr(balancekit.LoadBalancr)  # type: ignore[attr-defined]  # misspelt
    repr(hashing.HashRig)  # type: ignore[attr-defined]  # misspelt
    await lb.acquire()  # type: ignore[misc]  # it never waits
