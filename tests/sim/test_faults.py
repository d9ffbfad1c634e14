"""What goes wrong, by the second: requests of known length at known times, and exactly when they end."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from balancekit import First, LoadBalancer, Outcome, RingHash, RoundRobin, SourceHash, UniformRandom
from balancekit.events import Drained, Removed
from balancekit.sim import (
    Add,
    Bimodal,
    ClosedLoop,
    Crash,
    Deterministic,
    Drain,
    Exponential,
    FailFast,
    FailSlow,
    Flap,
    Hang,
    Partial,
    Poisson,
    RecordedArrivals,
    Remove,
    Server,
    Slow,
    simulate,
)

EVER = 1e6


def make(selector=First, **options):
    """Return a maker of balancers without health, unless asked for."""
    chosen = {"health": None} | options
    return lambda endpoints, clock, rng: LoadBalancer(
        endpoints, selector=selector(), clock=clock, rng=rng, **chosen
    )


def one(times, faults=(), *, discipline="fifo", workers=1, **options):
    """Simulate requests of one second each on one server."""
    server = Server(service=Deterministic(mean=1.0), discipline=discipline, workers=workers)
    return simulate(
        {"a": server},
        RecordedArrivals(seconds=times),
        requests=len(times),
        faults=faults,
        balancer=make(),
        **options,
    )


# How long a request of one second takes that came at 0, and another that came at 0.25.
DISTURBED = {
    "nothing": ([], [1.0, 1.75], [1.75, 1.75]),
    "hang": ([Hang(endpoint="a", at=0.5, seconds=3.0)], [4.0, 4.75], [4.75, 4.75]),
    "slow": ([Slow(endpoint="a", at=0.5, seconds=1.0, factor=2.0)], [1.5, 2.25], [2.25, 2.25]),
    "fast": ([Slow(endpoint="a", at=0.5, seconds=9.0, factor=0.5)], [0.75, 1.0], [1.125, 1.0]),
    "hang while slow": (
        [Slow(endpoint="a", at=0.5, seconds=9.0, factor=2.0), Hang(endpoint="a", at=0.75, seconds=1.0)],
        [2.5, 4.25],
        [4.0, 4.25],
    ),
}


@pytest.mark.parametrize("name", DISTURBED)
def test_a_disturbance_meets_what_is_in_service_and_in_line(name):
    """A disturbance meets requests in service and in line.

    First in, first out, the second waits for the first. Shared, both go on at half the pace.
    """
    faults, line, shared = DISTURBED[name]
    assert one([0.0, 0.25], faults).latency == pytest.approx(line)
    assert one([0.0, 0.25], faults, discipline="sharing").latency == pytest.approx(shared)


def test_workers_that_are_shared_are_no_faster_than_one_each():
    """With two shared workers, two requests go on at full pace and three at two thirds of it."""
    report = one([0.0, 0.25, 0.5], discipline="sharing", workers=2)
    assert report.latency == pytest.approx([1.25, 1.25, 1.25])


def test_what_a_crash_broke_is_gone():
    """A request that a crash broke is not changed by a later change of pace or a second crash."""
    faults = [
        Crash(endpoint="a", at=0.5, seconds=1.0),
        Slow(endpoint="a", at=2.0, seconds=0.5),
        Crash(endpoint="a", at=3.0, seconds=0.5),
    ]
    for discipline in ("fifo", "sharing"):
        report = one([0.0, 4.0], faults, discipline=discipline)
        assert report.failures == 1
        assert report.busy["a"] == pytest.approx(0.5 / 4.0)


def test_a_retry_is_no_move():
    """A retry on another endpoint does not count as a move of its key."""
    report = simulate(
        {id: Server(service=Deterministic(mean=0.01)) for id in "abc"},
        Poisson(rate=10.0),
        requests=500,
        balancer=make(RingHash),
        attempts=3,
        keys=lambda rng: rng.randrange(20),
        faults=[FailFast(endpoint="b", at=0.0, seconds=EVER, share=0.5)],
    )
    assert report.retries > 20
    assert report.disruption == 0.0


def test_a_stopped_server_answers_nothing_until_it_goes_on():
    """A stopped server answers nothing until it goes on.

    This holds for a request of no length, and for one that came after the stop.
    """
    server = Server(service=Deterministic(mean=1e-9), workers=3)
    report = simulate(
        {"a": server},
        RecordedArrivals(seconds=[1.5, 2.0, 5.0]),
        requests=3,
        balancer=make(),
        faults=[Hang(endpoint="a", at=1.0, seconds=3.0)],
    )
    assert report.latency == pytest.approx([2.5, 2.0, 0.0], abs=1e-6)


def test_a_crash_breaks_what_is_there_and_refuses_what_comes():
    """A crash breaks requests in service and in line and refuses new ones. Afterwards the server is empty."""
    faults = [Crash(endpoint="a", at=0.5, seconds=1.0)]
    for discipline in ("fifo", "sharing"):
        report = one([0.0, 0.25, 0.75, 1.5, 4.0], faults, discipline=discipline)
        assert report.failures == 3
        assert report.latency == pytest.approx([1.0, 1.0])


def test_a_crash_sends_requests_elsewhere():
    """A crash sends requests elsewhere, and the time lost is the time until the crash."""
    servers = {id: Server(service=Deterministic(mean=1.0)) for id in "ab"}
    report = simulate(
        servers,
        RecordedArrivals(seconds=[0.0]),
        requests=1,
        balancer=make(),
        attempts=2,
        faults=[Crash(endpoint="a", at=0.5, seconds=1.0)],
    )
    assert report.latency == pytest.approx([1.5])
    assert report.picks == {"a": 1, "b": 1}
    assert (report.retries, report.attempts) == (1, 2.0)


def test_failures_take_the_time_they_state():
    """Failures take the time they state. Fast and slow ones keep no worker, and a partial failure does."""
    servers = {id: Server(service=Deterministic(mean=1.0)) for id in "ab"}
    options = {"requests": 1, "balancer": make(), "attempts": 2}
    for fault, latency, busy in [
        (FailFast(endpoint="a", at=0.0, seconds=EVER), 1.001, 0.0),
        (FailSlow(endpoint="a", at=0.0, seconds=EVER), 6.0, 0.0),
        (Partial(endpoint="a", at=0.0, seconds=EVER, share=1.0), 2.0, 0.5),
    ]:
        report = simulate(servers, RecordedArrivals(seconds=[0.0]), faults=[fault], **options)
        assert report.latency == pytest.approx([latency])
        assert report.retries == 1
        two = simulate(
            servers, RecordedArrivals(seconds=[0.0, 2.0]), faults=[fault], **(options | {"requests": 2})
        )
        assert two.busy["a"] == pytest.approx(busy)


def test_a_share_fails():
    """The share that fails is within five standard deviations of a binomial.

    Without another attempt the failed attempts are the failures.
    """
    for kind in (FailFast, Partial):
        report = simulate(
            {"a": Server(service=Exponential(mean=0.01))},
            Poisson(rate=10.0),
            requests=4_000,
            balancer=make(),
            faults=[kind(endpoint="a", at=0.0, seconds=EVER, share=0.3)],
        )
        assert abs(report.errors - 0.3) < 5.0 * (0.3 * 0.7 / 4_000) ** 0.5


def test_a_flap_goes_down_and_up_until_it_is_over():
    """A server that flaps is down for a second and up for three, twice."""
    times = [k + 0.5 for k in range(12)]
    report = one(times, [Flap(endpoint="a", at=0.0, seconds=8.0, down=1.0, up=3.0)])
    assert report.failures == 3  # at 0.5 and 4.5, and the one that was in service at 4.0
    assert len(report.latency) == 9


def test_the_last_flap_ends_with_the_flapping():
    """The last down time ends with the flapping, however long a down time is."""
    faults = [Flap(endpoint="a", at=0.0, seconds=1.0, down=10.0, up=1.0)]
    assert one([0.5, 1.0, 2.5], faults).failures == 1


def test_failures_that_are_still_to_come_break_and_hang_with_the_server():
    """Failures that are still to come break with a crashed server, and hang with a stopped one."""
    servers = {id: Server(service=Deterministic(mean=1.0)) for id in "ab"}
    for faults, latency in [
        (
            [
                FailSlow(endpoint="a", at=0.0, seconds=EVER, after=50.0),
                Crash(endpoint="a", at=2.0, seconds=1.0),
            ],
            3.0,
        ),
        ([FailFast(endpoint="a", at=0.0, seconds=EVER), Hang(endpoint="a", at=0.0, seconds=10.0)], 11.001),
        (
            [
                FailSlow(endpoint="a", at=0.0, seconds=EVER),
                Slow(endpoint="a", at=0.0, seconds=EVER, factor=2.0),
            ],
            11.0,
        ),
    ]:
        report = simulate(
            servers, RecordedArrivals(seconds=[0.0]), requests=1, balancer=make(), attempts=2, faults=faults
        )
        assert report.latency == pytest.approx([latency])


def test_a_server_that_is_replaced_is_there_before_and_after():
    """A server that is removed at 10 and added at 20 is there before and after.

    One that is added first was not there before.
    """
    options = {"requests": 30, "balancer": make(RoundRobin)}
    servers = {id: Server(service=Deterministic(mean=0.1)) for id in "ab"}
    times = RecordedArrivals(seconds=[k + 0.5 for k in range(30)])
    replaced = [Add(endpoint="a", at=20.0), Remove(endpoint="a", at=10.0)]
    assert simulate(servers, times, faults=replaced, **options).picks == pytest.approx(
        {"a": 10, "b": 20}, abs=1
    )
    added = [Add(endpoint="a", at=20.0), Remove(endpoint="a", at=25.0)]
    assert simulate(servers, times, faults=added, **options).picks == pytest.approx({"a": 3, "b": 27}, abs=1)


def test_a_timeout_leaves_the_work_to_the_server():
    """A timeout leaves the work to the server, so that the next request waits for both."""
    report = one([0.0, 0.5], timeout=0.9)
    assert report.failures == 2
    assert one([0.0, 0.5], timeout=1.6).latency == pytest.approx([1.0, 1.5])


def test_scaling_up_and_down_and_draining():
    """A server that was removed or is drained gets nothing new, and finishes what it has."""
    servers = {id: Server(service=Deterministic(mean=1.0)) for id in "abc"}
    report = simulate(
        servers,
        RecordedArrivals(seconds=[k + 0.5 for k in range(40)]),
        requests=40,
        balancer=make(RoundRobin),
        faults=[Add(endpoint="b", at=10.0), Remove(endpoint="a", at=20.0), Drain(endpoint="c", at=30.0)],
    )
    # a and c by turns, then all three, then b and c, then b alone.
    assert report.picks == pytest.approx({"a": 8, "b": 18, "c": 13}, abs=2)
    assert report.failures == 0
    at = {type(event): event.at for event in report.events}
    assert at[Removed] == 20.0
    assert 30.0 <= at[Drained] <= 31.0


class TestHedges:
    """A second attempt for who waits long."""

    @staticmethod
    def run(**options):
        """Simulate one request, first to a slow server."""
        servers = {"a": Server(service=Deterministic(mean=9.0)), "b": Server(service=Deterministic(mean=1.0))}
        return simulate(
            servers, RecordedArrivals(seconds=[0.0]), requests=1, balancer=make(), seed=1, **options
        )

    def test_the_first_answer_counts(self):
        """The first answer counts; the other attempt is cancelled without a failure and with nothing left in flight."""
        seen = []

        def watched(endpoints, clock, rng):
            seen.append(make()(endpoints, clock, rng))
            return seen[0]

        servers = {"a": Server(service=Deterministic(mean=9.0)), "b": Server(service=Deterministic(mean=1.0))}
        report = simulate(servers, RecordedArrivals(seconds=[0.0]), requests=1, balancer=watched, hedge=2.0)
        assert report.latency == pytest.approx([3.0])
        assert (report.hedges, report.retries, report.failures) == (1, 0, 0)
        slow, fast = seen[0].stats().endpoints
        assert (slow.outcomes[Outcome.CANCELLED], slow.completed, slow.inflight) == (1, 1, 0)
        assert (fast.outcomes[Outcome.SUCCESS], fast.completed, fast.inflight) == (1, 1, 0)

    def test_none_is_sent_for_who_is_fast(self):
        """No hedge is sent if the answer comes before the delay is over."""
        assert self.run(hedge=10.0).hedges == 0

    def test_a_failed_attempt_leaves_the_hedge(self):
        """If the first attempt fails while the hedge is on its way, the hedge goes on. No third attempt is sent."""
        report = self.run(hedge=0.5, faults=[Crash(endpoint="a", at=1.0, seconds=1.0)])
        assert report.latency == pytest.approx([1.5])
        assert (report.hedges, report.retries) == (1, 0)

    def test_a_hedge_is_not_one_of_the_attempts(self):
        """A hedge is not one of the attempts: if both break, the second attempt is still to come."""
        lengths = {"a": 9.0, "b": 9.0, "c": 1.0}
        report = simulate(
            {id: Server(service=Deterministic(mean=length)) for id, length in lengths.items()},
            RecordedArrivals(seconds=[0.0]),
            requests=1,
            balancer=make(),
            attempts=2,
            hedge=0.5,
            faults=[Crash(endpoint=id, at=1.0, seconds=1.0) for id in "ab"],
        )
        assert report.latency == pytest.approx([2.0])
        assert (report.hedges, report.retries) == (1, 1)

    def test_none_left_to_hedge_with(self):
        """Without another endpoint the first attempt goes on alone."""
        report = one([0.0], hedge=0.5)
        assert (report.hedges, report.failures) == (0, 0)

    def test_hedging_cuts_the_tail_at_a_small_price(self):
        """If one request in twenty is slow wherever it goes, hedging cuts p99 to a third.

        It costs between 2 and 8 % more attempts.
        """
        servers = {
            f"s{k}": Server(service=Bimodal(fast=0.01, slow=1.0, slow_share=0.05), workers=50)
            for k in range(4)
        }
        options = {"requests": 8_000, "balancer": make(UniformRandom), "seed": 3}
        alone = simulate(servers, Poisson(rate=50.0), **options)
        hedged = simulate(servers, Poisson(rate=50.0), hedge=0.08, **options)
        assert hedged.quantile(0.99) < alone.quantile(0.99) / 3
        assert 1.02 < hedged.attempts < 1.08


class TestCallers:
    """A closed loop."""

    def test_who_waits_does_not_ask(self):
        """No more requests are in the system than there are callers, and their number obeys Little's law."""
        callers = ClosedLoop(count=5, pause=Exponential(mean=1.0))
        report = simulate(
            {"a": Server(service=Exponential(mean=0.5))},
            callers,
            requests=30_000,
            warm_up=1_000,
            balancer=make(),
            seed=2,
        )
        rate = report.requests / report.seconds
        assert report.requests == 30_000
        assert report.in_system <= 5
        assert report.in_system == pytest.approx(rate * report.mean, rel=0.01)
        # The machine-repair model: P(n) ~ 5! / (5 - n)! * 0.5 ** n; each caller's cycle is pause + answer.
        weights = np.cumprod([1.0, *[(5 - n) * 0.5 for n in range(5)]])
        busy = 1.0 - weights[0] / weights.sum()
        assert report.busy["a"] == pytest.approx(busy, rel=0.02)
        assert report.mean == pytest.approx(5 / (busy / 0.5) - 1.0, rel=0.03)

    def test_a_caller_keeps_its_balancer(self):
        """Each caller keeps its balancer: of three callers over two balancers, the second has one."""
        made = []

        def counted(endpoints, clock, rng):
            made.append(LoadBalancer(endpoints, clock=clock, rng=rng))
            return made[-1]

        simulate(
            {"a": Server(service=Deterministic(mean=1.0), workers=3)},
            ClosedLoop(count=3, pause=Deterministic(mean=1.0)),
            requests=300,
            balancer=counted,
            balancers=2,
        )
        assert [balancer.stats().completed for balancer in made] == [200, 100]

    def test_no_endpoint_to_ask(self):
        """Callers whose request was refused pause and come again."""
        report = simulate(
            {"a": Server(service=Deterministic(mean=1.0))},
            ClosedLoop(count=2, pause=Deterministic(mean=1.0)),
            requests=10,
            balancer=make(),
            faults=[Remove(endpoint="a", at=0.5)],
        )
        assert (report.requests, report.failures) == (10, 10)


def test_processor_sharing_does_not_care_how_lengths_vary():
    """In a shared M/G/1 queue the mean time is 1 / (1 - load) for any service times."""
    service = Bimodal(fast=0.5, slow=5.5, slow_share=0.1)
    runs = [
        simulate(
            {"a": Server(service=service, discipline="sharing")},
            Poisson(rate=0.6),
            requests=15_000,
            warm_up=500,
            balancer=make(),
            seed=seed,
        ).mean
        for seed in range(6)
    ]
    spread = np.std(runs, ddof=1) / len(runs) ** 0.5
    assert abs(np.mean(runs) - 1.0 / 0.4) < 5.0 * spread
    assert spread < 0.1


def test_the_hash_modulo_moves_four_keys_of_five_and_the_ring_one():
    """From four to five endpoints, 1 - 1/5 of all keys move by the modulo, and 1/5 by the ring."""

    def keys(rng: Random) -> str:
        return f"user {rng.randrange(800)}"

    servers = {f"s{k}": Server(service=Deterministic(mean=0.001), workers=8) for k in range(5)}
    moved = {
        selector: simulate(
            servers,
            Poisson(rate=1000.0),
            requests=16_000,
            keys=keys,
            balancer=make(selector),
            faults=[Add(endpoint="s4", at=8.0)],
        ).disruption
        for selector in (SourceHash, RingHash)
    }
    keys_drawn = 5.0 * (0.2 * 0.8 / 800) ** 0.5
    points_drawn = 5.0 * 0.2 / 150**0.5  # what an endpoint of 150 points owns varies by a twelfth of it
    assert abs(moved[SourceHash] - 0.8) < keys_drawn
    assert abs(moved[RingHash] - 0.2) < keys_drawn + points_drawn


@pytest.mark.parametrize(
    "kind",
    [Crash, lambda **when: FailFast(**when, after=0.0), lambda **when: Partial(**when, share=1.0), Hang],
    ids=["crash", "fail fast", "partial", "hang"],
)
def test_faults_one_after_the_other_happen_in_any_order_of_the_list(kind):
    """A fault that begins as another one ends takes effect, whichever is listed first."""
    times = [k + 0.5 for k in range(20)]
    faults = [kind(endpoint="a", at=at, seconds=5.0) for at in (5.0, 10.0)]
    first, second = (one(times, listed, workers=20, timeout=1.0) for listed in (faults, faults[::-1]))
    assert first == second
    assert first.failures >= 10
