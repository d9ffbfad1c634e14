"""What is made of the answers of a source: good lists are kept, true changes are followed, floods do not happen."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit import ConfigurationError, Endpoint
from balancekit.discovery._reconciler import Reconciler, State
from balancekit.discovery._refresh import Refresh
from balancekit.discovery._resolution import Resolution, resolution

CALM = Refresh(jitter=0.0)
NAMES = st.sets(st.sampled_from("abcdefgh"))


def said(names, ttl=None):
    """Return an answer that names these."""
    return Resolution(endpoints=[Endpoint(name) for name in names], ttl=ttl)


def using(names, refresh=CALM, now=0.0):
    """Return a reconciler that uses these because the source said so."""
    reconciler = Reconciler(refresh, Random(5), now=now)
    hear(reconciler, names, now)
    return reconciler


def hear(reconciler, names, now):
    """Let it hear an answer as a runner would; return the ids in use afterwards."""
    wanted = reconciler.answer(said(names), now=now)
    if wanted is not None:
        reconciler.accept(wanted)
    return "".join(endpoint.id for endpoint in reconciler.current)


def test_the_first_answer_is_used():
    """The first answer is used and changes the state from pending to bound. The first question is due at once."""
    reconciler = Reconciler(CALM, Random(1), now=7.0)
    assert (reconciler.state, reconciler.deadline) == (State.PENDING, 7.0)
    assert hear(reconciler, "ba", 7.0) == "ab"
    assert (reconciler.state, reconciler.deadline) == (State.BOUND, 37.0)


def test_an_answer_that_says_the_same_changes_nothing():
    """An answer with the same endpoints in any order changes nothing; a changed weight is a change."""
    reconciler = using("ab")
    assert reconciler.answer(said("ba"), now=30.0) is None
    heavier = Resolution(endpoints=[Endpoint("a", weight=2.0), Endpoint("b")])
    assert reconciler.answer(heavier, now=60.0) == heavier.endpoints


@pytest.mark.parametrize(("ttl", "wait"), [(None, 30.0), (0.0, 5.0), (4.9, 5.0), (12.0, 12.0), (9e9, 300.0)])
def test_a_ttl_says_when_to_ask_again_within_bounds(ttl, wait):
    """The TTL sets the time of the next question, clamped to 5 to 300 seconds. Without a TTL the interval counts."""
    reconciler = Reconciler(CALM, Random(1), now=0.0)
    reconciler.answer(said("a", ttl), now=100.0)
    assert reconciler.next_at == 100.0 + wait


def test_failures_keep_the_list_and_back_off():
    """Errors are retried after 1 s, doubling to 60 s; an answer resets the delay to 1 s."""
    reconciler = using("abc")
    waits = []
    now = 100.0
    for _ in range(9):
        reconciler.failed(now=now)
        waits.append(reconciler.next_at - now)
        now = reconciler.next_at
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert (reconciler.state, len(reconciler.current)) == (State.FAILED, 3)
    assert hear(reconciler, "abc", now) == "abc"
    reconciler.failed(now=now)
    assert reconciler.next_at == now + 1.0


def test_jitter_spreads_waits_evenly_within_its_share():
    """Every wait is within 10 %, and the waits fill both halves."""
    refresh = Refresh(jitter=0.1)
    rng = Random(3)
    waits = [refresh.spread(30.0, rng) for _ in range(2000)]
    assert all(27.0 <= wait <= 33.0 for wait in waits)
    # The mean of n uniform draws of width 6 has a standard deviation of 6 / sqrt(12 n); z = 5.
    assert abs(sum(waits) / len(waits) - 30.0) <= 5.0 * 6.0 / math.sqrt(12 * len(waits))


def test_an_empty_answer_is_held_until_it_has_repeated_for_the_hold():
    """The question is asked again when the hold is over, however long the TTL."""
    reconciler = using("ab")
    assert reconciler.answer(said("", ttl=300.0), now=30.0) is None
    assert (reconciler.state, reconciler.next_at) == (State.HOLDING, 60.0)
    assert hear(reconciler, "", 59.9) == "ab"
    assert hear(reconciler, "", 60.0) == ""
    assert reconciler.state is State.BOUND


@pytest.mark.parametrize("between", ["answer", "failure"])
def test_only_an_unbroken_run_of_empty_answers_counts(between):
    """Another list or a failure in between restarts the hold of an empty answer."""
    reconciler = using("ab")
    hear(reconciler, "", 30.0)
    if between == "answer":
        hear(reconciler, "ab", 45.0)
    else:
        reconciler.failed(now=45.0)
    assert hear(reconciler, "", 61.0) == "ab"
    assert hear(reconciler, "", 90.9) == "ab"
    assert hear(reconciler, "", 91.0) == ""


def test_an_empty_answer_may_be_believed_at_once():
    """With ``on_empty="apply"`` an empty answer is applied at once, as in Envoy."""
    reconciler = using("abcd", Refresh(jitter=0.0, on_empty="apply"))
    assert hear(reconciler, "", 30.0) == ""


def test_a_list_from_before_the_first_answer_is_not_lost_to_a_bad_one():
    """A balancer that started with a configured list keeps it over an empty or tiny first answer."""
    reconciler = Reconciler(CALM, Random(1), current=[Endpoint(name) for name in "abc"], now=0.0)
    assert hear(reconciler, "", 0.0) == "abc"
    assert hear(reconciler, "d", 10.0) == "abcd"
    assert hear(reconciler, "d", 20.0) == "d"


@pytest.mark.parametrize(
    ("before", "answers", "after"),
    [
        ("abcd", ["ab"], "ab"),  # half may go
        ("abcd", ["a"], "abcd"),  # more than half is doubted
        ("abcd", ["ae"], "abcde"),  # new ones join at once
        ("abcd", ["a", "a"], "a"),  # the next answer agrees
        ("abcd", ["a", "abcd"], "abcd"),  # or it does not
        ("abcd", ["a", "abc"], "abc"),  # it agrees about d only
        ("abcd", ["a", "abcd", "a"], "abcd"),  # agreement is not kept for later
        ("a", ["b", "b"], "b"),  # a single one that moves
    ],
)
def test_a_sudden_shrink_is_doubted_until_the_next_answer(before, answers, after):
    """If more than half of the endpoints are gone, additions count at once.

    Removals count only with the next answer that agrees.
    """
    reconciler = using(before)
    for number, names in enumerate(answers, 1):
        used = hear(reconciler, names, 30.0 * number)
    assert used == after


def test_a_failure_neither_confirms_nor_forgets_a_shrink():
    """A failure neither confirms nor forgets a shrink: the next answer has to agree."""
    reconciler = using("abcd")
    hear(reconciler, "a", 30.0)
    assert reconciler.state is State.HOLDING
    reconciler.failed(now=60.0)
    assert len(reconciler.current) == 4
    assert hear(reconciler, "a", 61.0) == "a"


def test_a_list_that_the_balancer_refused_was_never_in_use():
    """Only `accept` changes what is used; the same answer is offered again."""
    reconciler = using("ab")
    assert reconciler.answer(said("abc"), now=30.0) is not None
    assert reconciler.answer(said("abc"), now=31.0) is not None
    assert len(reconciler.current) == 2


def test_pushes_are_debounced():
    """Of several pushes the last list counts, 100 ms after the last push and 1 s after the first at the latest."""
    reconciler = using("a")
    for tick in range(20):
        reconciler.push(said("ab"[: 1 + tick % 2]), now=10.0 + tick * 0.09)
        if reconciler.settles_at == 11.0:
            break
        assert reconciler.settled(now=10.0 + tick * 0.09) is None
    assert tick == 10
    assert reconciler.settled(now=10.99) is None
    assert reconciler.settled(now=11.0) == said("a")
    assert reconciler.settled(now=99.0) is None
    reconciler.push(said("c"), now=20.0)
    assert reconciler.deadline == 20.1


@pytest.mark.parametrize(("pushed_at", "counts"), [(10.0, False), (10.05, False), (10.06, True)])
def test_a_pushed_list_counts_only_if_the_source_was_asked_before_it(pushed_at, counts):
    """An answer is newer than what was pushed before its question; what was pushed after that is newer than the answer."""
    reconciler = using("a")
    reconciler.push(said("ab"), now=pushed_at)
    reconciler.accept(reconciler.answer(said("abc"), now=10.08, requested_at=10.05))
    assert reconciler.settled(now=20.0) == (said("ab") if counts else None)
    assert reconciler.settles_at == math.inf


def test_an_answer_that_is_held_or_a_failure_drops_no_pushed_list():
    """An empty answer that is held, or a failure, drops no pushed list."""
    reconciler = using("a")
    reconciler.push(said("ab"), now=10.0)
    assert reconciler.answer(said(""), now=10.06, requested_at=10.05) is None
    reconciler.failed(now=10.07)
    assert reconciler.settled(now=20.0) == said("ab")


@given(st.lists(st.one_of(st.none(), NAMES), max_size=30), NAMES)
def test_no_single_answer_and_no_failure_empties_or_halves_the_list(answers, first):
    """One answer removes at most half of the endpoints, unless an earlier answer missed the same ones.

    A failure removes none.
    """
    reconciler = using(first)
    empty_since = None
    missed_before = set()
    now = 0.0
    for names in answers:
        now += 10.0
        before = {endpoint.id for endpoint in reconciler.current}
        if names is None:
            reconciler.failed(now=now)
            assert {endpoint.id for endpoint in reconciler.current} == before
            empty_since = None
            continue
        empty_since = None if names else now if empty_since is None else empty_since
        after = set(hear(reconciler, names, now))
        gone = before - after
        if names:
            assert names <= after
            assert len(gone - missed_before) * 2 <= len(before)
            missed_before = before - names
        elif gone:
            assert now - empty_since >= 30.0
        assert after - before <= names


@pytest.mark.parametrize(
    ("settings", "parameter"),
    [
        ({"interval": 0}, "interval"),
        ({"interval": True}, "interval"),
        ({"timeout": math.nan}, "timeout"),
        ({"min_interval": 10.0, "max_interval": 9.0}, "max_interval"),
        ({"first_retry": 2.0, "max_retry": 1.0}, "max_retry"),
        ({"quiet": 2.0}, "max_quiet"),
        ({"jitter": 1.0}, "jitter"),
        ({"shrink": 1.1}, "shrink"),
        ({"hold": -1}, "hold"),
        ({"on_empty": "ignore"}, "on_empty"),
    ],
)
def test_wrong_settings_are_refused(settings, parameter):
    """Each wrong setting is refused by the name of its parameter."""
    with pytest.raises(ConfigurationError, match=parameter):
        Refresh(**settings)


def test_of_duplicates_the_best_stays_whatever_the_order():
    """Of duplicates the one of the lowest priority, then of the greatest weight, stays in any order.

    Other types than strings and endpoints are refused.
    """
    candidates = [Endpoint("a", priority=1, weight=9.0), Endpoint("a"), Endpoint("a", weight=2.0)]
    for order in (candidates, candidates[::-1]):
        assert Resolution(endpoints=order).endpoints == (Endpoint("a", weight=2.0),)
    assert resolution(["b", "a", "b"]).endpoints == (Endpoint("a"), Endpoint("b"))
    for wrong in ("a", 7, [7], None):
        with pytest.raises(ConfigurationError, match="endpoints"):
            resolution(wrong)
    with pytest.raises(ConfigurationError, match="ttl"):
        Resolution(endpoints=(), ttl=-1)
