"""The trial of an endpoint that has been idle: when it is due, and how slow answers put it off."""

from __future__ import annotations

import pytest

from balancekit.loads._idle_probe import AFTER_REQUESTS, AFTER_S, BACKOFF, IdleProbe, Stage

SIZE = 4
SOON = AFTER_S, AFTER_REQUESTS * SIZE


def is_due(probe: IdleProbe, seconds: float, picks: int) -> bool:
    """Answer whether an endpoint last used at 0 s, before the first pick, is due after so much more."""
    probe.used(now=0.0, picks=0)
    probe.stage = Stage.NONE
    return probe.is_due(now=seconds, picks=picks, size=SIZE)


def tried(*answers: float) -> IdleProbe:
    """Return a probe whose trials ended with these answers, in least paces."""
    probe = IdleProbe()
    for answer in answers:
        probe.stage = Stage.WANTED
        probe.used(now=0.0, picks=0)
        assert probe.stage is Stage.SENT
        probe.answered(answer)
        assert probe.stage is Stage.NONE
    return probe


@pytest.mark.parametrize(("seconds", "picks"), [SOON, (AFTER_S * 9, SOON[1]), (AFTER_S, SOON[1] * 9)])
def test_a_trial_is_due_after_both_time_and_requests(seconds: float, picks: int) -> None:
    """It is due after 24 s and 15 requests per endpoint, and not before both."""
    assert is_due(IdleProbe(), seconds, picks)
    assert not is_due(IdleProbe(), AFTER_S - 0.001, picks)
    assert not is_due(IdleProbe(), seconds, SOON[1] - 1)


def test_the_time_of_an_endpoint_never_used_runs_from_the_first_question() -> None:
    """It is not known since when an endpoint without requests was idle: the first sweep begins the time."""
    probe = IdleProbe()
    assert not probe.is_due(now=1000.0, picks=SOON[1], size=SIZE)
    assert not probe.is_due(now=1000.0 + AFTER_S - 0.001, picks=SOON[1], size=SIZE)
    assert probe.is_due(now=1000.0 + AFTER_S, picks=SOON[1], size=SIZE)


@pytest.mark.parametrize(
    ("answers", "given_up"),
    [
        ((9.0,) * 5, False),
        ((9.0,) * 6, True),
        ((4.5,) * 9, False),
        ((4.5,) * 10, True),
        ((2.5,) * 99, False),
        ((*(9.0,) * 6, 2.25), False),
        ((*(9.0,) * 99, 2.25), False),
        ((*(9.0,) * 6, 0.0, 9.0), True),
        ((1.0,) * 20, False),
        ((*(0.0,) * 20, *(9.0,) * 6), True),
    ],
)
def test_slow_answers_put_trials_off(answers: tuple[float, ...], given_up: bool) -> None:
    """What is over two and a half times the least pace adds up to 20, at most 3.5 an answer; what is below is taken off."""
    seconds, picks = SOON
    assert is_due(tried(*answers), seconds, picks) is not given_up
    assert is_due(tried(*answers), seconds * BACKOFF, picks * BACKOFF)
    assert is_due(tried(*answers), seconds * BACKOFF, picks * BACKOFF - 1) is not given_up
    assert is_due(tried(*answers), seconds * BACKOFF - 0.001, picks * BACKOFF) is not given_up


def test_answers_outside_a_trial_count_for_nothing() -> None:
    """What an endpoint answers while it is in use is in its pace already."""
    probe = IdleProbe()
    for _ in range(9):
        probe.answered(9.0)
    assert is_due(probe, *SOON)


def test_a_trial_that_was_not_sent_stays_wanted() -> None:
    """A sweep that sees no request leaves the trial as it is."""
    probe = IdleProbe()
    probe.stage = Stage.WANTED
    assert not probe.is_due(now=0.0, picks=0, size=SIZE)
    assert probe.stage is Stage.WANTED
