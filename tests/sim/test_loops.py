"""The two loops write the same trace, and the columns say what they should."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from balancekit import First, LeastRequest, LoadBalancer, PowerOfChoices, RoundRobin
from balancekit.health import Lifecycle
from balancekit.loads import InFlight
from balancekit.sim import Deterministic, Exponential, Lognormal, Poisson, RecordedArrivals, Server
from balancekit.sim._arrivals import arrival_times
from balancekit.sim._context import SimContext
from balancekit.sim._event_loop import Rules, Run
from balancekit.sim._fast_loop import play
from balancekit.sim._report_builder import measure
from balancekit.sim._trace import Trace

RULES = Rules(attempts=1, timeout=None, hedge=None, keys=None, costs=None)


def make(selector, **options):
    """Return a maker of balancers."""
    return lambda endpoints, clock, rng: LoadBalancer(
        endpoints, selector=selector(), clock=clock, rng=rng, **options
    )


def context(servers, maker, balancers=1):
    """Return the things of one run."""
    return SimContext(servers, maker, balancers=balancers, absent=(), seed=5)


def columns(trace):
    """Return every column as bytes."""
    return {name: bytes(memoryview(getattr(trace, name))) for name in Trace.__slots__ if name != "keys"}


POOLS = {
    "random": {f"s{k}": Server(service=Exponential(mean=1.0)) for k in range(6)},
    "workers": {f"s{k}": Server(service=Lognormal(mean=1.0), workers=k + 1, speed=0.5 + k) for k in range(3)},
    # Whole seconds: ends and arrivals coincide, and both loops must take them in the same order.
    "ties": {f"s{k}": Server(service=Deterministic(mean=2.0), workers=2) for k in range(3)},
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
    """The fast loop writes what the other loop would have written, byte for byte, and leaves the balancers alike."""
    servers, arrivals = POOLS[pool], ARRIVALS[pool]
    fast, full = context(servers, maker, balancers), context(servers, maker, balancers)
    one = play(fast, arrival_times(arrivals, fast.generator("arrivals"), 2_000))
    two = Run(full, RULES, ()).play(arrivals, 2_000)
    assert columns(one) == columns(two)
    assert len(one.where) == 2_000
    assert fast.events == full.events
    for mine, other in zip(fast.balancers, full.balancers, strict=True):
        assert str(mine.stats()) == str(other.stats())
    assert measure(one, servers, 200, ()) == measure(two, servers, 200, ())


def test_no_endpoint_to_ask_is_a_failure_in_both():
    """In an empty pool both loops count a failure."""

    def empty(endpoints, clock, rng):
        return LoadBalancer([], clock=clock, rng=rng, allow_empty=True)

    servers = POOLS["random"]
    fast, full = context(servers, empty), context(servers, empty)
    one = play(fast, arrival_times(Poisson(rate=1.0), fast.generator("arrivals"), 20))
    two = Run(full, RULES, ()).play(Poisson(rate=1.0), 20)
    assert columns(one) == columns(two)
    report = measure(one, servers, 0, ())
    assert (report.failures, report.errors, report.attempts) == (20, 1.0, 0.0)
    assert report.latency.size == 0


def present_naively(rows, workers, begin, end, step=0.01):
    """Walk through time and count the requests present and in service."""
    busy = over = 0.0
    for k in range(round((end - begin) / step)):
        now = begin + (k + 0.5) * step
        there = sum(entered <= now < left for entered, left in rows)
        busy += min(there, workers) * step
        over += (there > workers) * step
    return busy / (end - begin) / workers, over


def test_busy_and_overload_are_what_a_walk_through_time_finds():
    """Busy and overload are what a walk through time finds, over entries and exits on a grid."""
    rng = Random(8)
    servers = {
        "a": Server(service=Deterministic(mean=1.0), workers=2),
        "b": Server(service=Deterministic(mean=1.0)),
    }
    trace = Trace()
    rows = {0: [], 1: []}
    for number in range(60):
        now = number / 10
        trace.arrive(now)
        where = rng.randrange(2)
        left = now + rng.randrange(1, 30) / 50
        trace.send(number, 0, where, now)
        trace.left[-1] = left if number % 7 else float("inf")
        rows[where].append((now, trace.left[-1]))
        trace.ended[number], trace.served[number] = left, True
    report = measure(trace, servers, 10, ())
    begin, end = 1.0, 5.9
    assert report.seconds == pytest.approx(end - begin)
    walked = {id: present_naively(rows[k], servers[id].workers, begin, end) for k, id in enumerate("ab")}
    assert report.busy == pytest.approx({id: busy for id, (busy, _) in walked.items()})
    assert report.overload == pytest.approx(sum(over for _, over in walked.values()))
    stays = [max(0.0, min(e, end) - max(a, begin)) for a, e in zip(trace.arrived, trace.ended, strict=True)]
    assert report.in_system == pytest.approx(sum(stays) / (end - begin))
    found = [
        sum(
            a < now < e or (a == now and j < i)
            for j, (a, e) in enumerate(zip(trace.arrived, trace.ended, strict=True))
        )
        for i, now in enumerate(trace.arrived)
    ]
    assert report.seen == pytest.approx(np.mean(found[10:]))


@pytest.mark.parametrize("seed", range(20))
def test_an_arrival_sees_who_came_before_it_and_has_not_gone(seed):
    """An arrival sees what came before it and has not gone. What ends as it comes is not seen."""
    rng, trace = Random(seed), Trace()
    trace.send(trace.arrive(0.0), 0, 0, 0.0)
    for now in sorted(rng.randrange(30) / 10 for _ in range(100)):
        trace.arrive(now)
    for number, now in enumerate(trace.arrived):
        trace.ended[number] = now + rng.choice([0, 0, 1, 5]) / 10
    pairs = list(zip(trace.arrived, trace.ended, strict=True))
    seen = [sum(ended > now for _, ended in pairs[:number]) for number, (now, _) in enumerate(pairs)]
    report = measure(trace, {"a": Server(service=Deterministic(mean=1.0))}, 10, ())
    assert report.seen == pytest.approx(np.mean(seen[10:]))
