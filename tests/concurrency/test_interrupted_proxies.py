"""A change of a proxy's server that is interrupted has been made, or not; the same change again makes it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from tests.concurrency._interrupts import Injector, Interrupt

from balancekit.compat import envoy, haproxy

DECISIONS = 12
MAX_PLACES = 40
"""From the last backwards: those before are where the old state is copied, and nothing has changed yet."""

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def backend(method: str) -> haproxy.Backend:
    """Return a backend that has served, and has requests open."""
    servers = [
        haproxy.Server("s1"),
        haproxy.Server("s2", weight=2, maxconn=1),
        haproxy.Server("s3", backup=True),
    ]
    made = haproxy.Backend(servers, balance=haproxy.Balance(method=method), rng=Random(1))
    for _ in range(4):
        made.request()
    return made


def cluster(policy: Callable[[], Any]) -> envoy.Cluster:
    """Return a cluster that has served."""
    hosts = [envoy.Host("h1"), envoy.Host("h2", weight=2), envoy.Host("h3", priority=1)]
    made = envoy.Cluster(hosts, policy, rng=Random(1))
    for number in range(3):
        made.acquire(now=float(number))
    return made


def served(made: haproxy.Backend) -> Any:
    """Return the next decisions of a backend, and what is open."""
    return [made.get() for _ in range(DECISIONS)], dict(made.served)


def chosen(made: envoy.Cluster) -> Any:
    """Return the next decisions of a cluster, and who takes what."""
    return [made.acquire(now=9.0) for _ in range(DECISIONS)], made.distribution


CHANGES: dict[str, tuple[Callable[[], Any], Callable[[Any], object], Callable[[Any], Any]]] = {
    f"{method}, {name}": (lambda method=method: backend(method), change, served)
    for method in ("leastconn", "roundrobin", "random")
    for name, change in {
        "set_state": lambda one: one.set_state("s1", "drain"),
        "set_weight": lambda one: one.set_weight("s1", 7),
        "set_health": lambda one: one.set_health("s1", up=False),
    }.items()
} | {
    policy.__name__: (
        lambda policy=policy: cluster(policy),
        lambda one: one.set_health("h1", envoy.Health.UNHEALTHY, now=9.0),
        chosen,
    )
    for policy in (envoy.RoundRobin, envoy.LeastRequest, envoy.RingHash)
}


@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
@pytest.mark.parametrize("name", CHANGES)
def test_an_interrupted_change_of_a_server_is_made_or_not(name: str, jumps: bool) -> None:
    """After a KeyboardInterrupt the decisions are those of before or of after, and the same change again leads to those of after."""
    make, change, decisions = CHANGES[name]
    old = decisions(make())
    changed, counter = make(), Injector(10**9, jumps=jumps)
    with counter:
        change(changed)
    new = decisions(changed)
    for place in range(max(1, counter._seen - MAX_PLACES), counter._seen + 1):
        one, again = make(), make()
        injector = Injector(place, jumps=jumps)
        with suppress(Interrupt, TypeError), injector:
            change(one)
        assert injector.where
        assert decisions(one) in (old, new), injector.where
        with suppress(Interrupt, TypeError), Injector(place, jumps=jumps):
            change(again)
        change(again)
        assert decisions(again) == new, injector.where
    assert jumps or counter._seen > MAX_PLACES
