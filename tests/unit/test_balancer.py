"""The balancer as an application sees it: leases, attempts, order, explain, stats, events, membership."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

import pytest

from balancekit import (
    AllIneligibleError,
    AttemptsExhaustedError,
    ConfigurationError,
    Endpoint,
    First,
    LeastRequest,
    LoadBalancer,
    Outcome,
    PoolEmptyError,
    PowerOfChoices,
    RoundRobin,
    SourceHash,
)
from balancekit.errors import Reason
from balancekit.events import Added, Drained, Draining, Ejected, Probing, Removed, Restored, Reweighted
from balancekit.health import ConsecutiveFailures, Ejection, Lifecycle
from balancekit.loads import InFlight
from balancekit.testing import ManualClock

QUICK = Lifecycle(failures=ConsecutiveFailures(threshold=2), ejection=Ejection(jitter=0.0))


@pytest.fixture
def clock():
    """Time that moves when told."""
    return ManualClock()


def make(ids="abc", **options):
    """Make a balancer of one-letter endpoints with a fixed generator."""
    return LoadBalancer(ids if isinstance(ids, dict) else list(ids), rng=Random(1), **options)


def fail(balancer, id, times=1, outcome=Outcome.FAILURE):
    """Send requests to one endpoint that fail."""
    others = [e.id for e in balancer.endpoints if e.id != id]
    for _ in range(times):
        balancer.acquire(exclude=others).release(outcome)


class TestLeases:
    """One lease, one end."""

    def test_with_ends_it_as_a_success(self):
        """A block that ends without an exception ends the lease as a success."""
        balancer = make()
        with balancer.acquire() as lease:
            assert lease.active
            assert balancer.stats().inflight == 1
        assert not lease.active
        assert balancer.stats().outcomes[Outcome.SUCCESS] == 1

    @pytest.mark.parametrize(
        ("error", "outcome"),
        [
            (TimeoutError, Outcome.TIMEOUT),
            (ConnectionError, Outcome.CONNECT_FAILED),
            (RuntimeError, Outcome.FAILURE),
            (KeyboardInterrupt, Outcome.CANCELLED),
            (asyncio.CancelledError, Outcome.CANCELLED),
        ],
    )
    def test_an_exception_ends_it_as_what_it_means_and_passes_on(self, error, outcome):
        """An exception in the block decides the outcome of the lease, and is raised again."""
        balancer = make()
        with pytest.raises(error), balancer.acquire():
            raise error
        assert balancer.stats().outcomes[outcome] == 1
        assert balancer.stats().inflight == 0

    @pytest.mark.parametrize("outcome", Outcome)
    @pytest.mark.parametrize("timed", [False, True])
    def test_release_says_how_and_counts_once(self, outcome, timed):
        """``release`` ends a lease with its outcome. A second call changes nothing and returns False."""
        balancer = make(load=InFlight(), timed=timed)
        lease = balancer.acquire()
        assert lease.release(outcome) is True
        assert lease.release(Outcome.FAILURE) is False
        stats = balancer.stats()
        assert stats.outcomes == {each: int(each is outcome) for each in Outcome}
        assert stats.inflight == 0

    def test_async_with_is_with(self):
        """``async with`` does what ``with`` does, the classification of exceptions included."""

        async def main():
            balancer = make()
            async with balancer.acquire():
                assert balancer.stats().inflight == 1
            with pytest.raises(TimeoutError):
                async with balancer.acquire():
                    raise TimeoutError
            return balancer.stats()

        stats = asyncio.run(main())
        assert (stats.inflight, stats.outcomes[Outcome.TIMEOUT], stats.completed) == (0, 1, 2)

    def test_a_late_release_does_not_touch_the_endpoint_that_came_back(self):
        """A late release of a lease on a removed endpoint changes no other.

        The endpoint that came back under its id stays as it is.
        """
        balancer = make("ab", selector=First())
        old = balancer.acquire()
        balancer.remove("a")
        balancer.add("a")
        new = balancer.acquire(exclude={"b"})
        old.release(Outcome.FAILURE)
        assert balancer.stats()["a"].inflight == 1
        assert balancer.stats()["a"].completed == 0
        new.release()
        assert balancer.stats().completed == 2

    def test_latency_is_measured_to_the_first_byte_if_it_is_reported(self, clock):
        """Latency ends at the reported first byte; the body that follows does not count."""
        balancer = make("a", clock=clock)
        with balancer.acquire() as lease:
            clock.advance(0.25)
            lease.first_byte()
            lease.first_byte()
            clock.advance(60.0)
        assert lease.extras.first_byte_at == 0.25
        assert lease.started_at == 0.0
        assert balancer.stats()["a"].latency.p99 == 0.25

    def test_latency_quantiles(self, clock):
        """Latency quantiles are those of successes only, and None before there are any."""
        balancer = make("a", clock=clock)
        assert balancer.stats()["a"].latency is None
        for tenth in range(1, 11):
            with balancer.acquire():
                clock.advance(tenth / 10)
        fail(balancer, "a")
        read = balancer.stats()["a"].latency
        assert (read.count, read.p50) == (10, pytest.approx(0.55))
        assert balancer.stats().latency == read


class TestChoice:
    """Who gets it."""

    def test_the_default_needs_no_options(self):
        """A balancer without options picks by the shortest expected delay."""
        balancer = LoadBalancer(["10.0.0.1:8080", "10.0.0.2:8080"])
        assert "ShortestExpectedDelay" in repr(balancer)
        with balancer.acquire() as lease:
            assert lease.target in {"10.0.0.1:8080", "10.0.0.2:8080"}

    @pytest.mark.parametrize(
        "target",
        [None, object(), ("host", 80), ["list"], {}, lambda: None],
        ids=lambda target: type(target).__name__,
    )
    def test_anything_can_be_a_target(self, target):
        """The target of a lease is the very object that was passed."""
        with LoadBalancer({"only": target}).acquire() as lease:
            assert lease.target is target

    def test_the_least_loaded_gets_it(self):
        """Least request spreads open leases evenly."""
        balancer = make("abcd", selector=LeastRequest())
        leases = [balancer.acquire() for _ in range(12)]
        assert [e.inflight for e in balancer.stats().endpoints] == [3] * 4
        for lease in leases:
            lease.release()

    def test_a_key_decides_for_keyed_selectors_only(self):
        """A key decides for keyed selectors only, and every key type works with every selector."""
        keyed, other = make(selector=SourceHash()), make(selector=RoundRobin())
        for key in ("k", b"k", 5, -1, 2**80):
            assert len({keyed.explain(key).picked for _ in range(9)}) == 1
            assert len({other.explain(key).picked for _ in range(9)}) == 3
            with keyed.acquire(key), other.acquire(key):
                pass
        assert keyed.explain("k").picked == keyed.explain(b"k").picked

    def test_a_user_selector_sees_attributes_and_cost(self):
        """The attributes and the cost of a request reach a user's selector as they were given."""
        seen = []

        class Spy:
            def select(self, snapshot, ctx):
                seen.append((ctx.cost, dict(ctx.attributes), ctx.key))
                return snapshot.candidates(ctx)[0]

        with make(selector=Spy()).acquire("k", cost=3, attributes={"tenant": 7}):
            assert seen == [(3.0, {"tenant": 7}, "k")]

    def test_excluded_endpoints_are_not_picked(self):
        """Excluded endpoints are not picked. Exclusions may be any collection of ids, unknown ones included."""
        balancer = make()
        for exclude in ({"a", "b"}, ["a", "b"], ("a", "b", "absent"), {"a": 1, "b": 2}, frozenset("ab")):
            with balancer.acquire(exclude=exclude) as lease:
                assert lease.target == "c"

    def test_a_selector_that_picks_none_is_not_papered_over(self):
        """If a selector picks none although endpoints are eligible, the error names the selector and their number."""

        class Shy:
            def select(self, snapshot, ctx):
                return None

        with pytest.raises(AllIneligibleError, match="Shy picked none of 3"):
            make(selector=Shy()).acquire()

    def test_the_same_seed_makes_the_same_choices(self):
        """Two balancers with the same seed and requests pick the same endpoints."""

        def picks():
            balancer = LoadBalancer(list("abcdef"), rng=Random(7), clock=ManualClock())
            return [balancer.explain().picked for _ in range(50)]

        assert picks() == picks()


class TestAttempts:
    """Trying again elsewhere."""

    def test_each_attempt_is_elsewhere(self):
        """Each attempt goes to another endpoint until all have been tried; then the loop ends."""
        balancer = make("abc")
        tried = []
        for lease in balancer.attempts(9):
            with lease:
                tried.append(lease.target)
        assert sorted(tried) == ["a", "b", "c"]

    def test_leaving_the_loop_leaves_nothing_open(self):
        """After a loop over attempts that ends by success, no lease is open."""
        balancer = make()
        for lease in balancer.attempts(3):
            with lease:
                break
        assert balancer.stats().inflight == 0
        assert balancer.stats().completed == 1

    def test_an_attempt_left_open_counts_as_a_failure(self):
        """An attempt whose lease is still open when the loop goes on counts as a failure."""
        balancer = make()
        for _ in balancer.attempts(2):
            pass
        assert balancer.stats().outcomes[Outcome.FAILURE] == 2
        assert balancer.stats().inflight == 0

    def test_none_at_all_is_an_error_from_the_first_attempt(self):
        """The first attempt raises if no endpoint is eligible; later ones end the loop."""
        with pytest.raises(AttemptsExhaustedError):
            next(make("ab").attempts(2, exclude={"a", "b"}))
        with pytest.raises(PoolEmptyError):
            next(LoadBalancer([], allow_empty=True).attempts(2))

    def test_the_callers_exclusion_is_kept_and_not_changed(self):
        """The exclusions that a caller passes to ``attempts`` are kept, and its set stays as it is."""
        mine = {"a"}
        targets = set()
        for lease in make().attempts(5, exclude=mine):
            with lease:
                targets.add(lease.target)
        assert targets == {"b", "c"}
        assert mine == {"a"}

    def test_order_lists_what_would_be_tried(self):
        """``ranking`` lists each endpoint that would be tried once, at most ``limit``, and counts nothing."""
        balancer = make("abcd", selector=First())
        assert [e.id for e in balancer.ranking()] == list("abcd")
        assert [e.id for e in balancer.ranking(limit=2, exclude={"a"})] == ["b", "c"]
        assert balancer.stats().completed == balancer.stats().inflight == 0


class TestExplain:
    """One decision, for people."""

    def test_it_shows_all_and_why(self):
        """``explain`` names each endpoint with its reason: picked, tried, draining, ejected or weightless."""
        balancer = LoadBalancer(
            [*"abcd", Endpoint("e", weight=0)],
            selector=First(),
            health=QUICK,
            clock=ManualClock(),
        )
        balancer.drain("b")
        fail(balancer, "c", 2)
        told = balancer.explain("key", exclude={"a"})
        assert told.picked == "d"
        assert {c.id: c.status for c in told.candidates} == {
            "a": "already tried",
            "b": "draining",
            "c": "ejected",
            "d": "picked",
            "e": "weight zero",
        }
        assert "d by First, key 'key'" in str(told)

    def test_it_tells_the_loads_that_were_compared(self):
        """``explain`` notes the loads of both endpoints that power of two choices drew."""
        told = make("ab", selector=PowerOfChoices(), load=InFlight()).explain()
        assert len([note for note in told.notes if note.startswith("drew ")]) == 2


class TestMembership:
    """Endpoints come, change and go."""

    def test_update_keeps_who_stays(self):
        """The endpoints that stay in an update keep counters and open leases. Their order is that of the new list."""
        balancer = make("abc", selector=First())
        held = balancer.acquire()
        balancer.update(["d", "a"])
        assert [e.id for e in balancer.endpoints] == ["d", "a"]
        assert balancer.stats()["a"].inflight == 1
        held.release()
        assert balancer.stats()["a"].completed == 1

    def test_update_is_seen_whole_or_not_at_all(self):
        """If a selector cannot prepare for an update, the update is refused and everything stays."""

        class Picky:
            def prepare(self, snapshot):
                if len(snapshot.members.nodes) > 2:
                    raise RuntimeError("too many")

            def select(self, snapshot, ctx):
                return next(iter(snapshot.candidates(ctx)), None)

        balancer = make("ab", selector=Picky())
        version = balancer.stats().version
        with pytest.raises(RuntimeError, match="too many"):
            balancer.update(["x", "y", "z"])
        assert [e.id for e in balancer.endpoints] == ["a", "b"]
        with balancer.acquire() as lease:
            assert lease.target == "a"
        assert balancer.stats().version >= version

    def test_a_new_target_is_a_new_endpoint_unless_history_is_kept(self):
        """An endpoint with a new target begins anew, unless the caller keeps its history."""
        balancer = LoadBalancer({"a": "one", "b": "two"}, selector=First())
        with balancer.acquire():
            pass
        balancer.update({"a": "moved", "b": "two"}, keep_history=True)
        assert balancer.stats()["a"].completed == 1
        with balancer.acquire() as lease:
            assert lease.target == "moved"
        balancer.update({"a": "elsewhere", "b": "two"})
        assert balancer.stats()["a"].completed == 0

    def test_removal_lets_open_leases_end_in_peace(self):
        """A removed endpoint is listed as draining until its last lease ends; then an event is emitted."""
        events = []
        balancer = make("ab", selector=First(), listeners=[events.append])
        held = balancer.acquire()
        balancer.remove("a")
        assert balancer.stats()["a"].state == "draining"
        with balancer.acquire() as lease:
            assert lease.target == "b"
        held.release()
        assert [e.id for e in balancer.stats().endpoints] == ["b"]
        assert isinstance(events[-1], Drained)
        assert balancer.stats().completed == 2

    def test_the_last_endpoint_may_be_removed(self):
        """After the last endpoint has been removed, a request raises an error that says the pool is empty."""
        balancer = make("a")
        balancer.remove("a")
        with pytest.raises(PoolEmptyError, match="no endpoints"):
            balancer.acquire()

    def test_a_drained_endpoint_gets_nothing_new_and_comes_back(self):
        """A draining endpoint gets no new requests and emits ``Drained`` after its last lease.

        It can be brought back.
        """
        events = []
        balancer = make("ab", selector=First(), listeners=[events.append])
        held = balancer.acquire()
        balancer.drain("a")
        assert isinstance(events[-1], Draining)
        with balancer.acquire() as lease:
            assert lease.target == "b"
        held.release()
        assert events[-1] == Drained(endpoint="a", at=events[-1].at, forced=False, remaining=0)
        balancer.undrain("a")
        with balancer.acquire() as lease:
            assert lease.target == "a"

    def test_a_drain_that_takes_too_long_is_forced(self, clock):
        """A drain ends by force at its deadline, and its event has the number of open leases."""
        events = []
        balancer = make("ab", selector=First(), clock=clock, listeners=[events.append])
        held = balancer.acquire()
        balancer.drain("a", deadline=30.0)
        clock.advance(29.9)
        balancer.stats()
        assert not isinstance(events[-1], Drained)
        clock.advance(0.1)
        balancer.stats()
        assert events[-1] == Drained(endpoint="a", at=30.0, forced=True, remaining=1)
        held.release()

    def test_a_drain_survives_an_update(self):
        """A drained endpoint stays drained when the configuration is updated."""
        balancer = make("ab", selector=First())
        balancer.drain("a")
        balancer.update(["a", "b", "c"])
        with balancer.acquire() as lease:
            assert lease.target == "b"

    def test_weights_change_in_place(self):
        """Weights change in place. An endpoint of weight 0 gets nothing, unless it is the only one left."""
        balancer = make("ab")
        balancer.set_weight("a", 0)
        assert {balancer.explain().picked for _ in range(20)} == {"b"}
        balancer.set_weight("b", 0)
        assert {balancer.explain().picked for _ in range(40)} == {"a", "b"}

    @pytest.mark.parametrize("listen", ["on_event", "on_completion", "on_start"])
    def test_a_listener_that_was_added_twice_is_taken_away_once(self, listen, clock):
        """Each function that was returned takes away what it stands for, however often it is called."""
        calls = []
        balancer = make("ab", clock=clock, selector=RoundRobin())

        def heard():
            calls.clear()
            balancer.acquire().release(retry_after=60.0)
            clock.advance(60.0)
            balancer.stats()
            return len(calls)

        def note(*what):
            calls.append(what)

        stops = [getattr(balancer, listen)(note) for _ in range(3)]
        once = heard() // 3
        stops[0]()
        stops[0]()
        assert heard() == 2 * once > 0
        stops[2]()
        assert heard() == once
        stops[1]()
        assert not heard()

    def test_events_tell_of_every_change_in_order(self, clock):
        """Every change emits its event, in order; a change that changes nothing emits none."""
        events = []
        balancer = make("ab", clock=clock)
        stop = balancer.on_event(events.append)
        balancer.update(["a", "b"])
        version = balancer.stats().version
        balancer.update([Endpoint("b", weight=2), "c"])
        balancer.set_weight("c", 3)
        assert [type(event) for event in events] == [Removed, Added, Reweighted, Drained, Reweighted]
        assert (events[2].before, events[2].after) == (1.0, 2.0)
        assert balancer.stats().version > version
        stop()
        stop()
        balancer.add("z")
        assert len(events) == 5

    def test_a_listener_that_raises_breaks_nothing(self, capsys, caplog):
        """A listener that raises is logged, the other listeners are called, and the pick goes on."""
        heard = []

        def bad(event):
            raise RuntimeError("listener trouble")

        balancer = make("ab", listeners=[bad, heard.append])
        balancer.add("c")
        assert heard
        assert "listener trouble" in caplog.text
        with balancer.acquire():
            pass

    def test_a_listener_may_use_the_balancer(self):
        """A listener may use the balancer, as no lock is held while it runs."""
        seen = []
        balancer = make("ab")

        def nosy(event):
            seen.append(len(balancer.stats().endpoints))
            with balancer.acquire():
                pass
            if isinstance(event, Added) and event.endpoint == "c":
                balancer.add("d")

        balancer.on_event(nosy)
        balancer.add("c")
        assert [e.id for e in balancer.endpoints] == list("abcd")
        assert seen == [3, 4]


class TestHealth:
    """Failures eject for a time, never the last one."""

    def test_out_trial_back(self, clock):
        """An endpoint is ejected, put on trial and restored, and an event tells each change."""
        events = []
        balancer = make("abc", clock=clock, health=QUICK, listeners=[events.append])
        fail(balancer, "a", 2)
        assert isinstance(events[-1], Ejected)
        assert {balancer.explain().picked for _ in range(60)} == {"b", "c"}
        clock.advance(1.0)
        with balancer.acquire(exclude={"b", "c"}):
            assert balancer.stats()["a"].state == "probing"
        assert [type(event) for event in events] == [Ejected, Probing, Restored]

    def test_the_last_one_stays(self, clock):
        """Health never ejects the last endpoint, whichever fails."""
        balancer = make("abcd", clock=clock, health=QUICK)
        for _ in range(20):
            for endpoint in "abcd":
                with suppress(AttemptsExhaustedError):
                    fail(balancer, endpoint)
        states = [each.state for each in balancer.stats().endpoints]
        assert states.count("ejected") == 2, "at most half of the pool"
        with balancer.acquire():
            pass

    def test_a_pool_of_two_may_eject_one_and_a_pool_of_one_none(self, clock):
        """A pool of two may eject one endpoint, and a pool of one none."""
        two, one = make("ab", clock=clock, health=QUICK), make("a", clock=clock, health=QUICK)
        fail(two, "a", 2)
        fail(one, "a", 9)
        assert two.stats()["a"].state == "ejected"
        assert one.stats()["a"].state == "suspect"

    def test_spares_of_weight_zero_and_drained_ones_do_not_use_up_the_cap(self, clock):
        """The share of ejections is taken of endpoints that would serve.

        Spares of weight zero do not count, and a drain is no ejection.
        """
        spares = [Endpoint(f"spare-{k}", weight=0) for k in range(4)]
        balancer = LoadBalancer(["a", "b", "c", *spares], clock=clock, health=QUICK)
        balancer.drain("c")
        fail(balancer, "a", 2)
        assert balancer.stats()["a"].state == "ejected"
        fail(balancer, "b", 2)
        assert balancer.stats()["b"].state != "ejected"

    def test_no_health_means_none(self):
        """Without health, an endpoint that has failed a thousand times is still picked."""
        balancer = make("ab", health=None, selector=RoundRobin())
        fail(balancer, "a", 1000)
        assert balancer.stats()["a"].state == "healthy"
        assert "a" in {balancer.explain().picked for _ in range(50)}

    def test_none_left_says_when_to_come_back(self, clock):
        """The error has the reason of each endpoint, the counts and the time of the first return."""
        balancer = make("abc", clock=clock, health=QUICK)
        fail(balancer, "a", 2)
        balancer.drain("b")
        balancer.drain("c")
        with pytest.raises(AllIneligibleError) as caught:
            balancer.acquire()
        assert caught.value.retry_at == 1.0
        assert caught.value.reasons == {Reason.EJECTED: 1, Reason.DRAINING: 2}
        assert "0 of 3 endpoints eligible: 1 ejected, 2 draining" in str(caught.value)
        clock.advance(1.0)
        with balancer.acquire() as lease:
            assert lease.target == "a"

    def test_each_that_was_tried_is_counted_as_tried(self, clock):
        """Endpoints that were tried count as tried, and the kind of the error says that another request might do better."""
        balancer = make("abc", clock=clock, health=QUICK)
        fail(balancer, "a", 2)
        with pytest.raises(AttemptsExhaustedError) as caught:
            balancer.acquire(exclude={"b", "c"})
        assert caught.value.reasons == {Reason.EJECTED: 1, Reason.EXCLUDED: 2}


def test_starts_are_observed_with_their_endpoint():
    """``on_start`` is called for every lease that begins, on both paths, until it is stopped; one that raises is logged."""
    balancer, started = LoadBalancer(["a", "b"], selector=RoundRobin()), []
    balancer.acquire().release()

    def fails(_):
        raise RuntimeError("mine")

    stops = [balancer.on_start(lambda endpoint: started.append(endpoint.id)), balancer.on_start(fails)]
    picked = []
    for options in ({}, {"cost": 2.0}, {"exclude": ["a"]}):
        with balancer.acquire(**options) as lease:
            picked.append(lease.endpoint.id)
    assert started == picked
    for stop in stops:
        stop()
    balancer.acquire().release()
    assert len(started) == 3
    with pytest.raises(ConfigurationError, match="observer"):
        balancer.on_start(None)
