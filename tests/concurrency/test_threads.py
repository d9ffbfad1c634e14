"""Many threads, one balancer: nothing is lost, nothing raises, no thread sees half a change."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from random import Random

import pytest

from balancekit import (
    BoundedLoad,
    Endpoint,
    LeastRequest,
    LoadBalancer,
    MaglevHash,
    Outcome,
    PowerOfChoices,
    RingHash,
    RoundRobin,
    SmoothWeightedRoundRobin,
    SourceHash,
    StrideScheduling,
    WeightedRandom,
)
from balancekit.health import FlapDamping, Lifecycle, WarmUp
from balancekit.loads import InFlight, InFlightCost
from balancekit.routing import Locality, MaxInFlight, Priority, RateLimit

THREADS = 8
REQUESTS = 100_000

pytestmark = pytest.mark.usefixtures("switch_often")

KEPT = [Endpoint(f"kept-{k}", weight=1 + k % 3) for k in range(6)]


def run_all(functions):
    """Run functions in threads at the same moment; return what they raised."""
    barrier, errors = threading.Barrier(len(functions)), []

    def run(function):
        barrier.wait()
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def churn(balancer, stop):
    """Add, remove, reweight, drain and update until told to stop."""
    rng, number = Random(1), 0
    while not stop.is_set():
        number += 1
        guest = f"guest-{number % 4}"
        present = {endpoint.id for endpoint in balancer.endpoints}
        if guest in present:
            balancer.remove(guest)
        else:
            balancer.add(Endpoint(guest, weight=rng.choice([0, 1, 2.5])))
        balancer.set_weight(rng.choice(KEPT).id, rng.choice([1, 2, 3]))
        if number % 3 == 0:
            balancer.drain("kept-0", deadline=0.0)
            balancer.undrain("kept-0")
        if number % 7 == 0:
            balancer.update(KEPT)


BALANCERS = {
    "default": {},
    "P2C over in-flight": {"selector": PowerOfChoices, "load": InFlight()},
    "least request": {"selector": LeastRequest},
    "round robin": {"selector": RoundRobin},
    "smooth weighted": {"selector": SmoothWeightedRoundRobin},
    "stride": {"selector": StrideScheduling},
    "weighted random": {"selector": WeightedRandom},
    "source hash": {"selector": SourceHash},
    "in-flight cost": {"selector": PowerOfChoices, "load": InFlightCost()},
    "ring": {"selector": RingHash},
    "Maglev": {"selector": lambda: MaglevHash(size=1009)},
    "bounded ring": {"selector": BoundedLoad},
    "tiers": {"selector": Priority},
    "limits in zones": {"selector": lambda: MaxInFlight(100, child=lambda: Locality("home"))},
    "quotas": {"selector": lambda: RateLimit(1e9)},
    "full health": {"health": Lifecycle(damping=FlapDamping(), warm_up=WarmUp(window=0.01))},
}


def make(name, **more):
    """Make one of the balancers above."""
    options = dict(BALANCERS[name])
    selector = options.pop("selector", PowerOfChoices)
    return LoadBalancer(KEPT, selector=selector(), **options, **more)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["default", "P2C over in-flight", "least request"])
def test_counts_are_exact_under_churn(name):
    """After 8 threads x 100,000 requests, nothing is in flight and every end is counted.

    Membership changes meanwhile.
    """
    balancer, stop = make(name), threading.Event()
    ends = [Outcome.SUCCESS] * 97 + [Outcome.FAILURE, Outcome.TIMEOUT, Outcome.CANCELLED]

    def work():
        for number in range(REQUESTS):
            lease = balancer.acquire()
            if number % 2:
                with lease:
                    pass
            else:
                assert lease.release(ends[number // 2 % 100])

    def change():
        try:
            churn(balancer, stop)
        finally:
            stop.set()

    changer = threading.Thread(target=change)
    changer.start()
    try:
        errors = run_all([work] * THREADS)
        assert not stop.is_set(), "the churn ended by itself, so it failed"
    finally:
        stop.set()
        changer.join()
    assert errors == []
    stats = balancer.stats()
    assert stats.inflight == 0
    assert all(endpoint.inflight == 0 for endpoint in stats.endpoints)
    assert stats.completed == THREADS * REQUESTS
    by_hand = THREADS * REQUESTS // 2
    assert stats.outcomes[Outcome.FAILURE] == by_hand // 100
    assert stats.outcomes[Outcome.TIMEOUT] == by_hand // 100
    assert stats.outcomes[Outcome.CANCELLED] == by_hand // 100


@pytest.mark.parametrize("name", BALANCERS)
def test_every_pick_is_of_the_old_or_the_new_pool(name):
    """Every pick under churn is of a known endpoint and raises nothing, with and without keys and exclusions."""
    balancer, stop = make(name), threading.Event()
    known = {endpoint.id for endpoint in KEPT} | {f"guest-{k}" for k in range(4)}

    def work():
        for number in range(2_000):
            exclude = {"kept-1"} if number % 5 == 0 else ()
            key = f"key:{number}" if number % 3 == 0 else None
            with balancer.acquire(key, exclude=exclude, cost=1.0 + number % 2) as lease:
                assert lease.endpoint.id in known
                assert lease.endpoint.id not in exclude

    changer = threading.Thread(target=churn, args=(balancer, stop))
    changer.start()
    try:
        errors = run_all([work] * 4)
    finally:
        stop.set()
        changer.join()
    assert errors == []
    assert balancer.stats().inflight == 0


def test_round_robin_repeats_none_across_threads():
    """However threads interleave, n picks over n endpoints fall on each exactly once."""
    balancer = LoadBalancer([f"e{k}" for k in range(7)], selector=RoundRobin())
    picks = [[] for _ in range(THREADS)]

    def work(mine):
        for _ in range(7_000):
            with balancer.acquire() as lease:
                mine.append(lease.target)

    assert run_all([lambda mine=mine: work(mine) for mine in picks]) == []
    counts = Counter(itertools.chain.from_iterable(picks))
    assert set(counts.values()) == {THREADS * 1_000}


@pytest.mark.parametrize("make_selector", [SmoothWeightedRoundRobin, StrideScheduling])
def test_turns_without_a_short_cycle_are_those_of_one_thread(make_selector):
    """However threads interleave, each endpoint has as many turns as if one thread had taken all: no payment is lost."""
    weights = [3.14159265, 1.0, 0.70710678, 2.2360679]
    pool = [Endpoint(f"e{k}", weight=weight) for k, weight in enumerate(weights)]
    one, many = (LoadBalancer(pool, selector=make_selector(), load=InFlight()) for _ in range(2))
    picked = [[] for _ in range(THREADS)]

    def take(into):
        for _ in range(4_000):
            with many.acquire() as lease:
                into.append(lease.endpoint.id)

    assert run_all([lambda into=into: take(into) for into in picked]) == []
    alone = Counter()
    for _ in range(4_000 * THREADS):
        with one.acquire() as lease:
            alone[lease.endpoint.id] += 1
    assert Counter(itertools.chain(*picked)) == alone


def test_a_lease_ended_by_many_threads_ends_once():
    """Of eight threads that release the same lease, one succeeds."""
    balancer = LoadBalancer(["a", "b"])
    for _ in range(500):
        lease, answers = balancer.acquire(), []

        def end(lease=lease, answers=answers):
            answers.append(lease.release())

        assert run_all([end] * 4) == []
        assert sorted(answers) == [False, False, False, True]
    assert balancer.stats().inflight == 0
    assert balancer.stats().completed == 500


def test_a_users_selector_is_never_run_twice_at_once():
    """A user's selector without ``thread_safe`` is never run by two threads at once."""

    class Plain:
        inside = 0
        most = 0

        def select(self, snapshot, ctx):
            self.inside += 1
            self.most = max(self.most, self.inside)
            node = next(iter(snapshot.candidates(ctx)), None)
            self.inside -= 1
            return node

        def learn(self, node, completion):
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.inside -= 1

    selector = Plain()
    balancer = LoadBalancer(["a", "b"], selector=selector)

    def work():
        for _ in range(2_000):
            with balancer.acquire():
                pass

    assert run_all([work] * 4) == []
    assert (selector.inside, selector.most) == (0, 1)
