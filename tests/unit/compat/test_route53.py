"""Route 53's table of routing policies, row by row."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest

from balancekit.compat import route53
from balancekit.errors import ConfigurationError
from balancekit.gslb import Client, Location, Query, fixed_standings

CLIENT = Client(address="192.0.2.53")
TEXAS = Location("NA", "US", ("TX",), "Dallas", 32.8, -96.8)
MARS = Location()
TEN = [f"r{k}" for k in range(10)]
Z = 4.5

SIMPLE = route53.simple(["a", "b"])
WEIGHTED = route53.weighted({"a": 3, "b": 1, "z": 0})
ZEROS = route53.weighted({"a": 0, "b": 0})
LATENCY = route53.latency(lambda _: {"eu": 20.0, "us": 90.0, "ap": 200.0}, ["eu", "us", "ap"])
FAILOVER = route53.failover("a", "b")
MULTIVALUE = route53.multivalue(TEN)


def geolocation(where, *, default="any"):
    """Return records for Texas, the United States, North America and, if wanted, everywhere else."""
    return route53.geolocation(
        lambda _: where,
        subdivisions={"US-TX": "tx"},
        countries={"US": "us"},
        continents={"NA": "na"},
        default=default,
    )


def proximity(bias):
    """Return a near record, and one at twice the distance with a bias."""
    return route53.geoproximity(
        lambda _: Location("EU", "DE", (), "", 0.0, 0.0), {"near": (0.0, 10.0, 0), "far": (0.0, 20.0, bias)}
    )


def by_network(default="any"):
    """Return records for a network, one inside it, and everything else."""
    return route53.ip_based({"192.0.0.0/8": "wide", "192.0.2.0/24": "narrow"}, default=default)


def drawn(policy, down=(), draws=1, client=CLIENT):
    """Return how often each answer was drawn while some records are unhealthy."""
    ask, rng = fixed_standings(dict.fromkeys(down, False)), Random(7)
    query = Query(name="www", client=client)
    return Counter(policy.answer(query, ask, now=0.0, rng=rng).chosen for _ in range(draws))


@pytest.mark.parametrize(
    ("policy", "down", "allowed"),
    [
        pytest.param(SIMPLE, "ab", {("a", "b"), ("b", "a")}, id="simple: all values, whatever their health"),
        pytest.param(WEIGHTED, "", {("a",), ("b",)}, id="weighted: zero never answers"),
        pytest.param(WEIGHTED, "a", {("b",)}, id="weighted: unhealthy is left out"),
        pytest.param(WEIGHTED, "ab", {("z",)}, id="weighted: zero when all positive are unhealthy"),
        pytest.param(WEIGHTED, "abz", {("a",), ("b",)}, id="weighted: all unhealthy are all healthy"),
        pytest.param(ZEROS, "", {("a",), ("b",)}, id="weighted: all zero are equal"),
        pytest.param(LATENCY, "", {("eu",)}, id="latency: the lowest"),
        pytest.param(LATENCY, ["eu"], {("us",)}, id="latency: the next"),
        pytest.param(LATENCY, ["eu", "us", "ap"], {("eu",)}, id="latency: all unhealthy are all healthy"),
        pytest.param(FAILOVER, "", {("a",)}, id="failover: the primary"),
        pytest.param(FAILOVER, "a", {("b",)}, id="failover: the secondary"),
        pytest.param(FAILOVER, "ab", {("a",)}, id="failover: both unhealthy is the primary"),
        pytest.param(geolocation(TEXAS), [], {("tx",)}, id="geolocation: the smallest region"),
        pytest.param(
            geolocation(TEXAS), ["tx"], {("us",)}, id="geolocation: unhealthy falls through to the country"
        ),
        pytest.param(geolocation(TEXAS), ["tx", "us"], {("na",)}, id="geolocation: then the continent"),
        pytest.param(geolocation(TEXAS), ["tx", "us", "na"], {("any",)}, id="geolocation: then the default"),
        pytest.param(
            geolocation(TEXAS), ["tx", "us", "na", "any"], {("tx",)}, id="geolocation: all unhealthy"
        ),
        pytest.param(geolocation(MARS), [], {("any",)}, id="geolocation: unmapped is the default"),
        pytest.param(geolocation(MARS, default=None), [], {()}, id="geolocation: no default, no answer"),
        pytest.param(proximity(0), [], {("near",)}, id="geoproximity: without bias the nearest"),
        pytest.param(
            proximity(49), [], {("near",)}, id="geoproximity: +49 is not enough for twice the distance"
        ),
        pytest.param(proximity(51), [], {("far",)}, id="geoproximity: +50 halves the distance"),
        pytest.param(proximity(51), ["far"], {("near",)}, id="geoproximity: unhealthy is the next nearest"),
        pytest.param(proximity(-99), ["near", "far"], {("near",)}, id="geoproximity: all unhealthy"),
        pytest.param(by_network(), [], {("narrow",)}, id="ip-based: the longest network"),
        pytest.param(by_network(), ["narrow"], {("any",)}, id="ip-based: unhealthy is the default"),
    ],
)
def test_a_row_of_the_table(policy, down, allowed):
    """Exactly the allowed answers of a row occur in 400 draws."""
    assert set(drawn(policy, down, draws=400)) == allowed


def test_ip_based_without_a_match_is_the_default_or_no_answer():
    """Without a match an IP-based policy gives the default, or no answer if there is none."""
    elsewhere = Client(address="203.0.113.1")
    assert set(drawn(by_network(), client=elsewhere)) == {("any",)}
    assert set(drawn(by_network(None), client=elsewhere)) == {()}


def test_weights_are_shares():
    """Each record's share is its weight over the sum of weights."""
    counts = drawn(WEIGHTED, draws=4000)
    assert abs(counts["a",] - 3000) <= Z * math.sqrt(4000 * 0.75 * 0.25)


@pytest.mark.parametrize(("down", "size"), [(0, 8), (1, 8), (2, 8), (3, 7), (9, 1), (10, 8)])
def test_multivalue_answers_up_to_eight_healthy_records(down, size):
    """A multivalue policy gives up to eight healthy records at random.

    If none is healthy, it gives up to eight of all.
    """
    unhealthy = set(TEN[:down])
    counts = drawn(MULTIVALUE, unhealthy, draws=500)
    each = Counter(id for chosen, times in counts.items() for id in chosen for _ in range(times))
    for chosen in counts:
        assert len(chosen) == size
        assert down == 10 or not set(chosen) & unhealthy
    candidates = 10 if down == 10 else 10 - down
    share = size / candidates
    spread = Z * math.sqrt(500 * share * (1 - share))
    assert all(abs(times - 500 * share) <= spread for times in each.values())


def test_bias_and_weights_have_limits():
    """A bias is from -99 to 99, and a weight from 0 to 255."""
    with pytest.raises(ConfigurationError):
        proximity(100)
    with pytest.raises(ConfigurationError):
        route53.weighted({"a": 256})
