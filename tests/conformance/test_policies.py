"""Shipped loads and health policies keep the laws; wrong ones are found out."""

from __future__ import annotations

import math

import pytest

from balancekit import ConfigurationError, LoadBalancer, Outcome
from balancekit.health import FlapDamping, Lifecycle, MaxFails, WarmUp
from balancekit.loads import (
    EwmaLatency,
    ExpectedDelay,
    FailureAware,
    InFlight,
    InFlightCost,
    PeakEwmaLatency,
    WaitingCost,
)
from balancekit.protocols import Load
from balancekit.testing import LawBroken, check_health, check_load


@pytest.mark.parametrize(
    "make", [ExpectedDelay, FailureAware, InFlight, InFlightCost, EwmaLatency, PeakEwmaLatency, WaitingCost]
)
def test_a_shipped_load_keeps_the_laws(make):
    """Every load policy of ``balancekit.loads`` keeps the laws; those that count failures keep law 8 too."""
    check_load(make, counts_failures=make in (ExpectedDelay, FailureAware))


@pytest.mark.parametrize(
    "policy",
    [
        Lifecycle(),
        Lifecycle(damping=FlapDamping(), warm_up=WarmUp(window=10.0)),
        MaxFails(),
        MaxFails(max_fails=3, fail_timeout=2.0),
    ],
)
def test_a_shipped_health_policy_keeps_the_laws(policy):
    """Every health policy of ``balancekit.health``, with and without its options."""
    check_health(policy)


class Fine:
    """A load that keeps the laws."""

    def __init__(self, node):
        self.node = node

    def started(self, *, now, cost):
        """Count nothing."""

    def finished(self, completion):
        """Count nothing."""

    def value(self, *, now):
        """Answer open leases."""
        return float(self.node.inflight)


class Impure(Fine):
    """A load that counts how often it is asked."""

    asked = 0

    def value(self, *, now):
        """Answer that."""
        self.asked += 1
        return self.asked


class NotANumber(Fine):
    """A load that cannot be compared."""

    def value(self, *, now):
        """Answer NaN."""
        return math.nan


class Raises(Fine):
    """A load that does not know every outcome."""

    def finished(self, completion):
        """Raise."""
        raise KeyError(completion.outcome)


class Unlike(Fine):
    """A load whose short way weighs differently."""

    total = 0.0

    def finished(self, completion):
        """Add the latency."""
        self.total += completion.latency

    def succeeded(self, latency, now):
        """Add twice as much."""
        self.total += 2 * latency

    def value(self, *, now):
        """Answer the sum."""
        return self.total


class LastLatency(Fine):
    """A load that takes any end for an answer."""

    latency = 1.0

    def finished(self, completion):
        """Keep the duration."""
        self.latency = completion.latency

    def value(self, *, now):
        """Answer the duration of the last request."""
        return self.latency


class LooksUntried(Fine):
    """A load that takes an endpoint without a success for a free one."""

    answered = False

    def finished(self, completion):
        """Note a success."""
        self.answered = self.answered or completion.outcome is Outcome.SUCCESS

    def value(self, *, now):
        """Answer nothing until there is a success."""
        return 1.0 + self.node.inflight if self.answered else 0.0


WRONG_LOADS = [
    (Impure, "1"),
    (NotANumber, "2"),
    (Raises, "3"),
    (Unlike, "4"),
    (LastLatency, "7"),
    (LooksUntried, "7"),
]


def test_a_load_that_is_to_count_failures_and_does_not_is_found_out():
    """Law 8: in-flight counts alone do not steer away from an endpoint that fails."""
    check_load(InFlight)
    with pytest.raises(LawBroken, match="law 8"):
        check_load(InFlight, counts_failures=True)


@pytest.mark.parametrize(("load", "law"), WRONG_LOADS)
def test_a_wrong_load_is_found_out(load, law):
    """Each broken law is named by its number."""
    check_load(lambda: Fine)
    with pytest.raises(LawBroken, match=f"law {law}"):
        check_load(lambda: load)


def machine(**changes):
    """Return a policy whose machines differ from the shipped ones."""

    def make(endpoint, may_eject, rng):
        made = Lifecycle()(endpoint, may_eject, rng)
        members = {
            name: property(lambda self, name=name: getattr(made, name))
            for name in ("eligible", "state", "watching", "deadline")
        }
        members |= {
            name: (lambda self, *a, name=name, **k: getattr(made, name)(*a, **k))
            for name in ("observe", "advance")
        }
        return type("Machine", (), members | changes)()

    return make


class Sometimes:
    """A property that changes when it is read."""

    def __init__(self):
        self.read = 0

    def __get__(self, one, kind):
        self.read += 1
        return bool(self.read % 2)


WRONG = {
    "1": {"eligible": Sometimes()},
    "2": {"watching": 7},
    "3": {"observe": lambda self, completion, now: ["ejected"]},
    "4": {"deadline": 0.0, "advance": lambda self, now: []},
    "6": {"eligible": False},
}


@pytest.mark.parametrize("law", WRONG)
def test_a_wrong_health_policy_is_found_out(law):
    """Each broken law is named by its number."""
    check_health(machine())
    with pytest.raises(LawBroken, match=f"law {law}"):
        check_health(machine(**WRONG[law]))


def test_a_policy_that_ejects_against_the_pool_is_found_out():
    """Law 5: ``may_eject`` is asked before an endpoint is taken out."""
    with pytest.raises(LawBroken, match="law 5"):
        check_health(lambda endpoint, may_eject, rng: Lifecycle()(endpoint, lambda ejection: True, rng))


def test_a_misspelt_hook_of_a_load_is_refused():
    """A class that derives from the protocol has a name that is nearly ``succeeded``."""

    class Misspelt(Load):
        def __init__(self, node):
            self.node = node

        def started(self, *, now, cost):
            """Count nothing."""

        def finished(self, completion):
            """Count nothing."""

        def value(self, *, now):
            """Answer open leases."""
            return 0.0

        def suceeded(self, latency, now):
            """Never be called."""

    with pytest.raises(ConfigurationError, match="did you mean 'succeeded'"):
        LoadBalancer(["a"], load=Misspelt)
