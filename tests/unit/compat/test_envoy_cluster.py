"""A whole cluster: levels, panic, merge windows, slow start, ejections, and what it refuses."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit.compat import envoy
from balancekit.compat.envoy import Cluster, Health, Host, distribute
from balancekit.errors import ConfigurationError, LeaseError, UnknownEndpointError
from balancekit.testing import chi_square_z

# Health of levels of a hundred hosts, and the load that follows. Envoy's documentation, "Priority levels"; the
# rows in which that disagrees with its own formula are by the formula.
LEVELS = [
    ((72, 72), (100, 0)),
    ((71, 71), (99, 1)),
    ((50, 50), (70, 30)),
    ((25, 100), (35, 65)),
    ((25, 25), (50, 50)),
    ((0, 100), (0, 100)),
    ((25, 25, 20), (37, 35, 28)),
]


def hosts(names="abc", **facts):
    """Hosts that differ by name only."""
    return [Host(name=name, address=f"10.0.0.1:{ord(name)}", **facts) for name in names]


def picks(cluster, count, *, now=0.0):
    """Send requests one after the other, each finished before the next."""
    found = []
    for _ in range(count):
        host = cluster.acquire(now=now)
        if host is not None:
            cluster.release(host, now=now)
        found.append(host)
    return found


# ---------------------------------------------------------------------- levels


@pytest.mark.parametrize(("healthy", "loads"), LEVELS)
def test_loads_are_the_documented_ones(healthy, loads):
    """Without panic, the loads of levels are the documented ones."""
    found = distribute([100] * len(healthy), healthy, factor=140, threshold=0)
    assert found.loads == loads
    assert not any(found.panic)


@given(
    levels=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5).filter(
        lambda levels: any(total for total, _ in levels)
    ),
    factor=st.integers(100, 300),
    threshold=st.integers(0, 100),
)
def test_all_load_is_handed_out_and_only_to_who_can_take_it(levels, factor, threshold):
    """All load adds up to 100. None goes to a level without hosts or, unless it panics, without healthy hosts."""
    totals = [total for total, _ in levels]
    healthy = [min(total, good) for total, good in levels]
    found = distribute(totals, healthy, factor=factor, threshold=threshold)
    assert sum(found.loads) == 100
    assert min(found.loads) >= 0
    if threshold == 0:
        assert not any(found.panic)
    for level, load in enumerate(found.loads):
        able = totals[level] if found.panic[level] else healthy[level]
        assert load == 0 or able or (threshold == 0 and not any(healthy))
    assert [found.level(position) for position in range(100)] == [
        level for level, load in enumerate(found.loads) for _ in range(load)
    ]


def test_no_level_panics_while_the_others_make_up_for_it():
    """No level panics while the others make up for it: a tenth of the first is enough if the second is whole."""
    assert distribute([10, 10], [1, 10], factor=140, threshold=50)[:2] == ((14, 86), (False, False))
    assert distribute([10, 10], [1, 5], factor=140, threshold=50)[:2] == ((17, 83), (True, False))


def test_the_panic_threshold_is_below_and_not_at():
    """A level panics below the threshold and not at it: half of the hosts is not less than half."""
    assert not distribute([4], [2], factor=100, threshold=50).panic[0]
    assert distribute([4], [1], factor=100, threshold=50).panic[0]
    assert distribute([4], [2], factor=100, threshold=51).panic[0]


def test_if_all_levels_panic_load_follows_their_size():
    """If all levels panic, or no host is healthy, load follows their size; a rest goes to the first level with hosts."""
    assert distribute([1, 3], [0, 0], factor=140, threshold=50)[:2] == ((25, 75), (True, True))
    assert distribute([0, 3, 3, 3], [0, 1, 0, 0], factor=140, threshold=50).loads == (0, 34, 33, 33)


def test_traffic_spills_over_to_the_next_level():
    """Traffic spills over by 35, 65 and 0 percent, by a random number for each request."""
    levels = [Host(name=f"{level}{number}", priority=level) for level in range(3) for number in range(4)]
    cluster = Cluster(levels, envoy.RoundRobin, rng=Random(5))
    for name in ("01", "02", "03", "12", "13"):
        cluster.set_health(name, Health.UNHEALTHY, now=0.0)
    counts = Counter(host for host in picks(cluster, 4_000, now=10.0))
    assert set(counts) == {"00", "10", "11"}
    assert chi_square_z(counts, {"00": 35.0, "10": 32.5, "11": 32.5}) < 5


def test_a_key_always_goes_to_the_same_level():
    """A key always goes to the same level, as the key's hash chooses it."""
    levels = [Host(name=f"{level}{number}", priority=level) for level in range(2) for number in range(3)]
    policy = [envoy.Header(name="k")]
    for _ in range(2):
        cluster = Cluster(levels, envoy.RingHash, hash_policy=policy, rng=Random())
        cluster.set_health("00", Health.UNHEALTHY, now=0.0)
        found = Counter()
        for number in range(600):
            request = envoy.Request(headers={"k": str(number)})
            host = cluster.acquire(request, now=5.0)
            assert host == cluster.acquire(request, now=5.0)
            level = 0 if envoy.key_hash(str(number)) % 100 < 93 else 1
            assert host.startswith(str(level))
            found[level] += 1
        assert set(found) == {0, 1}


def test_draining_hosts_are_no_part_of_what_health_is_a_share_of():
    """One healthy host beside draining ones is all of them; beside unhealthy ones it is a panic, which takes draining ones too."""
    cluster = Cluster(hosts("abcd"), envoy.RoundRobin, update_merge_window=0)
    for name in "abc":
        cluster.set_health(name, Health.DRAINING, now=0.0)
    assert set(picks(cluster, 8)) == {"d"}
    cluster.set_health("a", Health.UNHEALTHY, now=0.0)
    assert set(picks(cluster, 8)) == {"d"}  # one of two
    cluster.set_health("b", Health.UNHEALTHY, now=0.0)
    assert set(picks(cluster, 8)) == {"a", "b", "c", "d"}  # one of three
    assert distribute([4, 4], [1, 4], factor=140, threshold=50, draining=[3, 0])[:2] == (
        (100, 0),
        (False, False),
    )
    assert distribute([2, 4], [0, 0], factor=140, threshold=50, draining=[2, 0])[:2] == (
        (34, 66),
        (True, True),
    )


def test_none_healthy_and_no_panic_is_a_503():
    """If none is healthy and panic is off, the answer is 503. With the default threshold all hosts are used."""
    for threshold, expected in ((0, {None}), (50, {"a", "b", "c"})):
        cluster = Cluster(hosts(), envoy.RoundRobin, healthy_panic_threshold=threshold, update_merge_window=0)
        for name in "abc":
            cluster.set_health(name, Health.UNHEALTHY, now=0.0)
        assert set(picks(cluster, 12)) == expected


# ---------------------------------------------------------------------- health and time


def test_a_second_change_waits_for_as_long_as_the_merge_window():
    """The first change is seen at once. A second one waits for the merge window, which begins with it."""
    cluster = Cluster(hosts("abcd"), envoy.RoundRobin, now=0.0)
    cluster.set_health("a", Health.UNHEALTHY, now=5.0)
    assert "a" not in picks(cluster, 8, now=5.0)
    cluster.set_health("b", Health.UNHEALTHY, now=5.5)
    cluster.set_health("c", Health.UNHEALTHY, now=5.9)
    assert not cluster.healthy("b")
    assert cluster.deadline == 6.5
    assert set(picks(cluster, 8, now=6.4)) == {"b", "c", "d"}
    assert set(picks(cluster, 8, now=6.5)) == {"a", "b", "c", "d"}  # one of four: panic
    assert cluster.deadline is None
    cluster.set_health("a", Health.HEALTHY, now=7.51)
    assert set(picks(cluster, 8, now=7.51)) == {"a", "d"}


def test_a_change_after_the_window_takes_those_that_wait_with_it():
    """A change after the window is seen at once, and takes those that wait with it."""
    cluster = Cluster(hosts("abcde"), envoy.RoundRobin, now=0.0)
    for name, now in (("a", 5.0), ("b", 5.9), ("c", 6.1)):
        cluster.set_health(name, Health.UNHEALTHY, now=now)
    assert cluster.deadline is None
    assert cluster.distribution[:2] == ((100,), (True,))


def test_a_change_exactly_a_window_later_still_waits():
    """A change exactly a window later still waits."""
    cluster = Cluster(hosts("abcde"), envoy.RoundRobin, now=0.0)
    cluster.set_health("a", Health.UNHEALTHY, now=5.0)
    cluster.set_health("b", Health.UNHEALTHY, now=6.0)
    assert cluster.deadline == 7.0


def test_without_a_window_every_change_is_seen_at_once():
    """With a merge window of 0 s every change is seen at once."""
    cluster = Cluster(hosts(), envoy.RoundRobin, update_merge_window=0)
    for name, left in (("a", {"b", "c"}), ("b", {"a", "b", "c"})):
        cluster.set_health(name, Health.UNHEALTHY, now=1.0)
        assert set(picks(cluster, 6, now=1.0)) == left


def test_saying_what_is_known_changes_nothing():
    """A health that is the same as before opens no merge window."""
    cluster = Cluster(hosts(), envoy.RoundRobin)
    cluster.set_health("a", Health.HEALTHY, now=1.0)
    cluster.set_health("b", Health.UNHEALTHY, now=1.1)
    assert set(picks(cluster, 4, now=1.1)) == {"a", "c"}


def test_a_host_that_becomes_healthy_warms_up():
    """A host that becomes healthy warms up from a tenth of its weight, along the line, to all of it."""
    cluster = Cluster(
        hosts(), envoy.RoundRobin, slow_start=envoy.SlowStart(slow_start_window=8), update_merge_window=0
    )
    cluster.set_health("a", Health.UNHEALTHY, now=0.0)
    assert set(picks(cluster, 9, now=50.0)) == {"b", "c"}
    cluster.set_health("a", Health.HEALTHY, now=100.0)
    shares = []
    for second in range(9):
        found = [host for step in range(840) for host in picks(cluster, 1, now=100.0 + second + step / 840)]
        shares.append(found.count("a") / 840)
    for second, share in enumerate(shares):
        line = min(1.0, max(0.1, (second + 0.5) / 8))
        assert abs(share - line / (line + 2)) < 0.01


def test_hosts_that_were_always_healthy_do_not_warm_up():
    """Hosts that were always healthy do not warm up."""
    cluster = Cluster(hosts(), envoy.RoundRobin, slow_start=envoy.SlowStart(slow_start_window=8))
    assert Counter(picks(cluster, 30)) == {"a": 10, "b": 10, "c": 10}


def test_curves_of_slow_start():
    """Slow start at 10, 25, 50 and 75 percent of the window is as in Envoy's documentation.

    Aggressions are a half, 1 and 2.
    """
    for aggression, expected in (
        (0.5, (0.1, 0.1, 0.25, 0.5625)),
        (1, (0.1, 0.25, 0.5, 0.75)),
        (2, (0.316, 0.5, 0.707, 0.866)),
    ):
        settings = envoy.SlowStart(slow_start_window=10, aggression=aggression)
        found = [settings.share(age) for age in (1.0, 2.5, 5.0, 7.5)]
        assert found == pytest.approx(expected, abs=1e-3)
        assert [settings.share(age) for age in (-1.0, 10.0, 10.5)] == [0.1, 1.0, 1.0]


def test_answers_eject_hosts_and_ticks_bring_them_back():
    """Answers eject hosts and ticks bring them back, in the picks and for listeners."""
    heard = []
    cluster = Cluster(
        hosts(),
        envoy.RoundRobin,
        update_merge_window=0,
        outlier_detection=envoy.OutlierDetection(
            consecutive_5xx=2, interval=1, base_ejection_time=2, max_ejection_percent=50
        ),
        listeners=[heard.append],
    )
    for _ in range(9):
        host = cluster.acquire(now=0.3)
        cluster.release(host, now=0.4, status=500 if host == "b" else 200)
    assert not cluster.healthy("b")
    assert set(picks(cluster, 6, now=2.9)) == {"a", "c"}
    assert cluster.deadline == 3.0
    assert set(picks(cluster, 6, now=3.0)) == {"a", "b", "c"}
    assert [(type(event).__name__, event.endpoint, event.at) for event in heard] == [
        ("Ejected", "b", 0.4),
        ("Restored", "b", 3.0),
    ]


def test_an_ejected_host_that_fails_its_checks_stays_out():
    """An ejected host that fails its checks stays out until both agree."""
    cluster = Cluster(
        hosts(),
        envoy.RoundRobin,
        update_merge_window=0,
        outlier_detection=envoy.OutlierDetection(
            consecutive_5xx=1, interval=1, base_ejection_time=1, max_ejection_percent=50
        ),
    )
    while (host := cluster.acquire(now=0.0)) != "a":
        cluster.release(host, now=0.0)
    cluster.release("a", now=0.5, status=503)
    cluster.set_health("a", Health.UNHEALTHY, now=0.6)
    assert set(picks(cluster, 6, now=5.0)) == {"b", "c"}
    cluster.set_health("a", Health.HEALTHY, now=6.0)
    assert set(picks(cluster, 6, now=6.0)) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("ends", "health", "wanted"),
    [
        (True, Health.HEALTHY, {"a", "b", "c"}),
        (True, Health.UNHEALTHY, {"b", "c"}),
        (False, Health.HEALTHY, {"b", "c"}),
    ],
)
def test_a_check_that_passes_ends_an_ejection(ends, health, wanted):
    """A check that passes ends the ejection of a host that checks call healthy at once, unless the setting says otherwise."""
    told = []
    cluster = Cluster(
        hosts(),
        envoy.RoundRobin,
        update_merge_window=0,
        outlier_detection=envoy.OutlierDetection(
            consecutive_5xx=1,
            interval=10,
            max_ejection_percent=50,
            successful_active_health_check_uneject_host=ends,
        ),
        listeners=[told.append],
    )
    cluster.claim("a", now=0.5)
    cluster.release("a", now=0.5, status=503)
    cluster.set_health("a", health, now=0.6)
    for host in "abc":
        cluster.check_passed(host, now=0.7)
    assert set(picks(cluster, 6, now=0.8)) == wanted
    assert [event.at for event in told] == ([0.5, 0.7] if "a" in wanted else [0.5])
    with pytest.raises(UnknownEndpointError):
        cluster.check_passed("d", now=0.9)


def test_an_ejection_that_a_check_ended_is_remembered_for_an_interval():
    """The next ejection is longer by the base until the host has been in for an interval, counted from the check to a tick."""
    settings = envoy.OutlierDetection(
        consecutive_5xx=2, interval=10, base_ejection_time=30, max_ejection_percent=50
    )

    def lasts(again_at):
        detector = envoy.OutlierDetector(["a", "b", "c"], settings)
        for now in (1.0, 2.0):
            detector.observe("a", 500, now=now)
        assert detector.ejected == ("a",)
        assert [event.at for event in detector.check_passed("a", now=5.0)] == [5.0]
        assert detector.check_passed("a", now=5.0) == ()
        detector.advance(now=again_at)
        assert detector.observe("a", 500, now=again_at) == ()  # the run of failures has begun anew
        (event,) = detector.observe("a", 500, now=again_at)
        return event.until - again_at

    assert [lasts(at) for at in (6.0, 10.5, 15.5, 20.5)] == [60.0, 60.0, 60.0, 30.0]


def test_hosts_that_return_at_one_tick_are_shown_one_by_one():
    """Of hosts that return at one tick, policies see the first at once and the others when the merge window ends."""
    cluster = Cluster(
        hosts("abcd"),
        envoy.RoundRobin,
        update_merge_window=5,
        outlier_detection=envoy.OutlierDetection(
            consecutive_5xx=1, interval=1, base_ejection_time=20, max_ejection_percent=50
        ),
    )
    for host in ("a", "b"):
        cluster.claim(host, now=0.5)
        cluster.release(host, now=0.5, status=503)
    assert set(picks(cluster, 8, now=6.0)) == {"c", "d"}
    assert set(picks(cluster, 8, now=21.0)) == {"a", "c", "d"}
    assert set(picks(cluster, 8, now=25.9)) == {"a", "c", "d"}
    assert set(picks(cluster, 8, now=26.0)) == {"a", "b", "c", "d"}


def test_a_request_without_an_answer_is_a_503():
    """A request without an answer is a 503: it ends a run of answers and is a gateway failure."""
    cluster = Cluster(
        hosts(),
        envoy.RoundRobin,
        update_merge_window=0,
        outlier_detection=envoy.OutlierDetection(consecutive_5xx=2, max_ejection_percent=50),
    )
    for _ in range(2):
        cluster.claim("a", now=0.0)
        cluster.release("a", now=0.0, status=None)
    assert not cluster.healthy("a")


def test_the_order_of_turns_goes_on_when_health_changes():
    """With equal weights the count of turns goes on when health changes."""
    cluster = Cluster(hosts(), lambda: envoy.RoundRobin(start=0), update_merge_window=0)
    assert picks(cluster, 4) == ["a", "b", "c", "a"]
    cluster.set_health("b", Health.UNHEALTHY, now=0.0)
    assert picks(cluster, 4) == ["a", "c", "a", "c"]  # turns 4 to 7 of a c
    cluster.set_health("b", Health.HEALTHY, now=0.0)
    assert picks(cluster, 3) == ["c", "a", "b"]


# ---------------------------------------------------------------------- accounts and refusals


def test_requests_in_progress_are_counted():
    """Requests are counted as in progress until they are released, once each."""
    cluster = Cluster(hosts("a"), envoy.LeastRequest)
    for _ in range(3):
        assert cluster.acquire(now=0.0) == "a"
    assert cluster.active("a") == 3
    for _ in range(3):
        cluster.release("a", now=0.0)
    assert cluster.active("a") == 0
    with pytest.raises(LeaseError, match="'a'"):
        cluster.release("a", now=0.0)


def test_a_request_without_a_key_goes_anywhere():
    """A request without a key goes to a random position, as in Envoy."""
    cluster = Cluster(hosts(), envoy.RingHash, hash_policy=[envoy.Header(name="k")], rng=Random(2))
    assert set(picks(cluster, 100)) == {"a", "b", "c"}


@pytest.mark.parametrize("ask", ["release", "set_health"])
def test_unknown_hosts_are_refused(ask):
    """An unknown host is refused by the name that was given."""
    cluster = Cluster(hosts(), envoy.RoundRobin)
    with pytest.raises(UnknownEndpointError, match="'z'"):
        cluster.release("z", now=0.0) if ask == "release" else cluster.set_health(
            "z", Health.HEALTHY, now=0.0
        )


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: Cluster([], envoy.RoundRobin), "hosts"),
        (lambda: Cluster(["a"], envoy.RoundRobin), "hosts"),
        (lambda: Cluster([*hosts("a"), *hosts("a")], envoy.RoundRobin), "hosts"),
        (lambda: Cluster(hosts(), envoy.RoundRobin()), "policy"),
        (lambda: Cluster(hosts(), "ROUND_ROBIN"), "policy"),
        (lambda: Cluster(hosts(), envoy.RoundRobin, overprovisioning_factor=99), "overprovisioning_factor"),
        (lambda: Cluster(hosts(), envoy.RoundRobin, healthy_panic_threshold=101), "healthy_panic_threshold"),
        (lambda: Cluster(hosts(), envoy.RoundRobin, update_merge_window=-1), "update_merge_window"),
        (lambda: Cluster(hosts(), envoy.RoundRobin, now=math.nan), "now"),
        (lambda: Cluster(hosts(), envoy.RingHash, hash_policy=["x-key"]), "hash_policy"),
        (lambda: Cluster(hosts(), envoy.RoundRobin, slow_start=8.0), "slow_start"),
        (lambda: Cluster(hosts(), envoy.RoundRobin, outlier_detection=True), "outlier_detection"),
        (lambda: Host(name=""), "name"),
        (lambda: Host(name="a", weight=0), "weight"),
        (lambda: Host(name="a", weight=1.5), "weight"),
        (lambda: Host(name="a", priority=128), "priority"),
        (lambda: Host(name="a", hostname=None), "hostname"),
        (lambda: envoy.SlowStart(slow_start_window=0), "slow_start_window"),
        (lambda: envoy.SlowStart(slow_start_window=1, aggression=0), "aggression"),
        (lambda: envoy.SlowStart(slow_start_window=1, min_weight_percent=-1), "min_weight_percent"),
    ],
)
def test_bad_configuration_is_refused(make, parameter):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError, match=parameter):
        make()


def test_a_health_that_is_none_is_refused():
    """A health that is no health, such as a string, is refused."""
    cluster = Cluster(hosts(), envoy.RoundRobin)
    with pytest.raises(ConfigurationError, match="health"):
        cluster.set_health("a", "UNHEALTHY", now=0.0)
    assert cluster.healthy("a")


def test_bad_times_change_nothing():
    """A time that is not a number is refused, and nothing changes."""
    cluster = Cluster(hosts(), envoy.RoundRobin)
    with pytest.raises(ConfigurationError, match="now"):
        cluster.acquire(now=math.nan)
    assert [cluster.active(name) for name in "abc"] == [0, 0, 0]


def test_without_a_least_weight_a_host_begins_at_its_first_millisecond():
    """With a ``min_weight_percent`` of 0 a host begins at its first millisecond, and its weight is never 0."""
    settings = envoy.SlowStart(slow_start_window=4, aggression=0.5, min_weight_percent=0)
    assert [settings.share(age) for age in (0.0, 0.0005, 1.0, 4.0)] == [
        (0.001 / 4) ** 2,
        (0.001 / 4) ** 2,
        0.0625,
        1.0,
    ]
