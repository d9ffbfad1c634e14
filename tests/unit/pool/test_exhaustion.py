"""Few or none are healthy: who may be picked, and what the error says."""

from __future__ import annotations

import pytest

from balancekit import (
    AllIneligibleError,
    AttemptsExhaustedError,
    ConfigurationError,
    LoadBalancer,
    RoundRobin,
)
from balancekit.errors import Reason
from balancekit.exhaustion import FailClosed, FailOpen, LeastBad
from balancekit.health import CheckResult, Ejection, FlapDamping, Health, Lifecycle, Thresholds
from balancekit.testing import ManualClock

POLICY = Lifecycle(
    thresholds=Thresholds(rise=1, fall=1), ejection=Ejection(base=10.0, max_duration=10.0, jitter=0.0)
)


def balancer_of(ids, **options):
    """Return a balancer over ids, and its clock."""
    clock = ManualClock()
    options = {"health": POLICY, "selector": RoundRobin()} | options
    return LoadBalancer(list(ids), clock=clock, **options), clock


def down(balancer, ids, holds_for=60.0):
    """Let checks fail."""
    for id in ids:
        balancer.report_check(id, CheckResult(passed=False, holds_for=holds_for))


def picked(balancer, times=20):
    """Return who gets requests."""
    seen = set()
    for _ in range(times):
        with balancer.acquire() as lease:
            seen.add(lease.target)
    return "".join(sorted(seen))


@pytest.mark.parametrize(
    ("threshold", "bad", "expected", "panic"),
    [
        (0.5, "", "abcd", False),
        (0.5, "ab", "cd", False),
        (0.5, "abc", "abcd", True),
        (0.51, "ab", "abcd", True),
        (0.25, "abc", "d", False),
        (0.0, "abc", "d", False),
        (1.0, "a", "abcd", True),
    ],
)
def test_fail_open_panics_below_its_threshold(threshold, bad, expected, panic):
    """``FailOpen`` panics strictly below its threshold.

    Half of four healthy is no panic at 0.5, as in Envoy.
    """
    balancer, _ = balancer_of("abcd", exhaustion=FailOpen(threshold=threshold))
    down(balancer, bad)
    assert picked(balancer) == expected
    assert balancer.stats().panic is panic


def test_a_panic_ends_with_its_cause():
    """A panic ends when endpoints are back, and health counts again."""
    balancer, _ = balancer_of("abcd", exhaustion=FailOpen())
    down(balancer, "abc")
    balancer.report_check("a", CheckResult(passed=True))
    assert picked(balancer) == "ad"
    assert not balancer.stats().panic


def test_a_draining_endpoint_is_no_way_out():
    """A draining endpoint is neither counted nor used in a panic."""
    balancer, _ = balancer_of("abcd", exhaustion=FailOpen())
    balancer.drain("a")
    down(balancer, "b")
    assert picked(balancer) == "cd"
    down(balancer, "c")
    assert picked(balancer) == "bcd"
    for id in "bcd":
        balancer.drain(id)
    with pytest.raises(AllIneligibleError, match="4 draining"):
        balancer.acquire()


@pytest.mark.parametrize(
    ("policy", "expected", "panic"),
    [(FailOpen(), "bc", True), (FailOpen(threshold=0.0), "bc", True), (LeastBad(), "c", True)],
)
def test_none_healthy(policy, expected, panic):
    """If none is healthy, ``FailOpen`` offers all that serve, and ``LeastBad`` the one that is due back first."""
    balancer, _ = balancer_of("abc", exhaustion=policy)
    down(balancer, "b", holds_for=60.0)
    down(balancer, "c", holds_for=30.0)
    balancer.drain("a")
    assert picked(balancer) == expected
    assert balancer.stats().panic is panic


def test_fail_closed_says_when_to_come_back():
    """By default the error has the reasons and the soonest return, at which an endpoint is back."""
    balancer, clock = balancer_of("abc")
    down(balancer, "b", holds_for=60.0)
    down(balancer, "c", holds_for=30.0)
    balancer.drain("a")
    with pytest.raises(AllIneligibleError) as caught:
        balancer.acquire()
    assert caught.value.retry_at == clock.now + 30.0
    assert caught.value.reasons == {Reason.DRAINING: 1, Reason.EJECTED: 2}
    assert "retry in 30.0 s, or allow panic with exhaustion=FailOpen()" in str(caught.value)
    clock.advance(caught.value.retry_at - clock.now)
    with balancer.acquire() as lease:
        assert lease.target == "c"


def test_reasons_are_told_apart():
    """The error tells the reasons apart.

    They are: suppressed, not yet checked, draining, weight zero and already tried.
    """
    policy = POLICY.replace(start=Health.UNKNOWN, damping=FlapDamping(flap=5000.0))
    balancer, _ = balancer_of("abcde", health=policy)
    for id in "abcd":
        balancer.report_check(id, CheckResult(passed=True))
    balancer.report_check("a", CheckResult(passed=False))
    balancer.set_weight("b", 0.0)
    balancer.drain("c")
    with pytest.raises(AttemptsExhaustedError) as caught:
        balancer.acquire(exclude={"d", "b"})
    assert caught.value.reasons == {
        Reason.SUPPRESSED: 1,
        Reason.EXCLUDED: 2,
        Reason.DRAINING: 1,
        Reason.UNKNOWN: 1,
    }
    assert caught.value.retry_at == balancer._runtime.state.members["a"].back_at


def test_in_a_panic_all_may_have_been_tried():
    """In a panic, an endpoint that was tried is passed over for that reason alone, healthy or not."""
    balancer, _ = balancer_of("abcd", exhaustion=FailOpen(threshold=0.8))
    balancer.drain("d")
    down(balancer, "ab")
    assert balancer.stats().panic
    with pytest.raises(AttemptsExhaustedError) as caught:
        balancer.acquire(exclude={"a", "b", "c", "d"})
    assert caught.value.reasons == {Reason.EXCLUDED: 3, Reason.DRAINING: 1}


def test_the_last_one_is_not_taken_out():
    """If checks fail everywhere, one endpoint is left, by the order of the failures."""
    balancer, _ = balancer_of("abc")
    down(balancer, "abc")
    assert [endpoint.state for endpoint in balancer.stats().endpoints] == ["ejected", "ejected", "suspect"]
    assert picked(balancer) == "c"
    balancer.report_check("a", CheckResult(passed=True))
    down(balancer, "c")
    assert picked(balancer) == "a"


def test_a_policy_that_raises_changes_nothing(caplog):
    """If an exhaustion policy raises, the error is logged and the healthy endpoints are used."""

    def broken(members, healthy):
        raise ZeroDivisionError

    balancer, _ = balancer_of("abc", exhaustion=broken)
    down(balancer, "a")
    assert picked(balancer) == "bc"
    assert "exhaustion policy" in caplog.text


@pytest.mark.parametrize("policy", [FailOpen(), FailClosed(), LeastBad()])
def test_an_empty_pool_is_no_panic(policy):
    """Without endpoints there is no panic, and PoolEmptyError is raised."""
    balancer, _ = balancer_of("", allow_empty=True, exhaustion=policy)
    assert not balancer.stats().panic


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), True, "half"])
def test_a_threshold_is_a_share(threshold):
    """A panic threshold that is no share raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError, match="threshold"):
        FailOpen(threshold=threshold)
    with pytest.raises(ConfigurationError, match="exhaustion"):
        LoadBalancer(["a"], exhaustion=threshold)
