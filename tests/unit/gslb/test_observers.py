"""Health by several observers: how many must agree, what a region sees, and until when a view holds."""

from __future__ import annotations

from itertools import product

import pytest

from balancekit.errors import ConfigurationError
from balancekit.gslb import RegionalHealth
from balancekit.health import AccruedFailures

OBSERVERS = {"o1": "eu", "o2": "eu", "o3": "us", "o4": "us", "o5": "ap"}
ONE = AccruedFailures(fall=1, reset=1, rise=1)


@pytest.mark.parametrize(("agree", "least"), [(0.18, 1), (0.2, 1), (0.21, 2), (0.5, 3), (0.6, 3), (1.0, 5)])
def test_an_endpoint_is_up_while_so_many_observers_say_so(agree, least):
    """All 32 combinations of five observers."""
    for results in product((True, False), repeat=5):
        health = RegionalHealth(OBSERVERS, interval=5.0, agree=agree, detection=ONE)
        for observer, passed in zip(OBSERVERS, results, strict=True):
            health.record(observer, "e", passed=passed, now=0.0)
        assert health.standings()("e").up is (sum(results) >= least)


def test_a_region_sees_through_its_own_observers():
    """And an observer that has not checked does not count."""
    health = RegionalHealth(OBSERVERS, interval=5.0, detection=ONE)
    health.record("o1", "e", passed=False, now=0.0)
    assert not health.standings("eu")("e").up
    assert health.standings("us")("e").up, "start: nothing known"
    health.record("o2", "e", passed=True, now=0.0)
    assert health.standings("eu")("e").up
    assert not RegionalHealth(OBSERVERS, interval=5.0, start=False).standings()("e").up


def test_a_view_holds_until_enough_observers_could_have_changed_their_minds():
    """No continuation of checks can turn the view before ``until``; one can at it."""
    detection = AccruedFailures(fall=3, reset=2, rise=2)

    def health():
        made = RegionalHealth(OBSERVERS, interval=5.0, agree=0.6, detection=detection)
        script = {"o1": [1], "o2": [1, 0], "o3": [1, 0, 0], "o4": [1, 0], "o5": [0, 1]}
        for observer, results in script.items():
            for k, passed in enumerate(results):
                made.record(observer, "e", passed=bool(passed), now=5.0 * (k - len(results) + 1))
        return made

    standing = health().standings()("e")
    assert standing.up
    for adversary in product((True, False), repeat=5):
        made = health()
        turned = None
        for k in range(1, 6):
            for observer, passed in zip(OBSERVERS, adversary, strict=True):
                made.record(observer, "e", passed=passed, now=5.0 * k)
            if turned is None and not made.standings()("e").up:
                turned = 5.0 * k
        assert turned is None or turned >= standing.until
    made = health()
    for k in range(1, 3):
        for observer in OBSERVERS:
            made.record(observer, "e", passed=False, now=5.0 * k)
        assert made.standings()("e").up is (5.0 * k < standing.until)


def test_a_view_of_a_down_endpoint_holds_until_enough_could_come_up():
    """One of five says up and three are needed: the second-soonest of the others decides."""
    made = RegionalHealth(
        OBSERVERS, interval=5.0, agree=0.6, detection=AccruedFailures(fall=1, reset=1, rise=4)
    )
    script = {"o1": [1], "o2": [0, 1, 1, 1], "o3": [0, 1, 1], "o4": [0], "o5": [0]}
    for observer, results in script.items():
        for passed in results:
            made.record(observer, "e", passed=bool(passed), now=0.0)
    assert made.standings()("e") == (False, 10.0)


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: RegionalHealth({}, interval=5.0), "observers"),
        (lambda: RegionalHealth(OBSERVERS, interval=0.0), "interval"),
        (lambda: RegionalHealth(OBSERVERS, interval=5.0, agree=0.0), "agree"),
        (lambda: RegionalHealth(OBSERVERS, interval=5.0).standings("mars"), "region"),
        (lambda: RegionalHealth(OBSERVERS, interval=5.0).record("o9", "e", passed=True, now=0.0), "observer"),
    ],
)
def test_a_wrong_argument_is_named(make, parameter):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.parameter == parameter
