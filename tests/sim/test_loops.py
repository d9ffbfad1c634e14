"""The two loops write the same log, and the columns say what they should."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from balancekit import First, LeastRequest, LoadBalancer, PowerOfChoices, RoundRobin
from balancekit.health import Lifecycle
from balancekit.loads import InFlight
from balancekit.sim import Always, Exponential, Lognormal, Poisson, RecordedArrivals, Server
from balancekit.sim._arrivals import moments
from balancekit.sim._lane import play
from balancekit.sim._log import Log
from balancekit.sim._measures import measure
from balancekit.sim._run import Rules, Run
from balancekit.sim._world import World

RULES = Rules(attempts=1, timeout=None, hedge=None, keys=None, costs=None)


def make(selector, **options):
    """Return a maker of balancers."""
    return lambda endpoints, clock, rng: LoadBalancer(
        endpoints, selector=selector(), clock=clock, rng=rng, **options
    )


def world(servers, maker, balancers=1):
    """Return the things of one run."""
    return World(servers, maker, balancers=balancers, absent=(), seed=5)


def columns(log):
    """Return every column as bytes."""
    return {name: bytes(memoryview(getattr(log, name))) for name in Log.__slots__ if name != "keys"}


POOLS = {
    "random": {f"s{k}": Server(service=Exponential(mean=1.0)) for k in range(6)},
    "workers": {f"s{k}": Server(service=Lognormal(mean=1.0), workers=k + 1, speed=0.5 + k) for k in range(3)},
    # Whole seconds: ends and arrivals coincide, and both loops must take them in the same order.
    "ties": {f"s{k}": Server(service=Always(mean=2.0), workers=2) for k in range(3)},
}
ARRIVALS = {
    "random": Poisson(rate=4.0),
    "workers": Poisson(rate=6.0),
    "ties": RecordedArrivals(seconds=[float(k // 3) for k in range(2_000)]),
}


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("balancers", [1, 3])
@pytest.mark.parametrize(
    "maker",
    [
        make(PowerOfChoices),
        make(LeastRequest, health=None),
        make(RoundRobin, load=InFlight()),
        make(First, health=Lifecycle()),
    ],
)
def test_the_fast_loop_writes_what_the_other_would_have_written(pool, balancers, maker):
    """Byte for byte, in every column, and the balancers are left alike."""
    servers, arrivals = POOLS[pool], ARRIVALS[pool]
    fast, full = world(servers, maker, balancers), world(servers, maker, balancers)
    one = play(fast, moments(arrivals, fast.chance("arrivals"), 2_000))
    two = Run(full, RULES, ()).play(arrivals, 2_000)
    assert columns(one) == columns(two)
    assert len(one.where) == 2_000
    assert fast.events == full.events
    for mine, other in zip(fast.balancers, full.balancers, strict=True):
        assert str(mine.stats()) == str(other.stats())
    assert measure(one, servers, 200, ()) == measure(two, servers, 200, ())


def test_nobody_to_ask_is_a_failure_in_both():
    """An empty pool."""

    def empty(endpoints, clock, rng):
        return LoadBalancer([], clock=clock, rng=rng, allow_empty=True)

    servers = POOLS["random"]
    fast, full = world(servers, empty), world(servers, empty)
    one = play(fast, moments(Poisson(rate=1.0), fast.chance("arrivals"), 20))
    two = Run(full, RULES, ()).play(Poisson(rate=1.0), 20)
    assert columns(one) == columns(two)
    report = measure(one, servers, 0, ())
    assert (report.failures, report.errors, report.attempts) == (20, 1.0, 0.0)
    assert report.latency.size == 0


def present_naively(rows, workers, begin, end, step=0.01):
    """Walk through time: how many are there, and how many of them are worked on?"""
    busy = over = 0.0
    for k in range(round((end - begin) / step)):
        now = begin + (k + 0.5) * step
        there = sum(entered <= now < left for entered, left in rows)
        busy += min(there, workers) * step
        over += (there > workers) * step
    return busy / (end - begin) / workers, over


def test_busy_and_overload_are_what_a_walk_through_time_finds():
    """Entries and exits drawn on a grid, so that the walk is exact."""
    rng = Random(8)
    servers = {"a": Server(service=Always(mean=1.0), workers=2), "b": Server(service=Always(mean=1.0))}
    log = Log()
    rows = {0: [], 1: []}
    for number in range(60):
        now = number / 10
        log.arrive(now)
        where = rng.randrange(2)
        left = now + rng.randrange(1, 30) / 50
        log.send(number, 0, where, now)
        log.left[-1] = left if number % 7 else float("inf")
        rows[where].append((now, log.left[-1]))
        log.ended[number], log.served[number] = left, True
    report = measure(log, servers, 10, ())
    begin, end = 1.0, 5.9
    assert report.seconds == pytest.approx(end - begin)
    walked = {id: present_naively(rows[k], servers[id].workers, begin, end) for k, id in enumerate("ab")}
    assert report.busy == pytest.approx({id: busy for id, (busy, _) in walked.items()})
    assert report.overload == pytest.approx(sum(over for _, over in walked.values()))
    stays = [max(0.0, min(e, end) - max(a, begin)) for a, e in zip(log.arrived, log.ended, strict=True)]
    assert report.in_system == pytest.approx(sum(stays) / (end - begin))
    found = [
        sum(
            a < now < e or (a == now and j < i)
            for j, (a, e) in enumerate(zip(log.arrived, log.ended, strict=True))
        )
        for i, now in enumerate(log.arrived)
    ]
    assert report.seen == pytest.approx(np.mean(found[10:]))


@pytest.mark.parametrize("seed", range(20))
def test_an_arrival_sees_who_came_before_it_and_has_not_gone(seed):
    """Whatever ends as it comes is seen by nobody; times on a grid, so that many are equal."""
    rng, log = Random(seed), Log()
    log.send(log.arrive(0.0), 0, 0, 0.0)
    for now in sorted(rng.randrange(30) / 10 for _ in range(100)):
        log.arrive(now)
    for number, now in enumerate(log.arrived):
        log.ended[number] = now + rng.choice([0, 0, 1, 5]) / 10
    pairs = list(zip(log.arrived, log.ended, strict=True))
    seen = [sum(ended > now for _, ended in pairs[:number]) for number, (now, _) in enumerate(pairs)]
    report = measure(log, {"a": Server(service=Always(mean=1.0))}, 10, ())
    assert report.seen == pytest.approx(np.mean(seen[10:]))
