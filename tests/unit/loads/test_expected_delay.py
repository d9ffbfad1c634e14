"""Expected delay: pace, success, turns, sweeps and trials, at values worked out by hand."""

from __future__ import annotations

import math
from math import sqrt

import pytest

from balancekit import ConfigurationError, Endpoint
from balancekit.loads import ExpectedDelay
from balancekit.loads._success_rate import SuccessRate
from balancekit.node import Node
from balancekit.outcome import Completion, Outcome

PARAMETERS = {"memory": 200.0, "success_decay": 1.0, "healing": 8.0, "floor": 0.05, "exponent": 3.0}


def pool_of(*ids, policy=None):
    """Return what the loads of a pool share, and its nodes."""
    pool = (policy or ExpectedDelay()).for_pool()
    return pool, [Node(Endpoint(id), pool) for id in ids]


def end(node, outcome, *, start, at, first_byte=None):
    """Tell the load of a node how a request ended."""
    node.load.finished(Completion(outcome, started_at=start, ended_at=at, first_byte_at=first_byte))


def answer(node, latency, at):
    """Tell the load, and count, a plain success."""
    node.successes += 1
    node.load.succeeded(latency, at)


def stated(node):
    """Return the delay that picks compare, in seconds: it is kept in sixths."""
    return node.latency_estimate / 6.0


def step(node):
    """Return how far a pick moves the turn of a node of mean capacity, in seconds."""
    pool = node.load.pool
    return pool.turn * min(node.load.price, pool.longest) / 6.0


def test_the_parameters_are_as_documented():
    """The parameters are 200 s of memory, 1 s and 8 s of success, a floor of 0.05 and the exponent 3.

    A load with its own clock is timed.
    """
    policy = ExpectedDelay()
    assert {name: getattr(policy, name) for name in PARAMETERS} == PARAMETERS
    assert policy.timed


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_finite_and_above_zero(name):
    """0, NaN and infinity are refused by name; small and whole numbers are taken; a floor is at most 1."""
    for bad in (0.0, -1.0, math.nan, math.inf, True):
        with pytest.raises(ConfigurationError, match=name):
            ExpectedDelay(**{name: bad})
    assert getattr(ExpectedDelay(**{name: 1e-9}), name) == 1e-9
    assert getattr(ExpectedDelay(**{name: 1}), name) == 1.0
    with pytest.raises(ConfigurationError, match="floor"):
        ExpectedDelay(floor=1.0 + 1e-9)


def test_an_endpoint_that_has_not_answered_has_a_pace_of_one():
    """Before any answer the mean is 1; in flight counts by capacity; a pick moves a turn by a hundredth of the pace."""
    pool, (node,) = pool_of("a")
    load = node.load
    assert (load.known, load.pace, load.price, load.turn, step(node)) == (False, 1.0, 1.0, 0.0, 0.01)
    assert (pool.size, pool.picks, pool.typical, pool.turn / 6.0) == (1, 0, 0.0, 0.01)
    node.inflight, node.capacity = 3, 2.0
    assert load.value(now=5.0) == 2.5 * 7.5 / 6.0
    load.restate(5.0)
    assert stated(node) == 2.5 * 7.5 / 6.0
    load.turn = 6.0 * 0.25
    load.restate(5.0)
    assert stated(node) == 2.5 * 7.5 / 6.0 + 0.25
    assert load.success(now=5.0) == 1.0


def test_a_new_endpoint_starts_at_the_clock_of_turns():
    """An endpoint that joins has no advantage over those that have been picked."""
    pool, _ = pool_of("a")
    pool.clock = 7.5
    assert Node(Endpoint("b"), pool).load.turn == 7.5


def test_pace_is_the_average_of_square_roots():
    """A sample is sqrt(latency) if nothing was answered meanwhile, else the geometric mean's; old ones fade over 200 s."""
    _, (node,) = pool_of("a")
    load = node.load
    answer(node, 4.0, 10.0)
    assert load.known
    assert load.pace == 4.0
    assert (load.price, stated(node), step(node)) == (4.0, 4.0, 0.04)
    answer(node, 32.0, 12.0)
    root = 2.0 + (sqrt(sqrt(32.0 * 2.0)) - 2.0) / (1.0 / (1.0 + 2.0 / 200.0) + 1.0)
    assert load.pace == pytest.approx(root**2, rel=1e-12)
    assert stated(node) == pytest.approx(root**2, rel=1e-12)
    count = 1.0 / (1.0 + 2.0 / 200.0) + 1.0
    answer(node, 1.0, 15.0)
    count = count / (1.0 + 3.0 / 200.0) + 1.0
    root += (1.0 - root) / count
    assert load.pace == pytest.approx(root**2, rel=1e-12)
    answer(node, 9.0, 24.0)  # exactly as long as since the answer before
    count = count / (1.0 + 9.0 / 200.0) + 1.0
    root += (3.0 - root) / count
    assert load.pace == pytest.approx(root**2, rel=1e-12)


@pytest.mark.parametrize("failed", [False, True], ids=["plain", "after a failure"])
@pytest.mark.parametrize(
    ("answers", "latency", "since", "sway"),
    [
        (20, 2.25, 9.5, 1.5),
        (20, 0.25, 10.0, 0.5),
        (20, 100.0, 1000.0, 10.0),
        (20, 100.0, 50.0, None),
        (20, 2.25, 9.0, None),
        (40, 2.25, 9.5, None),
    ],
    ids=["longer", "shorter", "much longer", "longer than the pause", "a short pause", "many answers"],
)
def test_an_answer_after_a_pause_sways_the_price_while_answers_are_few(answers, latency, since, sway, failed):
    """The price is the pace, times the root of the sample over the average root but at most two; over five latencies it fades."""
    _, (node,) = pool_of("a")
    load = node.load
    for at in range(101 - answers, 101):
        answer(node, 1.0, float(at))
    if failed:
        end(node, Outcome.FAILURE, start=100.0, at=100.0)
    answer(node, latency, 100.0 + since)
    if failed:
        load.reset()  # without the price of the failure
    pace = load.pace
    times = 1.0 if sway is None else min(2.0, sway / sqrt(pace))
    assert load.price == pytest.approx(pace * times)
    load.restate(100.0 + since)
    assert load.price == pytest.approx(pace * times)
    assert stated(node) == pytest.approx(pace * times)
    load.restate(100.0 + since + 5.0 * latency)
    assert load.price == pytest.approx(pace * (1.0 + (times - 1.0) / math.e))
    load.restate(100.0 + since + 1e6)
    assert load.price == pytest.approx(pace)


@pytest.mark.parametrize("latency", [5e-324, 1e-200, 1e-12, 1e300])
def test_answers_of_any_length_leave_prices_that_are_numbers(latency):
    """Neither the shortest nor the longest latencies nor a clock that steps back make a price infinite or NaN."""
    pool, (node,) = pool_of("a")
    answer(node, latency, 100.0)
    answer(node, 2.0 * latency, 1e303)
    for now in (1e303, 0.0, 1e308):
        node.load.restate(now)
        assert 0.0 < node.load.price <= 4.0 * max(1e-9, latency)
        pool.advance(now=now)


def test_a_clock_that_steps_back_leaves_the_sway_as_it_is():
    """Threads restate prices in another order than they read the clock; none raises an error."""
    _, (node,) = pool_of("a")
    answer(node, 1e-6, 100.0)
    answer(node, 2e-6, 200.0)
    swayed = node.load.price
    assert swayed > 1.05 * node.load.pace
    node.load.restate(199.0)
    assert node.load.price == pytest.approx(swayed)


@pytest.mark.parametrize("next_end", ["an answer without a pause", "a timeout", "a long wait"])
def test_the_next_end_replaces_the_sway(next_end):
    """Whatever says more of the endpoint than the answer after a pause ends its sway."""
    _, (node,) = pool_of("a")
    load = node.load
    answer(node, 1.0, 100.0)
    answer(node, 4.0, 120.0)
    assert load.price > 1.05 * load.pace
    if next_end == "an answer without a pause":
        answer(node, 4.0, 121.0)
    else:
        end(node, Outcome.TIMEOUT if next_end == "a timeout" else Outcome.CANCELLED, start=80.0, at=121.0)
    load.reset()
    assert load.price == pytest.approx(load.pace)


def test_answers_of_one_moment_and_out_of_order_take_no_time():
    """Two answers at once, or one that is told late, count as no time of the endpoint; nothing is raised."""
    _, (node,) = pool_of("a")
    answer(node, 4.0, 10.0)
    answer(node, 4.0, 10.0)
    assert node.load.pace == pytest.approx(1.0)
    _, (late,) = pool_of("a")
    answer(late, 4.0, 10.0)
    answer(late, 4.0, 9.0)
    count = 1.0 / (1.0 - 1.0 / 200.0) + 1.0
    assert late.load.pace == pytest.approx((2.0 - 2.0 / count) ** 2)
    _, (waited,) = pool_of("a")
    answer(waited, 4.0, 10.0)
    end(waited, Outcome.TIMEOUT, start=0.0, at=9.0)
    assert waited.load.pace == pytest.approx(1.0)  # half of the root: nothing fades backwards


def test_pace_never_falls_to_zero():
    """An answer in no time has a pace of a nanosecond, so that requests in flight still count."""
    pool, (node,) = pool_of("a")
    answer(node, 0.0, 10.0)
    assert node.load.pace == pool.least == 1e-9


@pytest.mark.parametrize(("inflight", "times"), [(0, 1.0), (1, 14 / 6), (3, 6.0), (7, 8 * 13 / 6)])
def test_a_longer_queue_counts_for_more_than_its_length(inflight, times):
    """A request with q requests in flight, its own included, counts ``q * (q + 5) / 6`` times the pace."""
    _, (node,) = pool_of("a")
    answer(node, 4.0, 1.0)
    node.inflight = inflight
    node.load.restate(1.0)
    assert stated(node) == pytest.approx(4.0 * times)
    assert node.load.value(now=1.0) == pytest.approx(4.0 * times)


def test_capacity_divides_what_is_in_flight():
    """At a capacity of 2, three requests in flight weigh as one and a half."""
    _, (node,) = pool_of("a")
    node.capacity = 2.0
    answer(node, 4.0, 1.0)
    node.inflight = 3
    answer(node, 4.0, 5.0)
    assert stated(node) == pytest.approx(4.0 * 2.5 * 7.5 / 6.0)
    assert node.load.value(now=5.0) == pytest.approx(4.0 * 2.5 * 7.5 / 6.0)


def test_a_timeout_is_a_long_answer_and_a_failure():
    """What was waited for is learned from as a lower bound; the price is divided by the cube of success."""
    policy = ExpectedDelay(success_decay=2.0, healing=4.0, exponent=3.0)
    _, (node,) = pool_of("a", policy=policy)
    answer(node, 4.0, 10.0)
    end(node, Outcome.TIMEOUT, start=3.0, at=12.0)
    root = 2.0 + (sqrt(sqrt(9.0 * 2.0)) - 2.0) / (1.0 / 1.01 + 1.0)
    assert node.load.pace == pytest.approx(root**2)
    rate = SuccessRate(decay=2.0, healing=4.0)
    rate.record(0.0, now=12.0, since=10.0)
    assert node.load.success(now=12.0) == rate.value(now=12.0) == pytest.approx(math.exp(-1.0))
    assert node.load.price == pytest.approx(root**2 / math.exp(-3.0))
    assert node.load.value(now=13.0) == pytest.approx(root**2 / rate.value(now=13.0) ** 3)


def test_a_short_wait_and_other_failures_leave_the_pace():
    """A timeout after less than the pace, a failure and a refusal say nothing of the pace, but all of failing."""
    _, (node,) = pool_of("a")
    answer(node, 4.0, 10.0)
    for number, outcome in enumerate((Outcome.TIMEOUT, Outcome.FAILURE, Outcome.CONNECT_FAILED)):
        before = node.load.success(now=12.0 + number)
        end(node, outcome, start=8.0 + number, at=12.0 + number)
        assert node.load.pace == 4.0
        assert node.load.success(now=12.0 + number) < before


def test_success_counts_no_less_than_the_floor():
    """An endpoint that only fails costs its pace divided by the cube of 0.05."""
    _, (node,) = pool_of("a")
    answer(node, 4.0, 10.0)
    for number in range(40):
        end(node, Outcome.FAILURE, start=20.0 + 10 * number, at=20.0 + 10 * number)
    assert node.load.price == pytest.approx(4.0 / 0.05**3)


def test_an_endpoint_that_answers_again_recovers():
    """A success after failures is averaged in since the answer before it; once nearly nothing is missing, failures are forgotten."""
    _, (node,) = pool_of("a")
    answer(node, 4.0, 10.0)
    end(node, Outcome.FAILURE, start=11.0, at=11.0)
    rate = SuccessRate(decay=1.0, healing=8.0)
    rate.record(0.0, now=11.0, since=10.0)
    answer(node, 4.0, 14.0)
    rate.record(1.0, now=14.0, since=10.0)
    assert node.load.success(now=14.0) == pytest.approx(rate.value(now=14.0))
    assert node.load.price == pytest.approx(node.load.pace / rate.value(now=14.0) ** 3)
    for number in range(1, 40):
        answer(node, 4.0, 14.0 + 4 * number)
    assert node.load.success(now=170.0) == 1.0
    assert node.load.price == pytest.approx(4.0)


def test_requests_that_end_without_a_word_make_an_unknown_endpoint_dearer():
    """Ignored, and cancelled within a mean: one mean each; a longer wait is learned from instead."""
    _, (node,) = pool_of("a")
    for number in range(1, 40):
        end(node, Outcome.IGNORED if number % 2 else Outcome.CANCELLED, start=number, at=number + 0.5)
        assert node.load.price == 1.0 + number
        assert not node.load.known
        assert node.load.success(now=number) == 1.0
    end(node, Outcome.CANCELLED, start=0.0, at=9.0)
    assert node.load.known
    assert node.load.pace == pytest.approx(9.0)
    end(node, Outcome.CANCELLED, start=9.0, at=9.5)
    assert node.load.price == pytest.approx(9.0)
    _, (exact,) = pool_of("a")
    end(exact, Outcome.CANCELLED, start=0.0, at=1.0)  # exactly the mean: not longer
    assert (exact.load.known, exact.load.price) == (False, 2.0)


def test_requests_that_end_without_a_word_in_a_row_make_a_known_endpoint_dearer():
    """From the fifth request without an answer on, each makes the endpoint dearer by its price.

    Failures have their own price.
    """
    _, (node,) = pool_of("a")
    answer(node, 4.0, 0.0)
    for number in range(1, 40):
        end(node, Outcome.IGNORED if number % 2 else Outcome.CANCELLED, start=number, at=number + 0.5)
        assert node.load.price == pytest.approx(4.0 * max(1, number - 3))
        assert stated(node) == node.load.price
    answer(node, 4.0, 50.0)
    assert node.load.price == pytest.approx(4.0)
    for number in range(4):
        end(node, Outcome.IGNORED, start=50.0 + number, at=50.5 + number)
    answer(node, 4.0, 60.0)
    end(node, Outcome.IGNORED, start=60.0, at=60.5)
    assert node.load.price == pytest.approx(4.0)
    _, (failing,) = pool_of("a")
    for _ in range(9):
        end(failing, Outcome.FAILURE, start=1.0, at=1.0)
    assert failing.load.price == pytest.approx(failing.load.pace / 0.05**3)


def test_the_time_to_the_first_byte_is_what_counts():
    """A success that reports its first byte is judged by it."""
    _, (node,) = pool_of("a")
    end(node, Outcome.SUCCESS, start=10.0, at=50.0, first_byte=14.0)
    assert node.load.pace == pytest.approx(4.0)


def test_endpoints_that_have_not_answered_have_the_mean_pace():
    """The mean is recomputed when the number of endpoints that have answered has doubled."""
    pool, (a, b, c, d) = pool_of("a", "b", "c", "d")
    answer(a, 4.0, 1.0)
    assert pool.typical == 4.0
    assert [node.load.price for node in (b, c, d)] == [4.0] * 3
    assert stated(d) == 4.0
    answer(b, 16.0, 2.0)
    assert pool.typical == 4.0
    answer(c, 1.0, 3.0)
    assert pool.typical == pytest.approx(7.0)
    assert stated(d) == pytest.approx(7.0)
    assert step(d) == pytest.approx(0.07)
    answer(d, 1.0, 4.0)
    assert pool.typical == pytest.approx(7.0)


def test_no_turn_is_longer_than_four_means():
    """An endpoint that is much slower than the mean is picked at least as often as one four times as slow."""
    pool, nodes = pool_of("a", "b", "c", "d", "e", "f")
    for number, node in enumerate(nodes):
        answer(node, 1.0 if node is not nodes[-1] else 95.0, 1.0 + number)
    pool.advance(now=10.0)
    assert pool.typical == pytest.approx(100.0 / 6)
    nodes[-1].load.restate(10.0)
    assert step(nodes[-1]) == pytest.approx(pool.turn / 6.0 * 4.0 * 100.0 / 6)
    nodes[0].load.restate(10.0)
    assert step(nodes[0]) == pytest.approx(pool.turn / 6.0 * pool.least)


def test_a_sweep_recomputes_mean_and_least():
    """Paces within 15 % and half a standard error of the least are equal; turns shrink as more is known, to 0.002."""
    pool, (a, b) = pool_of("a", "b")
    answer(a, 4.0, 1.0)
    answer(b, 16.0, 1.0)
    pool.advance(now=2.0)
    error = 1.0 / sqrt(2.0)
    assert pool.typical == 10.0
    assert pool.least == pytest.approx(4.0 * (1.15 + 0.5 * error))
    assert pool.turn / 6.0 == pytest.approx(0.01 * error)
    assert pool.deadline == 3.0
    pool.advance(now=3.0)
    assert a.load.price == pytest.approx(pool.least)
    assert b.load.price == 16.0
    for number in range(60):
        answer(b, 16.0, 10.0 + 20 * number)
    for number in range(300):
        answer(a, 4.0, 10.0 + 4 * number)
    pool.advance(now=1300.0)
    assert pool.turn / 6.0 == pytest.approx(0.002)
    answer(a, 4.0, 1310.0)
    assert a.load.price == pytest.approx(pool.least)


def test_a_sweep_before_any_answer_changes_nothing_but_its_deadline():
    """Before any answer a sweep leaves mean, least and turn as they were."""
    pool, _ = pool_of("a", "b")
    pool.advance(now=2.0)
    assert (pool.typical, pool.least, pool.turn / 6.0, pool.deadline) == (0.0, 1e-9, 0.01, 3.0)


@pytest.mark.parametrize(("size", "interval"), [(256, 1.0), (257, 1.0), (300, 1.0), (5000, 2.0)])
def test_large_pools_are_swept_in_batches(size, interval):
    """A sweep looks at 256 endpoints; a round takes a second, or longer for more than 2,500; only its end counts."""
    pool, nodes = pool_of(*[f"e{k}" for k in range(size)])
    answer(nodes[0], 4.0, 1.0)
    answer(nodes[-1], 16.0, 1.0)
    answer(nodes[1], 4.0, 1.0)
    pool.typical = 5.0
    batches, now = 0, 10.0
    while True:
        pool.advance(now=now)
        batches += 1
        assert pool.deadline == pytest.approx(now + interval / math.ceil(size / 256))
        if pool.typical != 5.0:
            break
        now = pool.deadline
    assert batches == math.ceil(size / 256)
    assert pool.typical == pytest.approx(8.0)
    assert pool.picks == 3


def idle_pool(picks, *, at, also=0):
    """Return a pool whose endpoint "b" had four requests until 0, swept at 0 and, after so many picks, at a moment."""
    pool, (a, b, *more) = pool_of("a", "b", *[f"m{k}" for k in range(also)])
    answer(a, 4.0, -1.0)
    answer(b, 4.0, -1.0)
    b.successes = min(4, picks)
    pool.advance(now=0.0)
    a.successes += picks - pool.picks
    pool.advance(now=at - 0.5)
    pool.advance(now=at)
    return pool, a, b, more


def test_an_endpoint_without_a_request_for_long_is_tried():
    """An endpoint without a request for enough seconds and requests gets the next pick."""
    wanted = -math.inf
    _, a, b, _ = idle_pool(26, at=20.0)
    assert (a.latency_estimate, b.latency_estimate) == (6.0 * a.load.price, wanted)
    _, _, b, _ = idle_pool(26, at=19.0)
    assert b.latency_estimate == 6.0 * b.load.price
    _, _, b, _ = idle_pool(25, at=20.0)
    assert b.latency_estimate == 6.0 * b.load.price
    _, _, b, more = idle_pool(44, at=22.0, also=1)
    assert b.latency_estimate == wanted
    assert more[0].latency_estimate == wanted
    _, _, b, _ = idle_pool(42, at=22.0, also=1)
    assert b.latency_estimate == 6.0 * b.load.price


@pytest.mark.parametrize("answers", range(6))
@pytest.mark.parametrize("last", [None, Outcome.FAILURE, Outcome.IGNORED])
def test_an_endpoint_of_one_to_three_answers_is_tried_after_three_seconds(answers, last):
    """An endpoint that has not answered, has failed, or said nothing since, waits like any other."""
    pool, (a, b) = pool_of("a", "b")
    answer(a, 4.0, 1.0)
    for _ in range(answers):
        answer(b, 4.0, 1.0)
    if last is not None:
        b.outcomes[last] = 1
        end(b, last, start=1.0, at=1.0)
    pool.advance(now=1.0)
    a.successes += 40
    pool.advance(now=2.0)
    pool.advance(now=3.9)
    assert b.latency_estimate > 0.0
    pool.advance(now=4.1)
    assert (b.latency_estimate == -math.inf) is (last is None and 0 < answers < 4)


@pytest.mark.parametrize(("takes", "overdue"), [(1.0, 15.0), (2.25, 15.0), (9.0, 36.0)])
def test_an_endpoint_with_open_requests_is_tried_once_they_are_overdue(takes, overdue):
    """While a request to an endpoint is in flight it is tried only if it has answered none for 15 s and four times its pace."""
    pool, a, b, _ = idle_pool(25, at=20.0)
    b.inflight += 2
    pool.advance(now=20.5)
    b.inflight -= 1
    answer(b, takes, 200.0)
    b.load._root = math.sqrt(takes)
    for at, tried in ((200.0, False), (200.0 + overdue - 0.1, False), (200.0 + overdue, True)):
        a.successes += 1_000
        pool.advance(now=at)
        assert (b.latency_estimate == -math.inf) is tried


def test_a_trial_that_hangs_is_followed_by_another():
    """A trial whose request is still open when the next one is due does not keep the endpoint from being tried."""
    pool, a, b, _ = idle_pool(26, at=20.0)
    assert b.latency_estimate == -math.inf
    b.inflight += 1
    for at, tried in ((21.0, False), (39.9, False), (60.0, True)):
        a.successes += 1_000
        pool.advance(now=at)
        assert (b.latency_estimate == -math.inf) is tried


def test_an_endpoint_whose_first_request_does_not_end_is_tried():
    """An endpoint that has never answered is tried although its first request is open."""
    pool, (a, b) = pool_of("a", "b")
    answer(a, 4.0, 0.0)
    b.inflight += 1
    for at in (0.0, 1.0, 40.0):
        a.successes += 1_000
        pool.advance(now=at)
    assert b.latency_estimate == -math.inf


def test_an_endpoint_that_has_failed_is_tried_like_any_other():
    """An endpoint that has failed is tried like any other, whether it has healed or not."""
    pool, a, b, _ = idle_pool(25, at=18.0)
    end(b, Outcome.FAILURE, start=18.0, at=18.0)
    pool.advance(now=18.5)
    a.successes += 100
    pool.advance(now=37.0)
    assert b.latency_estimate == 6.0 * b.load.price > 6.0 * b.load.pace
    pool.advance(now=38.0)
    assert b.latency_estimate == -math.inf


@pytest.mark.parametrize("outcome", [Outcome.FAILURE, Outcome.IGNORED, Outcome.CANCELLED])
@pytest.mark.parametrize("seen", [True, False])
def test_a_trial_that_ends_without_an_answer_is_made_again(outcome, seen):
    """A trial that ends without an answer is made again after the same time.

    It does not matter whether a sweep saw the request under way.
    """
    pool, a, b, _ = idle_pool(26, at=20.0)
    assert b.latency_estimate == -math.inf
    b.inflight += 1
    if seen:
        pool.advance(now=21.0)
    b.inflight -= 1
    b.outcomes[outcome] = 1
    end(b, outcome, start=20.0, at=21.0)
    assert b.latency_estimate == 6.0 * b.load.price
    a.successes += 100
    pool.advance(now=22.0)
    a.successes += 100
    pool.advance(now=39.0)
    assert b.latency_estimate == 6.0 * b.load.price
    pool.advance(now=42.0)
    assert b.latency_estimate == -math.inf


def test_what_a_trial_answers_outweighs_what_was_known():
    """The history counts half an answer; the trial ends with the answer, and is not repeated while it is under way."""
    pool, _, b, _ = idle_pool(26, at=20.0)
    pool.advance(now=21.0)
    assert b.latency_estimate == -math.inf
    b.inflight += 1
    pool.advance(now=22.0)
    assert b.latency_estimate == 14.0 * b.load.price
    b.inflight -= 1
    answer(b, 9.0, 22.0)
    count = 0.5 / (1.0 + 23.0 / 200.0) + 1.0
    assert b.load.pace == pytest.approx((2.0 + 1.0 / count) ** 2)
    assert b.latency_estimate == 6.0 * b.load.price == pytest.approx(6.0 * b.load.pace)
    pool.advance(now=23.0)
    assert b.latency_estimate == 6.0 * b.load.price


def trials(pool, a, b, latency, start, rounds, *, per_s=2):
    """Let "b" be tried so many times, while "a" gets requests; return how long each trial was waited for."""
    now, wanted = start, []
    for _ in range(rounds):
        began = now
        while b.latency_estimate != -math.inf:
            now += 1.0
            a.successes += per_s
            pool.advance(now=now)
            if now - began > 2000.0:
                return wanted
        wanted.append(now - began)
        b.inflight += 1
        pool.advance(now=now)
        b.inflight -= 1
        answer(b, latency, now)
        pool.advance(now=now)
    return wanted


def test_an_endpoint_that_is_slow_several_times_is_tried_more_rarely():
    """A slow endpoint is tried after sixteen times as long once enough answers were far above the least pace.

    One quick answer makes up for one slow answer.
    """
    pool, a, b, _ = idle_pool(4, at=0.5)
    assert trials(pool, a, b, 90.0, 0.0, 8) == [20.0] * 6 + [308.0] * 2
    pool, a, b, _ = idle_pool(4, at=0.5)
    waits = trials(pool, a, b, 4.0 * pool.least, 0.0, 30)
    assert waits == sorted(waits)
    assert 10 < waits.count(20.0) < 25
    pool, a, b, _ = idle_pool(4, at=0.5)
    assert trials(pool, a, b, 90.0, 0.0, 8, per_s=1) == [22.0, *[26.0] * 5, *[411.0] * 2]
    pool, a, b, _ = idle_pool(4, at=0.5)
    assert trials(pool, a, b, 2.4 * pool.least, 0.0, 40) == [20.0] * 40
    pool, a, b, _ = idle_pool(4, at=0.5)
    mixed = [
        *trials(pool, a, b, 90.0, 0.0, 5),
        *trials(pool, a, b, 4.0, 100.0, 1),
        *trials(pool, a, b, 90.0, 120.0, 3),
    ]
    assert mixed == [20.0] * 8 + [308.0]


@pytest.mark.parametrize(
    ("trial", "requests", "forgotten"), [(1, 99, False), (1, 100, True), (0, 1, True)], ids=str
)
def test_a_trial_forgets_failures_only_if_a_hundred_requests_went_elsewhere(trial, requests, forgotten):
    """The end of an ejection is no news. If few requests came meanwhile, the endpoint stays as expensive as it was.

    One that is back for another reason, such as a passed check, is not on trial.
    """
    pool, (bad, good) = pool_of("bad", "good")
    answer(bad, 0.1, 1.0)
    answer(good, 0.1, 1.0)
    pool.advance(now=1.0)
    bad.outcomes[Outcome.FAILURE] = 1
    end(bad, Outcome.FAILURE, start=2.0, at=2.0)
    pool.advance(now=3.0)  # this sweep sees the failure
    good.successes += requests - 1  # and counted one request, the failed one
    pool.advance(now=4.0)
    assert pool.picks == 2 + requests
    bad.trial = trial
    bad.load.reset()
    assert (bad.load.success(now=4.0) == 1.0) is forgotten
    assert (stated(bad) < 0.2) is forgotten


def test_an_ejection_forgets_failures_and_most_of_the_past():
    """An ejection makes success whole again. The pace from before counts for 50 answers at most."""
    _, (node,) = pool_of("a")
    for number in range(100):
        answer(node, 1.0, 10.0 + number)
    end(node, Outcome.FAILURE, start=110.0, at=110.0)
    assert node.load.price > 1.0
    node.load.reset()
    assert node.load.success(now=110.0) == 1.0
    assert node.latency_estimate == 6.0 * node.load.price == pytest.approx(6.0)
    answer(node, 4.0, 119.0)
    count = 50.0 / (1.0 + 10.0 / 200.0) + 1.0
    assert node.load.pace == pytest.approx((1.0 + 1.0 / count) ** 2)
    _, (fresh,) = pool_of("a")
    answer(fresh, 4.0, 10.0)
    fresh.load.reset()
    answer(fresh, 9.0, 20.0)
    count = 1.0 / (1.0 + 10.0 / 200.0) + 1.0
    assert fresh.load.pace == pytest.approx((2.0 + 1.0 / count) ** 2)


def test_what_answers_is_remembered():
    """A plain success puts the endpoint into its seat, one of eight, unless a better one is there."""
    _, nodes = pool_of(*"abcdefghijkl")
    seats = list(nodes[:8])
    for node in nodes:
        answer(node, 4.0, 1.0)
        node.load.recent = seats
    a, b, i, j = nodes[0], nodes[1], nodes[8], nodes[9]
    answer(i, 4.0, 8.0)
    assert seats[0] is i, "as good as a"
    a.inflight = 1
    answer(a, 4.0, 12.0)
    assert seats[0] is i, "better than a, which has a queue"
    i.inflight = 2
    answer(i, 4.0, 16.0)
    answer(a, 4.0, 20.0)
    assert seats[0] is a, "better than i now"
    end(j, Outcome.FAILURE, start=24.0, at=24.0)
    answer(j, 4.0, 28.0)
    assert seats[1] is b, "one that has failed of late is not remembered"
    assert seats[1:] == nodes[1:8]


def test_an_endpoint_that_has_gone_is_left_out():
    """An endpoint that has left counts no more; one of the same id that has taken its place stays."""
    pool, (a, b) = pool_of("a", "b")
    answer(a, 4.0, 1.0)
    answer(b, 16.0, 1.0)
    pool.forget(a)
    pool.forget(a)
    assert pool.size == 1
    pool.advance(now=2.0)
    assert pool.typical == 16.0
    new = Node(Endpoint("b"), pool)
    pool.forget(b)
    assert pool.size == 1
    pool.forget(new)
    assert pool.size == 0


def test_a_node_that_never_joined_is_left_out_alone():
    """A change of the target that is dropped leaves the endpoint that is there among those that are swept."""
    pool, (node,) = pool_of("a")
    answer(node, 0.25, 1.0)
    draft = Node(Endpoint("a", "elsewhere"), pool)
    pool.forget(draft)
    assert pool.size == 1
    pool.advance(now=2.0)
    assert pool.typical == pytest.approx(0.25)


@pytest.mark.parametrize(("left", "interval"), [(0, 1.0), (1, 1.0), (256, 1.0), (512, 0.5)])
def test_a_pool_that_shrinks_during_a_sweep_is_swept_on(left, interval):
    """The next batch comes within a second, or after the part of it that there are batches, also if none is left."""
    pool, nodes = pool_of(*map(str, range(1024)))
    pool.advance(now=0.0)
    for node in nodes[left:]:
        pool.forget(node)
    pool.advance(now=1.0)
    assert pool.deadline == 1.0 + interval


def test_an_endpoint_may_join_while_another_answers_first():
    """The mean is taken of the endpoints that there were; a thread that adds one disturbs it not."""

    class Joins:
        """The load of an endpoint; while it is read, another joins."""

        pace = 0.25

        @property
        def known(self):
            """Whether it has answered."""
            Node(Endpoint("late"), pool)
            return True

        def restate(self, now):
            """Do nothing."""

    pool, (node,) = pool_of("a")
    pool._loads[Node(Endpoint("b"), lambda node: Joins())] = Joins()
    answer(node, 0.25, 1.0)
    assert pool.typical == pytest.approx(0.25)


def test_a_load_alone_shares_with_no_other():
    """Called as a policy, without a pool, each node has a mean of its own."""
    policy = ExpectedDelay()
    a, b = Node(Endpoint("a"), policy), Node(Endpoint("b"), policy)
    answer(a, 4.0, 1.0)
    assert b.load.price == 1.0


@pytest.mark.parametrize("since", [0.0, 0.25, 0.75, 4.0, 9.0])
def test_an_answer_counts_by_its_latency_and_the_time_since_the_last(since):
    """The geometric mean of latency and the shorter of both, in square roots; nothing if two come at once."""
    _, (a,) = pool_of("a")
    answer(a, 1.0, 100.0)
    answer(a, 4.0, 100.0 + since)
    sample = sqrt(sqrt(4.0 * min(4.0, since)))
    count = 1.0 / (1.0 + since / 200.0) + 1.0
    assert a.load.pace == pytest.approx((1.0 + (sample - 1.0) / count) ** 2)
