"""Failures that add up, unlike rise and fall in a row."""

from __future__ import annotations

from itertools import product

import pytest

from balancekit import LoadBalancer
from balancekit.errors import ConfigurationError
from balancekit.health import AccruedFailures, CheckResult, CheckState, Lifecycle, Thresholds


def states(config, results):
    """Return the state after each check."""
    machine = config()
    found = []
    for k, passed in enumerate(results):
        state = machine.observe(passed=passed, now=float(k))
        assert (state in {CheckState.UP, CheckState.FALLING}) is machine.up
        assert machine.failing is not passed
        found.append(machine.up)
    return found


def naive(fall, reset, rise, results):
    """Decide each check from the whole history since the last change."""
    up = None
    found = []
    history = []
    for passed in results:
        if up is None:
            up = passed
        else:
            history.append(passed)
            if up:
                while len(history) >= reset and all(history[-reset:]):
                    history.clear()
                if history.count(False) >= fall:
                    up = False
                    history.clear()
            elif len(history) >= rise and all(history[-rise:]):
                up = True
                history.clear()
        found.append(up)
    return found


@pytest.mark.parametrize(("fall", "reset", "rise"), [(1, 1, 1), (2, 2, 3), (3, 1, 2), (2, 3, 2)])
def test_every_sequence_of_ten_checks_agrees_with_a_naive_model(fall, reset, rise):
    """After every one of the 1024 sequences of ten checks, the state is that of a naive model."""
    config = AccruedFailures(fall=fall, reset=reset, rise=rise)
    for results in product((True, False), repeat=10):
        assert states(config, results) == naive(fall, reset, rise, results)


@pytest.mark.parametrize(("fall", "reset", "rise"), [(2, 2, 3), (3, 2, 2)])
def test_nothing_changes_before_the_checks_that_are_left(fall, reset, rise):
    """No continuation changes the state in fewer than ``checks_left`` checks, and one does in as many."""
    config = AccruedFailures(fall=fall, reset=reset, rise=rise)
    for results in product((True, False), repeat=6):
        reached = config()
        for passed in results:
            reached.observe(passed=passed, now=0.0)
        left, up = reached.checks_left, reached.up
        assert left >= 1
        soonest = min(
            (
                k + 1
                for rest in product((True, False), repeat=3)
                for k, state in enumerate(states(config, (*results, *rest))[6:])
                if state is not up
            ),
            default=None,
        )
        assert soonest == left or (left > 3 and soonest is None)


def test_one_failure_in_two_checks_makes_down_though_never_two_in_a_row():
    """``fall`` failures unless ``reset`` passes in a row come between."""
    assert (
        states(AccruedFailures(fall=3, reset=2, rise=2), [True, False, True, False, True, False])[-1] is False
    )
    assert all(states(AccruedFailures(fall=3, reset=2, rise=2), [True, False, True, True] * 20))


def test_a_balancer_ejects_an_endpoint_whose_failures_add_up():
    """Every other check fails: rise and fall never see it, failures that add up do."""

    def out(thresholds):
        lb = LoadBalancer(["a", "b"], health=Lifecycle(thresholds=thresholds))
        for k in range(12):
            lb.report_check("a", CheckResult(passed=bool(k % 2)))
            lb.report_check("b", CheckResult(passed=True))
        return lb.stats().endpoints[0].state

    assert out(Thresholds(rise=2, fall=3)) != "ejected"
    assert out(AccruedFailures(fall=3, reset=2, rise=3)) == "ejected"


@pytest.mark.parametrize("begin", [CheckState.UP, CheckState.DOWN])
def test_a_machine_may_begin_up_or_down(begin):
    """A machine may begin up or down, and the first check counts like any other."""
    machine = AccruedFailures(fall=2, reset=1, rise=2)(begin)
    before = machine.up
    machine.observe(passed=not before, now=0.0)
    assert machine.up is before
    assert machine.changing
    machine.observe(passed=not before, now=1.0)
    assert machine.up is not before


def test_the_time_of_the_last_change_is_kept():
    """``since`` is the time of the last change of state, and does not move with a check that changes none."""
    machine = AccruedFailures(fall=1, reset=1, rise=1)()
    seen = []
    for now, passed in ((1.0, True), (2.0, True), (3.0, False), (4.0, False), (5.0, True)):
        machine.observe(passed=passed, now=now)
        seen.append(machine.since)
    assert seen == [1.0, 1.0, 3.0, 3.0, 5.0]


@pytest.mark.parametrize("name", ["fall", "reset", "rise"])
def test_counts_are_whole_and_positive(name):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        AccruedFailures(**{name: 0})
    assert caught.value.parameter == name


def test_the_state_tells_a_falling_endpoint_from_one_that_is_up():
    """A machine is falling after a failed check that has not been made good.

    It is rising after a passed one.
    """
    machine = AccruedFailures(fall=2, reset=2, rise=2)()
    seen = []
    for k, passed in enumerate([True, True, False, True, True, False, False, True, True]):
        machine.observe(passed=passed, now=float(k))
        seen.append(machine.state.value)
        assert machine.changing is (seen[-1] in {"falling", "rising"})
    assert seen == ["up", "up", "falling", "falling", "up", "falling", "down", "rising", "up"]


@pytest.mark.parametrize("state", CheckState)
def test_it_begins_in_any_state(state):
    """A machine begins in the state it is given, with no failure and no pass counted."""
    machine = AccruedFailures(fall=2, reset=2, rise=2)(state)
    assert machine.state is state
    assert machine.checks_left == (0 if state is CheckState.UNKNOWN else 2)
    assert machine.failing is (state in {CheckState.DOWN, CheckState.FALLING})
