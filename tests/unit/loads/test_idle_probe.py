"""The trial of an endpoint that has been idle: when it is due, and how slow answers put it off."""

from __future__ import annotations

import math

import pytest

from balancekit.loads._idle_probe import BACKOFF, IdleProbe, Stage

SIZE = 9
AFTER_S, AFTER_PICKS = 24.5, 147
"""30 s less two rounds of a second and two seconds, and 20 requests each likewise; less the time of nine requests."""
SOON = AFTER_S + 0.01, AFTER_PICKS + 1


def is_due(probe: IdleProbe, seconds: float, picks: int, *, soon: bool = False) -> bool:
    """Answer whether an endpoint last used at 0 s, before the first pick, is due after so much more."""
    probe.used(1, now=0.0, picks=0, size=SIZE)
    probe.stage = Stage.NONE
    return probe.is_due(now=seconds, picks=picks, size=SIZE, round_s=1.0, soon=soon)


def tried(*answers: float) -> IdleProbe:
    """Return a probe whose trials ended with these answers, in least paces."""
    probe = IdleProbe()
    for answer in answers:
        probe.stage = Stage.WANTED
        probe.used(1, now=0.0, picks=0, size=SIZE)
        assert probe.stage is Stage.SENT
        probe.answered(answer)
        assert probe.stage is Stage.NONE
    return probe


@pytest.mark.parametrize(("seconds", "picks"), [SOON, (AFTER_S * 9, SOON[1]), (SOON[0], AFTER_PICKS * 9)])
def test_a_trial_is_due_after_both_time_and_requests(seconds: float, picks: int) -> None:
    """A trial is due after so many seconds and requests, and not before both."""
    assert is_due(IdleProbe(), seconds, picks)
    assert not is_due(IdleProbe(), AFTER_S - 0.01, picks)
    assert not is_due(IdleProbe(), seconds, AFTER_PICKS - 1)


@pytest.mark.parametrize(
    ("size", "round_s", "seconds", "picks"),
    [
        (2, 1.0, 19.25, 25),
        (9, 1.0, 24.5, 147),
        (9, 2.0, 22.5, 135),
        (9, 4.0, 18.5, 111),
        (9, 9.0, 15.0, 90),
        (90, 1.0, 25.85, 1551),
        (1, 1.0, 15.0, 10),
    ],
)
def test_the_later_sweeps_may_be_the_sooner_a_trial_is_due(
    size: int, round_s: float, seconds: float, picks: int
) -> None:
    """Two rounds, two seconds and nine requests before 30 s and 20 requests per endpoint, but not before half of them."""
    for more_s, more_picks in ((0.01, 1), (-0.01, 1), (0.01, -1)):
        probe = IdleProbe()
        probe.used(1, now=0.0, picks=0, size=SIZE)
        probe.stage = Stage.NONE
        due = probe.is_due(
            now=seconds + more_s, picks=picks + more_picks, size=size, round_s=round_s, soon=False
        )
        assert due is (more_s > 0.0 and more_picks > 0)


def test_an_endpoint_of_few_answers_is_due_after_three_seconds() -> None:
    """The requests that it waits for are those of any other, and slow first answers do not put its trial off."""
    for probe in (IdleProbe(), tried(9.0), tried(9.0, 9.0, 9.0)):
        assert is_due(probe, 3.01, SOON[1], soon=True)
        assert not is_due(probe, 2.99, SOON[1], soon=True)
        assert not is_due(probe, 9.0 * AFTER_S, AFTER_PICKS - 1, soon=True)
    assert not is_due(IdleProbe(), 3.01, SOON[1])


def test_the_time_of_an_endpoint_never_used_runs_from_the_first_question() -> None:
    """The time of an endpoint without requests runs from the first sweep. It is not known since when it was idle."""
    probe = IdleProbe()
    assert not probe.is_due(now=1000.0, picks=SOON[1], size=SIZE, round_s=1.0, soon=False)
    assert not probe.is_due(now=1000.0 + AFTER_S - 0.01, picks=SOON[1], size=SIZE, round_s=1.0, soon=False)
    assert probe.is_due(now=1000.0 + SOON[0], picks=SOON[1], size=SIZE, round_s=1.0, soon=False)


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
    seconds, picks = SOON[0] * BACKOFF, SOON[1] * BACKOFF
    assert is_due(tried(*answers), *SOON) is not given_up
    assert is_due(tried(*answers), seconds, picks)
    assert is_due(tried(*answers), seconds, AFTER_PICKS * BACKOFF - 1) is not given_up
    assert is_due(tried(*answers), AFTER_S * BACKOFF - 0.01, picks) is not given_up


def test_answers_outside_a_trial_count_for_nothing() -> None:
    """The answers of an endpoint outside a trial change nothing of its trials."""
    probe = IdleProbe()
    for _ in range(9):
        probe.answered(9.0)
    assert is_due(probe, *SOON)


def test_a_trial_that_was_not_sent_stays_wanted() -> None:
    """A sweep that sees no request leaves the trial as it is."""
    probe = IdleProbe()
    probe.stage = Stage.WANTED
    assert not probe.is_due(now=0.0, picks=0, size=SIZE, round_s=1.0, soon=False)
    assert probe.stage is Stage.WANTED


def test_a_request_without_an_answer_ends_a_trial_and_speaks_neither_for_nor_against_the_endpoint() -> None:
    """A request without an answer ends a trial and counts neither for nor against the endpoint.

    It does not matter whether the request was seen to begin.
    """
    probe = tried(*(9.0,) * 5)
    for seen in (True, False):
        probe.stage = Stage.WANTED
        if seen:
            probe.used(1, now=0.0, picks=0, size=SIZE)
        probe.ended()
        assert probe.stage is Stage.NONE
        assert is_due(probe, *SOON)


@pytest.mark.parametrize(("begun", "restarts"), [(1, False), (7, False), (8, True), (math.inf, True)])
def test_a_twentieth_of_an_even_share_counts_as_none(begun: float, restarts: bool) -> None:
    """Requests up to a twentieth of an even share leave the time as it runs; the next one restarts it."""
    probe = IdleProbe()
    probe.used(1, now=0.0, picks=0, size=SIZE)
    probe.used(begun, now=20.0, picks=20 * 7 * SIZE, size=SIZE)
    assert probe.is_due(now=SOON[0], picks=30 * 7 * SIZE, size=SIZE, round_s=1.0, soon=False) is not restarts


def test_the_requests_of_several_sweeps_add_up() -> None:
    """Eight requests over eight sweeps restart the time as eight in one do, and are then counted from none."""
    probe = IdleProbe()
    probe.used(1, now=0.0, picks=0, size=SIZE)
    for second in range(13, 21):
        probe.used(1, now=float(second), picks=20 * 7 * SIZE, size=SIZE)
    assert not probe.is_due(now=SOON[0], picks=60 * 7 * SIZE, size=SIZE, round_s=1.0, soon=False)
    assert probe.is_due(now=20.0 + SOON[0], picks=60 * 7 * SIZE, size=SIZE, round_s=1.0, soon=False)


def test_the_time_restarts_with_a_trial_that_was_over_before_a_sweep_saw_it() -> None:
    """A trial that began and was answered between two sweeps restarts the time, few as its requests are."""
    probe = IdleProbe()
    probe.used(1, now=0.0, picks=0, size=SIZE)
    assert probe.is_due(now=SOON[0], picks=9_000, size=SIZE, round_s=1.0, soon=False)
    probe.stage = Stage.WANTED
    probe.answered(1.0)
    probe.used(1, now=SOON[0] + 1.0, picks=9_100, size=SIZE)
    assert not probe.is_due(now=2.0 * SOON[0], picks=20_000, size=SIZE, round_s=1.0, soon=False)
