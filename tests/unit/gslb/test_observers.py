"""Health by several observers: how many must agree, what a region sees, and until when a view holds."""

from __future__ import annotations

import math
import random
from itertools import product

import pytest

from balancekit.errors import ConfigurationError
from balancekit.gslb import RegionalHealth
from balancekit.health import AccruedFailures

OBSERVERS = {"o1": "eu", "o2": "eu", "o3": "us", "o4": "us", "o5": "ap"}
ONE = AccruedFailures(fall=1, reset=1, rise=1)


@pytest.mark.parametrize(("agree", "least"), [(0.18, 1), (0.2, 1), (0.21, 2), (0.5, 3), (0.6, 3), (1.0, 5)])
def test_an_endpoint_is_up_while_so_many_observers_say_so(agree, least):
    """An endpoint is up while so many observers say so, in all 32 combinations of five observers."""
    for results in product((True, False), repeat=5):
        health = RegionalHealth(OBSERVERS, interval=5.0, agree=agree, detection=ONE)
        for observer, passed in zip(OBSERVERS, results, strict=True):
            health.record(observer, "e", passed=passed, now=0.0)
        assert health.standings()("e").up is (sum(results) >= least)


def test_a_region_sees_through_its_own_observers():
    """A region sees through its own observers; one that has not checked does not count."""
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
        for k, passed in enumerate(results):
            made.record(observer, "e", passed=bool(passed), now=5.0 * (k - len(results) + 1))
    assert made.standings()("e") == (False, 10.0)


@pytest.mark.parametrize("late", [10.0, 5.0, 0.0])
def test_a_record_that_comes_twice_or_late_changes_nothing(late):
    """A report may be sent again, or overtaken by the next: it is no further failure, and takes no later success back."""
    made = RegionalHealth({"o": "eu"}, interval=5.0, detection=AccruedFailures(fall=2, reset=1, rise=1))
    made.record("o", "e", passed=True, now=0.0)
    made.record("o", "e", passed=False, now=10.0)
    before = made.standings()("e")
    for _ in range(3):
        made.record("o", "e", passed=False, now=late)
    assert made.standings()("e") == before
    assert before.up
    made.record("o", "e", passed=False, now=15.0)
    assert not made.standings()("e").up


def test_an_observer_that_falls_silent_votes_for_three_intervals_more():
    """The vote of an observer that falls silent counts for three intervals more, whether it was up or down."""
    for silent in (True, False):
        health = RegionalHealth(OBSERVERS, interval=5.0, agree=0.5, detection=ONE)
        for observer in ("o1", "o2", "o3"):
            health.record(observer, "e", passed=silent, now=0.0)
        for tick in range(5):
            for observer in ("o4", "o5"):
                health.record(observer, "e", passed=not silent, now=5.0 * tick)
            votes_end = 5.0 * tick >= 15.0
            assert health.standings()("e").up is (silent is not votes_end)
            assert health.standings("eu")("e").up is (True if votes_end else silent), "start, then"


@pytest.mark.parametrize("expiry", [5.0, 7.5, 1000.0])
def test_a_vote_ends_after_its_expiry(expiry):
    """A vote ends exactly after its expiry, whichever way the time of the view is given.

    A view in the past counts what counted then.
    """
    health = RegionalHealth(OBSERVERS, interval=5.0, detection=ONE, expiry=expiry)
    health.record("o1", "e", passed=False, now=100.0)
    just_before = math.nextafter(100.0 + expiry, 0.0)
    assert not health.standings(now=just_before)("e").up
    assert health.standings(now=100.0 + expiry)("e").up
    live = health.standings()
    health.record("o2", "other", passed=True, now=just_before)
    health.record("o2", "other", passed=True, now=50.0)
    assert not live("e").up
    health.record("o2", "other", passed=True, now=100.0 + expiry)
    assert live("e").up
    assert not health.standings(now=just_before)("e").up


def test_if_all_observers_fall_silent_the_last_view_stands():
    """If all observers fall silent, the last view stands, unless a time is given: then nothing is known any more."""
    health = RegionalHealth(OBSERVERS, interval=5.0, detection=ONE)
    for observer in OBSERVERS:
        health.record(observer, "e", passed=False, now=0.0)
    assert not health.standings()("e").up
    assert not health.standings(now=14.9)("e").up
    assert health.standings(now=15.0)("e") == (True, -math.inf)


def test_an_observer_that_returns_begins_anew():
    """The first check of an observer that returns decides alone, whatever it had counted before.

    One that was only late goes on.
    """
    for gap, up in ((14.9, False), (15.0, True)):
        health = RegionalHealth({"o": "eu"}, interval=5.0, detection=AccruedFailures(fall=1, reset=9, rise=9))
        health.record("o", "e", passed=False, now=0.0)
        health.record("o", "e", passed=True, now=gap)
        assert health.standings()("e").up is up


def test_a_check_that_fails_to_count_changes_no_vote():
    """A time that is none, or a detector that raises, leaves the view and its time as they were."""
    makers = iter([ONE, lambda: None])
    health = RegionalHealth({"o1": "eu", "o2": "eu"}, interval=5.0, detection=lambda: next(makers)())
    health.record("o1", "e", passed=False, now=0.0)
    with pytest.raises(ConfigurationError, match="now"):
        health.record("o1", "e", passed=True, now=math.nan)
    with pytest.raises(AttributeError):
        health.record("o2", "e", passed=True, now=100.0)
    assert not health.standings()("e").up


def test_a_view_that_a_missing_vote_could_turn_holds_until_no_time():
    """Two of three have voted: the third may vote whenever it likes; where it could change nothing, it is not waited for."""
    health = RegionalHealth(dict.fromkeys("abc", "eu"), interval=5.0, agree=0.5, detection=ONE)
    health.record("a", "e", passed=False, now=0.0)
    assert health.standings()("e") == (False, -math.inf)
    health.record("b", "e", passed=False, now=1.0)
    assert health.standings()("e") == (False, 5.0)


@pytest.mark.parametrize("seed", range(20))
def test_no_silence_turns_a_view_before_until(seed):
    """No view turns before ``until``, whichever observers fall silent.

    This holds for random continuations, with votes that age first.
    """
    rng = random.Random(seed)
    turns = 0
    for _ in range(100):
        health = RegionalHealth(
            OBSERVERS,
            interval=5.0,
            agree=rng.choice([0.2, 0.5, 0.6, 1.0]),
            detection=AccruedFailures(fall=rng.randint(1, 4), reset=2, rise=rng.randint(1, 6)),
            start=rng.random() < 0.5,
            expiry=rng.choice([5.0, 10.0, 15.0]),
        )
        for tick in range(6):
            for observer in OBSERVERS:
                if rng.random() < 0.7:
                    health.record(observer, "e", passed=rng.random() < 0.5, now=5.0 * tick)
        health.record("o1", "other", passed=True, now=25.0)
        first = health.standings()("e")
        silent = rng.sample(list(OBSERVERS), rng.randint(0, 5))
        for tick in range(6, 14):
            for observer in set(OBSERVERS) - set(silent):
                health.record(observer, "e", passed=rng.random() < 0.5, now=5.0 * tick)
            seen = health.standings(now=5.0 * tick)("e").up
            turns += seen is not first.up
            assert seen is first.up or 5.0 * tick >= first.until
            if seen is not first.up:
                break
    assert turns > 30


def test_endpoints_that_are_checked_no_more_are_forgotten():
    """The votes of endpoints that are checked no more end at once, and nothing of 1,000 of them is kept."""
    health = RegionalHealth(OBSERVERS, interval=5.0, detection=ONE)
    for number in range(1_000):
        for observer in OBSERVERS:
            health.record(observer, f"e{number}", passed=False, now=0.0)
        health.forget(f"e{number}")
        assert health.standings()(f"e{number}").up
        assert not health._votes
    health.forget("never seen")


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: RegionalHealth({}, interval=5.0), "observers"),
        (lambda: RegionalHealth(OBSERVERS, interval=0.0), "interval"),
        (lambda: RegionalHealth(OBSERVERS, interval=5.0, agree=0.0), "agree"),
        (lambda: RegionalHealth(OBSERVERS, interval=5.0, expiry=4.9), "expiry"),
        (lambda: RegionalHealth(OBSERVERS, interval=5.0).standings("mars"), "region"),
        (lambda: RegionalHealth(OBSERVERS, interval=5.0).standings(now=math.inf), "now"),
        (lambda: RegionalHealth(OBSERVERS, interval=5.0).record("o9", "e", passed=True, now=0.0), "observer"),
    ],
)
def test_a_wrong_argument_is_named(make, parameter):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.parameter == parameter
