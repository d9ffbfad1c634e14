"""Draining and removal follow their table, and end with one event; sweeps reach the pool."""

from __future__ import annotations

import pytest

from balancekit import LoadBalancer, Outcome, RoundRobin
from balancekit.events import Drained, Draining, Ejected
from balancekit.health import CheckResult, LatencyLimit, Lifecycle, MedianFailures, SuccessRate
from balancekit.testing import ManualClock


def balancer_of(ids, **options):
    """Return a balancer over ids, its clock and its events."""
    clock, events = ManualClock(), []
    return LoadBalancer(list(ids), clock=clock, listeners=[events.append], **options), clock, events


def only(events, *kinds):
    """Return the events of some kinds."""
    return [event for event in events if isinstance(event, kinds)]


def test_a_drain_ends_with_the_last_lease():
    """A drain ends once, with the last lease and not forced, and nothing new is picked meanwhile."""
    balancer, clock, events = balancer_of("ab")
    leases = [balancer.acquire(exclude={"b"}) for _ in range(2)]
    balancer.drain("a", deadline=10.0)
    assert {balancer.acquire().release() for _ in range(9)} == {True}
    assert balancer.stats()["a"].completed == 0
    for lease in leases:
        assert not only(events, Drained)
        clock.advance(1.0)
        lease.release()
    (drained,) = only(events, Drained)
    assert (drained.at, drained.forced, drained.remaining) == (clock.now, False, 0)
    clock.advance(20.0)
    balancer.stats()
    balancer.drain("a")
    assert len(only(events, Drained, Draining)) == 2


class LeavesWhenTold:
    """A health machine during whose turn its endpoint leaves the pool."""

    eligible, state, watching, deadline = True, "healthy", False, None

    def __init__(self):
        self.leave = lambda: None

    def __call__(self, _endpoint, _may_eject, _rng):
        """Serve as policy and machine of every endpoint."""
        return self

    def observe(self, _completion, /, *, now):
        """Let the endpoint leave."""
        self.leave()
        return []

    def advance(self, *, now):
        """Let time pass."""
        return []


@pytest.mark.parametrize("leave", ["remove", "drain"])
def test_an_endpoint_that_leaves_while_its_health_is_told_reports_its_last_lease(leave):
    """What health wants to know of plain successes does not undo what membership wants to know of them."""
    machine = LeavesWhenTold()
    balancer, _, events = balancer_of("ab", health=machine)
    last, failed = (balancer.acquire(exclude={"b"}) for _ in range(2))
    machine.leave = lambda: getattr(balancer, leave)("a")
    failed.release(Outcome.FAILURE)
    assert not only(events, Drained)
    with last:
        pass
    assert [(event.endpoint, event.forced) for event in only(events, Drained)] == [("a", False)]
    assert balancer.stats().outcomes[Outcome.SUCCESS] == 1
    assert balancer.stats().outcomes[Outcome.FAILURE] == 1


def test_changes_let_go_of_what_was_removed_before():
    """While no time can pass, for health is being told, an endpoint without leases is gone with the next change."""
    machine = LeavesWhenTold()
    balancer, _, events = balancer_of("ab", health=machine)
    guests, waiting = [f"guest-{number}" for number in range(20)], []

    def change():
        for id in guests:
            balancer.add(id)
            balancer.remove(id)
            waiting.append(len(balancer._runtime.state.leaving))

    machine.leave = change
    balancer.acquire().release(Outcome.FAILURE)
    assert waiting == [1] * len(guests)
    assert balancer.acquire().release()
    assert [event.endpoint for event in only(events, Drained)] == guests
    assert not balancer._runtime.state.leaving


def test_a_deadline_forces_it():
    """At its deadline a drain ends by force with leases still open, and their end emits no second event."""
    balancer, clock, events = balancer_of("ab")
    leases = [balancer.acquire(exclude={"b"}) for _ in range(2)]
    balancer.drain("a", deadline=10.0)
    clock.advance(9.999)
    balancer.acquire().release()
    assert not only(events, Drained)
    clock.advance(0.001)
    balancer.acquire().release()
    (drained,) = only(events, Drained)
    assert (drained.forced, drained.remaining) == (True, 2)
    for lease in leases:
        assert lease.release()
    assert len(only(events, Drained)) == 1
    assert balancer.stats().inflight == 0


def test_a_new_deadline_replaces_the_old_one():
    """Draining an endpoint twice is one drain with the last deadline."""
    balancer, clock, events = balancer_of("ab")
    lease = balancer.acquire(exclude={"b"})
    balancer.drain("a", deadline=10.0)
    balancer.drain("a", deadline=50.0)
    clock.advance(20.0)
    balancer.acquire().release()
    assert not only(events, Drained)
    clock.advance(30.0)
    balancer.acquire().release()
    assert only(events, Drained)[0].forced
    lease.release()


def test_health_waits_while_it_drains():
    """An endpoint that was out when it was drained is out when it comes back."""
    balancer, clock, _ = balancer_of("abc")
    for _ in range(5):
        balancer.acquire(exclude={"b", "c"}).release(Outcome.FAILURE)
    balancer.drain("a")
    assert balancer.stats()["a"].state == "draining"
    balancer.undrain("a")
    assert balancer.stats()["a"].state == "ejected"
    balancer.drain("a")
    clock.advance(60.0)
    balancer.undrain("a")
    balancer.acquire().release()
    assert balancer.stats()["a"].state in {"probing", "healthy"}


def test_checks_go_on_while_it_drains():
    """Checks go on during a drain, so that ``undrain`` brings the endpoint back in its present health."""
    balancer, _, _ = balancer_of("abc")
    balancer.drain("a")
    for _ in range(3):
        balancer.report_check("a", CheckResult(passed=False))
    assert balancer.stats()["a"].state == "draining"
    balancer.undrain("a")
    assert balancer.stats()["a"].state == "ejected"


def test_a_drained_endpoint_that_is_removed_is_gone():
    """The removal of a drained endpoint ends at once, as no lease is open."""
    balancer, _, events = balancer_of("ab")
    balancer.drain("a")
    balancer.remove("a")
    assert [endpoint.id for endpoint in balancer.stats().endpoints] == ["b"]
    assert len(only(events, Drained)) == 1


def test_an_endpoint_is_drained_once_whatever_follows():
    """One ``Drained`` event is emitted for each drain, by force or not, if the endpoint is removed afterwards or updated away."""
    balancer, clock, events = balancer_of("abc")
    held = [balancer.acquire(exclude={"b", "c"}) for _ in range(2)]
    balancer.drain("a", deadline=10.0)
    clock.advance(10.0)
    balancer.acquire().release()
    balancer.remove("a")
    for lease in held:
        lease.release()
    balancer.drain("b")
    balancer.update(["c"])
    balancer.acquire().release()
    assert [(e.endpoint, e.forced, e.remaining) for e in only(events, Drained)] == [
        ("a", True, 2),
        ("b", False, 0),
    ]


def test_a_drain_that_was_taken_back_does_not_count():
    """An endpoint that served again after a drain emits ``Drained`` for the next drain, or for its removal."""
    balancer, _, events = balancer_of("ab")
    balancer.drain("a")
    balancer.undrain("a")
    balancer.drain("a")
    balancer.undrain("a")
    balancer.remove("a")
    balancer.acquire().release()
    assert len(only(events, Drained)) == 3


def test_a_removal_in_the_middle_of_a_drain_has_one_event():
    """An endpoint that is removed while it drains emits ``Drained`` after its last lease, once."""
    balancer, _, events = balancer_of("ab")
    lease = balancer.acquire(exclude={"b"})
    balancer.drain("a")
    balancer.remove("a")
    assert not only(events, Drained)
    lease.release()
    balancer.acquire().release()
    assert [(e.endpoint, e.forced) for e in only(events, Drained)] == [("a", False)]


class Refuses:
    """A selector that cannot prepare for fewer than two."""

    def prepare(self, snapshot):
        """Refuse."""
        if len(snapshot.members.nodes) < 2:
            raise RuntimeError

    def select(self, snapshot, ctx):
        """Return any candidate."""
        return next(iter(snapshot.candidates(ctx)), None)


def test_a_removal_that_is_taken_back_has_not_happened():
    """A draining endpoint that could not be removed is still draining."""
    balancer, _, _ = balancer_of("ab", selector=Refuses())
    balancer.drain("a")
    with pytest.raises(RuntimeError):
        balancer.remove("a")
    assert balancer.stats()["a"].state == "draining"
    with pytest.raises(RuntimeError):
        balancer.remove("b")
    assert balancer.stats()["b"].state == "healthy"


# ---------------------------------------------------------------------- sweeps


def test_a_rate_takes_out_who_never_fails_twice_in_a_row():
    """If every other request of an endpoint fails, a failure rate ejects it although no run does."""
    policy = Lifecycle(rules=(SuccessRate(),))
    balancer, clock, events = balancer_of("abc", health=policy, selector=RoundRobin())
    turn = 0
    while not only(events, Ejected) and clock.now < 60.0:
        clock.advance(0.1)
        lease = balancer.acquire()
        turn += lease.target == "b"
        lease.release(Outcome.FAILURE if lease.target == "b" and turn % 2 else Outcome.SUCCESS)
    (event,) = only(events, Ejected)
    assert event.endpoint == "b"
    assert event.cause.startswith("success rate 0.")
    assert clock.now < 10.0


def test_a_median_takes_out_one_of_three():
    """The median rule ejects one bad endpoint of three."""
    policy = Lifecycle(rules=(MedianFailures(volume=10),))
    balancer, clock, events = balancer_of("abc", health=policy, selector=RoundRobin())
    while not only(events, Ejected) and clock.now < 60.0:
        clock.advance(0.1)
        lease = balancer.acquire()
        bad = lease.target == "c" and int(clock.now * 10) % 9 < 4
        lease.release(Outcome.FAILURE if bad else Outcome.SUCCESS)
    assert only(events, Ejected)[0].endpoint == "c"


def test_a_slow_one_is_taken_out():
    """An endpoint whose requests succeed is ejected when its latency exceeds the limit."""
    policy = Lifecycle(rules=(LatencyLimit(limit=0.2, quantile=0.5),))
    balancer, clock, events = balancer_of("abc", health=policy, selector=RoundRobin(), timed=True)
    while not only(events, Ejected) and clock.now < 60.0:
        lease = balancer.acquire()
        clock.advance(0.3 if lease.target == "a" else 0.1)
        lease.release()
    assert only(events, Ejected)[0].endpoint == "a"


class Nonsense:
    """A rule that names an unknown endpoint, or raises."""

    window, enforcing = 1.0, 1.0

    def __init__(self, *, raises):
        """Say which."""
        self.raises = raises

    def __call__(self, reports):
        """Do it."""
        if self.raises:
            raise ZeroDivisionError
        return {"absent": "being unknown"}


@pytest.mark.parametrize("raises", [True, False])
def test_a_rule_cannot_break_a_request(raises, caplog):
    """A rule that raises is logged, unknown ids are ignored, and the other rules are asked all the same."""
    policy = Lifecycle(rules=(Nonsense(raises=raises), SuccessRate()))
    balancer, clock, events = balancer_of("ab", health=policy, selector=RoundRobin())
    for k in range(60):
        clock.advance(0.1)
        lease = balancer.acquire()
        lease.release(Outcome.FAILURE if lease.target == "a" and k % 4 < 2 else Outcome.SUCCESS)
    assert only(events, Ejected)[0].endpoint == "a"
    assert ("rule" in caplog.text) is raises


def test_rules_cost_a_healthy_success_nothing():
    """With every rule there is, a healthy endpoint's successes are not reported to health."""
    policy = Lifecycle(rules=(SuccessRate(), MedianFailures()))
    balancer, _, _ = balancer_of("abc", health=policy, timed=False)
    balancer.acquire().release()
    assert not any(member.node.health_watching for member in balancer._runtime.state.members.values())
