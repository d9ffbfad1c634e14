"""Numbers that methods and functions take: what is no number is refused by the name it was given by, and changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pytest

from balancekit import ConfigurationError
from balancekit.adapters import RouteStatistics
from balancekit.capacity import Gslb
from balancekit.compat import envoy, gdnsd, grpc, haproxy, ipvs, powerdns
from balancekit.discovery import EndpointSlices, Refresh
from balancekit.gslb import IntervalMap, Location, Site, Ttl, nearest
from balancekit.ha import VirtualRouter, replay_adverts
from balancekit.health import Ejection, FlapDamping, Thresholds, WarmUp
from balancekit.inference import prompt_blocks
from balancekit.l4 import ResilientGroup
from balancekit.l4.proxy_protocol import crc32c
from balancekit.reported import NodeAttributes
from balancekit.routing import Gradient
from balancekit.scheduling import whole_weights
from balancekit.stats import Ewma, PeakEwma, RecentWindow, deviation, quantile
from balancekit.testing import share_z
from balancekit.waiting import WaitingQueue

ROUTER = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.12")
SITES = {"dallas": (32.9, -97.0), "frankfurt": (50.1, 8.7)}
BLOCKS = IntervalMap(4, [0, 12], [7, 8])
SHARES = envoy.Distribution((35, 65), (False, False))


def group() -> ResilientGroup:
    """Return a group of next hops."""
    return ResilientGroup(["a", "b"], buckets=8)


REALS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "a sample": ("sample", lambda x: Ewma().observe(x, now=0.0)),
    "the time of a sample": ("now", lambda x: Ewma().observe(1.0, now=x)),
    "the time of an average": ("now", lambda x: Ewma().value(now=x)),
    "where an average rests": ("rest", lambda x: Ewma().value(now=1.0, rest=x)),
    "a sample of peaks": ("sample", lambda x: PeakEwma().observe(x, now=0.0)),
    "the time of a peak": ("now", lambda x: PeakEwma().observe(1.0, now=x)),
    "a bound": ("bound", lambda x: PeakEwma().raise_to(x, now=0.0)),
    "the time of a bound": ("now", lambda x: PeakEwma().raise_to(0.0, now=x)),
    "the time of a peak's value": ("now", lambda x: PeakEwma().value(now=x)),
    "a value of a window": ("value", lambda x: RecentWindow().record(x)),
    "a middle": ("around", lambda x: deviation([1.0, 2.0], around=x)),
    "the time of a flow": ("now", lambda x: group().pick(5, now=x)),
    "a penalty": ("penalty", lambda x: FlapDamping().time_to_reuse(x)),
    "a time of warm-up": ("elapsed", lambda x: WarmUp().share(x)),
    "an interval of checks": ("interval", lambda x: Thresholds().detection(interval=x, timeout=1.0)),
    "a time-out of checks": ("timeout", lambda x: Thresholds().detection(interval=1.0, timeout=x)),
    "a TTL of discovery": ("ttl", lambda x: Refresh().period(x)),
    "a wait of discovery": ("wait", lambda x: Refresh().spread(x, Random(1))),
    "the least latency": ("min_rtt", lambda x: Gradient().gradient(min_rtt=x, sample_rtt=1.0)),
    "a latency": ("sample_rtt", lambda x: Gradient().gradient(min_rtt=1.0, sample_rtt=x)),
    "a gradient": ("gradient", lambda x: Gradient().next_limit(5, gradient=x)),
    "the time of a ranking": ("now", lambda x: WaitingQueue(max_waiting=1).ranking(now=x)),
    "a time of a log": ("t", lambda x: replay_adverts([], ROUTER).role_at(x)),
    "a latitude": ("latitude", lambda x: nearest(x, 8.0, SITES)),
    "a longitude": ("longitude", lambda x: nearest(50.0, x, SITES)),
    "the latitude of a location": ("latitude", lambda x: Location(latitude=x)),
    "the longitude of a location": ("longitude", lambda x: Location(longitude=x)),
    "the time of a figure": ("now", lambda x: NodeAttributes().value("a", "cpu", now=x)),
    "the latency of a route": ("latency", lambda x: RouteStatistics().record("r", latency=x, failed=False)),
    "Envoy's blackout": (
        "blackout_period",
        lambda x: envoy.client_side_weighted_round_robin(blackout_period=x),
    ),
    "Envoy's expiry": (
        "weight_expiration_period",
        lambda x: envoy.client_side_weighted_round_robin(weight_expiration_period=x),
    ),
    "Envoy's period": (
        "weight_update_period",
        lambda x: envoy.client_side_weighted_round_robin(weight_update_period=x),
    ),
    "Envoy's penalty": (
        "error_utilization_penalty",
        lambda x: envoy.client_side_weighted_round_robin(error_utilization_penalty=x),
    ),
    "gRPC's blackout": ("blackout_period", lambda x: grpc.weighted_round_robin(blackout_period=x)),
    "gRPC's expiry": (
        "weight_expiration_period",
        lambda x: grpc.weighted_round_robin(weight_expiration_period=x),
    ),
    "gRPC's period": ("weight_update_period", lambda x: grpc.weighted_round_robin(weight_update_period=x)),
    "gRPC's penalty": (
        "error_utilization_penalty",
        lambda x: grpc.weighted_round_robin(error_utilization_penalty=x),
    ),
}
"""Calls that take 2 for a real number, and the name of the parameter."""
SHARES_OF_ONE: dict[str, tuple[str, Callable[[Any], object]]] = {
    "a quantile": ("q", lambda x: quantile([1.0, 2.0], x)),
    "the share of a site": ("share", lambda x: Site()().observe(share=x, now=0.0)),
    "gdnsd's threshold": ("up_thresh", lambda x: gdnsd.multifo(["a", "b"], up_thresh=x)),
}
"""Calls that take a half."""
WHOLE: dict[str, tuple[str, Callable[[Any], object]]] = {
    "the hash of a flow": ("hash", lambda x: group().pick(x, now=1.0)),
    "a streak": ("streak", lambda x: Ejection().remaining(x, calm_for=1.0)),
    "the streak of an ejection": ("streak", lambda x: Ejection().duration(x, Random(1))),
    "ejected endpoints": ("already_out", lambda x: Ejection().allows(already_out=x, size=9)),
    "endpoints": ("size", lambda x: Ejection().allows(already_out=0, size=x)),
    "failures": ("failures", lambda x: Refresh().retry(x)),
    "a limit": ("limit", lambda x: Gradient().next_limit(x, gradient=1.0)),
    "sites": ("limit", lambda x: nearest(50.0, 8.0, SITES, limit=x)),
    "bits": ("bits", lambda x: IntervalMap(x, [0], [7])),
    "an address": ("address", lambda x: BLOCKS.value(x)),
    "an address with a scope": ("address", lambda x: BLOCKS.look_up(x)),
    "a seed of blocks": ("seed", lambda x: prompt_blocks(b"text", 8, x)),
    "attempts": (
        "attempts",
        lambda x: RouteStatistics().record("r", latency=1.0, failed=False, attempts=x),
    ),
    "a site": ("site", lambda x: Gslb(sites=4).share_of(x)),
    "the worst share of a site": ("site", lambda x: Gslb(sites=4).worst_share_of(x, 1)),
    "lost sites": ("lost", lambda x: Gslb(sites=4).worst_shares(x)),
    "the start of lookup2": ("start", lambda x: powerdns.lookup2(b"x", x)),
    "the start of CRC-32C": ("start", lambda x: crc32c(b"x", x)),
    "what is mixed": ("a", haproxy.avalanche),
    "a weight of HAProxy": ("weight", lambda x: haproxy.slow_start(x, seconds=10, elapsed=1)),
    "the value of SipHash": ("value", lambda x: ipvs.siphash13(x, 1, 2)),
    "half a key of SipHash": ("low", lambda x: ipvs.siphash13(1, x, 2)),
    "the other half": ("high", lambda x: ipvs.siphash13(1, 2, x)),
    "a seed of MurmurHash": ("seed", lambda x: envoy.murmur64(b"x", x)),
    "a position": ("position", SHARES.place),
    "a position's level": ("position", SHARES.level),
    "a greatest sum": ("limit", lambda x: whole_weights([1.0], limit=x)),
    "requests in progress": ("active", lambda x: envoy.RetryBudget().limit(active=x)),
}
"""Calls that take 2 for a whole number."""
EITHER: dict[str, tuple[str, Callable[[Any], object]]] = {
    "hits": ("hits", lambda x: share_z(x, 100, 0.5)),
}
NO_NUMBERS = [True, np.True_, math.nan, math.inf, -math.inf, np.float64("nan"), "2", b"2", [2], 2j]


@pytest.mark.parametrize("call", [*REALS, *SHARES_OF_ONE, *WHOLE, *EITHER])
def test_what_is_no_number_is_refused_by_name(call: str) -> None:
    """A truth, a text, a list, NaN and infinity are refused by an error with the name the caller gave them by."""
    name, function = (REALS | SHARES_OF_ONE | WHOLE | EITHER)[call]
    for value in NO_NUMBERS:
        with pytest.raises(
            ConfigurationError, match=r"is not allowed: expected a (finite|whole) number"
        ) as caught:
            function(value)
        assert caught.value.parameter == name, value


@pytest.mark.parametrize("call", [*REALS, *SHARES_OF_ONE, *WHOLE, *EITHER])
def test_numbers_of_other_libraries_are_taken(call: str) -> None:
    """A Decimal, a Fraction and numpy's numbers are what an equal float or integer is."""
    name, function = (REALS | SHARES_OF_ONE | WHOLE | EITHER)[call]
    plain: Any = 0.5 if call in SHARES_OF_ONE else 2
    wanted = repr(function(plain)).partition(" at 0x")[0]
    others = [np.int64(2)] if call in WHOLE else [Decimal(plain), Fraction(plain), np.float32(plain)]
    for value in others:
        assert repr(function(value)).partition(" at 0x")[0] == wanted, (name, value)


def test_a_port_is_a_name_or_a_number() -> None:
    """A port of slices is a text, or a whole number that a port can have."""
    EndpointSlices(port="http")
    EndpointSlices(port=80)
    for value in (True, 0, 65_536, 80.0, b"http"):
        with pytest.raises(ConfigurationError, match="port="):
            EndpointSlices(port=value)


def test_an_answer_that_never_changes_has_the_greatest_ttl() -> None:
    """Infinite seconds are for ever; negative infinity, NaN and a truth are refused."""
    ttl = Ttl(minimum=1, maximum=60)
    assert ttl.of(math.inf) == 60
    for value in (-math.inf, math.nan, True):
        with pytest.raises(ConfigurationError, match="seconds="):
            ttl.of(value)


def test_a_host_that_has_long_been_healthy_has_its_whole_share() -> None:
    """An infinite age is long ago; negative infinity, NaN and a truth are refused."""
    slow_start = envoy.SlowStart(slow_start_window=8)
    assert slow_start.share(math.inf) == 1.0
    for value in (-math.inf, math.nan, True, "5"):
        with pytest.raises(ConfigurationError, match="age="):
            slow_start.share(value)


def test_an_endpoint_that_never_failed_has_no_ejections_that_count() -> None:
    """An infinite time of health leaves no ejection; negative infinity, NaN and a truth are refused."""
    assert Ejection().remaining(3, calm_for=math.inf) == 0
    for value in (-math.inf, math.nan, True, "5"):
        with pytest.raises(ConfigurationError, match="calm_for="):
            Ejection().remaining(3, calm_for=value)


def test_a_refused_number_of_a_route_counts_nothing() -> None:
    """A record of a request whose attempts are no number leaves the statistics as they were."""
    statistics = RouteStatistics()
    for wrong in ({"attempts": "2"}, {"latency": "2"}, {"failed": 1}):
        with pytest.raises(ConfigurationError):
            statistics.record("r", **{"latency": 1.0, "failed": False} | wrong)
    assert statistics.stats() == ()


def test_a_refused_sample_leaves_an_average_as_it_was() -> None:
    """A sample that is no number, or that no float is near enough to, changes no average."""
    for average in (Ewma(), PeakEwma()):
        average.observe(1.0, now=0.0)
        for sample, now in ((True, 1.0), (2.0, True), (math.inf, 1.0)):
            with pytest.raises(ConfigurationError):
                average.observe(sample, now=now)
        assert average.value(now=5.0) == 1.0
        assert average.value(now=5.0, rest=1.0) == 1.0
