"""Rules over reports: windowed rates, latency, outliers after Envoy, gRPC and the median."""

from __future__ import annotations

import math
import statistics
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit import (
    ConfigurationError,
    Endpoint,
    LeastRequest,
    LoadBalancer,
    RingHash,
    RoundRobin,
    SmoothWeightedRoundRobin,
)
from balancekit.events import Ejected
from balancekit.health import (
    EndpointReport,
    FailurePercentage,
    FailurePercentageAbove,
    Health,
    LatencyLimit,
    Lifecycle,
    MedianFailures,
    MedianLatency,
    OutlierSweep,
    SuccessRate,
    SuccessRateOutlier,
)
from balancekit.loads import InFlight
from balancekit.outcome import Outcome
from balancekit.snapshot import Node
from balancekit.stats import MAD_SCALE, RecentWindow, deviation, median
from balancekit.testing import ManualClock


def report(id, successes=0, failures=0, latencies=()):
    """Return the report of one endpoint."""
    return EndpointReport(id, successes=successes, failures=failures, latencies=tuple(latencies))


def rates(*shares, volume=100):
    """Return reports of endpoints that succeed in these shares of 100 requests each."""
    return [report(f"e{k}", round(s * volume), volume - round(s * volume)) for k, s in enumerate(shares)]


# ---------------------------------------------------------------------- one endpoint


@pytest.mark.parametrize(
    ("successes", "failures", "outliers"),
    [(8, 2, False), (79, 21, True), (0, 4, False), (0, 5, True), (4, 1, False), (0, 0, False)],
)
def test_a_success_rate_needs_a_volume(successes, failures, outliers):
    """A success rate ejects below 0.8 of at least 5 requests: strictly below, at least five."""
    assert bool(SuccessRate()([report("a", successes, failures)])) is outliers


@pytest.mark.parametrize(("latency", "outliers"), [(0.2, False), (0.2000001, True)])
def test_a_latency_limit_is_a_limit(latency, outliers):
    """A latency limit ejects only if the quantile exceeds it, and too few latencies eject nothing."""
    rule = LatencyLimit(limit=0.2, quantile=0.5)
    assert bool(rule([report("a", 10, 0, [latency] * 10)])) is outliers
    assert not rule([report("a", 9, 0, [9.0] * 9)])
    assert not rule([report("a", 10, 0)])


def test_one_slow_answer_in_twenty_is_allowed():
    """The default quantile is 0.95, so that one slow answer in twenty ejects nothing."""
    answers = [0.01] * 96 + [9.0] * 4
    assert not LatencyLimit(limit=1.0)([report("a", 100, 0, answers)])
    assert LatencyLimit(limit=1.0)([report("a", 100, 0, [*answers, *[9.0] * 4])])


# ---------------------------------------------------------------------- peers


@given(shares=st.lists(st.integers(0, 100), min_size=5, max_size=12), factor=st.floats(0.5, 3.0))
def test_the_outlier_rule_is_the_population_deviation(shares, factor):
    """Outliers iff the rate is under mean - factor * population deviation (statistics.pstdev)."""
    reports = rates(*[share / 100 for share in shares])
    values = [share / 100 for share in shares]
    limit = statistics.fmean(values) - factor * statistics.pstdev(values)
    outliers = SuccessRateOutlier(factor=factor)(reports)
    for id, value in zip((r.endpoint for r in reports), values, strict=True):
        if not math.isclose(value, limit, rel_tol=1e-9, abs_tol=1e-12):
            assert (id in outliers) is (value < limit)


@pytest.mark.parametrize("size", range(2, 8))
def test_the_outlier_rule_is_blind_below_five(size):
    """One of n values is at most sqrt(n - 1) deviations from the mean: 1.9 is out of reach for n <= 4."""
    rule = SuccessRateOutlier(min_hosts=2)
    outliers = rule(rates(*[1.0] * (size - 1), 0.0))
    assert bool(outliers) is (math.sqrt(size - 1) > 1.9) is (size >= 5)


def test_the_outlier_rule_needs_hosts_and_volume():
    """The rule compares five endpoints with a hundred requests each.

    One with 99 is not compared and not an outlier.
    """
    rule = SuccessRateOutlier()
    pool = rates(1, 1, 1, 1, 0.5)
    assert set(rule(pool)) == {"e4"}
    assert not rule(pool[1:])
    assert not rule([*pool[:4], report("e4", 0, 99)])


def test_the_two_failure_percentages_differ_at_the_threshold():
    """Envoy's failure percentage ejects at 85 %, gRPC's only above it."""
    pool = rates(0.15, 1, 1, 1, 1)
    assert set(FailurePercentage()(pool)) == {"e0"}
    assert not FailurePercentageAbove()(pool)
    worse = rates(0.14, 1, 1, 1, 1)
    assert set(FailurePercentage()(worse)) == set(FailurePercentageAbove()(worse)) == {"e0"}
    for rule in (FailurePercentage(), FailurePercentageAbove()):
        assert not rule(worse[:4])
        assert not rule(rates(0.0, 1, 1, 1, 1, volume=49))


@pytest.mark.parametrize(
    ("shares", "outliers"),
    [
        ((1, 1, 0.5), {"e2"}),
        ((1, 1, 0.83), set()),
        ((1, 1, 0.82), {"e2"}),
        ((0.5, 0.5, 0.5), set()),
        ((1, 0.5), set()),
        ((1, 1, 0.4, 0.4, 1), {"e2", "e3"}),
        ((0.0, 0.0, 1.0), set()),
    ],
)
def test_the_median_works_from_three(shares, outliers):
    """Of three endpoints, the median rule finds one bad one.

    It ejects none for a tiny difference or a failure common to all.
    """
    assert set(MedianFailures()(rates(*shares))) == outliers


@given(good=st.lists(st.floats(0.001, 0.1), min_size=3, max_size=9), wild=st.floats(1e3, 1e9))
def test_the_median_does_not_move_for_one(good, wild):
    """However slow one of four or more is, it is an outlier, and the wild one changes the limit by little."""
    pool = [report(f"e{k}", 20, 0, [latency] * 20) for k, latency in enumerate(good)]
    rule = MedianLatency()
    slow = report("slow", 20, 0, [wild] * 20)
    assert "slow" in rule([*pool, slow])
    slower = report("slow", 20, 0, [wild * 1000] * 20)
    assert rule([*pool, slow]).keys() == rule([*pool, slower]).keys()


@pytest.mark.parametrize(("latency", "outliers"), [(0.0274, set()), (0.0276, {"c"})])
def test_slow_is_relative_to_the_median(latency, outliers):
    """With the defaults, an outlier is slower than 2.75 times the median when the others are alike."""
    pool = [report("a", 20, 0, [0.01] * 20), report("b", 20, 0, [0.01] * 20)]
    assert set(MedianLatency()([*pool, report("c", 20, 0, [latency] * 20)])) == outliers
    assert not MedianLatency()([*pool, report("c", 9, 0, [9.0] * 9)])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_the_median_is_the_median(values):
    """The median is that of the values, and the deviation is 1.4826 medians of distances from it."""
    assert median(values) == statistics.median(values)
    expected = MAD_SCALE * statistics.median([abs(v - 3.0) for v in values])
    assert deviation(values, around=3.0) == pytest.approx(expected, rel=1e-12)
    assert pytest.approx(statistics.NormalDist().inv_cdf(0.75), rel=1e-12) == 1 / MAD_SCALE


def test_nothing_has_no_middle():
    """The median of no values is an error, as in the standard library."""
    with pytest.raises(ValueError, match="values"):
        median([])


# ---------------------------------------------------------------------- the sweep


class Recorder:
    """A rule that remembers its reports and names the outliers that it is told to."""

    def __init__(self, window, on_outlier=(), enforcing=1.0):
        self.window, self.on_outlier, self.enforcing = window, on_outlier, enforcing
        self.seen = []

    def __call__(self, reports):
        self.seen.append({r.endpoint: r for r in reports})
        self.latencies = {r.endpoint: r.latencies for r in reports}  # as they are now
        return dict.fromkeys(self.on_outlier, "told to")


def node(id="a", *, timed=False):
    """Make a node whose counters are set by hand."""
    made = Node(Endpoint(id), InFlight())
    made.latency = RecentWindow() if timed else None
    return made


@given(
    st.lists(st.tuples(st.floats(0.1, 5.0), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=40)
)
def test_a_window_covers_what_happened_in_it(history):
    """The report is what was counted since the last sweep that is at least a window ago."""
    rule, one, now = Recorder(10.0), node(), 100.0
    sweep = OutlierSweep((rule,), 1.0, Random(0))
    sweep.advance([one], now=now)
    marks = [(now, 0, 0)]
    for gap, good, bad in history:
        now += gap
        one.successes += good
        one.outcomes[Outcome.TIMEOUT] = one.outcomes.get(Outcome.TIMEOUT, 0) + bad
        sweep.advance([one], now=now)
        marks.append((now, one.successes, one.outcomes[Outcome.TIMEOUT]))
        old = [mark for mark in marks if mark[0] <= now - 10.0]
        _, successes, failures = old[-1] if old else marks[0]
        found = rule.seen[-1]["a"]
        assert (found.successes, found.failures) == (marks[-1][1] - successes, marks[-1][2] - failures)


def test_who_was_out_begins_anew():
    """An endpoint that took no part in a sweep begins with an empty window."""
    rule, one = Recorder(100.0), node()
    sweep = OutlierSweep((rule,), 1.0, Random(0))
    sweep.advance([one], now=0.0)
    one.outcomes[Outcome.FAILURE] = 50
    sweep.advance([], now=1.0)
    sweep.advance([one], now=2.0)
    one.successes += 3
    sweep.advance([one], now=3.0)
    assert (rule.seen[-1]["a"].successes, rule.seen[-1]["a"].failures) == (3, 0)


def test_cancelled_requests_are_no_volume():
    """Cancelled and ignored requests do not count towards the volume of a rule."""
    rule, one = Recorder(10.0), node()
    sweep = OutlierSweep((rule,), 1.0, Random(0))
    sweep.advance([one], now=0.0)
    one.outcomes |= {Outcome.CANCELLED: 5, Outcome.IGNORED: 7, Outcome.OVERLOADED: 2, Outcome.FAILURE: 1}
    sweep.advance([one], now=1.0)
    assert rule.seen[-1]["a"].volume == 3
    assert rule.seen[-1]["a"].failure_rate == 1.0
    assert math.isnan(report("b").success_rate)
    assert math.isnan(report("b").failure_rate)


def test_latencies_are_those_of_the_window():
    """Latencies older than the window do not count, as far as the window is still known; the others ascend."""
    rule, one = Recorder(10.0), node(timed=True)
    sweep = OutlierSweep((rule,), 1.0, Random(0))
    for latency in range(300):
        one.latency.record(float(latency))
    sweep.advance([one], now=0.0)
    for latency in (9.0, 7.0, 8.0):
        one.latency.record(latency)
    sweep.advance([one], now=5.0)
    assert rule.latencies == {"a": [7.0, 8.0, 9.0]}
    sweep.advance([one], now=15.0)
    assert rule.latencies == {"a": []}


@pytest.mark.parametrize("enforcing", [0.1, 0.5, 1.0])
def test_enforcing_is_a_probability(enforcing):
    """A rule is enforced as often as ``enforcing`` says: within 4.5 standard deviations over 2000 sweeps."""
    sweep = OutlierSweep((Recorder(1.0, ["a"], enforcing),), 1.0, Random(5))
    acted = sum(bool(sweep.advance([node()], now=float(k))) for k in range(2000))
    spread = math.sqrt(2000 * enforcing * (1 - enforcing))
    assert abs(acted - 2000 * enforcing) <= 4.5 * spread


def test_the_first_cause_is_told():
    """If two rules find the same endpoint, its cause is that of the first rule."""
    first, second = Recorder(1.0, ["a"]), Recorder(2.0, ["a", "b"])
    second.__class__ = type("Other", (Recorder,), {"__call__": lambda self, _: dict.fromkeys("ab", "other")})
    sweep = OutlierSweep((first, second), 3.0, Random(0))
    assert sweep.advance([node("a"), node("b")], now=7.0) == {"a": "told to", "b": "other"}
    assert sweep.deadline == 10.0


# ---------------------------------------------------------------------- bad input

BAD = [
    *[(SuccessRate, {"min_rate": v}, "min_rate") for v in (0.0, 1.1, math.nan, True)],
    (SuccessRate, {"volume": 0}, "volume"),
    (SuccessRate, {"window": 0.0}, "window"),
    (SuccessRate, {"enforcing": 0.0}, "enforcing"),
    (LatencyLimit, {"limit": 0.0}, "limit"),
    (LatencyLimit, {"limit": 1.0, "quantile": 2.0}, "quantile"),
    (LatencyLimit, {"limit": 1.0, "volume": 0}, "volume"),
    (LatencyLimit, {"limit": 1.0, "window": math.inf}, "window"),
    (LatencyLimit, {"limit": 1.0, "enforcing": 2.0}, "enforcing"),
    (SuccessRateOutlier, {"factor": 0.0}, "factor"),
    (SuccessRateOutlier, {"min_hosts": 1}, "min_hosts"),
    (FailurePercentage, {"threshold": 0.0}, "threshold"),
    (FailurePercentage, {"min_hosts": 0}, "min_hosts"),
    (FailurePercentageAbove, {"threshold": -0.1}, "threshold"),
    (FailurePercentageAbove, {"min_hosts": 0}, "min_hosts"),
    (MedianFailures, {"min_hosts": 2}, "min_hosts"),
    (MedianFailures, {"factor": 0.0}, "factor"),
    (MedianFailures, {"min_excess": 0.0}, "min_excess"),
    (MedianLatency, {"min_hosts": 2}, "min_hosts"),
    (MedianLatency, {"factor": -1.0}, "factor"),
    (MedianLatency, {"min_excess": 0.0}, "min_excess"),
    (MedianLatency, {"quantile": -0.1}, "quantile"),
    *[
        (rule, {name: value}, name)
        for rule in (
            SuccessRateOutlier,
            FailurePercentage,
            FailurePercentageAbove,
            MedianFailures,
            MedianLatency,
        )
        for name, value in (("volume", 0), ("window", -1.0), ("enforcing", 1.5))
    ],
]


@pytest.mark.parametrize(("make", "options", "parameter"), BAD)
def test_bad_figures_are_refused(make, options, parameter):
    """Each wrong value raises ConfigurationError at construction, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        make(**options)
    assert caught.value.parameter == parameter


@pytest.mark.parametrize(
    ("options", "parameter"),
    [
        ({"rules": [SuccessRate()]}, "rules"),
        ({"rules": (3,)}, "rules"),
        ({"rules": (lambda reports: {},)}, "rules"),
        ({"rules": (Recorder(1.0, enforcing=0.0),)}, "enforcing"),
        ({"sweep": 0.0}, "sweep"),
        ({"failures": 5}, "failures"),
        ({"thresholds": None}, "thresholds"),
        ({"ejection": "short"}, "ejection"),
        ({"probation": 1}, "probation"),
        ({"damping": 2000.0}, "damping"),
        ({"warm_up": 30.0}, "warm_up"),
        ({"start": "draining"}, "start"),
        ({"start": Health.EJECTED}, "start"),
        ({"start": "unknown"}, "start"),
        ({"start": []}, "start"),
    ],
)
def test_a_lifecycle_refuses_parts_that_do_not_fit(options, parameter):
    """Each wrong value raises ConfigurationError at construction, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        Lifecycle(**options)
    assert caught.value.parameter == parameter


# ---------------------------------------------------------------------- defaults and causes


@pytest.mark.parametrize(
    ("rule", "defaults"),
    [
        (
            SuccessRateOutlier(),
            {"factor": 1.9, "min_hosts": 5, "volume": 100, "window": 10.0, "enforcing": 1.0},
        ),
        (
            FailurePercentage(),
            {"threshold": 0.85, "min_hosts": 5, "volume": 50, "window": 10.0, "enforcing": 1.0},
        ),
        (
            FailurePercentageAbove(),
            {"threshold": 0.85, "min_hosts": 5, "volume": 50, "window": 10.0, "enforcing": 1.0},
        ),
        (MedianFailures(), {"factor": 3.5, "min_excess": 0.05, "min_hosts": 3, "volume": 20, "window": 10.0}),
        (MedianLatency(), {"factor": 3.5, "min_excess": 0.5, "quantile": 0.5, "min_hosts": 3, "volume": 10}),
        (LatencyLimit(limit=1.0), {"quantile": 0.95, "volume": 10, "window": 30.0, "enforcing": 1.0}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_defaults_are_those_that_are_documented(rule, defaults):
    """The defaults are the documented ones.

    They are Envoy's and gRPC's figures, and the library's own where they have none.
    """
    assert {name: getattr(rule, name) for name in defaults} == defaults


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (SuccessRateOutlier, {"min_hosts": 2, "volume": 1}),
        (FailurePercentage, {"threshold": 1.0, "min_hosts": 1, "volume": 1}),
        (FailurePercentageAbove, {"threshold": 0.0, "min_hosts": 1}),
        (FailurePercentageAbove, {"threshold": 1.0}),
        (MedianFailures, {"min_excess": 1.0, "min_hosts": 3}),
        (MedianLatency, {"quantile": 0.0, "min_hosts": 3}),
        (MedianLatency, {"quantile": 1.0, "enforcing": 1.0}),
    ],
)
def test_figures_at_the_edge_of_what_is_allowed_are_taken(make, options):
    """The limits of a figure are allowed values where the docstring says >= or at most."""
    rule = make(**options)
    assert {name: getattr(rule, name) for name in options} == options


def test_a_cause_names_the_figure_and_the_limit():
    """The event of an ejection has both, with three digits."""
    failing = [report("a", 10, 90)]
    assert FailurePercentage(min_hosts=1)(failing) == {"a": "failure rate 0.900, threshold 0.85"}
    assert MedianFailures()(rates(1, 1, 0.5)) == {"e2": "failure rate 0.500 > 0.175"}
    slow = [report(id, 20, 0, [latency] * 20) for id, latency in (("a", 0.1), ("b", 0.1), ("c", 0.3))]
    assert MedianLatency()(slow) == {"c": "latency 0.300 s > 0.275 s"}


def test_an_endpoint_at_the_volume_is_judged_and_one_below_is_not():
    """``volume`` requests are enough; of latencies, as many successes as well."""
    slow = [report(id, 10, 0, [latency] * 10) for id, latency in (("a", 0.1), ("b", 0.1), ("c", 9.0))]
    assert set(MedianLatency()(slow)) == {"c"}
    assert not MedianLatency()([*slow[:2], report("c", 9, 0, [9.0] * 10)])
    assert not MedianLatency()([*slow[:2], report("c", 10, 0, [9.0] * 9)])
    failing = [report(id, good, 20 - good) for id, good in (("a", 20), ("b", 20), ("c", 10))]
    assert set(MedianFailures()(failing)) == {"c"}
    assert not MedianFailures()([*failing[:2], report("c", 9, 10)])


def test_a_median_needs_as_many_hosts_as_it_says() -> None:
    """With fewer endpoints of enough requests, none is an outlier, however it fails."""
    rule = MedianFailures(min_hosts=4, volume=100)
    assert rule(rates(1.0, 1.0, 0.0)) == {}
    assert rule([*rates(1.0, 1.0, 0.0), report("idle", 99)]) == {}
    assert set(rule([*rates(1.0, 1.0, 0.0), report("busy", 100)])) == {"e2"}


def test_a_rule_of_a_user_states_a_probability() -> None:
    """A rule of the user's whose ``enforcing`` is no probability is refused."""

    class Mine:
        window = 10.0
        enforcing = 1.5

        def __call__(self, reports, /):
            return {}

    with pytest.raises(ConfigurationError) as caught:
        Lifecycle(rules=(Mine(),))
    assert caught.value.parameter == "enforcing"
    Mine.enforcing = 1.0
    Lifecycle(rules=(Mine(),))


def test_sweeps_are_a_second_apart() -> None:
    """Sweeps are a second apart, unless the lifecycle sets another interval."""
    assert Lifecycle().sweep == 1.0


def test_a_report_without_latencies_has_no_quantile() -> None:
    """The quantile of a report without latencies is NaN, and no error is raised."""
    assert math.isnan(report("a", 3).latency(0.9))


def test_a_success_rate_outlier_needs_as_many_hosts_as_it_says() -> None:
    """With fewer endpoints of enough requests there is no outlier."""
    rule = SuccessRateOutlier(min_hosts=6, factor=0.5, volume=100)
    assert rule(rates(1.0, 1.0, 1.0, 1.0, 0.0)) == {}
    assert set(rule(rates(1.0, 1.0, 1.0, 1.0, 1.0, 0.0))) == {"e5"}


class OfTheUser:
    """A rule that looks at latencies and does not say so."""

    window, enforcing = 10.0, 1.0

    def __call__(self, reports):
        return {one.endpoint: "slow" for one in reports if one.latencies and one.latencies[0] > 0.2}


@pytest.mark.parametrize("selector", [RoundRobin, SmoothWeightedRoundRobin, RingHash, LeastRequest])
@pytest.mark.parametrize("rule", [LatencyLimit(limit=0.2), MedianLatency(), OfTheUser()])
def test_a_rule_for_latencies_has_them_whatever_the_load(selector, rule):
    """A slow endpoint is ejected with a selector whose load measures no time; a rule of the user's gets latencies too."""
    clock, events = ManualClock(), []
    lb = LoadBalancer(
        ["a", "b", "c", "d"],
        selector=selector(),
        health=Lifecycle(rules=(rule,)),
        clock=clock,
        rng=Random(1),
        listeners=[events.append],
    )
    for _ in range(200):
        with lb.acquire() as lease:
            clock.advance(0.3 if lease.target == "c" else 0.01)
    assert [event.endpoint for event in events][:1] == ["c"]
    assert isinstance(events[0], Ejected)


@pytest.mark.parametrize(
    "rule",
    [SuccessRate(), MedianFailures(), SuccessRateOutlier(), FailurePercentage(), FailurePercentageAbove()],
    ids=lambda rule: type(rule).__name__,
)
def test_a_rule_for_failures_asks_for_no_times(rule):
    """Rules that look at counters only leave a balancer untimed: it measures no latency."""
    lb = LoadBalancer(["a"], selector=RoundRobin(), health=Lifecycle(rules=(rule,)))
    for _ in range(30):
        lb.acquire().release()
    assert lb.stats()["a"].latency is None
    assert not Lifecycle(rules=(rule,)).timed
    assert Lifecycle(rules=(rule, MedianLatency())).timed
