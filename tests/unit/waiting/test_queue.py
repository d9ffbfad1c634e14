"""Which of the waiting requests is next, and which is refused."""

from __future__ import annotations

import math
from random import Random

import pytest
from benchmarks import waiting
from hypothesis import given
from hypothesis import strategies as st

from balancekit import ConfigurationError
from balancekit.waiting import ClientThrottle, WaitingQueue
from balancekit.waiting._lines import MAX_AHEAD


def drain(queue, now=0.0):
    """Return the requests in the order in which they are served, and those refused on the way."""
    served, refused = [], []
    while True:
        waiter, dropped = queue.next(now=now)
        refused += [one.request for one in dropped]
        if waiter is None:
            return served, refused
        served.append(waiter.request)


@pytest.mark.parametrize(("order", "expected"), [("fifo", [0, 1, 2, 3]), ("lifo", [3, 2, 1, 0])])
def test_orders_are_exact(order, expected):
    """Requests are served first in, first out, or last in, first out, as the queue's order says."""
    queue = WaitingQueue(max_waiting=None, order=order)
    for number in range(4):
        queue.offer(number, now=float(number))
    assert drain(queue, 10.0) == (expected, [])


@pytest.mark.parametrize(("now", "expected"), [(4.9, [0, 1, 2]), (5.0, [2, 1, 0])])
def test_the_order_turns_when_the_oldest_has_waited_for_half_its_patience(now, expected):
    """The order is first in, first out, until the oldest has waited for half its patience.

    From there on it is last in, first out.
    """
    queue = WaitingQueue(max_waiting=None)
    for number in range(3):
        queue.offer(number, now=number / 10, deadline=10.0 + number / 10)
    waiter, _ = queue.next(now=now)
    assert waiter.request == expected[0]


def test_a_full_queue_refuses_the_newest_of_the_lowest_criticality():
    """A more critical request takes the place of the newest of the least critical; an equal one is refused itself."""
    queue = WaitingQueue(max_waiting=3)
    for number, criticality in enumerate((1, 0, 0)):
        queue.offer(number, now=0.0, criticality=criticality)
    refusals = []
    for number, criticality in ((3, 0), (4, 2), (5, 1), (6, 1), (7, 0)):
        _, refused = queue.offer(number, now=0.0, criticality=criticality)
        refusals += [one.request for one in refused]
    assert refusals == [3, 2, 1, 6, 7]
    assert drain(queue)[0] == [4, 0, 5]


def test_hopeless_requests_are_refused():
    """At exactly ``min_time`` before its deadline a request is served, and refused after that."""
    queue = WaitingQueue(max_waiting=None, min_time=0.5)
    queue.offer("late", now=0.0, deadline=1.4)
    queue.offer("just", now=0.0, deadline=1.5)
    assert drain(queue, 1.0) == (["just"], ["late"])


@pytest.mark.parametrize(
    ("now", "served", "refused"),
    [
        (2.0, ["old", "new"], []),
        (2.0625, ["new"], ["old"]),
        (2.125, ["new"], ["old"]),
        (2.1875, [], ["old", "new"]),
    ],
)
def test_controlled_delay_refuses_long_waits_in_a_queue_that_has_long_not_been_empty(now, served, refused):
    """A wait of exactly ``target`` is allowed, and any wait until the queue has not been empty for ``interval``."""
    queue = WaitingQueue(max_waiting=None, controlled_delay=(0.25, 2.0))
    queue.offer("old", now=0.0)
    queue.offer("new", now=1.875)
    assert drain(queue, now) == (served, refused)
    queue.offer("after", now=3.0)  # it was empty a moment ago
    assert drain(queue, 5.0) == (["after"], [])


def test_a_request_served_at_once_counts_as_much_as_one_that_waited():
    """A tenant that was served at once for a cost of 1.5 comes after two requests of cost 1 of another tenant, not before."""
    queue = WaitingQueue(max_waiting=None)
    for number in range(3):
        queue.offer(number, now=0.0, tenant="waits")
    queue.served("at once", 1.5)
    queue.offer("next", now=0.0, tenant="at once")
    assert drain(queue)[0] == [0, 1, "next", 2]


def test_what_may_not_use_a_slot_keeps_its_place():
    """A request that the slot is of no use to is passed over, and is first for the next one."""
    queue = WaitingQueue(max_waiting=None)
    for number in range(4):
        queue.offer(number, now=0.0)
    waiter, _ = queue.next(now=0.0, may=lambda one: one.request >= 2)
    assert waiter.request == 2
    assert queue.next(now=0.0, may=lambda one: False) == (None, [])
    assert drain(queue)[0] == [0, 1, 3]


def test_tenants_are_served_in_proportion_to_cost():
    """A tenant whose requests cost three times as much is served a third as often; one that comes later catches nothing up."""
    queue = WaitingQueue(max_waiting=None)
    for number in range(40):
        queue.offer(("cheap", number), now=0.0, tenant="cheap")
        queue.offer(("dear", number), now=0.0, tenant="dear", cost=3.0)
    first = [queue.next(now=0.0)[0].request[0] for _ in range(20)]
    assert 14 <= first.count("cheap") <= 16
    for number in range(10):
        queue.offer(("late", number), now=0.0, tenant="late")
    first = [queue.next(now=0.0)[0].request[0] for _ in range(14)]
    assert 5 <= first.count("late") <= 7


def test_a_tenant_that_floods_the_queue_leaves_room_for_others():
    """The place of the newest request of the tenant with the most waiting goes to a tenant with less."""
    queue = WaitingQueue(max_waiting=10)
    for number in range(10):
        queue.offer(("large", number), now=0.0, tenant="large")
    for number in range(3):
        _, refused = queue.offer(("small", number), now=0.0, tenant="small")
        assert [one.request for one in refused] == [("large", 9 - number)]


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["offer", "withdraw", "next"]),
            st.integers(0, 2),
            st.sampled_from("ab"),
            st.integers(0, 30),
        ),
        max_size=60,
    ),
    most=st.integers(0, 6),
    order=st.sampled_from(["adaptive", "fifo", "lifo"]),
)
def test_no_request_is_lost_or_answered_twice(steps, most, order):
    """Whatever happens, each request is served, refused or withdrawn once, or still waits; the bound holds, and criticality rules."""
    queue, waiters, ended = WaitingQueue(max_waiting=most, order=order, criticalities=3), [], []
    for now, (kind, criticality, tenant, number) in enumerate(steps):
        if kind == "offer":
            waiter, refused = queue.offer(
                len(waiters),
                now=float(now),
                deadline=now + number / 3,
                criticality=criticality,
                tenant=tenant,
            )
            waiters.append(waiter)
            ended += refused
        elif kind == "withdraw" and waiters:
            waiter = waiters[number % len(waiters)]
            if queue.withdraw(waiter):
                ended.append(waiter)
        elif kind == "next":
            waiter, refused = queue.next(now=float(now))
            ended += refused
            if waiter is not None:
                assert all(one.criticality <= waiter.criticality for one in waiters if one.waiting)
                ended.append(waiter)
        assert len(queue) == sum(one.waiting for one in waiters) <= most
    assert len(ended) == len({one.request for one in ended})
    assert {one.request for one in ended} | {one.request for one in waiters if one.waiting} == set(
        range(len(waiters))
    )


def test_withdrawn_requests_leave_nothing():
    """After 100,000 withdrawals, in any order, the queue holds no tenant and no request."""
    queue, rng = WaitingQueue(max_waiting=None), Random(1)
    waiting = []
    for number in range(100_000):
        waiting.append(queue.offer(number, now=0.0, tenant=str(number % 7))[0])
        if len(waiting) > 50:
            queue.withdraw(waiting.pop(rng.randrange(50)))
    for line in queue._levels[0].values():
        assert len(line.line) <= 2 * line.count + 8
    for waiter in waiting:
        assert queue.withdraw(waiter)
        assert not queue.withdraw(waiter)
    assert queue.next(now=0.0) == (None, [])
    assert not len(queue)
    assert not queue._levels[0]
    assert not queue._served


def test_tenants_that_came_once_take_bounded_memory_and_time():
    """Of 60,000 tenants with one request each, those most ahead are remembered; the memory is looked through rarely."""
    queue, looks = WaitingQueue(max_waiting=None), 0
    before = queue._served
    for number in range(60_000):
        queue.offer(number, now=0.0, tenant=str(number))
        if number:
            queue.next(now=0.0)
        looks += queue._served is not before
        before = queue._served
    assert MAX_AHEAD // 2 <= len(queue._served) <= 2 * MAX_AHEAD + 64
    assert looks < 30


def test_the_tenants_most_ahead_are_remembered():
    """Of more than are kept, a tenant that has been served the most yields to one that is forgotten."""
    queue = WaitingQueue(max_waiting=None)
    queue.offer("first", now=0.0, tenant="other")
    queue.served("heavy", 100.0)
    for number in range(3 * MAX_AHEAD):
        queue.served(str(number), 1.0)
    for tenant in ("heavy", "0"):
        queue.offer(tenant, now=0.0, tenant=tenant)
    assert [queue.next(now=0.0)[0].request for _ in range(3)] == ["first", "0", "heavy"]


BACKLOG = "FIFO, no bound, no deadline"
"""Takes longer than all others together; the benchmark has it."""


@pytest.mark.parametrize("name", sorted(waiting.QUEUES.keys() - {BACKLOG}))
def test_answers_in_time_are_those_of_an_independent_model(name):
    """At load 2, the part answered in time is within 0.02 of the table, for each queue that is bounded."""
    options, expected = waiting.QUEUES[name]
    patience = float("inf") if "no deadline" in name else 1.0
    assert waiting.share(options, 2.0, range(1, 3), patience=patience) == pytest.approx(
        expected[-1], abs=0.02
    )


def test_a_tenant_with_ten_times_the_load_gets_its_share():
    """Of two tenants that both want more than half of the slots, the larger gets at most 1.1 of a half."""
    assert waiting.fairness() <= 1.1


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: WaitingQueue(max_waiting=-1), "max_waiting"),
        (lambda: WaitingQueue(max_waiting=1, order="random"), "order"),
        (lambda: WaitingQueue(max_waiting=1, criticalities=0), "criticalities"),
        (lambda: WaitingQueue(max_waiting=1, min_time=-1.0), "min_time"),
        (lambda: WaitingQueue(max_waiting=1, controlled_delay=(-1.0, 1.0)), "controlled_delay"),
        (lambda: WaitingQueue(max_waiting=1).offer(1, now=0.0, criticality=4), "criticality"),
        (lambda: ClientThrottle(k=0.5), "k"),
        (lambda: ClientThrottle().probability(now=0.0, criticality=9), "criticality"),
    ],
    ids=["bound", "order", "levels", "time", "delay", "level", "k", "throttle level"],
)
def test_bad_arguments_are_named(make, name):
    """An argument that cannot work is refused by an error that names it."""
    with pytest.raises(ConfigurationError, match=f"^{name}="):
        make()


@pytest.mark.parametrize("cost", [1.0, 1e6, 1e12])
def test_tenants_alternate_after_a_request_of_any_cost(cost):
    """After the most expensive request that is allowed, two tenants of equal costs are still served in turn."""
    queue = WaitingQueue(max_waiting=100)
    queue.offer(("dear", 0), now=0.0, tenant="dear", cost=cost)
    queue.next(now=0.0)
    queue.offer(("dear", 1), now=0.0, tenant="dear")
    queue.next(now=0.0)
    for number in range(10):
        queue.offer(("first", number), now=1.0, tenant="first")
    for number in range(10):
        queue.offer(("second", number), now=1.0, tenant="second")
    served = [tenant for tenant, _ in drain(queue)[0]]
    assert served == ["first", "second"] * 10


@pytest.mark.parametrize("where", ["offer", "served"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("cost", value) for value in (math.nan, math.inf, 0, -1.0, 1.1e12, True, "1", None, 10**400)],
        *[("tenant", value) for value in (None, 3, [], b"shop")],
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_wrong_cost_or_tenant_is_refused_and_changes_nothing(where, name, value):
    """A cost is a number > 0 and <= 1e12 and a tenant a string; otherwise the queue is as it was, and the order after it."""
    queue = WaitingQueue(max_waiting=8)
    queue.offer("first", now=0.0, tenant="a")
    with pytest.raises(ConfigurationError, match=name):
        _ = (
            queue.offer("wrong", now=0.0, **{name: value})
            if where == "offer"
            else queue.served(**{"tenant": "a", name: value})
        )
    assert len(queue) == 1
    queue.offer("second", now=0.0, tenant="b")
    assert drain(queue) == (["first", "second"], [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("now", value) for value in (math.nan, math.inf, "0", None, True)],
        *[("deadline", value) for value in (math.nan, -math.inf, "0", None, True)],
        *[("criticality", value) for value in (math.nan, 1.0, True, "1", None, -1, 4)],
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_request_with_a_wrong_time_or_level_is_not_queued(name, value):
    """Times are finite numbers, the deadline may be infinite, and the criticality is one of the levels."""
    queue = WaitingQueue(max_waiting=8)
    with pytest.raises(ConfigurationError, match=name):
        queue.offer("wrong", **{"now": 0.0, name: value})
    assert len(queue) == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, "0"])
def test_the_next_request_is_not_taken_at_a_wrong_time(value):
    """If the time is no finite number, the next request is refused, and the queue is as it was."""
    queue = WaitingQueue(max_waiting=8)
    queue.offer("first", now=0.0)
    with pytest.raises(ConfigurationError, match="now"):
        queue.next(now=value)
    assert drain(queue) == (["first"], [])


@pytest.mark.parametrize("value", [(), (1.0,), (1.0, 2.0, 3.0)])
def test_controlled_delay_is_two_numbers(value):
    """Parameters of controlled delay that are not two numbers are refused at construction."""
    with pytest.raises(ConfigurationError, match="controlled_delay"):
        WaitingQueue(max_waiting=8, controlled_delay=value)


@pytest.mark.parametrize("kind", ["queue", "throttle"])
def test_levels_of_criticality_are_bounded(kind):
    """A thousand levels are allowed, one more is refused before memory is taken for it."""
    make = ClientThrottle if kind == "throttle" else WaitingQueue
    options = {} if kind == "throttle" else {"max_waiting": 1}
    make(criticalities=1_000, **options)
    with pytest.raises(ConfigurationError, match="criticalities"):
        make(criticalities=1_001, **options)


@pytest.mark.parametrize("method", ["allow", "accepted", "probability"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("now", value) for value in (math.nan, math.inf, "0", None)],
        *[("criticality", value) for value in (math.nan, 1.0, True, "1", None, -1, 4)],
    ],
)
def test_a_throttle_refuses_wrong_times_and_levels(method, name, value):
    """Nothing is counted for a time that is no finite number, or for a level that does not exist."""
    throttle = ClientThrottle()
    given_values = (Random(1),) if method == "allow" else ()
    with pytest.raises(ConfigurationError, match=name):
        getattr(throttle, method)(*given_values, **{"now": 0.0, name: value})
    assert throttle.probability(now=0.0) == 0.0
    assert throttle.allow(Random(1), now=0.0)
    assert throttle.probability(now=0.0) == 0.5


def foreign():
    """Return a waiter of another queue, which has one of the same tenant."""
    waiter, _ = WaitingQueue(max_waiting=1).offer("other", now=0.0)
    return waiter


@pytest.mark.parametrize("method", ["take", "withdraw"])
@pytest.mark.parametrize(
    "made", [foreign, lambda: "a request", lambda: None, object], ids=["foreign", "text", "none", "object"]
)
def test_what_is_no_waiter_of_the_queue_is_refused(method, made):
    """What ``offer`` of this queue has not returned cannot be taken out of it; the queue is as it was."""
    queue = WaitingQueue(max_waiting=8)
    own, _ = queue.offer("own", now=0.0)
    with pytest.raises(ConfigurationError, match=r"waiter=.*offer"):
        getattr(queue, method)(made())
    assert len(queue) == 1
    assert queue.take(own)
    assert not getattr(queue, method)(own)


def test_a_judgement_of_what_is_no_waiter_is_refused():
    """``hopeless`` names what is no waiter, and a time that is none."""
    queue = WaitingQueue(max_waiting=8)
    own, _ = queue.offer("own", now=0.0)
    with pytest.raises(ConfigurationError, match="waiter="):
        queue.hopeless("own", now=0.0)
    with pytest.raises(ConfigurationError, match="now="):
        queue.hopeless(own, now="soon")


@pytest.mark.parametrize("now", ["soon", None, math.nan, math.inf])
@pytest.mark.parametrize("method", ["next", "ranking"])
def test_a_time_that_is_none_is_refused(method, now):
    """A time is a finite number, in an empty queue and in one in which requests wait."""
    for count in range(2):
        queue = WaitingQueue(max_waiting=8)
        for _ in range(count):
            queue.offer("own", now=0.0)
        with pytest.raises(ConfigurationError, match="now="):
            getattr(queue, method)(now=now)
        assert len(queue) == count


def test_a_condition_that_cannot_be_called_is_refused():
    """``may`` is a callable."""
    queue = WaitingQueue(max_waiting=8)
    with pytest.raises(ConfigurationError, match="may="):
        queue.next(now=0.0, may=True)


def test_a_bound_is_read_and_not_set():
    """How many may wait is fixed at construction: what waits already has been promised its place."""
    queue = WaitingQueue(max_waiting=8)
    assert queue.max_waiting == 8
    with pytest.raises(AttributeError):
        queue.max_waiting = 1
