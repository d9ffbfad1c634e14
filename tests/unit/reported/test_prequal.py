"""Prequal: the pool of probes, the rule of hot and cold, and what an endpoint that fails gets."""

from __future__ import annotations

import math
import random

import pytest

from balancekit import ConfigurationError, LoadBalancer, Outcome
from balancekit.outcome import LoadReport
from balancekit.reported import Prequal, ProbePool, ReportedRoundRobin
from balancekit.testing import ManualClock, check_selector

IDS = ["a", "b", "c", "d"]


def pool_with(*answers, **options):
    """Return a pool with one answer of each of a, b, c."""
    pool = ProbePool(**options)()
    for id, (in_flight, latency) in zip(IDS, answers, strict=False):
        pool.add(id, in_flight=in_flight, latency=latency, now=0.0)
    return pool


def test_the_selector_keeps_the_laws_of_selectors():
    """The selector keeps the laws of selectors: deterministic given its state, only candidates, safe for threads."""
    check_selector(Prequal)


def test_of_the_cold_the_fastest():
    """Below the quantile of requests in flight, the least latency is chosen, however many are in flight."""
    pool = pool_with((5, 0.1), (1, 0.3), (2, 0.2), (9, 0.01), quantile=0.75)
    assert pool.choose(IDS, random.Random(1), now=0.0) == "a"


def test_of_the_hot_the_least_loaded():
    """If all are above the quantile, the fewest in flight are chosen, whatever the latency."""
    hot = pool_with((5, 0.1), (4, 0.9), (6, 0.1), (0, 9.0), quantile=0.0)
    assert hot.choose(["a", "b", "c"], random.Random(1), now=0.0) == "b"


def test_a_used_probe_counts_the_request():
    """Each use adds one to what the probe says is in flight, so that not all requests go to the same endpoint."""
    pool = pool_with((0, 0.1), (0, 0.2), (0, 0.3), quantile=0.0, removal=0.0)
    picks = [pool.choose(IDS, random.Random(1), now=0.0) for _ in range(3)]
    assert sorted(picks) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("answers", "quantile", "worst"),
    [
        ([(1, 0.9), (2, 0.1), (3, 0.2), (4, 0.3)], 1.0, "a"),
        ([(1, 0.3), (2, 0.1), (3, 0.2), (4, 0.9)], 1.0, "d"),
        ([(1, 0.9), (2, 0.1), (5, 0.2), (3, 0.3)], 0.5, "c"),
        ([(2, 0.9), (1, 0.1), (5, 0.2), (3, 0.3)], 0.0, "c"),
    ],
)
def test_the_worst_is_the_hottest_and_without_a_hot_one_the_slowest(answers, quantile, worst):
    """With each request one probe is taken out, the oldest and the worst by turns.

    The worst is the last of the order of choice: of the hot the one with the most in flight; if all are cold, the one with
    the greatest latency.
    """

    def kept(id):
        pool = ProbePool(quantile=quantile, surplus=1e6)()
        for name, (in_flight, latency) in zip(["old", *IDS], [(0, 0.5), *answers], strict=True):
            pool.add(name, in_flight=in_flight, latency=latency, now=0.0)
        assert [pool.choose({"b"}, random.Random(1), now=0.0) for _ in range(2)] == ["b", "b"]
        return pool.choose({id}, random.Random(1), now=0.0) is not None

    assert [id for id in ("old", *IDS) if not kept(id)] == ["old", worst]


def test_ties_go_to_the_oldest_probe():
    """Of probes that say the same the one that came first is used, so that clients which asked in another order differ."""
    for order in (["a", "b", "c"], ["c", "a", "b"], ["b", "c", "a"]):
        pool = ProbePool()()
        for id in order:
            pool.add(id, in_flight=1, latency=0.1, now=0.0)
        assert pool.choose(set(order), random.Random(1), now=0.0) == order[0]


def test_old_probes_are_not_used():
    """A probe older than ``max_age`` is none; with fewer than two, nothing is chosen."""
    pool = pool_with((0, 0.1), (0, 0.2))
    assert pool.choose(IDS, random.Random(1), now=1.0) is not None
    assert pool.choose(IDS, random.Random(1), now=1.01) is None


def test_no_more_probes_than_requests_pay_for():
    """At most ``rate`` probes are sent for each request, and one at a time to each endpoint."""
    pool, rng, sent = ProbePool(rate=3.0)(), random.Random(1), 0
    for count in range(1, 200):
        pool.choose(IDS, rng, now=0.0)
        asked = pool.due(IDS, rng)
        assert len(asked) == len(set(asked))
        sent += len(asked)
        assert sent <= 3 * count
    assert sent == 3 * 199


@pytest.mark.parametrize(
    ("in_flight", "latency"), [(math.nan, 0.1), (-1, 0.1), (math.inf, 0.1), (1, math.nan), (1, -0.1)]
)
def test_answers_that_cannot_be_are_ignored_and_counted(in_flight, latency):
    """An answer that cannot be is counted and changes nothing else."""
    pool = pool_with((0, 0.1), (0, 0.2))
    pool.add("a", in_flight=in_flight, latency=latency, now=0.0)
    assert pool.rejected == 1
    assert pool.choose(IDS, random.Random(1), now=0.0) == "a"


def test_no_probe_outlives_its_endpoint():
    """After an endpoint has been removed and added again, its old probe is not used."""
    prequal = Prequal()
    lb = LoadBalancer(IDS, selector=prequal, clock=ManualClock(), rng=random.Random(1))
    for id in IDS:
        prequal.pool.add(id, in_flight=0 if id == "a" else 9, latency=0.1, now=0.0)
    assert lb.acquire().release()
    lb.update(["b", "c", "d"])
    lb.update(IDS)
    prequal.pool.add("a", in_flight=99, latency=9.0, now=0.0)
    assert [lb.explain().picked for _ in range(3)]
    with lb.acquire() as lease:
        assert lease.target != "a"


def test_an_endpoint_that_fails_fast_is_no_sink():
    """One of ten answers probes as idle and fails every request: it gets less than 1.2 of a fair share."""
    clock, rng = ManualClock(), random.Random(3)
    prequal = Prequal()
    ids = [f"s{number}" for number in range(10)]
    lb = LoadBalancer(ids, selector=prequal, clock=clock, rng=random.Random(4), health=None)
    share = 0
    for _ in range(3_000):
        clock.advance(0.01)
        lease = lb.acquire()
        bad = lease.target == "s0"
        share += bad
        lease.release(Outcome.FAILURE if bad else Outcome.SUCCESS)
        for id in prequal.pool.due(ids, rng):
            in_flight, latency = (0, 0.001) if id == "s0" else (rng.randrange(1, 6), 0.1)
            prequal.pool.add(id, in_flight=in_flight, latency=latency, now=clock())
    assert share < 1.2 * 3_000 / 10


@pytest.mark.parametrize(
    "options",
    [
        {"quantile": 1.1},
        {"size": 1},
        {"max_age": 0.0},
        {"rate": 0.0},
        {"removal": 3.0},
        {"removal": -1.0},
        {"surplus": 0.0},
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused(options):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        ProbePool(**options)


@pytest.mark.parametrize("selector", [Prequal, ReportedRoundRobin])
def test_plain_requests_take_the_fast_path(selector):
    """A plain request makes no completion and does not ask ``select``; a load report and a failure are learnt from."""
    learnt = []

    class Counting(selector):
        def select(self, snapshot, ctx):
            learnt.append("select")
            return super().select(snapshot, ctx)

        def learn(self, node, completion):
            learnt.append(completion.outcome)
            super().learn(node, completion)

    lb = LoadBalancer(IDS, selector=Counting(), clock=ManualClock(), health=None)
    for _ in range(50):
        with lb.acquire():
            pass
    assert learnt == []
    with lb.acquire() as lease:
        lease.report_load(LoadReport(application_utilization=0.5, rps=10.0))
    lb.acquire().release(Outcome.FAILURE)
    assert learnt == [Outcome.SUCCESS, Outcome.FAILURE]


@pytest.mark.parametrize("at", ["_recent", "_sorted"])
def test_an_answer_that_is_cut_short_leaves_the_pool_usable(at):
    """After an answer that was cut short, later answers are taken, and the quantile is that of the last ones."""
    pool = ProbePool(quantile=0.5)()

    class Cut:
        def __init__(self, inner):
            self.inner = inner

        def __len__(self):
            return len(self.inner)

        def __iter__(self):
            return iter(self.inner)

        def append(self, _):
            raise KeyboardInterrupt

        add = append

    before = getattr(pool, at)
    setattr(pool, at, Cut(before))
    with pytest.raises(KeyboardInterrupt):
        pool.add("a", in_flight=5.0, latency=0.1, now=0.0)
    setattr(pool, at, before)
    for number in range(300):
        pool.add(f"e{number % 3}", in_flight=float(number), latency=0.1, now=1.0)
    assert sorted(pool._recent) == list(pool._sorted)
