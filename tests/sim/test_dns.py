"""DNS with caching resolvers in virtual time: when traffic leaves a dead site, and how it comes back."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from balancekit.errors import ConfigurationError
from balancekit.gslb import AllUp, Answer, FailBack, Failover, Ttl
from balancekit.health import AccruedFailures
from balancekit.sim import DnsSimulation, EndpointChange

DETECTION = AccruedFailures(fall=3, reset=2, rise=2)
INTERVAL = 2.0
EU, US = ("eu-1", "eu-2"), ("us-1", "us-2")
Z = 5.0


def regions(fail_back=None):
    """Return two regions, the first preferred."""
    return Failover([("eu", AllUp(EU)), ("us", AllUp(US))], fail_back=fail_back)


def world(fail_back=None, *, ttl=10, seed=1, **options):
    """Return 200 resolvers before two regions."""
    return DnsSimulation(
        regions(fail_back),
        ttl=Ttl(minimum=ttl, maximum=ttl),
        detection=DETECTION,
        interval=INTERVAL,
        seed=seed,
        **options,
    )


@pytest.mark.parametrize("ttl", [5, 20])
def test_no_request_fails_later_than_detection_and_ttl_after_a_death(ttl):
    """At any phase no request fails later than detection and TTL after a death, and the bound is nearly reached."""
    bound = 3 * INTERVAL + ttl
    worst = 0.0
    for seed in range(5):
        death = 25.0 + seed * 0.37
        report = world(ttl=ttl, seed=seed, every=0.5).run(death + 30.0, [EndpointChange(death, EU, up=False)])
        last = report.last_failure() - death
        assert last <= bound
        worst = max(worst, last)
        assert report.shares(death + bound, death + 30.0).keys() <= set(US)
    assert worst >= 0.75 * bound


def test_stale_traffic_falls_along_the_line_once_the_death_is_detected():
    """The share that still goes to the dead site is 1 - t / TTL, t seconds after detection.

    400 caches within 5 standard deviations, and the half second that a cache waits for its next request.
    """
    death, ttl = 60.0, 30.0
    report = world(ttl=int(ttl), resolvers=1000, every=2.0).run(
        death + 45.0, [EndpointChange(death, EU, up=False)]
    )
    detected = max(at for at, endpoint, up in report.detected if endpoint in EU and not up)
    for second in range(0, 30, 3):
        share = report.failed_share(detected + second, detected + second + 1.0)
        line = 1.0 - (second + 0.5) / ttl
        assert abs(share - line) <= Z * math.sqrt(line * (1.0 - line) / 400) + 0.5 / ttl


def test_traffic_comes_back_by_the_steps_of_the_ramp():
    """In the last third of each step, when caches have followed, the region's share is the step's."""
    fail_back = FailBack(hold_down=30.0, ramp=200.0, steps=4)
    changes = [EndpointChange(20.0, EU, up=False), EndpointChange(60.0, EU, up=True)]
    report = world(fail_back, ttl=5, resolvers=300, every=2.0).run(330.0, changes)
    back = max(at for at, endpoint, up in report.detected if endpoint in EU and up)
    seen = min(at for at, endpoint, up in report.detected if endpoint in EU and up and at > 60.0)
    assert not set(report.shares(seen, seen + 30.0)) & set(EU)
    for step in range(1, 4):
        start = back + 30.0 + (step - 1) * 50.0
        shares = report.shares(start + 30.0, start + 48.0)
        share = sum(shares.get(endpoint, 0.0) for endpoint in EU)
        expected = step / 4
        assert abs(share - expected) <= Z * math.sqrt(expected * (1.0 - expected) / 300)
    assert set(report.shares(back + 190.0, 330.0)) == set(EU)


def test_flapping_every_five_seconds_moves_the_traffic_at_most_twice():
    """Flapping every five seconds for two minutes moves the traffic once away.

    It moves once back after the hold-down.
    """
    changes = [EndpointChange(20.0 + 5.0 * k, EU, up=bool(k % 2)) for k in range(24)]
    report = world(FailBack(hold_down=60.0, ramp=0.0), ttl=5).run(300.0, changes)
    mostly = []
    for second in range(0, 300, 5):
        shares = report.shares(float(second), second + 5.0)
        mostly.append(sum(shares.get(endpoint, 0.0) for endpoint in EU) > 0.5)
    assert sum(one != other for one, other in pairwise(mostly)) <= 2
    assert mostly[0]
    assert mostly[-1]


class Silent:
    """A policy without endpoints."""

    def members(self):
        """Return none."""
        return frozenset()

    def answer(self, query, standings, /, *, now, rng, explain=False):
        """Answer with nothing."""
        return Answer((), ttl=5.0)


def test_equal_arguments_give_equal_reports():
    """Equal arguments give equal reports, and another seed gives another."""
    changes = [EndpointChange(10.0, EU, up=False)]
    assert world().run(40.0, changes) == world().run(40.0, changes)
    assert world(seed=2).run(40.0, changes) != world().run(40.0, changes)


def test_a_change_of_a_stranger_is_refused():
    """A change at an unknown site is refused by name."""
    with pytest.raises(ConfigurationError, match="mars"):
        world().run(10.0, [EndpointChange(1.0, ("mars",), up=False)])


@pytest.mark.parametrize(
    ("parameter", "call"),
    [
        ("changes", lambda: world().run(10.0, [("eu",)])),
        ("changes", lambda: world().run(10.0, [EndpointChange("soon", EU, up=False)])),
        ("changes", lambda: world().run(10.0, [EndpointChange(float("nan"), EU, up=False)])),
        ("changes", lambda: world().run(10.0, [EndpointChange(1.0, "eu", up=False)])),
        ("changes", lambda: world().run(10.0, [EndpointChange(1.0, EU, up="no")])),
        ("changes", lambda: world().run(10.0, EndpointChange(1.0, EU, up=False))),
        ("seconds", lambda: world().run("long")),
        ("policy", lambda: DnsSimulation("eu")),
        ("start", lambda: world().run(1.0).shares("a", 3)),
        ("end", lambda: world().run(4.0).failed_share(1.0, "b")),
    ],
)
def test_wrong_values_are_refused(parameter, call):
    """Each wrong value raises ConfigurationError, which names the parameter, before anything is simulated."""
    with pytest.raises(ConfigurationError) as caught:
        call()
    assert caught.value.parameter == parameter


def test_an_empty_answer_is_a_failure():
    """A policy without endpoints answers nothing, and every request fails."""
    report = DnsSimulation(Silent(), resolvers=3).run(10.0)
    assert report.failed_share(0.0, 10.0) == 1.0
    assert report.last_failure() == report.requests[-1].at
