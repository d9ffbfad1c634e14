"""Limits that adapt: the formulas, the measurement of the least latency, and the router around them."""

from __future__ import annotations

import math
from random import Random

import pytest

from balancekit import ConfigurationError, LoadBalancer, Outcome, RoundRobin, SaturatedError
from balancekit.loads import InFlight
from balancekit.outcome import Completion
from balancekit.routing import Aimd, Gradient, MaxInFlight, Priority
from balancekit.testing import ManualClock


def ended(at, latency=0.1, outcome=Outcome.SUCCESS):
    """Make the completion of a request."""
    return Completion(outcome, started_at=at - latency, ended_at=at)


@pytest.mark.parametrize(
    ("limit", "min_rtt", "sample", "gradient", "following"),
    [
        (40, 0.1, 0.11, 1.0, 46),  # 40 + sqrt(40)
        (40, 0.1, 0.22, 0.5, 24),  # 20 + sqrt(20)
        (40, 0.1, 10.0, 0.5, 24),  # held at a half
        (40, 0.1, 0.055, 2.0, 88),  # 80 + sqrt(80)
        (40, 0.1, 0.001, 2.0, 88),  # held at two
        (3, 0.1, 0.22, 0.5, 3),  # 1.5 + 1.2 is 2
        (990, 0.1, 0.11, 1.0, 1000),
        (40, 0.1, 0.0, 2.0, 88),
    ],
)
def test_the_gradient_and_the_limit_that_follows(limit, min_rtt, sample, gradient, following):
    """The gradient and the limit follow Envoy's formula, at both ends of their two ranges."""
    rule = Gradient(buffer=0.1)
    assert rule.gradient(min_rtt=min_rtt, sample_rtt=sample) == pytest.approx(gradient)
    assert rule.next_limit(limit, gradient=gradient) == following


def test_a_limit_changes_once_an_interval_and_by_its_quantile():
    """The first request after an interval ends it and changes the limit.

    Its own latency counts for the next interval.
    """
    limit = Gradient(min_rtt=0.1, buffer=0.0, interval=1.0, min_limit=9)()
    assert limit.limit == 9
    limit.record(ended(0.0), inflight=1)
    for latency in (0.1, 0.1, 9.0):
        limit.record(ended(0.5, latency), inflight=1)
    assert limit.limit == 9
    limit.record(ended(1.0, 0.2), inflight=1)
    assert limit.limit == 12  # gradient 1
    limit.record(ended(1.99, 0.2), inflight=1)
    limit.record(ended(2.0, 0.1), inflight=1)
    assert limit.limit == 9  # gradient 0.5 of 12 is 6, and sqrt(6)


def test_time_outs_do_not_measure_the_least_latency():
    """A measurement that sees time-outs waits for as many successes as without them; only these are its result."""
    limit = Gradient(min_rtt_requests=3, buffer=0.0)()
    for number in range(10):
        limit.record(ended(float(number), 1.0, Outcome.TIMEOUT), inflight=1)
    assert (limit.measuring, limit.min_rtt, limit.limit) == (True, 0.0, 3)
    for number in range(10, 13):
        limit.record(ended(float(number), 0.1), inflight=1)
    assert (limit.measuring, limit.min_rtt) == (False, pytest.approx(0.1))


@pytest.mark.parametrize("time_out", [0.0, 0.001, 0.1, 1.0])
def test_a_limit_does_not_rise_by_time_outs_however_short_they_are(time_out):
    """Time-outs shorter than the least latency halve a limit as long ones do: the answers would have taken longer."""
    limit = Gradient(min_rtt=0.1, buffer=0.0, interval=1.0, min_limit=2)()
    limit.record(ended(0.0), inflight=1)
    for at in (0.5, 1.0, 1.5, 2.0):
        limit.record(ended(at), inflight=1)
    before = limit.limit
    for at in (2.5, 2.9, 3.0):
        for latency, outcome in (
            (time_out, Outcome.TIMEOUT),
            (0.1, Outcome.SUCCESS),
            (time_out, Outcome.TIMEOUT),
        ):
            limit.record(ended(at, latency, outcome), inflight=1)
    assert (before, limit.limit) == (4, 3)  # 2 and its root


def test_the_least_latency_is_measured_at_the_least_limit():
    """With as many requests as are asked for, of those that began after the measurement did; then the limit is as before."""
    rule = Gradient(
        buffer=0.0, interval=1.0, min_limit=4, min_rtt_requests=3, min_rtt_interval=10.0, jitter=0.0
    )
    limit = rule(rng=Random(1))
    assert limit.measuring
    for number, latency in enumerate((0.3, 0.1, 0.2)):
        assert limit.measuring
        limit.record(ended(1.0 + number, latency), inflight=1)
    assert (limit.measuring, limit.min_rtt, limit.limit) == (False, pytest.approx(0.2), 4)
    for at in (4.1, 5.2, 6.3):
        limit.record(ended(at, 0.2), inflight=1)
    grown = limit.limit
    assert grown > 4
    limit.record(ended(13.1, 0.2), inflight=1)  # ten seconds after 3.0
    assert (limit.measuring, limit.limit) == (True, 4)
    for _ in range(5):
        limit.record(ended(13.2, 0.5), inflight=1)  # they began before it
    assert limit.measuring
    for at in (14.0, 14.1, 14.2):
        limit.record(ended(at, 0.4), inflight=1)
    assert (limit.measuring, limit.min_rtt) == (False, pytest.approx(0.4))
    assert limit.limit >= grown


def test_five_intervals_at_the_least_limit_measure_anew():
    """After five intervals at the least limit the latency is measured anew.

    A latency that was given is not measured.
    """
    for given, measures in ((None, True), (0.001, False)):
        rule = Gradient(min_rtt=given, interval=1.0, min_rtt_requests=1, min_rtt_interval=1e6)
        limit = rule(rng=Random(1))
        if given is None:
            limit.record(ended(0.0, 0.001), inflight=1)
        for at in range(2, 7):
            limit.record(ended(float(at), 1.0), inflight=1)
            assert not limit.measuring
        limit.record(ended(7.0, 1.0), inflight=1)
        assert limit.measuring is measures


@pytest.mark.parametrize(
    "outcome", [Outcome.FAILURE, Outcome.CONNECT_FAILED, Outcome.CANCELLED, Outcome.IGNORED]
)
def test_requests_that_say_nothing_of_speed_change_no_gradient(outcome):
    """Requests that say nothing of speed change no gradient, however fast they were.

    Requests without a measured time change none either.
    """
    limit = Gradient(min_rtt=0.1, interval=1.0)()
    for at in range(10):
        limit.record(ended(float(at), 0.0001, outcome), inflight=1)
        limit.record(Completion(Outcome.SUCCESS, started_at=math.nan, ended_at=math.nan), inflight=1)
    assert limit.limit == 3


def test_aimd_grows_by_one_a_round_while_half_is_in_use():
    """``Aimd`` grows by one after as many successes as the limit.

    It does not grow with less than half in use.
    """
    limit = Aimd(initial=4)()
    for _ in range(4):
        assert limit.limit == 4
        limit.record(ended(1.0), inflight=2)
    assert limit.limit == 5
    for _ in range(50):
        limit.record(ended(1.0), inflight=2)
    assert limit.limit == 5


def test_aimd_decreases_once_for_one_overload():
    """Requests that began before a decrease do not decrease the limit again; a later one does."""
    limit = Aimd(initial=100)()
    for outcome in (Outcome.OVERLOADED, Outcome.TIMEOUT):
        limit.record(ended(1.0, 0.5, outcome), inflight=100)
        limit.record(ended(1.2, 0.5, outcome), inflight=99)
    assert limit.limit == 90
    limit.record(ended(2.0, 0.5, Outcome.OVERLOADED), inflight=90)
    assert limit.limit == 81
    limit.record(ended(9.0, 0.5, Outcome.FAILURE), inflight=81)
    assert limit.limit == 81


def test_aimd_takes_what_is_too_slow_for_dropped():
    """``Aimd`` counts a success above ``timeout`` as dropped, and one at ``timeout`` as a success."""
    limit = Aimd(initial=1, timeout=0.5)()
    limit.record(ended(1.0, 0.5), inflight=1)
    assert limit.limit == 2
    limit.record(ended(9.0, 0.6), inflight=2)
    assert limit.limit == 1
    limit.record(ended(19.0, 0.6), inflight=2)
    assert limit.limit == 1


def test_aimd_stops_at_its_most():
    """The limit of ``Aimd`` never leaves the range from ``min_limit`` to ``max_limit``."""
    limit = Aimd(initial=3, min_limit=2, max_limit=4)()
    for _ in range(50):
        limit.record(ended(1.0), inflight=4)
    assert limit.limit == 4
    for second in range(2, 50):
        limit.record(ended(float(second), outcome=Outcome.OVERLOADED), inflight=4)
    assert limit.limit == 2


def test_a_router_has_a_limit_for_each_endpoint():
    """Each endpoint of a router has a limit of its own. One that leaves and comes back begins anew."""
    clock = ManualClock()
    selector = MaxInFlight(Aimd(initial=4, timeout=1.0), child=RoundRobin)
    lb = LoadBalancer(["quick", "slow"], selector=selector, clock=clock, health=None, timed=True)
    assert dict(selector.limits) == {"quick": 4, "slow": 4}
    for _ in range(40):
        leases = []
        try:
            while True:
                leases.append(lb.acquire())
        except SaturatedError:
            pass
        clock.advance(0.5)
        for lease in leases:
            if lease.target == "quick":
                lease.release()
        clock.advance(1.0)
        for lease in leases:
            lease.release()
    assert selector.limits["slow"] == 1
    assert selector.limits["quick"] > 10
    lb.update(["slow"])
    lb.update(["quick", "slow"])
    assert dict(selector.limits) == {"quick": 4, "slow": 1}


def test_no_endpoint_is_over_its_limit():
    """No endpoint is over its limit, the error says that all are at theirs, and a child that learns is told."""
    told = []

    class Child:
        """Picks at random, and learns."""

        def select(self, snapshot, ctx):
            """Pick a candidate."""
            candidates = snapshot.candidates(ctx)
            return ctx.rng.choice(candidates) if candidates else None

        def learn(self, node, completion):
            """Take note."""
            told.append(node.id)

    selector = MaxInFlight(Gradient(), child=Child)
    lb = LoadBalancer(["a", "b"], selector=selector, clock=ManualClock(), timed=True)
    leases = [lb.acquire() for _ in range(6)]
    assert sorted(lease.target for lease in leases) == ["a"] * 3 + ["b"] * 3
    with pytest.raises(SaturatedError, match="2 at the limit"):
        lb.acquire()
    for lease in leases:
        lease.release()
    assert sorted(told) == ["a"] * 3 + ["b"] * 3


@pytest.mark.parametrize(("keep_history", "limit"), [(False, 20), (True, 18)])
def test_a_limit_begins_anew_with_another_server(keep_history, limit):
    """A new target is a new endpoint, unless the caller says that it is the same at a new address; a late answer of the old one says nothing of it."""
    clock = ManualClock()
    selector = MaxInFlight(Aimd(initial=20))
    lb = LoadBalancer({"a": "here", "b": "there"}, selector=selector, clock=clock)
    late, lease = lb.acquire(exclude={"b"}), lb.acquire(exclude={"b"})
    clock.advance(0.1)
    lease.release(Outcome.OVERLOADED)
    assert dict(selector.limits) == {"a": 18, "b": 20}
    lb.set_weight("a", 2.0)
    assert dict(selector.limits) == {"a": 18, "b": 20}
    lb.update({"a": "elsewhere", "b": "there"}, keep_history=keep_history)
    assert dict(selector.limits) == {"a": limit, "b": 20}
    if not keep_history:
        late.release(Outcome.OVERLOADED)
        assert dict(selector.limits) == {"a": limit, "b": 20}


def test_limits_of_a_number_are_as_they_were():
    """A router with a number learns nothing, and has no limits to show."""
    selector = MaxInFlight(2)
    assert dict(selector.limits) == {}
    assert not hasattr(selector, "learn")


@pytest.mark.parametrize("timed", [None, False])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("limit", "before", "after"),
    [(Gradient(min_rtt=0.02, interval=0.001), 3, 5), (Aimd(initial=10, timeout=0.01), 10, 8)],
    ids=["gradient", "aimd"],
)
def test_a_limit_that_adapts_has_latencies_whatever_the_load(limit, before, after, nested, timed):
    """Neither a child nor a load that measures no time keeps a limit from its latencies, inside a router, too."""
    made = []

    def limited():
        made.append(MaxInFlight(limit, child=RoundRobin))
        return made[-1]

    clock = ManualClock()
    selector = Priority(limited) if nested else limited()
    lb = LoadBalancer(["a"], selector=selector, load=InFlight(), clock=clock, timed=timed)
    limits = []
    for _ in range(2):
        leases = [lb.acquire() for _ in range(3)]
        limits.append([dict(one.limits) for one in made if one.limits])
        clock.advance(0.02)
        for lease in leases:
            lease.release()
    limits.append([dict(one.limits) for one in made if one.limits])
    assert (limits[0], limits[-1]) == ([{"a": before}], [{"a": after}])


@pytest.mark.parametrize(("wants", "measured"), [(True, True), (False, False)])
def test_a_selector_that_learns_from_successes_has_their_latency(wants, measured):
    """A selector of the user's that learns from plain successes is told how long they took; one that does not costs no reading."""
    clock, told = ManualClock(), []

    class Learner(RoundRobin):
        learns_from_successes = wants

        def learn(self, node, completion):
            told.append(completion.latency)

    lb = LoadBalancer(["a"], selector=Learner(), load=InFlight(), clock=clock)
    with lb.acquire():
        clock.advance(0.5)
    lb.acquire().release(Outcome.CANCELLED)
    assert (lb.stats().latency is not None) is measured
    assert (0.5 in told) is measured


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        (Gradient, {"min_rtt": 0.0}, "min_rtt"),
        (Gradient, {"buffer": -0.1}, "buffer"),
        (Gradient, {"quantile": 1.5}, "quantile"),
        (Gradient, {"interval": 0.0}, "interval"),
        (Gradient, {"min_limit": 0}, "min_limit"),
        (Gradient, {"min_limit": 5, "max_limit": 4}, "max_limit"),
        (Gradient, {"min_rtt_interval": math.nan}, "min_rtt_interval"),
        (Gradient, {"min_rtt_requests": 0}, "min_rtt_requests"),
        (Gradient, {"min_rtt_requests": 10_001}, "min_rtt_requests"),  # a measurement would never end
        (Gradient, {"jitter": -1.0}, "jitter"),
        (Aimd, {"initial": 0}, "initial"),
        (Aimd, {"initial": 9, "max_limit": 8}, "initial"),
        (Aimd, {"backoff": 1.0}, "backoff"),
        (Aimd, {"backoff": 0.0}, "backoff"),
        (Aimd, {"timeout": 0.0}, "timeout"),
        (MaxInFlight, {"max_inflight": Aimd(), "per_weight": True}, "per_weight"),
        (MaxInFlight, {"max_inflight": "many"}, "max_inflight"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_options_that_cannot_be_are_refused(kind, options, name):
    """Each wrong option is refused by name, at construction."""
    with pytest.raises(ConfigurationError, match=name):
        kind(**options)
