"""Outlier detection and active checks: every rule of the machines."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit.compat.envoy import Health, HealthCheck, HealthChecker, OutlierDetection, OutlierDetector
from balancekit.errors import ConfigurationError, UnknownEndpointError
from balancekit.events import Ejected, EjectionRefused, Restored

STRICT = OutlierDetection(consecutive_5xx=3, interval=1, base_ejection_time=2, max_ejection_percent=50)


def fail(detector, host, count, now):
    """So many 5xx; what the last one led to."""
    events = ()
    for _ in range(count):
        events = detector.observe(host, 503, now=now)
    return [type(event) for event in events]


# ---------------------------------------------------------------------- outliers


def test_the_last_of_a_run_ejects_at_once():
    """The last failure of a run ejects at once, and the one before it does not."""
    detector = OutlierDetector(list("abcd"), STRICT)
    assert fail(detector, "a", 2, 0.1) == []
    assert fail(detector, "a", 1, 0.2) == [Ejected]
    assert detector.ejected == ("a",)


@pytest.mark.parametrize("status", [200, 302, 404, 499, 600])
def test_anything_but_a_5xx_ends_the_run(status):
    """Any answer but a 5xx ends the run of failures."""
    detector = OutlierDetector(list("abcd"), STRICT)
    fail(detector, "a", 2, 0.1)
    detector.observe("a", status, now=0.2)
    assert fail(detector, "a", 2, 0.3) == []
    assert fail(detector, "a", 1, 0.4) == [Ejected]


def test_hosts_return_at_the_first_tick_after_their_time():
    """Hosts return at the first tick after their time, not at the time itself: 2.5 becomes 3."""
    detector = OutlierDetector(list("abcd"), STRICT, now=0.0)
    fail(detector, "a", 3, 0.5)
    assert detector.advance(now=2.99) == []
    [event] = detector.advance(now=3.0)
    assert (type(event), event.endpoint, event.at) == (Restored, "a", 3.0)
    assert detector.ejected == ()


def test_a_time_that_ends_at_a_tick_ends_there():
    """An ejection at a tick whose time ends at a tick ends there, two ticks later."""
    detector = OutlierDetector(list("abcd"), STRICT, now=0.0)
    fail(detector, "a", 3, 1.0)
    assert [event.at for event in detector.advance(now=9.0)] == [3.0]


def test_a_run_of_failures_starts_anew_after_the_return():
    """A run of failures starts anew after the return: failures in a panic, while the host was out, do not count."""
    detector = OutlierDetector(list("abcd"), STRICT, now=0.0)
    fail(detector, "a", 5, 0.5)
    detector.advance(now=3.0)
    assert fail(detector, "a", 2, 3.1) == []
    assert fail(detector, "a", 1, 3.2) == [Ejected]


def test_each_ejection_lasts_longer_and_ticks_without_one_shorten_it_again():
    """The factor counts up by one an ejection and down by one for every tick that the host is in."""
    detector, now, lengths = OutlierDetector(list("abcd"), STRICT, now=0.0), 0.0, []
    for ticks_in in (0, 0, 0, 1, 2, 9):
        now += ticks_in
        detector.advance(now=now)
        fail(detector, "a", 3, now)
        until = now
        while detector.ejected:
            until += 1.0
            detector.advance(now=until)
        lengths.append(until - now)
        now = until
    assert lengths == [2.0, 4.0, 6.0, 6.0, 4.0, 2.0]


def test_no_ejection_lasts_longer_than_the_longest():
    """No ejection lasts longer than 300 s, the base if that is longer, or the configured maximum."""
    for base, said, longest in ((200, None, 300.0), (400, None, 400.0), (2, 3.0, 3.0)):
        settings = OutlierDetection(
            consecutive_5xx=1,
            interval=1,
            base_ejection_time=base,
            max_ejection_time=said,
            max_ejection_percent=100,
        )
        detector, now = OutlierDetector(list("ab"), settings, now=0.0), 0.0
        for _ in range(4):
            [event] = detector.observe("a", 500, now=now)
            assert event.until - now <= longest
            last = event.until - now
            now = detector.advance(now=event.until)[-1].at
        assert last == longest


def test_jitter_is_added_after_the_cap():
    """Jitter from the given generator is added after the cap."""
    settings = STRICT.replace(max_ejection_time=2, max_ejection_time_jitter=4)
    drawn = []
    for seed in range(40):
        detector = OutlierDetector(list("abcd"), settings, now=0.0, rng=Random(seed))
        fail(detector, "a", 2, 0.0)
        [event] = detector.observe("a", 500, now=0.0)
        drawn.append(event.until)
    assert min(drawn) >= 2
    assert max(drawn) <= 6
    assert len(set(drawn)) > 30


@pytest.mark.parametrize(
    ("count", "percent", "always", "out"),
    [
        (4, 50, False, 2),
        (4, 49, False, 1),
        (9, 10, False, 0),
        (10, 10, False, 1),
        (9, 10, True, 1),
        (3, 100, False, 3),
    ],
)
def test_the_cap_counts_the_next_one_too(count, percent, always, out):
    """``(ejected + 1) / hosts`` may reach the percentage, and the first ejection may be excepted."""
    settings = STRICT.replace(max_ejection_percent=percent, always_eject_one_host=always)
    hosts = [f"h{number}" for number in range(count)]
    detector = OutlierDetector(hosts, settings)
    kinds = [kind for host in hosts for kind in fail(detector, host, 3, 0.1)]
    assert len(detector.ejected) == out
    assert kinds == [Ejected] * out + [EjectionRefused] * (count - out)


def test_a_refused_ejection_needs_a_whole_run_again():
    """A refused ejection needs a whole run again, and finds room when another host has returned."""
    settings = STRICT.replace(max_ejection_percent=25)
    detector = OutlierDetector(list("abcd"), settings, now=0.0)
    fail(detector, "a", 3, 0.0)
    assert fail(detector, "b", 3, 0.0) == [EjectionRefused]
    detector.advance(now=2.0)
    assert fail(detector, "b", 2, 2.0) == []
    assert fail(detector, "b", 1, 2.0) == [Ejected]


@given(
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 3)), max_size=60),
    percent=st.integers(0, 100),
)
def test_the_cap_holds_and_none_stays_out_for_ever(steps, percent):
    """Under any answers at most the percentage is out, and all hosts are back in the end."""
    settings = STRICT.replace(consecutive_5xx=1, max_ejection_percent=percent)
    detector, now = OutlierDetector(list("abc"), settings, now=0.0), 0.0
    for host, fails, pause in steps:
        now += pause
        detector.advance(now=now)
        detector.observe(host, 500 if fails else 200, now=now)
        assert 100 * len(detector.ejected) <= percent * 3
        assert detector.ejected == () or detector.deadline > now
    detector.advance(now=now + 301.0)
    assert detector.ejected == ()


@pytest.mark.parametrize("advances", [True, False])
def test_idle_ticks_cost_nothing(advances):
    """A year without an ejection is one step, nothing is due in it, and the ticks keep their phase."""
    detector = OutlierDetector(list("ab"), STRICT, now=0.25)
    if advances:
        detector.advance(now=31_536_000.0)
    assert detector.deadline is None
    assert fail(detector, "a", 3, 31_536_000.0) == [Ejected]
    assert detector.deadline == 31_536_000.25


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("consecutive_5xx", 0),
        ("consecutive_5xx", 2.0),
        ("consecutive_gateway_failure", 0),
        ("consecutive_local_origin_failure", 0),
        ("split_external_local_origin_errors", 1),
        ("enforcing_consecutive_gateway_failure", 101),
        ("enforcing_failure_percentage_local_origin", -1),
        ("interval", 0),
        ("interval", math.nan),
        ("base_ejection_time", -1),
        ("max_ejection_time", 29.0),
        ("max_ejection_percent", 101),
        ("always_eject_one_host", 1),
        ("max_ejection_time_jitter", math.inf),
    ],
)
def test_bad_settings_of_outlier_detection_are_refused(name, value):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError, match=name):
        OutlierDetection(**{name: value})


def ejections(settings, statuses):
    """Return the places of the answers of host ``a`` that ejected it, with the causes; each time it then returns."""
    detector, found = OutlierDetector(list("ab"), settings, now=0.0), []
    for place, status in enumerate(statuses):
        for event in detector.observe("a", status, now=float(place * 1_000)):
            found.append((place, event.cause))
            detector.advance(now=place * 1_000 + 999.0)
    return found


GATEWAY = STRICT.replace(
    consecutive_5xx=4, consecutive_gateway_failure=2, enforcing_consecutive_gateway_failure=100
)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([502, 503], [(1, "2 consecutive gateway failure")]),
        ([504, 500, 503], []),  # another 5xx ends the run of gateway failures
        ([502, 200, 504], []),
        ([502, None], [(1, "2 consecutive gateway failure")]),  # no answer is a 503
        ([500, 503, 501, 500], [(3, "4 consecutive 5xx")]),
        (
            [501, 501, 502, 504],
            [(3, "2 consecutive gateway failure")],
        ),  # both at once: the gateway's is first
    ],
)
def test_gateway_failures_in_a_row_count_apart(statuses, expected):
    """502, 503 and 504 count for both runs; every other 5xx ends the one of gateway failures."""
    assert ejections(GATEWAY, statuses) == expected


def test_gateway_failures_are_only_counted_unless_they_are_enforced():
    """By default gateway failures are counted and not enforced, as in Envoy."""
    detector = OutlierDetector(list("ab"), STRICT.replace(consecutive_gateway_failure=2), now=0.0)
    assert [len(detector.observe("a", 503, now=0.0)) for _ in range(2)] == [0, 0]
    assert detector.counters == {"detected_consecutive_gateway_failure": 1}


LOCAL = STRICT.replace(split_external_local_origin_errors=True, consecutive_local_origin_failure=2)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([None, None], [(1, "2 consecutive local origin failure")]),
        ([None, 503, None], []),  # any answer ends the run
        ([500, None, 500, 500], [(3, "3 consecutive 5xx")]),  # a request without one does not end that of 5xx
        ([503, 503, None], []),
    ],
)
def test_requests_without_an_answer_are_local_if_origins_are_split(statuses, expected):
    """With split origins, requests without an answer have a run of their own and are no 5xx."""
    assert ejections(LOCAL, statuses) == expected


def test_hosts_without_answers_are_outliers_by_rates_of_their_own():
    """With split origins rates of answered requests are compared too, by the same bounds; the admin page shows the others."""
    settings = LOCAL.replace(
        consecutive_local_origin_failure=100, max_ejection_percent=100, success_rate_minimum_hosts=3,
        success_rate_request_volume=10, success_rate_stdev_factor=1_000, enforcing_failure_percentage_local_origin=100,
        failure_percentage_minimum_hosts=3, failure_percentage_request_volume=10, failure_percentage_threshold=50,
    )  # fmt: skip
    detector = OutlierDetector(list("abcd"), settings, now=0.0)
    for host in "abcd":
        for number in range(20):
            detector.observe(host, None if host == "d" and number < 10 else 200, now=0.0)
    found = [event for event in detector.advance(now=settings.interval) if isinstance(event, Ejected)]
    assert [(event.endpoint, event.cause) for event in found] == [
        ("d", "local origin success rate: 50.0 % succeeded"),
        ("d", "local origin failure percentage: 50.0 % succeeded"),
    ]
    assert detector.rates.success_rates == dict.fromkeys("abcd", 100.0)


def test_hosts_of_a_detector_are_names_each_once():
    """A detector has at least one host, each named once; an answer of another host is refused."""
    for hosts in ([], ["a", "a"]):
        with pytest.raises(ConfigurationError, match="hosts"):
            OutlierDetector(hosts, STRICT)
    with pytest.raises(UnknownEndpointError, match="'z'"):
        OutlierDetector(list("ab"), STRICT).observe("z", 200, now=0.0)


# ---------------------------------------------------------------------- active checks

CHECK = HealthCheck(
    interval=5, healthy_threshold=2, unhealthy_threshold=3, retriable_statuses=range(500, 600)
)
PASS, RETRIABLE, BAD, SILENT = 200, 503, 404, None


def states(results, settings=CHECK):
    """Return the health after each result, one letter each."""
    checker = HealthChecker(settings)
    found = ""
    for result in results:
        checker.observe(result, now=0.0)
        found += "H" if checker.health is Health.HEALTHY else "u"
    return found


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([PASS], "H"),  # the very first result decides
        ([BAD, PASS, PASS], "uuH"),  # later it takes the threshold
        ([SILENT, PASS, PASS], "uuH"),
        ([PASS, BAD], "Hu"),  # unexpected: at once
        ([PASS, RETRIABLE, RETRIABLE, RETRIABLE], "HHHu"),
        ([PASS, SILENT, RETRIABLE, SILENT], "HHHu"),  # both kinds count together
        ([PASS, RETRIABLE, RETRIABLE, PASS, RETRIABLE, RETRIABLE], "HHHHHH"),  # a pass ends the run
        ([PASS, BAD, PASS, SILENT, PASS, PASS], "HuuuuH"),  # and a failure the run of passes
        ([PASS, RETRIABLE, BAD], "HHu"),
    ],
)
def test_results_change_health_by_the_rules(results, expected):
    """Results of checks change health by the rules: first pass, thresholds, statuses."""
    assert states(results) == expected


def test_without_retriable_statuses_every_bad_status_is_final():
    """Without retriable statuses a bad status counts at once, as in the trace."""
    plain = HealthCheck(interval=1, healthy_threshold=2, unhealthy_threshold=3)
    assert states([PASS, RETRIABLE], plain) == "Hu"
    assert states([201], plain.replace(expected_statuses={200, 201})) == "H"


def test_only_changes_are_told():
    """A check that changes no health returns ``None``."""
    checker = HealthChecker(CHECK)
    assert [checker.observe(result, now=0.0) for result in (PASS, PASS, BAD, BAD)] == [
        Health.HEALTHY,
        None,
        Health.UNHEALTHY,
        None,
    ]


def test_the_interval_counts_from_the_end_of_a_check():
    """The interval counts from the end of a check, so that one that timed out after a second delays the next one."""
    checker = HealthChecker(CHECK, now=1.0)
    assert checker.deadline == 1.0
    checker.observe(SILENT, now=2.0)
    assert checker.deadline == 7.0


EDGES = CHECK.replace(unhealthy_interval=2, unhealthy_edge_interval=1, healthy_edge_interval=3)


def pauses(settings, results, *, traffic=True):
    """Return the seconds to the next check after each result."""
    checker, found = HealthChecker(settings), []
    for result in results:
        checker.observe(result, now=0.0, traffic=traffic)
        found.append(checker.deadline)
    return found


def test_the_edge_intervals_apply_while_a_threshold_is_counted_towards():
    """Envoy waits an edge interval after a result that does not change the host's health yet, and not after the one that does."""
    assert pauses(EDGES, (BAD, PASS, PASS, PASS)) == [2.0, 3.0, 5.0, 5.0]
    assert pauses(EDGES, (PASS, RETRIABLE, SILENT, PASS, BAD, BAD)) == [5.0, 1.0, 1.0, 5.0, 2.0, 2.0]


def test_intervals_that_are_not_given_follow_from_others():
    """The unhealthy edge interval is the unhealthy interval, and every other one the interval."""
    assert pauses(CHECK.replace(unhealthy_interval=2), (PASS, RETRIABLE, BAD, PASS)) == [5.0, 2.0, 2.0, 5.0]
    assert pauses(CHECK, (PASS, RETRIABLE, BAD, PASS)) == [5.0] * 4


def test_without_traffic_two_intervals_of_their_own_apply():
    """Without traffic one interval follows a pass that leaves nothing to count, and the other any other result.

    Each is a minute by default.
    """
    results = (BAD, PASS, PASS, RETRIABLE, BAD)
    assert pauses(EDGES, results, traffic=False) == [60.0] * 5
    quiet = EDGES.replace(no_traffic_interval=7, no_traffic_healthy_interval=9)
    assert pauses(quiet, results, traffic=False) == [7.0, 7.0, 9.0, 7.0, 7.0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interval", 0),
        ("healthy_threshold", 0),
        ("unhealthy_threshold", 1.5),
        ("expected_statuses", 200),
        ("retriable_statuses", ["5xx"]),
        ("unhealthy_interval", -1),
        ("healthy_edge_interval", math.nan),
        ("no_traffic_interval", 0),
        ("no_traffic_healthy_interval", -1),
    ],
)
def test_bad_settings_of_checks_are_refused(name, value):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError, match=name):
        CHECK.replace(**{name: value})


def test_an_outlier_by_both_rates_is_ejected_twice():
    """Envoy judges the failure percentage without asking who is out by now: two base times, and two against the cap."""
    settings = OutlierDetection(
        consecutive_5xx=1_000, max_ejection_percent=100, enforcing_success_rate=100, success_rate_stdev_factor=1_000,
        success_rate_minimum_hosts=3, enforcing_failure_percentage=100, failure_percentage_threshold=50,
        failure_percentage_minimum_hosts=3, failure_percentage_request_volume=10, success_rate_request_volume=10,
    )  # fmt: skip
    detector = OutlierDetector(list("abcd"), settings, now=0.0)
    for host in "abcd":
        for _ in range(10):
            detector.observe(host, 503 if host == "d" else 200, now=0.0)
    ejections = [event for event in detector.advance(now=settings.interval) if isinstance(event, Ejected)]
    assert [(event.endpoint, event.streak) for event in ejections] == [("d", 1), ("d", 2)]
    assert ejections[-1].until == settings.interval + 2 * settings.base_ejection_time
    assert detector.counters["enforced_success_rate"] == detector.counters["enforced_failure_percentage"] == 1
