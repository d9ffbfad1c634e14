"""Envoy's subsets, localities, zones, degraded hosts, outliers by rates, override hosts and limits."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from balancekit.compat import envoy
from balancekit.compat.envoy import Health, Host, Request, SubsetSelector
from balancekit.errors import ConfigurationError, LeaseError


def counts(cluster, requests, *, metadata=None):
    """Send requests one after the other, and count where they go."""
    found = Counter()
    for _ in range(requests):
        host = cluster.acquire(Request(metadata=metadata or {}), now=0.0)
        found[host] += 1
        if host is not None:
            cluster.release(host, now=0.0)
    return found


def keys(*names, **options):
    """Return a selector."""
    return SubsetSelector(keys=frozenset(names), **options)


MIXED = [
    Host("a", metadata={"v": "1", "stage": "prod"}),
    Host("b", metadata={"v": "2", "stage": "prod"}),
    Host("c", metadata={"v": "2", "stage": ["dev", "test"]}),
]


def subsets(**options):
    """Return a cluster of the mixed hosts."""
    return envoy.Cluster(MIXED, envoy.RoundRobin, subsets=envoy.Subsets(**options), rng=Random(1))


def test_the_exact_set_of_keys_chooses_the_selector():
    """A request with a key more or less than a selector's is a request without a subset."""
    cluster = subsets(subset_selectors=[keys("v"), keys("v", "stage")])
    assert set(counts(cluster, 9, metadata={"v": "2"})) == {"b", "c"}
    assert set(counts(cluster, 9, metadata={"v": "2", "stage": "prod"})) == {"b"}
    for wanted in ({}, {"stage": "prod"}, {"v": "2", "color": "red"}, {"v": "3"}):
        assert set(counts(cluster, 9, metadata=wanted)) == {None}


def test_numbers_texts_and_truth_values_are_different_metadata():
    """The number 1, the text "1" and true name three subsets."""
    hosts = [Host("n", metadata={"v": 1}), Host("t", metadata={"v": "1"}), Host("b", metadata={"v": True})]
    cluster = envoy.Cluster(hosts, envoy.RoundRobin, subsets=envoy.Subsets(subset_selectors=[keys("v")]))
    assert [*counts(cluster, 3, metadata={"v": 1})] == ["n"]
    assert [*counts(cluster, 3, metadata={"v": "1"})] == ["t"]
    assert [*counts(cluster, 3, metadata={"v": True})] == ["b"]


def test_a_selector_falls_back_to_fewer_keys():
    """``KEYS_SUBSET`` keeps the keys it names and asks again; that selector's own fallback holds then."""
    cluster = subsets(
        subset_selectors=[
            keys("v", "stage", fallback_policy="KEYS_SUBSET", fallback_keys_subset=frozenset({"v"})),
            keys("v", fallback_policy="ANY_ENDPOINT"),
        ]
    )
    assert set(counts(cluster, 9, metadata={"v": "2", "stage": "none"})) == {"b", "c"}
    assert set(counts(cluster, 9, metadata={"v": "9", "stage": "none"})) == {"a", "b", "c"}


@pytest.mark.parametrize("shorter_first", [True, False])
def test_a_fallback_counts_unless_a_selector_before_begins_with_its_keys(shorter_first):
    """Envoy notes a fallback where it adds a node to its tree of sorted keys: "stage" after "stage, v" states none."""
    shorter = keys("stage", fallback_policy="ANY_ENDPOINT")
    longer = keys("v", "stage", fallback_policy="ANY_ENDPOINT")
    cluster = subsets(subset_selectors=[shorter, longer] if shorter_first else [longer, shorter])
    assert set(counts(cluster, 9, metadata={"stage": "none"})) == (
        {"a", "b", "c"} if shorter_first else {None}
    )
    assert set(counts(cluster, 9, metadata={"stage": "prod"})) == {"a", "b"}
    assert set(counts(cluster, 9, metadata={"stage": "prod", "v": "9"})) == {"a", "b", "c"}


def test_a_default_subset_without_hosts_needs_panic_mode_any():
    """A default subset without hosts serves nothing without panic mode any, and by any host with it."""
    options = {"fallback_policy": "DEFAULT_SUBSET", "default_subset": {"stage": "none"}}
    assert set(counts(subsets(**options), 9)) == {None}
    assert set(counts(subsets(**options, panic_mode_any=True), 9)) == {"a", "b", "c"}


def test_a_list_of_values_is_one_value_or_each_of_them():
    """A list of values is one value, or each of them with ``list_as_any``."""
    selectors = [keys("stage")]
    for split, served in ((False, {None}), (True, {"c"})):
        cluster = subsets(subset_selectors=selectors, list_as_any=split)
        assert set(counts(cluster, 3, metadata={"stage": "test"})) == served


def test_one_host_may_stand_for_a_subset():
    """With ``single_host_per_subset`` the first host stands for a subset."""
    cluster = subsets(subset_selectors=[keys("v", single_host_per_subset=True)])
    assert set(counts(cluster, 9, metadata={"v": "2"})) == {"b"}


def test_subsets_share_requests_in_progress():
    """Requests in progress on a host count in every subset that it is in."""
    cluster = envoy.Cluster(
        MIXED,
        lambda: envoy.LeastRequest(selection_method="FULL_SCAN"),
        subsets=envoy.Subsets(subset_selectors=[keys("v"), keys("stage")]),
        rng=Random(1),
    )
    assert cluster.acquire(Request(metadata={"v": "1"}), now=0.0) == "a"
    assert cluster.acquire(Request(metadata={"stage": "prod"}), now=0.0) == "b"


@pytest.mark.parametrize(
    "build",
    [
        lambda: keys(),
        lambda: keys("v", fallback_policy="SOMETIMES"),
        lambda: keys("v", fallback_policy="KEYS_SUBSET"),
        lambda: keys("v", fallback_keys_subset=frozenset({"v"})),
        lambda: envoy.Subsets(fallback_policy="KEYS_SUBSET"),
        lambda: envoy.Subsets(subset_selectors=["v"]),
        lambda: envoy.ZoneAware(local_zone="a", local_zones=()),
        lambda: envoy.ZoneAware(local_zone="a", local_zones=["a"], routing_enabled=101),
        lambda: envoy.ZoneAware(local_zone="a", local_zones=["a"], fail_traffic_on_panic=1),
        lambda: envoy.Cluster(MIXED, envoy.RoundRobin, locality_weights={"x": -1}),
        lambda: envoy.Cluster(
            MIXED,
            envoy.RoundRobin,
            locality_weights={},
            zone_aware=envoy.ZoneAware(local_zone="a", local_zones=["a"]),
        ),
        lambda: envoy.Cluster(MIXED, envoy.RoundRobin, subsets={}),
        lambda: envoy.OverrideHost(envoy.Cluster(MIXED, envoy.RoundRobin), MIXED, headers=()),
        lambda: envoy.OutlierDetection(enforcing_success_rate=101),
        lambda: envoy.RetryBudget(budget_percent=101.0),
        lambda: envoy.TokenBucket(max_tokens=0, fill_interval=1.0),
        lambda: envoy.TokenBucket(max_tokens=1, fill_interval=0.01),
        lambda: Host("a", metadata={1: "x"}),
    ],
    ids=range(18),
)
def test_values_outside_the_bounds_are_refused(build):
    """A value outside the bounds is refused by name at construction."""
    with pytest.raises(ConfigurationError):
        build()


# ---------------------------------------------------------------------- localities and zones


def zoned(layout, **facts):
    """Hosts named by zone and number: ``"xxy"`` is x0, x1, y0."""
    return [Host(f"{zone}{place}", zone=zone, **facts) for place, zone in enumerate(layout)]


def test_localities_take_their_weight_scaled_by_availability():
    """A locality takes its weight scaled by availability.

    Two of five healthy at factor 140 are 0.56 of it, within 1 over whole cycles.
    """
    cluster = envoy.Cluster(
        zoned("xxxxxyyyyy"),
        envoy.RoundRobin,
        locality_weights={"x": 1, "y": 1},
        healthy_panic_threshold=0,
        update_merge_window=0.0,
    )
    for name in ("x0", "x1", "x2"):
        cluster.set_health(name, Health.UNHEALTHY, now=0.0)
    found = counts(cluster, 1560)
    assert abs(found["x3"] + found["x4"] - 560) <= 1
    assert sum(found.values()) == 1560
    assert None not in found


def test_no_weight_at_all_means_that_localities_do_not_matter():
    """If no locality has a weight, every host is used, as without locality weights."""
    cluster = envoy.Cluster(zoned("xyy"), envoy.RoundRobin, locality_weights={})
    assert set(counts(cluster, 9)) == {"x0", "y1", "y2"}


def share_of(layout, proxies, *, requests=20_000, down=(), **options):
    """Return the share of each zone for a proxy in zone a."""
    cluster = envoy.Cluster(
        zoned(layout),
        envoy.RoundRobin,
        zone_aware=envoy.ZoneAware(local_zone="a", local_zones=list(proxies), min_cluster_size=2, **options),
        update_merge_window=0.0,
        rng=Random(7),
    )
    for name in down:
        cluster.set_health(name, Health.UNHEALTHY, now=0.0)
    found = counts(cluster, requests)
    return {zone: sum(n for host, n in found.items() if host[0] == zone) / requests for zone in set(layout)}


@pytest.mark.parametrize(("down", "answered"), [((), True), (("a0",), True), (("a0", "b1"), False)])
@pytest.mark.parametrize("policy", [envoy.RoundRobin, envoy.Random, envoy.Maglev])
def test_traffic_fails_on_panic_if_it_is_to(down, answered, policy):
    """With ``fail_traffic_on_panic`` a level in panic has no host; hashing policies, which know no zones, use all of them."""
    zones = envoy.ZoneAware(local_zone="a", local_zones=["a"], fail_traffic_on_panic=True)
    cluster = envoy.Cluster(zoned("abc"), policy, zone_aware=zones, update_merge_window=0.0, rng=Random(7))
    for name in down:
        cluster.set_health(name, Health.UNHEALTHY, now=0.0)
    found = [cluster.acquire(envoy.Request(headers={"x": "1"}), now=0.0) for _ in range(50)]
    assert all(host is not None for host in found) is (answered or policy is envoy.Maglev)
    assert any(host is not None for host in found) is (answered or policy is envoy.Maglev)


def test_the_own_zone_takes_what_it_can_carry_and_the_rest_goes_by_residual_capacity():
    """With half of the proxies and a quarter of the hosts in the own zone, half stays there.

    The rest goes where hosts outnumber proxies.
    """
    found = share_of("abbc", "aabc")
    assert abs(found["a"] - 0.5) < 5 * (0.25 / 20_000) ** 0.5
    assert found["c"] == 0
    assert found["a"] + found["b"] == 1


@pytest.mark.parametrize(
    ("layout", "proxies", "down"),
    [("bbc", "aab", ()), ("abc", "bbc", ()), ("ab", "ab", ("a0",))],
    ids=["no host in the own zone", "no proxy in the own zone", "too few healthy hosts"],
)
def test_zones_do_not_matter_if_the_own_one_has_no_part(layout, proxies, down):
    """If the own zone has no part, every healthy host takes the same share."""
    found = share_of(layout, proxies, down=down)
    healthy = [f"{zone}{place}" for place, zone in enumerate(layout) if f"{zone}{place}" not in down]
    assert sum(found.values()) == pytest.approx(1.0)
    for zone, share in found.items():
        assert abs(share - sum(host[0] == zone for host in healthy) / len(healthy)) < 0.001


def test_routing_enabled_is_a_percentage():
    """``routing_enabled`` is a percentage: a fifth of the requests prefers its zone, the others are spread alike."""
    found = share_of("ab", "ab", routing_enabled=20)
    assert abs(found["a"] - 0.6) < 5 * (0.24 / 20_000) ** 0.5


# ---------------------------------------------------------------------- degraded hosts


def test_degraded_hosts_take_what_healthy_ones_leave():
    """With one healthy host of four, degraded hosts take what it leaves: 35 and 65 of 100."""
    found = envoy.distribute([4], [1], degraded=[2], factor=140, threshold=50)
    assert found == ((35,), (False,), (65,))
    assert [found.place(position)[1] for position in (0, 34, 35, 99)] == [False, False, True, True]


def test_the_rest_of_rounding_goes_to_a_level_with_a_healthy_host():
    """The rest of rounding goes to a level with a healthy host, and nothing to one without."""
    found = envoy.distribute([3, 3, 4], [0, 1, 1], factor=140, threshold=0)
    assert found.loads == (0, 57, 43)


def test_a_cluster_uses_degraded_hosts_only_when_needed():
    """With enough healthy hosts, degraded ones are not used."""
    cluster = envoy.Cluster([Host(name) for name in "abcd"], envoy.RoundRobin, update_merge_window=0.0)
    cluster.set_health("d", Health.DEGRADED, now=0.0)
    assert set(counts(cluster, 100)) == {"a", "b", "c"}
    for name in "bc":
        cluster.set_health(name, Health.UNHEALTHY, now=0.0)
    assert set(counts(cluster, 100)) == {"a", "d"}


# ---------------------------------------------------------------------- outliers by rates


def answered(detector, **answers):
    """Let hosts answer well and badly, as ``a=(ok, failed)``."""
    for host, (well, badly) in answers.items():
        for number in range(well + badly):
            detector.observe(host, 200 if number < well else 500, now=0.0)


def detection(**options):
    """Return settings of which only rates eject."""
    return envoy.OutlierDetection(
        enforcing_consecutive_5xx=0, max_ejection_percent=100, interval=1.0, **options
    )


def test_a_rate_equal_to_the_threshold_is_no_outlier():
    """A rate strictly below the threshold is an outlier, and one equal to it is not.

    With factor 0 the threshold is the mean.
    """
    detector = envoy.OutlierDetector(list("abcde"), detection(success_rate_stdev_factor=0))
    answered(detector, a=(90, 10), b=(90, 10), c=(90, 10), d=(91, 9), e=(89, 11))
    events = detector.advance(now=1.0)
    assert [event.endpoint for event in events] == ["e"]
    assert detector.rates.threshold == pytest.approx(90.0)


def test_a_failure_percentage_equal_to_the_threshold_is_an_outlier():
    """A failure percentage equal to the threshold is an outlier: 85 of 100 failures are 85 %."""
    settings = detection(enforcing_success_rate=0, enforcing_failure_percentage=100)
    detector = envoy.OutlierDetector(list("abcde"), settings)
    answered(detector, a=(100, 0), b=(100, 0), c=(100, 0), d=(15, 85), e=(16, 84))
    detector.advance(now=1.0)
    assert detector.ejected == ("d",)


def test_rates_are_those_of_one_interval():
    """Rates are those of one interval: answers before the last tick count no more."""
    detector = envoy.OutlierDetector(list("abcde"), detection())
    answered(detector, a=(99, 0), b=(99, 0), c=(99, 0), d=(99, 0), e=(0, 99))
    assert not detector.advance(now=1.0)
    answered(detector, a=(99, 0), b=(99, 0), c=(99, 0), d=(99, 0), e=(0, 99))
    assert not detector.advance(now=2.0)


def test_a_host_that_rates_eject_at_a_tick_is_out_for_longer_each_time():
    """A tick at which rates eject a host again does not shorten its next time, and one at which it stays in does."""
    settings = detection(enforcing_success_rate=0, enforcing_failure_percentage=100, base_ejection_time=1.0)
    detector = envoy.OutlierDetector(list("abcde"), settings)
    streaks, returns, now = [], [], 0.0
    for bad in (True, True, True, False, True):
        for host in "abcde":
            for _ in range(50):
                detector.observe(host, 500 if bad and host == "e" else 200, now=now)
        now += 1.0
        streaks += [event.streak for event in detector.advance(now=now)]
        while detector.ejected:
            now += 1.0
            returns += [event.at for event in detector.advance(now=now)]
    assert streaks == [1, 2, 3, 3]
    assert returns == [2.0, 5.0, 9.0, 14.0]


def test_enforcing_zero_counts_outliers_and_ejects_none():
    """With ``enforcing`` at 0, outliers are found and counted, and none is ejected."""
    detector = envoy.OutlierDetector(
        list("ab"),
        envoy.OutlierDetection(consecutive_5xx=1, enforcing_consecutive_5xx=0, max_ejection_percent=100),
    )
    assert not detector.observe("a", 500, now=0.0)
    assert detector.counters == {"detected_consecutive_5xx": 1}
    assert not detector.ejected


# ---------------------------------------------------------------------- override host and limits


def test_an_override_takes_a_host_whatever_its_health_and_counts_it():
    """An override takes the first host of the list that exists, whatever its health, and counts it.

    Unknown and malformed addresses are passed over.
    """
    hosts = [Host(name, address=f"10.0.0.{number}:80") for number, name in enumerate("abc", 1)]
    cluster = envoy.Cluster(hosts, envoy.RoundRobin, update_merge_window=0.0)
    cluster.set_health("b", Health.UNHEALTHY, now=0.0)
    chosen = envoy.OverrideHost(cluster, hosts, headers=["X-Want"])
    request = Request(headers={"x-want": "nonsense,10.0.0.9:80, 10.0.0.2:80,10.0.0.1:80"})
    assert chosen.acquire(request, now=0.0) == "b"
    assert cluster.active("b") == 1
    assert chosen.acquire(Request(headers={"x-want": "10.0.0.9:80"}), now=0.0) in {"a", "c"}


def test_a_retry_budget_floors_its_percentage():
    """At 20 %, 9 requests allow 1 retry and 10 allow 2; a retry that ended makes room."""
    budget = envoy.RetryBudget(budget_percent=20, min_retry_concurrency=0)
    assert [budget.limit(active=active) for active in (4, 5, 9, 10)] == [0, 1, 1, 2]
    assert budget.begin_retry(active=5)
    assert not budget.begin_retry(active=9)
    budget.end_retry()
    assert budget.begin_retry(active=9)
    budget.end_retry()
    with pytest.raises(LeaseError):
        budget.end_retry()


def test_a_bucket_fills_without_steps_and_never_above_its_size():
    """A bucket has half a token after half the interval, and never more than its size.

    A clock that goes back takes nothing.
    """
    bucket = envoy.TokenBucket(max_tokens=2, tokens_per_fill=1, fill_interval=1.0)
    assert [bucket.allow(now=0.0) for _ in range(3)] == [True, True, False]
    assert bucket.tokens(now=0.5) == pytest.approx(0.5)
    assert bucket.tokens(now=99.0) == 2.0
    assert bucket.allow(now=1.0)
    assert not bucket.allow(now=0.5)
    assert not bucket.allow(now=1.5)
    assert bucket.allow(now=2.0)


def test_the_least_limit_wins_over_the_largest():
    """Envoy takes a largest limit below the least one; every limit then is the least."""
    rule = envoy.gradient_controller(
        concurrency_update_interval=0.25, fixed_value=0.02, max_concurrency_limit=5, min_concurrency=8
    )
    assert [rule.next_limit(8, gradient=gradient) for gradient in (0.5, 1.0, 2.0)] == [8, 8, 8]


@pytest.mark.parametrize("policy", [envoy.RingHash, envoy.Maglev])
@pytest.mark.parametrize(
    ("degraded", "found"), [(("a0", "b1"), {"c2"}), (("a0", "b1", "c2"), {None}), ((), {"a0", "b1", "c2"})]
)
def test_hashing_policies_use_no_degraded_host(policy, degraded, found):
    """Requests for the degraded hosts of a level go to its healthy ones if the policy hashes, and nowhere if there is none."""
    keys = [envoy.Header(name="x-key")]
    cluster = envoy.Cluster(zoned("abc"), policy, hash_policy=keys, update_merge_window=0.0, rng=Random(7))
    for name in degraded:
        cluster.set_health(name, Health.DEGRADED, now=0.0)
    requests = [envoy.Request(headers={"x-key": f"user-{number}"}) for number in range(200)]
    assert {cluster.acquire(request, now=0.0) for request in requests} == found
