"""An endpoint that answered ``Retry-After`` cools down until the time that it named."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancekit import AllIneligibleError, LoadBalancer, Outcome, UniformRandom
from balancekit.errors import ConfigurationError, Reason
from balancekit.events import Cooling, Ejected, Event, Retried
from balancekit.exhaustion import FailOpen, LeastBad
from balancekit.testing import ManualClock


def pool(*ids: str, **options: object) -> tuple[LoadBalancer[str], ManualClock, list[Event]]:
    """Return a balancer of endpoints, its clock and its events."""
    clock, events = ManualClock(), []
    lb = LoadBalancer(list(ids), selector=UniformRandom(), clock=clock, listeners=[events.append], **options)
    return lb, clock, events


def picks(lb: LoadBalancer[str]) -> set[str]:
    """Who is picked in fifty requests; two of them miss one of two endpoints once in 10 ** 15."""
    found = set()
    for _ in range(50):
        with lb.acquire() as lease:
            found.add(lease.target)
    return found


def cool(lb: LoadBalancer[str], id: str, seconds: float, outcome: Outcome = Outcome.OVERLOADED) -> None:
    """Let an endpoint answer with ``Retry-After``."""
    others = [endpoint.id for endpoint in lb.endpoints if endpoint.id != id]
    assert lb.acquire(exclude=others).release(outcome, retry_after=seconds)


@pytest.mark.parametrize("health", [{}, {"health": None}])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_it_is_left_alone_for_as_long_as_it_asked(outcome: Outcome, health: dict[str, object]) -> None:
    """An endpoint cools down for the time it asked, whatever the outcome, with and without health.

    One event and the state say so.
    """
    lb, clock, events = pool("a", "b", **health)
    cool(lb, "a", 20.0, outcome)
    assert lb.stats()["a"].state == "cooling"
    assert [event for event in events if isinstance(event, Cooling)] == [
        Cooling(endpoint="a", at=clock(), until=clock() + 20.0),
    ]
    clock.advance(19.999)
    assert picks(lb) == {"b"}
    clock.advance(0.001)
    assert picks(lb) == {"a", "b"}
    assert lb.stats()["a"].state != "cooling"


def test_the_longest_wish_counts() -> None:
    """The longest ``Retry-After`` counts: a shorter one, or one of no time at all, changes nothing."""
    lb, clock, events = pool("a", "b")
    first, second, third = (lb.acquire(exclude=["b"]) for _ in range(3))
    first.release(Outcome.OVERLOADED, retry_after=10.0)
    second.release(Outcome.OVERLOADED, retry_after=5.0)
    third.release(Outcome.OVERLOADED, retry_after=0.0)
    assert len([event for event in events if isinstance(event, Cooling)]) == 1
    clock.advance(9.9)
    assert lb.stats()["a"].state == "cooling"
    clock.advance(0.2)
    assert picks(lb) == {"a", "b"}


def test_when_all_are_cooling_the_error_says_who_is_back_first() -> None:
    """If all endpoints cool down, the error says which is back first.

    Callers can wait for exactly that long.
    """
    lb, clock, _ = pool("a", "b")
    cool(lb, "a", 20.0)
    cool(lb, "b", 8.0)
    with pytest.raises(AllIneligibleError, match=r"cooling down \(Retry-After\)") as caught:
        lb.acquire()
    assert caught.value.retry_at == clock() + 8.0
    assert caught.value.reasons == {Reason.COOLING: 2}
    clock.advance(8.0)
    assert picks(lb) == {"b"}


def test_an_ejection_that_lasts_longer_keeps_it_out() -> None:
    """An endpoint that is ejected for longer than it cools down is back when both have ended."""
    lb, clock, _ = pool("a", "b")
    leases = [lb.acquire(exclude=["b"]) for _ in range(5)]
    for lease in leases:
        lease.release(Outcome.OVERLOADED, retry_after=0.01)
    assert lb.stats()["a"].state == "ejected"
    clock.advance(0.02)
    assert lb.stats()["a"].state == "ejected"
    lb.drain("b")
    with pytest.raises(AllIneligibleError) as caught:
        lb.acquire()
    assert caught.value.retry_at is not None
    assert caught.value.retry_at > clock()


def test_a_panic_does_not_count_who_is_cooling_and_leaves_them_alone() -> None:
    """A panic neither counts an endpoint that cools down as unhealthy nor sends requests to it."""
    lb, _, _ = pool("a", "b", "c", exhaustion=FailOpen(threshold=1.0))
    cool(lb, "a", 20.0)
    assert not lb.stats().panic
    assert picks(lb) == {"b", "c"}


@pytest.mark.parametrize(("policy", "picked"), [(FailOpen(), {"a", "b"}), (LeastBad(), {"b"})])
def test_if_there_is_no_other_the_exhaustion_policy_decides(policy: object, picked: set[str]) -> None:
    """If all endpoints cool down, the exhaustion policy offers all, or the one that is back first."""
    lb, _, _ = pool("a", "b", exhaustion=policy)
    first, second = lb.acquire(exclude=["b"]), lb.acquire(exclude=["a"])
    first.release(Outcome.OVERLOADED, retry_after=20.0)
    second.release(Outcome.OVERLOADED, retry_after=10.0)
    assert lb.stats().panic
    assert picks(lb) == picked


def test_a_release_from_before_a_removal_cools_none() -> None:
    """A release of a lease from before a removal does not cool down the new endpoint of that id."""
    lb, _, _ = pool("a", "b")
    lease = lb.acquire(exclude=["b"])
    lb.remove("a")
    lb.add("a")
    lease.release(Outcome.OVERLOADED, retry_after=60.0)
    assert lb.stats()["a"].state == "healthy"


@given(
    steps=st.lists(
        st.tuples(st.sampled_from("ab"), st.floats(0.0, 30.0), st.floats(0.0, 10.0)),
        min_size=1,
        max_size=40,
    )
)
@example(steps=[("a", 30.0, 1.0), ("b", 20.0, 0.0), ("b", 20.0, 20.0)])
def test_who_is_cooling_is_never_picked_while_another_may_be(
    steps: list[tuple[str, float, float]],
) -> None:
    """An endpoint that cools down is never picked. If none is left, the error has the time of the first that will be.

    This holds over any history.
    """
    lb, clock, _ = pool(*"ab", health=None)
    until = dict.fromkeys("ab", -1.0)
    for id, seconds, wait in steps:
        others = [other for other in "ab" if other != id]
        if until[id] <= clock():
            lb.acquire(exclude=others).release(Outcome.OVERLOADED, retry_after=seconds)
            until[id] = max(until[id], clock() + seconds) if seconds else until[id]
        clock.advance(wait)
        free = {id for id, end in until.items() if end <= clock()}
        if not free:
            with pytest.raises(AllIneligibleError) as caught:
                lb.acquire()
            assert caught.value.retry_at == min(until.values())
        else:
            with lb.acquire() as lease:
                assert lease.target in free


def test_a_listener_hears_what_a_carrier_of_requests_tells() -> None:
    """Listeners receive what ``emit`` is given; what is not an event is refused."""
    lb, _, events = pool("a", "b")
    told = Retried(endpoint="a", at=1.0, reason="connect")
    lb.emit(told)
    assert events[-1] is told
    with pytest.raises(ConfigurationError, match="event"):
        lb.emit("retried")


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (Retried(endpoint=chr(0xD83D), at=1.0, reason="connect"), "endpoint"),
        (Retried(endpoint="a", at=1.0, reason=chr(0xD83D)), "reason"),
        (Ejected(endpoint="a", at=1.0, until=2.0, streak=1, cause=chr(0xD83D)), "cause"),
        (Retried(endpoint="a", at=1.0, reason=5), "reason"),
    ],
)
def test_an_event_that_no_listener_could_write_is_refused(event: Event, field: str) -> None:
    """An event with a text that UTF-8 cannot encode, or no text, is refused by its field, and no listener receives it."""
    lb, _, events = pool("a", "b")
    before = list(events)
    with pytest.raises(ConfigurationError) as caught:
        lb.emit(event)
    assert caught.value.parameter == field
    assert events == before
